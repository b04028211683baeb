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

#define READ_ONLY (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

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

static int
allow_reading(int ruleset, const char *path)
{
	struct landlock_path_beneath_attr beneath = {
		.allowed_access = READ_ONLY,
	};
	int rv, saved;

	beneath.parent_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
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
restrict_self(int ruleset, const char *const *roots)
{
	for (; roots != NULL && *roots != NULL; roots++)
		if (allow_reading(ruleset, *roots) == -1)
			return -1;
	return (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

int
landlock_enter(const char *const *roots)
{
	int abi, ruleset, rv, saved;
	size_t i;

	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	if (abi == -1)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -1;
	for (i = 0; abi_table[i].abi > abi; i++)
		continue;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &abi_table[i].attr,
	    abi_table[i].size, 0);
	if (ruleset == -1)
		return -1;
	rv = restrict_self(ruleset, roots);
	saved = errno;
	close(ruleset);
	errno = saved;
	return rv == -1 ? -1 : 1;
}
