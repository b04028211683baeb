/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef LANDLOCK_H
#define LANDLOCK_H

/*
 * landlock_enter: no access to files any more but reading below the
 * directories of the NULL-terminated list roots (NULL: none); those that do
 * not exist are passed over.  As the kernel can: no TCP, no signals and
 * abstract sockets across (landlock(7)).  no_new_privs must be set.  Returns
 * 1; 0 if the kernel has no Landlock; -1 with errno set on failure.
 */
int landlock_enter(const char *const *roots);

#endif
