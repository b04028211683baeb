/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef DEVICE_H
#define DEVICE_H

#include <stdint.h>
#include "usbdev.h"

/* A USB device as sysfs shows it. */
struct device {
	struct usbdev dev;
	/*
	 * Inode of its directory in sysfs.  The kernel does not use one again
	 * as long as it can help it, so this tells two devices apart that had
	 * the same port and devnum one after the other.
	 */
	uint64_t ino;
	int disks; /* has, or may get, disks below it */
};

/*
 * device_read: all about the device in that port.  sysfs is a descriptor of
 * the root of sysfs.  Returns 0; or -1, which is logged, when it vanished
 * meanwhile, has no driver (which is so before it is ready and after it was
 * unplugged), or shows what no device shows.
 */
int device_read(int sysfs, const struct usbport *, struct device *);

/*
 * device_read_use: read again what the host does with it (netif, busy).
 * Returns 0; or -1 as device_read, also if another device is there.
 */
int device_read_use(int sysfs, struct device *);

#endif
