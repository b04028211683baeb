/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "table.h"

static int known_cmp(struct known *, struct known *);

RB_PROTOTYPE(knowntree, known, entry, known_cmp)

static int
known_cmp(struct known *a, struct known *b)
{
	return usbport_cmp(&a->d.dev.port, &b->d.dev.port);
}

RB_GENERATE(knowntree, known, entry, known_cmp)

void
table_init(struct table *t, void (*plugged)(const struct usbdev *),
    void (*gone)(const struct usbdev *, uint64_t))
{
	memset(t, 0, sizeof(*t));
	RB_INIT(&t->tree);
	t->plugged = plugged;
	t->gone = gone;
}

struct known *
table_find(struct table *t, const struct usbport *port)
{
	struct known key;

	key.d.dev.port = *port;
	return RB_FIND(knowntree, &t->tree, &key);
}

static int
same_device(const struct device *a, const struct device *b)
{
	return a->ino == b->ino && a->dev.devnum == b->dev.devnum;
}

/* The uevent for which it was read makes no difference. */
static int
same_record(const struct usbdev *a, const struct usbdev *b)
{
	struct usbdev copy = *a;

	copy.uevent = b->uevent;
	return memcmp(&copy, b, sizeof(copy)) == 0;
}

static void
drop(struct table *t, struct known *k, uint64_t uevent)
{
	RB_REMOVE(knowntree, &t->tree, k);
	t->gone(&k->d.dev, uevent);
	free(k);
}

static void
put_new(struct table *t, const struct device *d)
{
	struct known *k;

	if ((k = malloc(sizeof(*k))) == NULL)
		fatal("malloc");
	memset(k, 0, sizeof(*k));
	k->d = *d;
	k->scan = t->scan;
	RB_INSERT(knowntree, &t->tree, k);
	t->plugged(&k->d.dev);
}

void
table_put(struct table *t, const struct device *d)
{
	struct known *k;
	int same;

	k = table_find(t, &d->dev.port);
	if (k != NULL && !same_device(&k->d, d)) {
		drop(t, k, d->dev.uevent);
		k = NULL;
	}
	if (k == NULL) {
		put_new(t, d);
		return;
	}
	same = same_record(&k->d.dev, &d->dev);
	k->d = *d;
	k->scan = t->scan;
	if (!same)
		t->plugged(&k->d.dev);
}

void
table_remove(struct table *t, const struct usbport *port, uint16_t devnum,
    uint64_t uevent)
{
	struct known *k;

	k = table_find(t, port);
	if (k != NULL && k->d.dev.devnum == devnum)
		drop(t, k, uevent);
}

void
table_scan_begin(struct table *t)
{
	t->scan++;
}

void
table_scan_end(struct table *t)
{
	struct known *k, *next;

	for (k = RB_MIN(knowntree, &t->tree); k != NULL; k = next) {
		next = RB_NEXT(knowntree, &t->tree, k);
		if (k->scan != t->scan)
			drop(t, k, 0);
	}
}

struct known *
table_next(struct table *t, struct known *k)
{
	return k == NULL ? RB_MIN(knowntree, &t->tree)
			 : RB_NEXT(knowntree, &t->tree, k);
}
