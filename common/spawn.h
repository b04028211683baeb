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
	const char *user; /* instead of that of proc_table, or NULL */
	const char *promises; /* that narrow what is built in, or NULL */
};

/*
 * spawn_child: start a child from that directory (the engine is this very
 * program, started again) with its end of a new channel on descriptor 3, and
 * 0, 1 and 2 as they are here, nothing else open, no environment, signals as
 * a new process has them.  *chan_fd is this process's end, non-blocking,
 * close-on-exec, the caller's.  Returns the process id, or -1 with errno set
 * and *chan_fd -1.  That it could not be executed shows as the end of the
 * channel, after a line on stderr, exit status 127.
 */
pid_t spawn_child(
    enum proc_id, const char *dir, const struct spawn *, int *chan_fd);

#endif
