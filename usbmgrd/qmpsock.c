/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "loop.h"
#include "parent.h"

/*
 * bind(2) makes the file before listen(2) opens it, and QEMU serves one
 * client at a time: some tries follow an event quickly, then only the next
 * event helps.  Where no event can come, the tries go on, slowly.
 */
#define RETRY_FIRST 10 /* ms */
#define RETRY_QUICK_MAX 8 /* 10 ms to 1.3 s */
#define RETRY_FAULT 1000 /* ms, after a machine that did not behave */
#define RETRY_SLOWEST 60000

#define WATCH_EVENTS                                                           \
	(IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
	    IN_ATTRIB | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)

struct qmpsock {
	TAILQ_ENTRY(qmpsock) entry;
	uint32_t vm;
	char path[PATH_MAX];
	char dir[PATH_MAX]; /* deepest one that is there, watched */
	int wd;
	int connected;
	uint64_t connected_at;
	int error; /* last one told, or 0 */
	unsigned int tries;
	unsigned int faults;
	struct loop_timer retry;
};

static struct {
	int inotify;
	struct loop_fd watch;
	TAILQ_HEAD(, qmpsock) socks;
	void (*cb)(uint32_t, int, int, int32_t);
} qmpsocks;

static void qmpsock_try(void *);

/* The socket file itself is held, so that it is what was looked at. */
static int
connect_held(int file)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, saved;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d", file);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static int
qmpsock_connect(const struct qmpsock *q)
{
	struct stat st;
	int fd = -1, file, saved;

	file = parent_open_beneath(AT_FDCWD, q->path, O_PATH);
	if (file == -1)
		return -1;
	if (fstat(file, &st) == -1 || !S_ISSOCK(st.st_mode))
		errno = ENOTSOCK;
	else
		fd = connect_held(file);
	saved = errno;
	close(file);
	errno = saved;
	return fd;
}

static void
qmpsock_tell(struct qmpsock *q, int error, int fd)
{
	struct ucred peer = { .pid = 0 };
	socklen_t len = sizeof(peer);

	if (error != 0 && error == q->error)
		return;
	q->error = error;
	if (fd != -1 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
		log_warn("peer of %s", q->path);
	qmpsocks.cb(q->vm, error, fd, peer.pid);
}

/* What nobody waits for any more must wake nobody. */
static void
unwatch(const struct qmpsock *q, int except)
{
	const struct qmpsock *other;

	if (q->wd == -1 || q->wd == except)
		return;
	TAILQ_FOREACH(other, &qmpsocks.socks, entry)
		if (other != q && other->wd == q->wd)
			return;
	inotify_rm_watch(qmpsocks.inotify, q->wd);
}

/*
 * Watch the deepest directory of the path that exists.  What appears in it
 * between the look and the watch is found by the try that follows.
 */
static int
qmpsock_watch(struct qmpsock *q)
{
	char dir[PATH_MAX];
	char *slash;
	int wd;

	strlcpy(dir, q->path, sizeof(dir));
	for (;;) {
		slash = strrchr(dir, '/');
		slash[slash == dir ? 1 : 0] = '\0';
		wd = inotify_add_watch(qmpsocks.inotify, dir, WATCH_EVENTS);
		if (wd != -1 || strcmp(dir, "/") == 0)
			break;
	}
	if (wd == -1)
		log_warn("cannot watch for %s", q->path);
	if (wd == q->wd && strcmp(dir, q->dir) == 0)
		return 0;
	unwatch(q, wd);
	q->wd = wd;
	strlcpy(q->dir, dir, sizeof(q->dir));
	return 1;
}

static uint64_t
backoff(uint64_t first, unsigned int n)
{
	uint64_t ms = first;

	while (n-- > 0 && ms < RETRY_SLOWEST)
		ms *= 2;
	return ms < RETRY_SLOWEST ? ms : RETRY_SLOWEST;
}

static void
qmpsock_later(struct qmpsock *q, int error)
{
	if (error == ENOENT || error == ELOOP || error == ENOTSOCK ||
	    error == ENOTDIR)
		return; /* inotify tells */
	if (error == ECONNREFUSED && q->tries >= RETRY_QUICK_MAX)
		return; /* a stale file; its replacement is an event */
	loop_timer_set(
	    &q->retry, backoff(RETRY_FIRST, q->tries++), qmpsock_try, q);
}

static int
connect_or_watch(struct qmpsock *q, int *error)
{
	int fd;

	for (;;) {
		fd = qmpsock_connect(q);
		*error = errno;
		if (fd != -1 || *error != ENOENT || !qmpsock_watch(q))
			return fd;
	}
}

static void
qmpsock_try(void *arg)
{
	struct qmpsock *q = arg;
	int error, fd;

	if (q->connected)
		return;
	loop_timer_del(&q->retry);
	if ((fd = connect_or_watch(q, &error)) == -1) {
		qmpsock_tell(q, error, -1);
		qmpsock_later(q, error);
		return;
	}
	q->connected = 1;
	q->connected_at = loop_now();
	q->tries = 0;
	qmpsock_tell(q, 0, fd);
}

/* Is the name the next component of the path below the watched directory? */
static int
concerns(const struct qmpsock *q, const struct inotify_event *ev)
{
	size_t len = strlen(q->dir), n;
	const char *rest = q->path + len;

	if (ev->len == 0)
		return 1; /* the directory itself */
	while (*rest == '/')
		rest++;
	n = strcspn(rest, "/");
	return strlen(ev->name) == n && strncmp(ev->name, rest, n) == 0;
}

static void
inotify_event(const struct inotify_event *ev)
{
	struct qmpsock *q;

	TAILQ_FOREACH(q, &qmpsocks.socks, entry) {
		if (!(ev->mask & IN_Q_OVERFLOW) &&
		    (q->wd != ev->wd || !concerns(q, ev)))
			continue;
		if (ev->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF))
			q->wd = -1;
		qmpsock_watch(q);
		q->tries = 0;
		if (!q->connected)
			qmpsock_try(q);
	}
}

