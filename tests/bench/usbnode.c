/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * In the place of common/usbnode.c, in programs for the benchmark only: a
 * machine without USB has no driver for nodes of usbfs, so plain files with
 * the descriptors stand for them.
 */

#include <sys/stat.h>
#include "usbnode.h"

int
usbnode_is(int fd, unsigned int busnum, unsigned int devnum)
{
	struct stat st;

	if (busnum == 0 || devnum == 0 || fstat(fd, &st) == -1)
		return 0;
	return S_ISREG(st.st_mode);
}
