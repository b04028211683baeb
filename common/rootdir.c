/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "rootdir.h"

/*
 * Where the new root is put together: a directory that every system has, and
 * that nothing is shown from.
 */
#define STAGE "/proc"

#define LOCKED (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define TMPFS_OPTIONS "size=4k,nr_inodes=10,mode=0755"

static int
make_path(char *path)
{
	char *slash = path + sizeof(STAGE) - 1;

	while ((slash = strchr(slash + 1, '/')) != NULL) {
		*slash = '\0';
		if (mkdir(path, 0755) == -1 && errno != EEXIST)
			return -1;
		*slash = '/';
	}
	return mkdir(path, 0755);
}

static int
show(const char *root)
{
	char path[PATH_MAX];
	int n;

	if (access(root, F_OK) == -1)
		return errno == ENOENT ? 0 : -1;
	n = snprintf(path, sizeof(path), STAGE "%s", root);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (make_path(path) == -1)
		return -1;
	if (mount(root, path, NULL, MS_BIND, NULL) == -1)
		return -1;
	return mount(
	    NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | LOCKED, NULL);
}

/*
 * The root of an initramfs cannot be pivoted away (pivot_root(2)); there the
 * new root is moved on top of it, and nothing but CAP_SYS_CHROOT, which no
 * child keeps, leads back.
 */
static int
change_root(void)
{
	if (chdir(STAGE) == -1)
		return -1;
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH);
	if (errno != EINVAL)
		return -1;
	if (mount(".", "/", NULL, MS_MOVE, NULL) == -1)
		return -1;
	return chroot(".");
}

int
rootdir_enter(const char *const *roots, const char **errstr)
{
	mode_t mask;

	*errstr = "mount namespace";
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
		return -1;
	*errstr = "mount of the root directory";
	if (mount("none", STAGE, "tmpfs", LOCKED, TMPFS_OPTIONS) == -1)
		return -1;
	mask = umask(022); /* for all to pass through */
	for (; roots != NULL && *roots != NULL; roots++) {
		*errstr = *roots;
		if (show(*roots) == -1)
			return -1;
	}
	umask(mask);
	*errstr = "change of the root directory";
	if (change_root() == -1 || chdir("/") == -1)
		return -1;
	return mount(
	    NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | LOCKED, TMPFS_OPTIONS);
}
