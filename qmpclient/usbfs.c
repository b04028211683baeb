/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <endian.h>
#include <errno.h>
#include <sha2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "usbfs.h"
#include "usbnode.h"

#define USB_DEVICE_DESCRIPTOR_LEN 18
/* Kernel USB_MAXCONFIG, each at most wTotalLength long. */
#define USB_DESCRIPTORS_MAX (USB_DEVICE_DESCRIPTOR_LEN + 8 * 65535)

/*
 * The kernel has the 16 bit numbers in its own order: bcdUSB, idVendor,
 * idProduct, bcdDevice.
 */
static void
usbfs_to_wire(uint8_t *descriptor)
{
	static const size_t offsets[] = { 2, 8, 10, 12 };
	uint8_t *number, low;
	size_t i;

	if (htole16(1) == 1)
		return;
	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		number = descriptor + offsets[i];
		low = number[1];
		number[1] = number[0];
		number[0] = low;
	}
}

static ssize_t
usbfs_read(int fd, void *buf, size_t size, size_t offset)
{
	ssize_t n;

	do
		n = pread(fd, buf, size, (off_t)offset);
	while (n == -1 && errno == EINTR);
	return n;
}

int
usbfs_digest(int fd, uint8_t digest[USBDEV_DIGEST_LEN])
{
	uint8_t buf[4096] = { 0 };
	SHA2_CTX ctx;
	size_t total = 0;
	ssize_t n;

	SHA256Init(&ctx);
	while ((n = usbfs_read(fd, buf, sizeof(buf), total)) > 0) {
		if (total == 0 && n >= USB_DEVICE_DESCRIPTOR_LEN)
			usbfs_to_wire(buf);
		SHA256Update(&ctx, buf, (size_t)n);
		total += (size_t)n;
		if (total < USB_DEVICE_DESCRIPTOR_LEN ||
		    total > USB_DESCRIPTORS_MAX)
			break;
	}
	if (n == -1)
		return -1;
	if (n > 0 || total == 0) {
		errno = EINVAL;
		return -1;
	}
	SHA256Final(digest, &ctx);
	return 0;
}

enum result
usbfs_errno_result(int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return RESULT_GONE;
	case EACCES:
	case EPERM:
		return RESULT_PERMISSION;
	default:
		return RESULT_OTHER;
	}
}

enum result
usbfs_verify(int fd, unsigned int busnum, unsigned int devnum,
    const uint8_t digest[USBDEV_DIGEST_LEN], char *text, size_t size)
{
	uint8_t found[USBDEV_DIGEST_LEN];

	if (!usbnode_is(fd, busnum, devnum)) {
		snprintf(text, size, "descriptor is not usbfs node %u/%u",
		    busnum, devnum);
		return RESULT_CHANGED;
	}
	if (usbfs_digest(fd, found) == -1) {
		snprintf(text, size, "read descriptors: %s", strerror(errno));
		return usbfs_errno_result(errno);
	}
	if (memcmp(found, digest, sizeof(found)) != 0) {
		strlcpy(text, "its descriptors have changed", size);
		return RESULT_CHANGED;
	}
	return RESULT_OK;
}
