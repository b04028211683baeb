/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <linux/usbdevice_fs.h>
#include <sys/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "log.h"
#include "parent.h"
#include "usbnode.h"

#define USB_INTERFACES_MAX 32 /* kernel include/linux/usb.h USB_MAXINTERFACES */

static int dev_dir = -1;

void
usbfs_init(void)
{
	/* Not /dev/bus/usb, which comes with the first controller. */
	dev_dir = parent_open_beneath(AT_FDCWD, "/dev", O_PATH | O_DIRECTORY);
	if (dev_dir == -1)
		fatal("/dev");
}

int
usbfs_open(unsigned int busnum, unsigned int devnum)
{
	char path[32];
	int fd;

	if (busnum == 0 || busnum > USB_BUSNUM_MAX || devnum == 0 ||
	    devnum > USB_DEVNUM_MAX) {
		errno = EINVAL;
		return -1;
	}
	snprintf(path, sizeof(path), "bus/usb/%03u/%03u", busnum, devnum);
	fd = parent_open_beneath(dev_dir, path, O_RDWR | O_NOCTTY | O_NOFOLLOW);
	if (fd == -1)
		return -1;
	if (!usbnode_is(fd, busnum, devnum)) {
		close(fd);
		errno = ENOTTY;
		return -1;
	}
	return fd;
}

int
usbfs_release(unsigned int busnum, unsigned int devnum)
{
	struct usbdevfs_ioctl connect = { .ioctl_code = USBDEVFS_CONNECT };
	int bound = 0, error = 0, fd = usbfs_open(busnum, devnum);

	if (fd == -1)
		return -1;
	for (; connect.ifno < USB_INTERFACES_MAX && error == 0; connect.ifno++)
		switch (ioctl(fd, USBDEVFS_IOCTL, &connect)) {
		case -1: /* else: no such interface, or one that has a driver */
			if (errno == ENODEV || errno == EHOSTUNREACH)
				error = errno;
			break;
		case 0:
			break; /* no driver wants it */
		default:
			bound++;
		}
	close(fd);
	errno = error;
	return error == 0 ? bound : -1;
}
