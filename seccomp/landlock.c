/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/syscall.h>
#include <linux/landlock.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include "landlock.h"

/* Since ABI 5; the header of the build machine may be older. */
#define IOCTL_DEV (UINT64_C(1) << 15)

static const struct {
	unsigned int right;
	uint64_t access;
} rights_table[] = {
	{ LANDLOCK_DIR_READ,
	    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR },
	{ LANDLOCK_DIR_WRITE, LANDLOCK_ACCESS_FS_WRITE_FILE | IOCTL_DEV },
	{ LANDLOCK_DIR_CREATE, LANDLOCK_ACCESS_FS_MAKE_REG },
	{ LANDLOCK_DIR_REMOVE, LANDLOCK_ACCESS_FS_REMOVE_FILE },
};

/*
 * struct landlock_ruleset_attr as of ABI 6; what the build machine's header
 * knows may be older than the kernel that this runs on.
 */
struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

/*
 * What can be refused, by ABI (Documentation/userspace-api/landlock.rst):
 * file rights are bits from 0 up, 13 in ABI 1, then REFER, TRUNCATE and
 * IOCTL_DEV; net is bind and connect of TCP; scoped is abstract UNIX sockets
 * and signals.
 */
static const struct {
	int abi;
	size_t size;
	struct ruleset_attr attr;
} abi_table[] = {
	{ 6, 24, { 0xffff, 0x3, 0x3 } },
	{ 5, 16, { 0xffff, 0x3, 0 } },
	{ 4, 16, { 0x7fff, 0x3, 0 } },
	{ 3, 8, { 0x7fff, 0, 0 } },
	{ 2, 8, { 0x3fff, 0, 0 } },
	{ 1, 8, { 0x1fff, 0, 0 } },
};

static uint64_t
access_of(unsigned int rights)
{
	uint64_t bits = 0;
	size_t i;

	for (i = 0; i < sizeof(rights_table) / sizeof(rights_table[0]); i++)
		if (rights & rights_table[i].right)
			bits |= rights_table[i].access;
	return bits;
}

/* handled: what the kernel knows; it takes no more in a rule. */
static int
allow(int ruleset, const struct landlock_dir *dir, uint64_t handled)
{
	struct landlock_path_beneath_attr beneath = {
		.allowed_access = access_of(dir->rights) & handled,
	};
	int rv, saved;

	beneath.parent_fd = open(dir->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (beneath.parent_fd == -1)
		return errno == ENOENT ? 0 : -1;
	rv = (int)syscall(SYS_landlock_add_rule, ruleset,
	    LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
	saved = errno;
	close(beneath.parent_fd);
	errno = saved;
	return rv;
}

static int
restrict_self(int ruleset, const struct landlock_dir *dirs, uint64_t handled)
{
	for (; dirs != NULL && dirs->path != NULL; dirs++)
		if (allow(ruleset, dirs, handled) == -1)
			return -1;
	return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

/* EPERM: a filter around all of this, of a container, has not heard of it. */
static int
is_absent(int error)
{
	return error == ENOSYS || error == EOPNOTSUPP || error == EPERM;
}

int
landlock_enter(const struct landlock_dir *dirs, int scoped)
{
	struct ruleset_attr attr;
	int abi, ruleset, rv, saved;
	size_t i;

	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	if (abi == -1)
		return is_absent(errno) ? 0 : -1;
	for (i = 0; abi_table[i].abi > abi; i++)
		continue;
	attr = abi_table[i].attr;
	if (!scoped)
		attr.scoped = 0;
	ruleset = (int)syscall(
	    SYS_landlock_create_ruleset, &attr, abi_table[i].size, 0);
	if (ruleset == -1)
		return -1;
	rv = restrict_self(ruleset, dirs, attr.handled_access_fs);
	saved = errno;
	close(ruleset);
	errno = saved;
	return rv == -1 ? -1 : 1;
}
