/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "classes.h"
#include "client.h"
#include "device.h"
#include "log.h"
#include "loop.h"
#include "mounts.h"
#include "names.h"
#include "sysfs.h"
#include "term.h"

/*
 * A policy to begin with: what is plugged in, as usbmgrd knows it or, where
 * it does not run yet, as the same code of its monitor reads it.
 */

static int
device_cmp(const void *va, const void *vb)
{
	const struct ctl_device *a = va, *b = vb;

	return usbport_cmp(&a->dev.port, &b->dev.port);
}

static void
watch(void (*how)(int), const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	/* Without it all disks count as in use. */
	if (fd == -1)
		log_warn("%s", path);
	else
		how(fd);
}

static void
nothing(void)
{
}

static struct ctl_device *
read_sysfs(size_t *n)
{
	struct ctl_device *list = NULL;
	struct device device;
	struct usbport port;
	struct dirent *entry;
	int sysfs;
	DIR *dir;

	*n = 0;
	loop_init();
	mounts_init(nothing);
	watch(mounts_watch_mountinfo, "/proc/self/mountinfo");
	watch(mounts_watch_swaps, "/proc/swaps");
	sysfs = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sysfs == -1)
		fatal("/sys");
	dir = opendir("/sys/" SYSFS_USB_DEVICES);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (usbport_parse_sysfs(&port, entry->d_name) == -1 ||
		    device_read(sysfs, &port, &device) == -1)
			continue;
		list = reallocarray(list, *n + 1, sizeof(*list));
		if (list == NULL)
			fatal("reallocarray");
		memset(&list[*n], 0, sizeof(*list));
		list[(*n)++].dev = device.dev;
	}
	if (dir != NULL)
		closedir(dir);
	close(sysfs);
	if (*n > 1)
		qsort(list, *n, sizeof(*list), device_cmp);
	return list;
}

