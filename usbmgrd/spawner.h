/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef SPAWNER_H
#define SPAWNER_H

#include <sys/types.h>
#include "conf.h"

/*
 * The process that starts the children.  It is forked while the parent is
 * unconfined, and keeps what the parent then gives up: fork, exec, and what a
 * child needs to confine itself.  It knows one request, "start that process
 * with those promises and that channel", holds nothing else, and what it starts
 * are children of the parent.
 */

/*
 * spawner_init: fork it.  To be called by a process of one thread that has
 * nothing open yet but 0 to 2, once users_find was successful.  The
 * users and the events of conf count as they are now.  Ends the process when
 * it fails.
 */
void spawner_init(const struct conf *, int debug, int verbose);

/*
 * spawner_start: start a child; promises are those that it is to have, of the
 * ones that are built in; fd, its end of the channel, is taken.  Waits
 * for the answer, which takes a fork(2), at most 5 seconds, after which the
 * spawner is killed.  Returns the process id, or -1 with errno set: EPIPE when
 * the spawner has ended.
 */
pid_t spawner_start(enum proc_id, const char *promises, int fd);

/* spawner_pid: to tell it from children that end. */
pid_t spawner_pid(void);

/* spawner_stop: make it end; it is to be reaped. */
void spawner_stop(void);

#endif
