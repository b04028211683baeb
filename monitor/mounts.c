/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "loop.h"
#include "mounts.h"

#define READ_SIZE 65536
#define TEXT_MAX (64U << 20)
#define BLANKS " \t"

static struct {
	struct loop_fd mountinfo;
	struct loop_fd swaps;
	struct mounts now;
	int stale;
	void (*changed)(void);
} mounts = { .mountinfo.fd = -1, .swaps.fd = -1 };

/*
 * Blanks, tabs, newlines and backslashes in names stand there as a backslash
 * and three octal digits (seq_file.c, mangle_path).
 */
static void
unescape(char *s)
{
	char *to = s;

	for (; *s != '\0'; to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				     (s[3] - '0'));
			s += 4;
		} else
			*to = *s++;
	}
	*to = '\0';
}

static int
add(struct mounts *m, const struct mount *mount)
{
	struct mount *list;
	size_t size;

	if (m->len == m->size) {
		size = m->size == 0 ? 64 : m->size * 2;
		list = reallocarray(m->list, size, sizeof(*list));
		if (list == NULL)
			return -1;
		m->list = list;
		m->size = size;
	}
	m->list[m->len++] = *mount;
	return 0;
}

/* "/dev/sda1" to "sda1"; "" for what is no device or too long for one. */
static void
set_name(struct mount *mount, char *path)
{
	const char *name;

	unescape(path);
	if (strncmp(path, "/dev/", 5) != 0)
		return;
	name = path + 5;
	if (strlen(name) < sizeof(mount->name))
		strlcpy(mount->name, name, sizeof(mount->name));
}

static int
is_number(const char *s, unsigned int *major, unsigned int *minor)
{
	int n = 0;

	return sscanf(s, "%u:%u%n", major, minor, &n) == 2 && s[n] == '\0';
}

/*
 * "36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda1 rw" with any
 * number of fields before the "-" (proc(5)).
 */
static int
parse_mount(struct mounts *m, char *line)
{
	struct mount mount = { 0 };
	char *field, *fields = line;
	int i, found = 0;

	for (i = 0; (field = strsep(&fields, BLANKS)) != NULL; i++) {
		if (i == 2)
			found = is_number(field, &mount.major, &mount.minor);
		if (strcmp(field, "-") == 0)
			break;
	}
	if (!found || field == NULL || strsep(&fields, BLANKS) == NULL)
		return 0;
	if ((field = strsep(&fields, BLANKS)) != NULL)
		set_name(&mount, field);
	/* Not one on a disk. */
	if (mount.major == 0 && mount.name[0] == '\0')
		return 0;
	return add(m, &mount);
}

int
mounts_parse_mountinfo(struct mounts *m, char *text)
{
	char *line;

	while ((line = strsep(&text, "\n")) != NULL)
		if (parse_mount(m, line) == -1)
			return -1;
	return 0;
}

/* "/dev/sda2   partition  8388604  0  -2" below a line of headings. */
int
mounts_parse_swaps(struct mounts *m, char *text)
{
	struct mount mount;
	char *line, *path;

	while ((line = strsep(&text, "\n")) != NULL) {
		if ((path = strsep(&line, BLANKS)) == NULL)
			continue;
		memset(&mount, 0, sizeof(mount));
		mount.swap = 1;
		set_name(&mount, path);
		if (mount.name[0] != '\0' && add(m, &mount) == -1)
			return -1;
	}
	return 0;
}

const char *
mounts_find(const struct mounts *m, const char *number, const char *name)
{
	const struct mount *mount;
	unsigned int major = 0, minor = 0;
	size_t i;

	if (m->unknown ||
	    (number != NULL && !is_number(number, &major, &minor)))
		return "unknown";
	for (i = 0; i < m->len; i++) {
		mount = &m->list[i];
		/* btrfs has numbers of its own, so names count, too. */
		if ((mount->major != 0 && mount->major == major &&
			mount->minor == minor) ||
		    strcmp(mount->name, name) == 0)
			return mount->swap ? "swap" : "mounted";
	}
	return NULL;
}

void
mounts_clear(struct mounts *m)
{
	free(m->list);
	memset(m, 0, sizeof(*m));
}

static char *
read_text(int fd)
{
	char *bigger, *text = NULL;
	size_t len = 0, size = 0;
	ssize_t n;

	if (lseek(fd, 0, SEEK_SET) == -1)
		return NULL;
	for (;;) {
		if (size - len < READ_SIZE) {
			bigger = NULL;
			if (size < TEXT_MAX)
				bigger = realloc(text, size + 2 * READ_SIZE);
			if (bigger == NULL)
				break;
			text = bigger;
			size += 2 * READ_SIZE;
		}
		n = read(fd, text + len, size - len - 1);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			break;
		len += (size_t)n;
		text[len] = '\0';
		if (n == 0)
			return text;
	}
	free(text);
	return NULL;
}

static int
load(int fd, int (*parse)(struct mounts *, char *))
{
	char *text;
	int error;

	if ((text = read_text(fd)) == NULL)
		return -1;
	error = parse(&mounts.now, text);
	free(text);
	return error;
}

const char *
mounts_use(const char *number, const char *name)
{
	if (mounts.stale) {
		mounts_clear(&mounts.now);
		mounts.stale = 0;
		if (load(mounts.mountinfo.fd, mounts_parse_mountinfo) == -1 ||
		    load(mounts.swaps.fd, mounts_parse_swaps) == -1) {
			log_warnx("mounts or swaps of the host cannot be "
				  "read: USB disks count as in use");
			mounts.now.unknown = 1;
		}
	}
	return mounts_find(&mounts.now, number, name);
}

static void
mounts_changed(uint32_t events, void *arg)
{
	(void)events;
	(void)arg;
	mounts.stale = 1;
	mounts.changed();
}

static void
watch(struct loop_fd *w, int fd)
{
	int old = w->fd;

	loop_del(w);
	if (old != -1)
		close(old);
	loop_add(w, fd, EPOLLPRI, mounts_changed, NULL);
	mounts.stale = 1;
}

void
mounts_init(void (*changed)(void))
{
	mounts.changed = changed;
}

void
mounts_watch_mountinfo(int fd)
{
	watch(&mounts.mountinfo, fd);
}

void
mounts_watch_swaps(int fd)
{
	watch(&mounts.swaps, fd);
}

int
mounts_ready(void)
{
	return mounts.mountinfo.fd != -1 && mounts.swaps.fd != -1;
}