static void
inotify_readable(uint32_t events, void *arg)
{
	alignas(struct inotify_event) char buf[4096];
	const struct inotify_event *ev;
	ssize_t n, at;

	(void)events;
	(void)arg;
	if ((n = read(qmpsocks.inotify, buf, sizeof(buf))) == -1) {
		if (errno != EAGAIN && errno != EINTR)
			fatal("inotify");
		return;
	}
	for (at = 0; at < n; at += (ssize_t)(sizeof(*ev) + ev->len)) {
		ev = (const void *)(buf + at);
		inotify_event(ev);
	}
}

void
qmpsock_init(void (*cb)(uint32_t, int, int, int32_t))
{
	TAILQ_INIT(&qmpsocks.socks);
	qmpsocks.cb = cb;
	qmpsocks.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (qmpsocks.inotify == -1)
		fatal("inotify_init1");
	loop_add(
	    &qmpsocks.watch, qmpsocks.inotify, EPOLLIN, inotify_readable, NULL);
}

void
qmpsock_add(uint32_t vm, const char *path)
{
	struct qmpsock *q = calloc(1, sizeof(*q));

	if (q == NULL)
		fatal("calloc");
	q->vm = vm;
	q->wd = -1;
	strlcpy(q->path, path, sizeof(q->path));
	TAILQ_INSERT_TAIL(&qmpsocks.socks, q, entry);
	qmpsock_watch(q);
	qmpsock_try(q);
}

int
qmpsock_lost(uint32_t vm, enum qmp_end end)
{
	struct qmpsock *q;
	uint64_t first;

	TAILQ_FOREACH(q, &qmpsocks.socks, entry)
		if (q->vm == vm)
			break;
	if (q == NULL || !q->connected)
		return -1;
	q->connected = 0;
	/* One that lived this long was a machine and no fault. */
	if (loop_now() - q->connected_at >=
	    (end == QMP_END_CLOSED ? RETRY_FAULT : RETRY_SLOWEST))
		q->faults = 0;
	first = end == QMP_END_CLOSED ? RETRY_FIRST : RETRY_FAULT;
	loop_timer_set(&q->retry, backoff(first, q->faults++), qmpsock_try, q);
	return 0;
}
