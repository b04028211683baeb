/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "audit.h"
#include "log.h"
#include "loop.h"
#include "parent.h"

/*
 * The name that logrotate gives a log by default: where the chain goes on
 * when logs were rotated while nobody wrote them.
 */
#define ROTATED ".1"

static struct {
	int dir;
	char path[PATH_MAX];
	struct loop_fd watch;
	int wd; /* of the directory; -1: not watched */
	void (*deleted)(enum proc_id);
} logs = { .dir = -1, .watch.fd = -1, .wd = -1 };

static int
open_directory(void)
{
	struct stat st;
	int dir;

	dir = parent_open_beneath(AT_FDCWD, logs.path, O_RDONLY | O_DIRECTORY);
	if (dir == -1 || fstat(dir, &st) == -1) {
		log_warn("log directory %s", logs.path);
		if (dir != -1)
			close(dir);
		return -1;
	}
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		log_warnx("log directory %s must be owned by root and "
			  "writable by nobody else",
		    logs.path);
		close(dir);
		return -1;
	}
	return dir;
}

int
logs_init(const char *directory)
{
	if (mkdir(directory, 0750) == -1 && errno != EEXIST) {
		log_warn("log directory %s", directory);
		return -1;
	}
	strlcpy(logs.path, directory, sizeof(logs.path));
	logs.dir = open_directory();
	return logs.dir == -1 ? -1 : 0;
}

static int
open_log(int dir, enum proc_id proc)
{
	return parent_open_beneath(dir, proc_table[proc].log,
	    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW);
}

/* The end of a log, of size bytes at most; -1 if there is no such file. */
static ssize_t
read_tail(const char *name, char *buf, size_t size)
{
	struct stat st;
	ssize_t n = -1;
	off_t at;
	int fd;

	fd = parent_open_beneath(
	    logs.dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		at = st.st_size > (off_t)size ? st.st_size - (off_t)size : 0;
		/* Not past the end: somebody may write to it. */
		n = at == 0 || lseek(fd, at, SEEK_SET) == at
			? read(fd, buf, size)
			: -1;
	}
	close(fd);
	return n;
}

static void
find_end(enum proc_id proc, struct auditchain *chain)
{
	char name[NAME_MAX], *buf = malloc(AUDITCHAIN_TAIL);
	ssize_t n;

	if (buf == NULL)
		fatal("malloc");
	n = read_tail(proc_table[proc].log, buf, AUDITCHAIN_TAIL);
	if (n <= 0) {
		snprintf(
		    name, sizeof(name), "%s" ROTATED, proc_table[proc].log);
		n = read_tail(name, buf, AUDITCHAIN_TAIL);
		if (n > 0)
			auditchain_tail(chain, buf, (size_t)n);
		/* That is no file to append to. */
		chain->unterminated = 0;
	} else
		auditchain_tail(chain, buf, (size_t)n);
	free(buf);
}

static void
audit_log(enum proc_id proc, int error)
{
	struct json *j = audit_begin("open-log");

	json_str(j, "file", proc_table[proc].log);
	if (error != 0)
		json_str(j, "error", strerror(error));
	audit_end();
}

int
logs_open(enum proc_id proc, struct auditchain *chain)
{
	int fd, error = 0;

	memset(chain, 0, sizeof(*chain));
	find_end(proc, chain);
	if ((fd = open_log(logs.dir, proc)) == -1)
		error = errno;
	if (proc != PROC_PARENT)
		audit_log(proc, error);
	errno = error;
	return fd;
}

/* Lines that go to a file without a name are as good as lost. */

static void
log_deleted(const struct inotify_event *ev)
{
	enum proc_id proc;

	if (ev->wd != logs.wd ||
	    (ev->mask & (IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT)))
		return;
	for (proc = PROC_PARENT; proc <= PROC_LAST_CHILD; proc++)
		if (ev->len > 0 && strcmp(ev->name, proc_table[proc].log) == 0)
			logs.deleted(proc);
}

static void
logs_readable(uint32_t events, void *arg)
{
	alignas(struct inotify_event) char buf[4096];
	const struct inotify_event *ev;
	ssize_t n, at;

	(void)events;
	(void)arg;
	if ((n = read(logs.watch.fd, buf, sizeof(buf))) == -1)
		return;
	for (at = 0; at < n; at += (ssize_t)(sizeof(*ev) + ev->len)) {
		ev = (const void *)(buf + at);
		log_deleted(ev);
	}
}

static void
watch_directory(void)
{
	int wd = inotify_add_watch(
	    logs.watch.fd, logs.path, IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR);

	if (wd == -1)
		log_warn("cannot watch log directory %s", logs.path);
	/* No effect on one that was deleted. */
	if (logs.wd != -1 && logs.wd != wd)
		inotify_rm_watch(logs.watch.fd, logs.wd);
	logs.wd = wd;
}

void
logs_watch(void (*deleted)(enum proc_id))
{
	int fd;

	logs.deleted = deleted;
	if ((fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) == -1)
		fatal("inotify_init1");
	loop_add(&logs.watch, fd, EPOLLIN, logs_readable, NULL);
	watch_directory();
}

/* Landlock may know what was there before, and not this one. */
int
logs_again(void)
{
	int dir, log;

	if ((dir = open_directory()) == -1)
		return -1;
	if ((log = open_log(dir, PROC_PARENT)) == -1) {
		log_warn(
		    "log directory %s: no log can be made there", logs.path);
		close(dir);
		return -1;
	}
	close(log);
	close(logs.dir);
	logs.dir = dir;
	if (logs.watch.fd != -1)
		watch_directory();
	return 0;
}
