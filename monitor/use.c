/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "mounts.h"
#include "sysfs.h"
#include "use.h"

/* A partition of a SCSI disk is at 8; what is deeper is not looked at. */
#define DEPTH_MAX 16

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

/*
 * Calls fn for each subdirectory until it returns other than 0.  Returns
 * that, or -1 with errno.
 */
static int
each_dir(int dirfd, int (*fn)(int fd, const char *name, void *arg), void *arg)
{
	struct dirent *entry;
	DIR *dir;
	int fd, n = 0;

	if ((dir = open_dir(dirfd, ".")) == NULL)
		return is_gone(errno) ? 0 : -1;
	while (n == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
			continue;
		fd = openat(dirfd, entry->d_name,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd == -1) {
			n = is_gone(errno) ? 0 : -1;
			continue;
		}
		n = fn(fd, entry->d_name, arg);
		close(fd);
	}
	if (n == 0 && errno != 0 && !is_gone(errno))
		n = -1;
	closedir(dir);
	return n;
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
btrfs_is_mounted(int dirfd)
{
	struct dirent *entry;
	DIR *dir;
	int found = 0;

	if ((dir = open_dir(dirfd, "devices")) == NULL)
		return 0;
	while (!found && (entry = readdir(dir)) != NULL)
		found = mounts_use(NULL, entry->d_name) != NULL;
	closedir(dir);
	return found;
}

static int
btrfs_has(int fd, const char *uuid, void *arg)
{
	char path[64];
	struct stat st;

	(void)uuid;
	snprintf(path, sizeof(path), "devices/%s", (const char *)arg);
	return fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       btrfs_is_mounted(fd);
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

static int
search_entry(int fd, const char *name, void *arg)
{
	struct search *search = arg;
	struct usbport port;
	char subsystem[32];

	/* Another device, if this one is a hub. */
	if (usbport_parse_sysfs(&port, name) == 0)
		return 0;
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
