/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef SPAWN_H
#define SPAWN_H

#include <sys/types.h>
#include <stddef.h>
#include "proc.h"

/*
 * spawn_dir: where the executables of the children are, into buf: the
 * directory that this one is in, or, if that is the SBINDIR compiled in, the
 * LIBEXECDIR.  0, or -1 with errno set.
 */
int spawn_dir(char *buf, size_t size);

/* What a child is told on its command line; see child_init. */
struct spawn {
	int debug;
	int verbose;
	const char *option; /* for this child alone, or NULL */
	const char *user; /* "UID:GID", or NULL: that of proc_table */
	const char *promises; /* that narrow what is built in, or NULL */
	int sibling; /* a child not of this process, but of its parent */
};

/*
 * spawn_child: start a child from that directory (the engine is this very
 * program, started again) with fd, its end of a channel, which stays the
 * caller's, on descriptor 3, and 0, 1 and 2 as they are here, nothing else
 * open, no environment, signals as a new process has them.  Returns the
 * process id, or -1 with errno set.  That it could not be executed shows as
 * the end of the channel, after a line on stderr, exit status 127.
 */
pid_t spawn_child(enum proc_id, const char *dir, const struct spawn *, int fd);

#endif
