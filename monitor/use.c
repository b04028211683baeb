/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <sys/syscall.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "mounts.h"
#include "sysfs.h"
#include "use.h"

/* A partition of a SCSI disk is at 8; what is deeper is not looked at. */
#define DEPTH_MAX 16

/* Entries of a directory that are read at once, in bytes. */
#define ENTRIES_SIZE 2048

/* A device's own directory, and those of its interfaces. */
#define DEPTH_USB 2

struct search {
	struct use *use;
	int sysfs;
	int depth;
};

static int search_dir(struct search *, int);

static int
is_gone(int error)
{
	return error == ENOENT || error == ENODEV;
}

/* NULL with errno, or a stream whose position is not shared with dirfd. */
static DIR *
open_dir(int dirfd, const char *name)
{
	DIR *dir;
	int fd;

	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return NULL;
	if ((dir = fdopendir(fd)) == NULL)
		close(fd);
	return dir;
}

/* What getdents64(2) gives; each libc has another name for it, or none. */
struct entry {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/*
 * Calls fn for each subdirectory until it returns other than 0.  Returns
 * that, or -1 with errno.  dirfd is read from where it stands, which is the
 * start: opendir(3) would cost as much again as all else.
 */
static int
each_dir(int dirfd, int (*fn)(int dirfd, const char *name, void *), void *arg)
{
	alignas(struct entry) char buf[ENTRIES_SIZE];
	const struct entry *entry;
	long at, len;
	int n = 0;

	while ((len = syscall(SYS_getdents64, dirfd, buf, sizeof(buf))) > 0)
		for (at = 0; at < len; at += entry->reclen) {
			entry = (const void *)(buf + at);
			if (entry->name[0] == '.' || entry->type != DT_DIR)
				continue;
			n = fn(dirfd, entry->name, arg);
			if (n != 0)
				return n;
		}
	return len == -1 && !is_gone(errno) ? -1 : 0;
}

static void
keep_first(char *kept, const char *name)
{
	if (kept[0] != '\0' && strcmp(name, kept) >= 0)
		return;
	memset(kept, 0, USBDEV_NAME_MAX);
	strlcpy(kept, name, USBDEV_NAME_MAX);
}

static void
keep_busy(struct use *use, const char *name, const char *why)
{
	if (use->busy[0] != '\0' && strcmp(name, use->busy) >= 0)
		return;
	memset(use->busy, 0, sizeof(use->busy));
	memset(use->busy_why, 0, sizeof(use->busy_why));
	strlcpy(use->busy, name, sizeof(use->busy));
	strlcpy(use->busy_why, why, sizeof(use->busy_why));
}

/* The first of what stacks upon the disk: dm, md and the like. */
static int
holder(int dirfd, char *name)
{
	struct dirent *entry;
	DIR *dir;

	name[0] = '\0';
	if ((dir = open_dir(dirfd, "holders")) == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			keep_first(name, entry->d_name);
	closedir(dir);
	return name[0] != '\0';
}

/* Is any of the disks mounted that this file system is on? */
static int
btrfs_is_mounted(int dirfd, const char *devices)
{
	struct dirent *entry;
	DIR *dir;
	int found = 0;

	if ((dir = open_dir(dirfd, devices)) == NULL)
		return 0;
	while (!found && (entry = readdir(dir)) != NULL)
		found = mounts_use(NULL, entry->d_name) != NULL;
	closedir(dir);
	return found;
}

static int
btrfs_has(int dirfd, const char *uuid, void *arg)
{
	char devices[64], disk[64 + BLOCK_NAME_MAX];
	struct stat st;

	snprintf(devices, sizeof(devices), "%s/devices", uuid);
	snprintf(disk, sizeof(disk), "%s/%s", devices, (const char *)arg);
	return fstatat(dirfd, disk, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       btrfs_is_mounted(dirfd, devices);
}

/* Of a btrfs on several disks mountinfo names one; sysfs lists them all. */
static int
is_btrfs(int sysfs, char *name)
{
	int fd, found;

	fd = openat(sysfs, "fs/btrfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return 0;
	found = each_dir(fd, btrfs_has, name) == 1;
	close(fd);
	return found;
}

static void
found_disk(struct search *search, int dirfd, const char *disk)
{
	char held_by[USBDEV_NAME_MAX], name[BLOCK_NAME_MAX], number[32];
	char why[USBDEV_NAME_MAX + 16];
	const char *used;

	search->use->disks++;
	strlcpy(name, disk, sizeof(name));
	if (holder(dirfd, held_by)) {
		snprintf(why, sizeof(why), "held by %s", held_by);
		keep_busy(search->use, name, why);
		return;
	}
	if (sysfs_string(dirfd, "dev", number, sizeof(number)) == -1)
		used = is_gone(errno) ? NULL : "unknown";
	else
		used = mounts_use(number, name);
	if (used == NULL && is_btrfs(search->sysfs, name))
		used = "mounted";
	if (used != NULL)
		keep_busy(search->use, name, used);
}

/*
 * Beside interfaces a USB device has a directory of its power management and
 * one for each endpoint, and so have its interfaces.  What a class has, as
 * "net", is one level below.
 */
static int
is_plain(const struct search *search, const char *name)
{
	return search->depth <= DEPTH_USB &&
	       (strcmp(name, "power") == 0 || strncmp(name, "ep_", 3) == 0);
}

/* Drivers of interfaces that make neither, and dozens of directories. */
static int
is_quiet(const struct search *search, int fd)
{
	char driver[32];

	return search->depth == 1 &&
	       sysfs_link_name(fd, "driver", driver, sizeof(driver)) == 0 &&
	       strcmp(driver, "usbhid") == 0;
}

static int
search_found(struct search *search, int fd, const char *name)
{
	char subsystem[32];

	/*
	 * The kernel removes this link before it says that a device is gone,
	 * the directory after (drivers/base/core.c, device_del).
	 */
	if (sysfs_link_name(fd, "subsystem", subsystem, sizeof(subsystem)) ==
	    -1)
		subsystem[0] = '\0';
	if (strcmp(subsystem, "net") == 0) {
		keep_first(search->use->netif, name);
		return 0;
	}
	if (strcmp(subsystem, "block") == 0)
		found_disk(search, fd, name);
	return search_dir(search, fd);
}

static int
search_entry(int dirfd, const char *name, void *arg)
{
	struct search *search = arg;
	struct usbport port;
	int fd, n = 0;

	/* Another device, if this one is a hub. */
	if (usbport_parse_sysfs(&port, name) == 0 || is_plain(search, name))
		return 0;
	fd = openat(
	    dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd == -1)
		return is_gone(errno) ? 0 : -1;
	if (!is_quiet(search, fd))
		n = search_found(search, fd, name);
	close(fd);
	return n;
}

static int
search_dir(struct search *search, int dirfd)
{
	int n;

	if (search->depth == DEPTH_MAX)
		return 0;
	search->depth++;
	n = each_dir(dirfd, search_entry, search);
	search->depth--;
	return n;
}

void
use_find(int sysfs, int dirfd, struct use *use)
{
	struct search search = { .use = use, .sysfs = sysfs };

	memset(use, 0, sizeof(*use));
	if (search_dir(&search, dirfd) == -1) {
		log_warn("what is below a USB device cannot be read, so it "
			 "counts as in use");
		keep_busy(use, "?", "unknown");
	}
}
