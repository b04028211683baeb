/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "evename.h"
#include "evewatch.h"
#include "log.h"
#include "loop.h"
#include "msg.h"
#include "parent.h"

#define SUFFIX ".json"
#define LEVELS_MAX 64
#define ROUNDS_MAX 100 /* somebody plays with the directories */

/* Of each directory on the way, of the deepest that is there, of the last. */
#define WATCH_SELF (IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW)
#define WATCH_NEXT (IN_CREATE | IN_MOVED_TO)
#define WATCH_FILES (IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_DELETE)

/* One of EVE's directories. */
struct place {
	char dir[PATH_MAX]; /* "": none */
	char file[NAME_MAX + 1]; /* the only one that matters, or "": all */
	int wd; /* of dir, -1 while it is not there */
};

enum {
	ADAPTERS,
	DOMAINS,
	PLACES
};

static struct {
	int inotify;
	struct loop_fd watch;
	const struct evewatch_ops *ops;
	struct place places[PLACES];
	/* Everything that is watched. */
	struct level {
		int wd;
		const struct place *place; /* one whose way it is on */
		unsigned int depth; /* components from / */
	} levels[LEVELS_MAX];
	size_t nlevels;
} eve = { .inotify = -1, .places = { { .wd = -1 }, { .wd = -1 } } };

/* Files */

/*
 * By its whole path: the kernel tells of the end of a directory only when
 * nobody holds it.
 */
static int
open_file(const struct place *p, const char *name)
{
	char path[PATH_MAX + NAME_MAX + 2];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", p->dir, name);
	fd = parent_open_beneath(
	    AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd == -1) {
		if (errno != ENOENT)
			log_warn("eve: %s/%s", p->dir, name);
		return -1;
	}
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	log_warnx("eve: %s/%s: not a regular file", p->dir, name);
	close(fd);
	return -1;
}

/* "KEY.json" to KEY, or -1 for a file that is not meant for us. */
static int
key_of(const char *name, char key[MSG_KEY_MAX])
{
	size_t len = strlen(name), n = sizeof(SUFFIX) - 1;

	if (len <= n || strcmp(name + len - n, SUFFIX) != 0)
		return -1;
	if (len - n < MSG_KEY_MAX) {
		memcpy(key, name, len - n);
		key[len - n] = '\0';
		if (evename_ok(key))
			return 0;
	}
	log_warnx("eve: file \"%s\" has a name that EVE does not give", name);
	return -1;
}

static void
file_is(const struct place *p, const char *name)
{
	char key[MSG_KEY_MAX];
	int fd;

	if (p->file[0] != '\0') {
		if (strcmp(name, p->file) == 0 &&
		    (fd = open_file(p, name)) != -1)
			eve.ops->adapters(fd);
	} else if (key_of(name, key) == 0 && (fd = open_file(p, name)) != -1)
		eve.ops->domain(key, fd);
}

static void
file_is_gone(const struct place *p, const char *name)
{
	char key[MSG_KEY_MAX];

	if (p->file[0] != '\0') {
		if (strcmp(name, p->file) == 0)
			eve.ops->adapters_gone();
	} else if (key_of(name, key) == 0)
		eve.ops->domain_gone(key);
}

/* Everything */

static void
scan_directory(const struct place *p)
{
	struct dirent *entry;
	DIR *dir;
	int fd;

	fd = parent_open_beneath(AT_FDCWD, p->dir, O_RDONLY | O_DIRECTORY);
	if (fd == -1 && errno == ENOENT)
		return;
	if (fd == -1 || (dir = fdopendir(fd)) == NULL) {
		log_warn("eve: %s", p->dir);
		if (fd != -1)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strstr(entry->d_name, SUFFIX) != NULL)
			file_is(p, entry->d_name);
	closedir(dir);
}

static void
scan(void)
{
	const struct place *p;

	eve.ops->begin();
	for (p = eve.places; p < eve.places + PLACES; p++) {
		if (p->dir[0] == '\0')
			continue;
		if (p->file[0] != '\0')
			file_is(p, p->file);
		else
			scan_directory(p);
	}
	eve.ops->end();
}

/* Directories */

/* The first n components of the path, of which it may have fewer. */
static void
prefix(const char *path, unsigned int n, char buf[PATH_MAX])
{
	const char *s = path;

	while (n-- > 0) {
		s += strspn(s, "/");
		s += strcspn(s, "/");
	}
	snprintf(buf, PATH_MAX, "%.*s", (int)(s - path), path);
	if (buf[0] == '\0')
		strlcpy(buf, "/", PATH_MAX);
}

static unsigned int
components(const char *path)
{
	unsigned int n = 0;

	for (;;) {
		path += strspn(path, "/");
		if (*path == '\0')
			return n;
		path += strcspn(path, "/");
		n++;
	}
}

static void
note_level(int wd, const struct place *p, unsigned int depth)
{
	size_t i;

	for (i = 0; i < eve.nlevels; i++)
		if (eve.levels[i].wd == wd)
			return;
	if (eve.nlevels == LEVELS_MAX)
		return;
	eve.levels[eve.nlevels++] =
	    (struct level){ .wd = wd, .place = p, .depth = depth };
}

static int
watch(const struct place *p, unsigned int depth, uint32_t mask)
{
	char path[PATH_MAX];
	int wd;

	prefix(p->dir, depth, path);
	wd = inotify_add_watch(eve.inotify, path, mask);
	if (wd != -1)
		note_level(wd, p, depth);
	return wd;
}

/* The directories of the way that are there; how many. */
static unsigned int
watch_way(const struct place *p, uint32_t add)
{
	unsigned int n, all = components(p->dir);

	if (p->dir[0] == '\0')
		return 0;
	for (n = 0; n <= all; n++)
		if (watch(p, n, WATCH_SELF | add) == -1)
			break;
	return n;
}

