/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef ROOTDIR_H
#define ROOTDIR_H

/*
 * rootdir_enter: give the calling process a mount namespace of its own whose
 * root is a small read-only tmpfs(5) with nothing in it but the directories
 * of the NULL-terminated list roots (NULL: none), as absolute paths, each
 * without what is mounted below it, read-only, nosuid, nodev, noexec.  One
 * that does not exist is left out.  At most 8 directories in all, their
 * parents counted.  The working directory is the new root.  Needs
 * CAP_SYS_ADMIN.  Returns 0; or -1 with errno set and *errstr naming the
 * step, and the process must end.
 */
int rootdir_enter(const char *const *roots, const char **errstr);

#endif
