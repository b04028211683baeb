/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef SYSFS_H
#define SYSFS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "usbdev.h"

/*
 * Reading sysfs relative to an open directory.  A descriptor of a device's
 * directory stands for that one plugged device: once it is gone all reads
 * through it fail, also when another one got the same name meanwhile.
 */

#define SYSFS_USB_DEVICES "bus/usb/devices"
#define SYSFS_PATH_MAX 512

/*
 * sysfs_read: the whole attribute into buf.  Returns its length; or -1 with
 * errno, EFBIG if it is longer than size.
 */
ssize_t sysfs_read(int dirfd, const char *name, void *buf, size_t size);

/*
 * sysfs_string: the attribute without the newline that the kernel puts
 * behind it, cut to fit.  The rest of buf is cleared.  Returns 0; or -1 with
 * errno and "" in buf.
 */
int sysfs_string(int dirfd, const char *name, char *buf, size_t size);

/*
 * sysfs_number: a decimal attribute from 1 to max.  Returns it; or -1 with
 * errno, EINVAL if it is none.
 */
int sysfs_number(int dirfd, const char *name, int max);

/*
 * sysfs_link: where the link points to, as it is written.  Returns 0; or -1
 * with errno, ENAMETOOLONG if it does not fit.
 */
int sysfs_link(int dirfd, const char *name, char *buf, size_t size);

/*
 * sysfs_link_name: as sysfs_link, the last component only.
 */
int sysfs_link_name(int dirfd, const char *name, char *buf, size_t size);

/* sysfs_device_name: "3-1.2" into buf of USBPORT_STRLEN bytes; buf. */
const char *sysfs_device_name(const struct usbport *, char *buf);

/*
 * sysfs_path_port: port of the USB device nearest to the end of the path,
 * which may be that of the device or of anything below it.  Returns 1 if it
 * is the device's own path, 0 if it is below it, -1 if there is no USB
 * device in the path.
 */
int sysfs_path_port(const char *path, struct usbport *);

/*
 * sysfs_path_controller: PCI address nearest to the end of the path, "" if
 * there is none, as for controllers on a platform bus.
 */
void sysfs_path_controller(
    const char *path, char buf[static USBDEV_CONTROLLER_MAX]);

/*
 * sysfs_hub_port: a hub's name for a port of its own, "usb4-port9" or
 * "3-1-port2" (drivers/usb/core/port.c), to the port of a device in it.
 * Returns 0 or -1.
 */
int sysfs_hub_port(const char *name, struct usbport *);

#endif
