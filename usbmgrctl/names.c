/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "client.h"
#include "log.h"
#include "names.h"
#include "term.h"

int
names_port(const char *word, struct usbport *port, const char **errstr)
{
	if (usbport_parse_sysfs(port, word) == 0)
		return 0;
	return usbport_parse(port, word, errstr);
}

/* "045e:0823", all eight digits, so that it is hardly a port. */
static int
parse_product(const char *word, unsigned int *vendor, unsigned int *product)
{
	static const char digits[] = "0123456789abcdefABCDEF";

	if (strlen(word) != sizeof("045e:0823") - 1 ||
	    strspn(word, digits) != 4 || word[4] != ':' ||
	    strspn(word + 5, digits) != 4)
		return -1;
	*vendor = (unsigned int)strtoul(word, NULL, 16);
	*product = (unsigned int)strtoul(word + 5, NULL, 16);
	return 0;
}

enum how {
	BY_PRODUCT,
	BY_PORT,
	BY_NAME,
	BY_PART,
	HOWS
};

static int
is_meant(const char *word, const struct ctl_device *d, enum how how)
{
	unsigned int vendor, product;
	struct usbport port;
	const char *errstr;

	switch (how) {
	case BY_PRODUCT:
		return parse_product(word, &vendor, &product) == 0 &&
		       d->dev.vendor == vendor && d->dev.product == product;
	case BY_PORT:
		return names_port(word, &port, &errstr) == 0 &&
		       usbport_cmp(&port, &d->dev.port) == 0;
	case BY_NAME:
		return strcasecmp(word, d->dev.name) == 0;
	case BY_PART:
		return strcasestr(d->dev.name, word) != NULL;
	default:
		return 0;
	}
}

size_t
names_match(
    const char *word, const struct ctl_device *list, size_t n, size_t *found)
{
	size_t i, count = 0;
	int how;

	for (how = 0; word[0] != '\0' && how < HOWS && count == 0; how++)
		for (i = 0; i < n; i++)
			if (is_meant(word, &list[i], (enum how)how))
				found[count++] = i;
	return count;
}

static struct ctl_device *devices;
static size_t ndevices;

static void
add_device(enum msg_type type, const void *item)
{
	if (type != MSG_CTL_DEVICE)
		client_unexpected(type);
	devices =
	    reallocarray(devices, ndevices + 1, sizeof(struct ctl_device));
	if (devices == NULL)
		fatal("reallocarray");
	memcpy(&devices[ndevices++], item, sizeof(struct ctl_device));
}

struct ctl_device *
names_devices(const struct arguments *a, size_t *n)
{
	static const struct msg_none none;

	devices = NULL;
	ndevices = 0;
	client_ask(
	    client_connect(a), MSG_CTL_SHOW_DEVICES, &none, add_device, NULL);
	*n = ndevices;
	return devices;
}

static void
list_candidates(const char *word, const struct ctl_device *list,
    const size_t *found, size_t n)
{
	char name[4 * USBDEV_STRING_MAX], port[USBPORT_STRLEN];
	const struct usbdev *d;
	size_t i;

	log_warnx("\"%s\" may be one of %zu devices; say which by its port:",
	    word, n);
	for (i = 0; i < n; i++) {
		d = &list[found[i]].dev;
		fprintf(stderr, "  %-9s %04x:%04x  %.53s\n",
		    usbport_string(&d->port, port), d->vendor, d->product,
		    term_visible(d->name, name, sizeof(name)));
	}
}

static void
nobody(const char *word)
{
	struct usbport port;
	const char *errstr;
	char text[USBPORT_STRLEN];

	if (names_port(word, &port, &errstr) == 0)
		fatalx(
		    "no device is plugged in %s", usbport_string(&port, text));
	fatalx("no plugged device is called \"%s\": expected a port such as "
	       "3:9 or 3-9, vendor:product, or a name",
	    word);
}

void
names_device(
    const struct arguments *a, const char *word, struct ctl_device *device)
{
	struct ctl_device *list;
	size_t n, count, *found;

	list = names_devices(a, &n);
	if ((found = calloc(n + 1, sizeof(*found))) == NULL)
		fatal("calloc");
	count = names_match(word, list, n, found);
	if (count == 0)
		nobody(word);
	if (count > 1) {
		list_candidates(word, list, found, count);
		exit(1);
	}
	*device = list[found[0]];
	free(found);
	free(list);
}
