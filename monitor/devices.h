/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef DEVICES_H
#define DEVICES_H

#include <stdint.h>
#include "uevent.h"
#include "usbdev.h"

/*
 * The USB devices of this host, kept up to date by uevents and by changes of
 * mounts.
 */

/*
 * devices_init: sysfs is a descriptor of the root of sysfs, which is kept.
 * From then on plugged() is called for each device that is new or changed,
 * gone() for each that is gone, with the uevent that told of it, or 0.
 */
void devices_init(int sysfs, void (*plugged)(const struct usbdev *),
    void (*gone)(const struct usbdev *, uint64_t uevent));

/*
 * devices_scan: look at all devices there are; why is "start" or "overflow",
 * for the log.
 */
void devices_scan(const char *why);

/* devices_event: for uevent_start. */
void devices_event(const struct uevent *);

/* devices_mounts_changed: for mounts_init. */
void devices_mounts_changed(void);

/* devices_each: call fn for each, in order of ports. */
void devices_each(void (*fn)(const struct usbdev *));

#endif
