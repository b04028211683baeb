/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef USBFS_H
#define USBFS_H

#include <stddef.h>
#include <stdint.h>
#include "msg.h"

/*
 * usbfs_digest: SHA-256 of all descriptors of the device that is open at fd
 * (a usbfs node), as sysfs has them in "descriptors".  Does not move the
 * file position.  usbfs gives the numbers of the device descriptor in host
 * byte order (Linux drivers/usb/core/devio.c usbdev_read), sysfs and USB
 * little endian; that is undone.  0; or -1 with errno set, ENODEV when the
 * device is gone, EINVAL when that is no list of descriptors.
 */
int usbfs_digest(int fd, uint8_t digest[USBDEV_DIGEST_LEN]);

/*
 * usbfs_verify: is fd, which stays the caller's, the usbfs node of that
 * device number on that bus, and are its descriptors those of digest?
 * RESULT_OK; or what the attach failed with and why, in words, in text of
 * size bytes.
 */
enum result usbfs_verify(int fd, unsigned int busnum, unsigned int devnum,
    const uint8_t digest[USBDEV_DIGEST_LEN], char *text, size_t size);

/*
 * usbfs_errno_result: class of an errno from opening or reading a usbfs
 * node.
 */
enum result usbfs_errno_result(int error);

#endif
