/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "usbnode.h"

#define USBFS_MAJOR 189
#define USBFS_DEVICES_PER_BUS 128

int
usbnode_is(int fd, unsigned int busnum, unsigned int devnum)
{
	struct stat st;

	if (busnum == 0 || devnum == 0 || fstat(fd, &st) == -1)
		return 0;
	return S_ISCHR(st.st_mode) && major(st.st_rdev) == USBFS_MAJOR &&
	       minor(st.st_rdev) ==
		   (busnum - 1) * USBFS_DEVICES_PER_BUS + devnum - 1;
}
