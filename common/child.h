/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CHILD_H
#define CHILD_H

#include "chan.h"

/*
 * child_init: the first thing in a child's main.  Takes the process from
 * what exec left (root, the whole file system) to confined: own user, own
 * root directory with nothing but roots (NULL-terminated list of directories
 * shown read-only, NULL: none), resource limits, no new privileges, system
 * call filter.  prepare, if not NULL, is called while still root and
 * unfiltered, for what cannot be opened later; it must read nothing that
 * did not come from the parent.  Then the channel to the parent is open and
 * loop_run may be called; the child sends MSG_READY when MSG_START came.
 * The command line holds what the parent has in struct spawn.
 * Any failure ends the process with a line that says why.
 */
void child_init(enum proc_id, int argc, char *argv[], const char *const *roots,
    void (*prepare)(void), struct chan *parent,
    void (*dispatch)(struct chan *, enum msg_type, const void *, int));

/*
 * child_option: what the parent gave this child alone (struct spawn), from
 * prepare on; NULL if nothing.
 */
const char *child_option(void);

/*
 * child_dispatch: handles the messages that mean the same in each child
 * (MSG_LOG, MSG_VERBOSE, MSG_PING).  1 if it was one, else 0.
 */
int child_dispatch(enum msg_type, const void *payload, int fd);

#endif
