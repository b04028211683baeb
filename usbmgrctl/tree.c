/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "client.h"
#include "names.h"
#include "output.h"
#include "term.h"

/*
 * Plugged devices as lsusb -t draws them: a hub, and below it what hangs on it.
 */

#define LEVEL 4 /* columns */

/* Does another device follow in the same hub at that level of the tree? */
static int
goes_on(const struct ctl_device *list, size_t n, size_t i, unsigned int level)
{
	const struct usbport *a = &list[i].dev.port, *b;

	for (i++; i < n; i++) {
		b = &list[i].dev.port;
		if (b->busnum != a->busnum || b->depth < level ||
		    memcmp(a->chain, b->chain, level - 1) != 0)
			return 0;
		if (b->chain[level - 1] != a->chain[level - 1])
			return 1;
	}
	return 0;
}

static void
branches(const struct ctl_device *list, size_t n, size_t i, unsigned int levels)
{
	unsigned int level;

	for (level = 1; level <= levels; level++)
		fputs(goes_on(list, n, i, level) ? "|   " : "    ", stdout);
}

static int
has_below(const struct ctl_device *list, size_t n, size_t i)
{
	return i + 1 < n &&
	       usbport_below(&list[i + 1].dev.port, &list[i].dev.port);
}

static void
print_bus(const struct usbdev *d)
{
	printf("Bus %u", d->port.busnum);
	if (d->controller[0] != '\0')
		printf("  %s", d->controller);
	putchar('\n');
}

static void
print_state(const struct ctl_device *d, int at)
{
	char text[MSG_VM_NAME_MAX + MSG_TEXT_MAX + 16];
	const char *state = device_state_string(d->state);

	term_colour(term_state(state));
	fputs(state, stdout);
	term_colour(TERM_PLAIN);
	at += (int)strlen(state);
	if (d->vm[0] == '\0' || d->state == DEV_HELD)
		snprintf(text, sizeof(text), ": %s", d->reason);
	else
		snprintf(text, sizeof(text), " %s %s: %s",
		    d->state == DEV_DETACHING ? "from" : "to", d->vm,
		    d->reason);
	term_wrap(text, at, at - (int)strlen(state) + 2);
}

static void
print_device(const struct ctl_device *list, size_t n, size_t i)
{
	const struct usbdev *d = &list[i].dev;
	char port[USBPORT_STRLEN], name[4 * USBDEV_STRING_MAX], start[96];
	int at = LEVEL * d->port.depth, width;

	branches(list, n, i, d->port.depth - 1U);
	snprintf(start, sizeof(start), "|__ %-5s Dev %-3u %04x:%04x %5sM",
	    usbport_string(&d->port, port), d->devnum, d->vendor, d->product,
	    usbspeed_string((enum usbspeed)d->speed));
	width = TERM_WIDTH - (at - LEVEL) - (int)strlen(start) - 2;
	printf("%s  %.*s\n", start, width < 0 ? 0 : width,
	    term_visible(d->name, name, sizeof(name)));
	branches(list, n, i, d->port.depth);
	fputs(has_below(list, n, i) ? "|     " : "      ", stdout);
	print_state(&list[i], at + 6);
}

static void
print_json(const struct ctl_device *d)
{
	char buf[16384];
	struct json j;

	json_init(&j, buf, sizeof(buf));
	json_object(&j, NULL);
	output_device_members(&j, d);
	json_end(&j, '}');
	output_list_item(&j);
}

int
show_devices(const struct arguments *a)
{
	struct ctl_device *list;
	uint16_t bus = 0;
	size_t n, i;

	list = names_devices(a, &n);
	if (a->json)
		output_list_begin();
	else if (n == 0)
		puts("No device is plugged.");
	for (i = 0; i < n; i++) {
		if (a->json) {
			print_json(&list[i]);
			continue;
		}
		if (list[i].dev.port.busnum != bus)
			print_bus(&list[i].dev);
		bus = list[i].dev.port.busnum;
		print_device(list, n, i);
	}
	if (a->json)
		output_list_end();
	free(list);
	return 0;
}
