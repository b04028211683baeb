/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include "caps.h"

#define ROW(proc, cap, why)                  \
	{                                    \
		PROC_##proc, cap, #cap, why, \
	}

const struct cap_row caps_table[] = {
	ROW(PARENT, CAP_DAC_OVERRIDE,
	    "QMP sockets belong to QEMU's user, and so may their directories"),
	ROW(PARENT, CAP_KILL, "children are of other users, and are ended"),
	ROW(SPAWNER, CAP_SYS_ADMIN,
	    "a child makes a root directory of its own (mount(2))"),
	ROW(SPAWNER, CAP_SYS_CHROOT,
	    "and changes to it, where / is an initramfs"),
	ROW(SPAWNER, CAP_SETUID, "a child changes to its user"),
	ROW(SPAWNER, CAP_SETGID, "and to its group"),
	ROW(SPAWNER, CAP_NET_ADMIN,
	    "the monitor's uevent socket has a larger buffer than others may "
	    "have"),
	ROW(SPAWNER, CAP_DAC_READ_SEARCH,
	    "the programs may be in somebody's home directory"),
	{ PROC_MAX, 0, NULL, NULL },
};

static uint64_t
kept(enum proc_id proc)
{
	const struct cap_row *row;
	uint64_t caps = 0;

	for (row = caps_table; row->name != NULL; row++)
		if (row->proc == proc)
			caps |= UINT64_C(1) << row->cap;
	return caps;
}

/*
 * Without CAP_SETPCAP, in some containers, it stays as it is; no_new_privs,
 * which is always set, keeps exec from giving anything back, too.
 */
static int
cut_bounding(uint64_t caps)
{
	int cap;

	for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != -1; cap++)
		if ((caps >> cap & 1) == 0 &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == -1 &&
		    errno != EPERM)
			return -1;
	return 0;
}

int
caps_cut(enum proc_id proc)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uint64_t caps = kept(proc);
	unsigned int i;

	if (caps == 0)
		return 0;
	if (cut_bounding(caps) == -1 ||
	    syscall(SYS_capget, &header, data) == -1)
		return -1;
	for (i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= (uint32_t)(caps >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0; /* and with it the ambient set */
	}
	return syscall(SYS_capset, &header, data) == -1 ? -1 : 0;
}
