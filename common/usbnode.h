/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef USBNODE_H
#define USBNODE_H

/*
 * usbnode_is: 1 if fd is the usbfs node of that device number on that bus, by
 * type and number of the file (Linux Documentation/admin-guide/devices.txt:
 * 189 char; drivers/usb/core/usb.c, usb_new_device); else 0.
 */
int usbnode_is(int fd, unsigned int busnum, unsigned int devnum);

#endif
