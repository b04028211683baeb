/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef TABLE_H
#define TABLE_H

#include <sys/tree.h>
#include <stdint.h>
#include "device.h"

/*
 * The devices that the engine was told of, by port.  Only differences are
 * told again.
 */
struct known {
	RB_ENTRY(known) entry;
	struct device d;
	unsigned int scan; /* the last one that saw it */
};

RB_HEAD(knowntree, known);

struct table {
	struct knowntree tree;
	unsigned int scan;
	/* Told of a device that is new or changed, and of one that is gone. */
	void (*plugged)(const struct usbdev *);
	void (*gone)(const struct usbdev *, uint64_t uevent);
};

/* table_init: nothing is known; whom to tell. */
void table_init(struct table *, void (*plugged)(const struct usbdev *),
    void (*gone)(const struct usbdev *, uint64_t));

/* table_find: the device in that port, or NULL. */
struct known *table_find(struct table *, const struct usbport *);

/*
 * table_put: that is what the port holds now.  Another device than the one
 * known there means that the old one is gone.
 */
void table_put(struct table *, const struct device *);

/*
 * table_remove: the device in that port with that devnum is gone, as that
 * uevent said.  No effect if it is not known.
 */
void table_remove(
    struct table *, const struct usbport *, uint16_t devnum, uint64_t uevent);

/*
 * table_scan_begin, table_scan_end: around a table_put of each device there
 * is; those that were not put are gone.
 */
void table_scan_begin(struct table *);
void table_scan_end(struct table *);

/* table_next: to walk the table, from NULL; NULL at the end. */
struct known *table_next(struct table *, struct known *);

#endif
