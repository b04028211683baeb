/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef UEVENTFILTER_H
#define UEVENTFILTER_H

/*
 * ueventfilter_attach: from now on the kernel's uevents of other subsystems
 * than those named wake nobody who reads from fd, a socket of the kernel's
 * group.  Of each name four bytes count, its NUL included.  Those that are
 * not laid out as lib/kobject_uevent.c does, kobject_uevent_env, pass.
 * Returns 0; or -1 with errno.
 */
int ueventfilter_attach(int fd, const char *const *names, unsigned int n);

#endif
