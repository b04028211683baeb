/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef USE_H
#define USE_H

#include "usbdev.h"

/* What the host does with a USB device by its own drivers. */
struct use {
	char netif[USBDEV_NAME_MAX]; /* a network interface, or "" */
	char busy[USBDEV_NAME_MAX]; /* a disk in use, or "" */
	char busy_why[USBDEV_NAME_MAX];
	int disks; /* disks and partitions, in use or not */
};

/*
 * use_find: look through the sysfs directory of a device and what is below
 * it, other USB devices excepted, for network interfaces and disks.  sysfs
 * is the root of sysfs.  Of several the first by name is told.  What cannot
 * be read counts as in use; what vanishes meanwhile does not.
 */
void use_find(int sysfs, int dirfd, struct use *);

#endif
