/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef MOUNTS_H
#define MOUNTS_H

#include <stddef.h>
#include "usbdev.h"

/*
 * Which block devices the host has mounted or swaps to, from the parent's
 * /proc/self/mountinfo and /proc/swaps.  Read when it is asked for after a
 * change, not at each change: a host that mounts all day long without a USB
 * disk has nothing to do here.
 */

#define BLOCK_NAME_MAX USBDEV_NAME_MAX

/* A mount or a swap area. */
struct mount {
	unsigned int major; /* 0: a file system with no number of its disk */
	unsigned int minor;
	int swap;
	char name[BLOCK_NAME_MAX]; /* "sda1" of /dev/sda1, or "" */
};

struct mounts {
	struct mount *list;
	size_t len;
	size_t size;
	int unknown; /* could not be read: everything counts as in use */
};

/*
 * mounts_watch_mountinfo, mounts_watch_swaps: use that descriptor, which is
 * kept, and call changed(), which was given to mounts_init, when the kernel
 * says that its contents changed (EPOLLPRI; fs/proc_namespace.c,
 * mm/swapfile.c).
 */
void mounts_init(void (*changed)(void));
void mounts_watch_mountinfo(int fd);
void mounts_watch_swaps(int fd);

/* mounts_ready: 1 when both are watched. */
int mounts_ready(void);

/*
 * mounts_use: what the host does with the block device of that number
 * ("8:17"; NULL: not known) and name ("sdb1"): "mounted", "swap", "unknown"
 * when that cannot be read, NULL if nothing.
 */
const char *mounts_use(const char *number, const char *name);

/*
 * mounts_parse_mountinfo, mounts_parse_swaps: add what the text says, which
 * is changed by that; 0, or -1 when memory is short.  Lines that make no
 * sense are skipped.  For the above and for tests, as mounts_find.
 */
int mounts_parse_mountinfo(struct mounts *, char *text);
int mounts_parse_swaps(struct mounts *, char *text);
const char *mounts_find(
    const struct mounts *, const char *number, const char *name);

/* mounts_clear: nothing is mounted; frees. */
void mounts_clear(struct mounts *);

#endif
