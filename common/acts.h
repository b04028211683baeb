/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef ACTS_H
#define ACTS_H

#include "proc.h"

/*
 * For tests of the confinement only (tests/acts/acts.c): binaries compiled
 * with TEST_ACTS do what is forbidden, once they are confined and at work.
 * In all others there is nothing of it.
 */
#ifdef TEST_ACTS
/*
 * acts_prepare: read which act is to be done, and open what it is done to;
 * before the process is confined.
 */
void acts_prepare(enum proc_id);

/*
 * acts_run: do it, if this process is to.  Called when the parent gets
 * SIGUSR1, a child its log, the spawner a request; those of the start do not
 * count.
 */
void acts_run(enum proc_id);

/* acts_channel: fd is a channel to that process. */
void acts_channel(enum proc_id, int fd);
#else
#define acts_prepare(proc) ((void)0)
#define acts_run(proc) ((void)0)
#define acts_channel(proc, fd) ((void)0)
#endif

#endif
