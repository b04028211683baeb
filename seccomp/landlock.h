/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef LANDLOCK_H
#define LANDLOCK_H

/* What may be done below a directory. */
#define LANDLOCK_DIR_READ 1 /* look at it, read files */
#define LANDLOCK_DIR_WRITE 2 /* write to files and devices, and ioctl(2) */
#define LANDLOCK_DIR_CREATE 4 /* make files */
#define LANDLOCK_DIR_REMOVE 8 /* remove files and sockets */

struct landlock_dir {
	const char *path;
	unsigned int rights;
};

/*
 * landlock_enter: no access to files any more but that of dirs, which ends
 * with a path of NULL (NULL: none); directories that do not exist are passed
 * over.  Descriptors that are open, those of O_PATH, and connect(2) to sockets
 * in the file system are not concerned.  As the kernel can: no TCP; and if
 * scoped is not 0, no signals and abstract sockets across (landlock(7)).
 * no_new_privs must be set.  Returns 1; 0 if the kernel has no Landlock, or
 * a system call filter around this process refuses it; -1 with errno set on
 * failure.
 */
int landlock_enter(const struct landlock_dir *dirs, int scoped);

#endif