static void
watch_end(struct place *p, unsigned int there)
{
	p->wd = -1;
	if (there == 0)
		return;
	if (there - 1 == components(p->dir))
		p->wd =
		    watch(p, there - 1, WATCH_SELF | WATCH_FILES | IN_MASK_ADD);
	else if (watch(p, there - 1, WATCH_SELF | WATCH_NEXT | IN_MASK_ADD) ==
		 -1)
		log_warn("eve: cannot watch for %s", p->dir);
}

static int
is_watched(const struct level *levels, size_t n, int wd)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (levels[i].wd == wd)
			return 1;
	return 0;
}

/*
 * First the whole way of both, which takes back what was watched before,
 * then the ends.  What came in between is seen by another round.
 */
static void
watch_all(void)
{
	static struct level before[LEVELS_MAX];
	unsigned int there[PLACES], again, rounds = 0;
	size_t i, n = eve.nlevels;

	memcpy(before, eve.levels, sizeof(before));
	do {
		eve.nlevels = 0;
		for (i = 0; i < PLACES; i++)
			there[i] = watch_way(&eve.places[i], 0);
		for (i = 0; i < PLACES; i++)
			watch_end(&eve.places[i], there[i]);
		again = 0;
		for (i = 0; i < PLACES; i++)
			again |=
			    eve.places[i].wd == -1 && there[i] > 0 &&
			    watch_way(&eve.places[i], IN_MASK_ADD) != there[i];
	} while (again && ++rounds < ROUNDS_MAX);
	for (i = 0; i < n; i++)
		if (!is_watched(eve.levels, eve.nlevels, before[i].wd))
			inotify_rm_watch(eve.inotify, before[i].wd);
}

/* Events */

/* Is it the next directory on the way to one of the places? */
static int
is_on_the_way(const struct level *level, const char *name)
{
	char way[PATH_MAX], path[PATH_MAX];
	size_t i, len;
	int n;

	prefix(level->place->dir, level->depth, way);
	n = snprintf(path, sizeof(path), "%s%s%s", way,
	    strcmp(way, "/") == 0 ? "" : "/", name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return 0;
	len = (size_t)n;
	for (i = 0; i < PLACES; i++)
		if (strncmp(eve.places[i].dir, path, len) == 0 &&
		    strchr("/", eve.places[i].dir[len]) != NULL)
			return 1;
	return 0;
}

static void
file_event(const struct inotify_event *ev)
{
	const struct place *p;

	for (p = eve.places; p < eve.places + PLACES; p++) {
		if (p->wd != ev->wd)
			continue;
		if (ev->mask & (IN_MOVED_TO | IN_CLOSE_WRITE))
			file_is(p, ev->name);
		else if (ev->mask & (IN_DELETE | IN_MOVED_FROM))
			file_is_gone(p, ev->name);
	}
}

/* 1: the directories are to be looked at again. */
static int
event(const struct inotify_event *ev)
{
	size_t i;

	if (ev->mask & IN_Q_OVERFLOW)
		return 1;
	for (i = 0; i < eve.nlevels; i++)
		if (eve.levels[i].wd == ev->wd)
			break;
	if (i == eve.nlevels || (ev->mask & IN_IGNORED))
		return 0;
	if (ev->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT))
		return 1;
	if (ev->len == 0)
		return 0;
	if ((ev->mask & IN_ISDIR) && (ev->mask & WATCH_NEXT) &&
	    is_on_the_way(&eve.levels[i], ev->name))
		return 1;
	file_event(ev);
	return 0;
}

static void
inotify_readable(uint32_t events, void *arg)
{
	alignas(struct inotify_event) char buf[4096];
	const struct inotify_event *ev;
	ssize_t n, at;
	int again = 0;

	(void)events;
	(void)arg;
	if ((n = read(eve.inotify, buf, sizeof(buf))) == -1) {
		if (errno != EAGAIN && errno != EINTR)
			fatal("inotify");
		return;
	}
	for (at = 0; at < n; at += (ssize_t)(sizeof(*ev) + ev->len)) {
		ev = (const void *)(buf + at);
		again |= event(ev);
	}
	if (!again)
		return;
	watch_all();
	scan();
}

void
evewatch_init(const struct evewatch_ops *ops)
{
	eve.ops = ops;
}

/* Only a host with EVE has it. */
static void
open_inotify(void)
{
	if (eve.inotify != -1)
		return;
	eve.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (eve.inotify == -1)
		fatal("inotify_init1");
	loop_add(&eve.watch, eve.inotify, EPOLLIN, inotify_readable, NULL);
}

static void
set_place(struct place *p, const char *dir)
{
	size_t len = 0;

	for (; dir != NULL && *dir != '\0' && len + 1 < sizeof(p->dir); dir++)
		if (*dir != '/' || len == 0 || p->dir[len - 1] != '/')
			p->dir[len++] = *dir;
	if (len > 1 && p->dir[len - 1] == '/')
		len--;
	p->dir[len] = '\0';
}

void
evewatch_start(const char *file, const char *directory)
{
	struct place *p = &eve.places[ADAPTERS];
	char *slash;

	set_place(&eve.places[DOMAINS], directory);
	set_place(p, file);
	if (file != NULL) {
		slash = strrchr(p->dir, '/');
		strlcpy(p->file, slash + 1, sizeof(p->file));
		slash[slash == p->dir ? 1 : 0] = '\0';
	}
	if (file == NULL && directory == NULL && eve.inotify == -1)
		return;
	open_inotify();
	watch_all();
	scan();
}
