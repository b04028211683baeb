/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef UEVENT_H
#define UEVENT_H

#include <stdint.h>
#include "msg.h"

/*
 * The uevent socket: what is sent by the kernel, or by udevd when it is done
 * with it, about USB devices, network interfaces and block devices.
 */
enum uevent_action {
	UEVENT_BIND,
	UEVENT_UNBIND,
	UEVENT_REMOVE,
	UEVENT_OTHER
};

enum uevent_subsystem {
	UEVENT_USB,
	UEVENT_NET,
	UEVENT_BLOCK
};

struct uevent {
	enum uevent_action action;
	enum uevent_subsystem subsystem;
	uint64_t seqnum;
	const char *path; /* DEVPATH: below /sys, from "/devices" on */
	int busnum; /* of a USB device; 0: not told */
	int devnum;
};

/*
 * uevent_open: open the socket; as root, for its buffer is larger than
 * others may have.  From then on uevents wait in it.  Ends the process when
 * it cannot be opened, or when udevd is asked for and does not run.
 */
void uevent_open(enum events_source);

/* uevent_source: "udev" or "kernel". */
const char *uevent_source(void);

/*
 * uevent_start: call event() for each uevent that waits and that comes.  It
 * is valid within the call only.  lost() is called after uevents were
 * dropped because there were too many: all that waited have then been
 * thrown away, and only a fresh look at all devices tells what there is.
 */
void uevent_start(void (*event)(const struct uevent *), void (*lost)(void));

#endif