/* In a policy a string has no quotes, and some characters are a pattern. */
static int
is_plain(const char *s)
{
	return s[0] != '\0' &&
	       s[strspn(s, "0123456789abcdefghijklmnopqrstuvwxyz"
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_. ")] == '\0';
}

/* The narrowest words that all its interfaces are of; "" if some has none. */
static void
pledge_words(const struct usbdev *d, char *buf, size_t size)
{
	const struct class_word *w, *best;
	uint64_t bits = 0;
	unsigned int i;

	buf[0] = '\0';
	for (i = 0; i < d->ninterfaces; i++) {
		best = NULL;
		for (w = class_words; w->word != NULL; w++)
			if (class_agree(
				&w->class, &d->interfaces[i], w->parts) &&
			    (best == NULL || w->parts > best->parts))
				best = w;
		if (best == NULL) {
			buf[0] = '\0';
			return;
		}
		if ((bits & class_word_bit(best->word)) == 0) {
			strlcat(buf, buf[0] == '\0' ? "" : " ", size);
			strlcat(buf, best->word, size);
		}
		bits |= class_word_bit(best->word);
	}
}

static void
print_about(const struct ctl_device *d)
{
	char port[USBPORT_STRLEN], text[4 * USBDEV_STRING_MAX];

	printf("# %s: %04x:%04x", usbport_string(&d->dev.port, port),
	    d->dev.vendor, d->dev.product);
	if (d->dev.manufacturer[0] != '\0')
		printf(" %s",
		    term_visible(d->dev.manufacturer, text, sizeof(text)));
	if (d->dev.name[0] != '\0')
		printf(" %s", term_visible(d->dev.name, text, sizeof(text)));
	putchar('\n');
	if (d->vm[0] != '\0')
		printf("# It is in machine \"%s\" now.\n",
		    term_visible(d->vm, text, sizeof(text)));
}

static void
print_rules(const struct ctl_device *c)
{
	const struct usbdev *d = &c->dev;
	char port[USBPORT_STRLEN], pledge[256], vm[4 * MSG_VM_NAME_MAX];

	term_visible(c->vm[0] != '\0' ? c->vm : "NAME", vm, sizeof(vm));
	pledge_words(d, pledge, sizeof(pledge));
	printf("#pass port %s to \"%s\"\n", usbport_string(&d->port, port), vm);
	printf("#pass product %04x:%04x", d->vendor, d->product);
	if (is_plain(d->serial))
		printf(" serial \"%s\"", d->serial);
	printf(" to \"%s\"", vm);
	if (pledge[0] != '\0')
		printf(" pledge \"%s\"", pledge);
	putchar('\n');
}

static void
print_device(const struct ctl_device *c)
{
	const struct usbdev *d = &c->dev;
	char text[4 * USBDEV_NAME_MAX];

	putchar('\n');
	print_about(c);
	if (usbdev_is_hub(d)) {
		puts(
		    "# A hub is never handed over; what hangs below it may be:");
		printf("#pass below %s to \"NAME\"\n",
		    usbport_string(&d->port, text));
	} else if (d->odd_descriptors)
		puts(
		    "# Its descriptors are malformed: it is never handed over.");
	else if (d->netif[0] != '\0' || d->busy[0] != '\0') {
		printf("# It stays here as long as this host uses it (%s), "
		       "unless a rule says\n# \"even if busy\".\n",
		    term_visible(d->netif[0] != '\0' ? d->netif : d->busy, text,
			sizeof(text)));
		print_rules(c);
	} else
		print_rules(c);
}

static void
print_head(size_t n)
{
	char date[32];
	time_t t = time(NULL);
	struct tm tm;

	strftime(date, sizeof(date), "%Y-%m-%d", localtime_r(&t, &tm));
	printf(
	    "# A policy to begin with, made by usbmgrctl generate on %s "
	    "from %zu\n"
	    "# plugged devices; see usbmgrd.conf(5).  As it stands it "
	    "passes nothing.\n"
	    "# Take away the # before what you want, and give your machines' "
	    "names.\n"
	    "\n"
	    "# A line for each machine: its name, and a QMP socket of its "
	    "QEMU that\n"
	    "# nobody else uses.\n"
	    "#vm \"NAME\" qmp \"/run/qemu/NAME.qmp\"\n"
	    "\n"
	    "# The last rule that matches decides.\n"
	    "block all\n",
	    date, n);
}

static void
print_json(const struct ctl_device *list, size_t n)
{
	char port[USBPORT_STRLEN], product[16], pledge[256], buf[4096];
	struct json j;
	size_t i;

	putchar('[');
	for (i = 0; i < n; i++) {
		json_init(&j, buf, sizeof(buf));
		json_object(&j, NULL);
		json_str(&j, "device", usbport_string(&list[i].dev.port, port));
		snprintf(product, sizeof(product), "%04x:%04x",
		    list[i].dev.vendor, list[i].dev.product);
		json_str(&j, "product", product);
		json_str(&j, "name", list[i].dev.name);
		json_str(&j, "serial", list[i].dev.serial);
		pledge_words(&list[i].dev, pledge, sizeof(pledge));
		json_str(&j, "pledge", pledge);
		json_bool(&j, "hub", usbdev_is_hub(&list[i].dev));
		json_end(&j, '}');
		if (json_finish(&j) != 0)
			printf("%s\n%s", i == 0 ? "" : ",", buf);
	}
	puts("]");
}

int
generate_command(const struct arguments *a)
{
	struct ctl_device *list;
	size_t n, i;
	int fd = client_try(a);

	if (fd != -1) {
		close(fd);
		list = names_devices(a, &n);
	} else
		list = read_sysfs(&n);
	if (a->json)
		print_json(list, n);
	else {
		print_head(n);
		for (i = 0; i < n; i++)
			print_device(&list[i]);
	}
	free(list);
	return 0;
}
