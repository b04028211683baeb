/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "promises.h"

const char *const profile_table[PROC_MAX] = {
	[PROC_PARENT] = "stdio sendfd beneath unix usbfs watch children",
	[PROC_ENGINE] = "stdio recvfd control",
	[PROC_MONITOR] = "stdio rpath uevent",
	[PROC_QMPCLIENT] = "stdio recvfd qmp",
	/* A filter stays over exec: also all that any child has. */
	[PROC_SPAWNER] = "stdio rpath recvfd control uevent qmp "
			 "proc exec prot_exec id rootdir netlink confine",
};
