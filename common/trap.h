/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef TRAP_H
#define TRAP_H

#include "chan.h"

/*
 * trap_install: a process that makes a system call which its filter does not
 * have dies by SIGSYS, as if the filter had killed it, but says which call it
 * was: to the parent over that channel (MSG_TRAPPED), or on stderr when it is
 * NULL or not to be used at that moment.  To be called before the filter is
 * loaded, which must have no rt_sigaction(2).  0, or -1 with errno set.
 */
int trap_install(struct chan *parent);

#endif
