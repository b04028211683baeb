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
#include "qmppeer.h"

/*
 * bind(2) makes the file before listen(2) opens it, and QEMU serves one
 * client at a time: some tries follow an event quickly, then only the next
 * event helps.  Where no event can come, the tries go on, slowly.
 */
#define RETRY_FIRST 10 /* ms */
#define RETRY_QUICK_MAX 8 /* 10 ms to 1.3 s */
#define RETRY_FAULT 1000 /* ms, after a machine that did not behave */
#define RETRY_SLOWEST 60000
#define RETRY_BUSY_SLOWEST 1000 /* others are before us in the queue */

#define WATCH_EVENTS                                                           \
	(IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
	    IN_ATTRIB | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)

enum qmpsock_state {
	SOCK_SEARCHED, /* tries follow each other or events */
	SOCK_HANDED, /* the QMP client has a connection */
	SOCK_RELEASED, /* it let go of it; the machine is watched */
	SOCK_WANTED, /* it wants another one to the same machine */
	SOCK_GONE /* that machine ended; it is to say so, too */
};

struct qmpsock {
	TAILQ_ENTRY(qmpsock) entry;
	uint32_t vm;
	char path[PATH_MAX];
	char dir[PATH_MAX]; /* deepest one that is there, watched */
	int wd;
	int shared;
	enum qmpsock_state state;
	struct qmppeer peer; /* from SOCK_HANDED on, until it is dead */
	uint32_t conn; /* how many connections there were */
	uint64_t connected_at;
	int error; /* last one told, or 0 */
	int ended; /* as told with it */
	unsigned int tries;
	unsigned int faults;
	struct loop_timer retry;
};

static struct {
	int inotify;
	struct loop_fd watch;
	TAILQ_HEAD(, qmpsock) socks;
	const struct qmpsock_ops *ops;
	int suspended; /* nobody is there to take a connection */
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

static pid_t
peer_pid(const struct qmpsock *q, int fd)
{
	struct ucred peer = { .pid = 0 };
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
		log_warn("peer of %s", q->path);
	return peer.pid;
}

/*
 * What is at the path now becomes the peer; the process of the machine is in
 * *pid.
 */
static int
connect_path(struct qmpsock *q, pid_t *pid)
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
	if (fd != -1) {
		*pid = peer_pid(q, fd);
		qmppeer_hold(&q->peer, file, *pid);
	} else
		close(file);
	errno = saved;
	return fd;
}

/* As long as a machine lives it is met at its own socket, named or not. */
static int
connect_peer(struct qmpsock *q, pid_t *pid)
{
	int fd = connect_held(q->peer.file);

	if (fd != -1)
		*pid = peer_pid(q, fd);
	return fd;
}

static void
qmpsock_tell(struct qmpsock *q, int error)
{
	int ended = !qmppeer_held(&q->peer);

	if (error == q->error && ended == q->ended)
		return;
	q->error = error;
	q->ended = ended;
	qmpsocks.ops->failed(q->vm, error, ended, q->conn);
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
backoff(uint64_t first, unsigned int n, uint64_t slowest)
{
	uint64_t ms = first;

	while (n-- > 0 && ms < slowest)
		ms *= 2;
	return ms < slowest ? ms : slowest;
}

/* How long after q->tries that failed like that, of which this is one more */
static uint64_t
retry_delay(struct qmpsock *q, int error)
{
	return backoff(RETRY_FIRST, q->tries++,
	    q->shared && error == EAGAIN ? RETRY_BUSY_SLOWEST : RETRY_SLOWEST);
}

static void
qmpsock_later(struct qmpsock *q, int error)
{
	if (error == ENOENT || error == ELOOP || error == ENOTSOCK ||
	    error == ENOTDIR)
		return; /* inotify tells */
	if (error == ECONNREFUSED && q->tries >= RETRY_QUICK_MAX)
		return; /* a stale file; its replacement is an event */
	loop_timer_set(&q->retry, retry_delay(q, error), qmpsock_try, q);
}

static int
connect_or_watch(struct qmpsock *q, int *error, pid_t *pid)
{
	int fd;

	for (;;) {
		fd = connect_path(q, pid);
		*error = errno;
		if (fd != -1 || *error != ENOENT || !qmpsock_watch(q))
			return fd;
	}
}

static void
hand(struct qmpsock *q, int fd, pid_t pid)
{
	q->state = SOCK_HANDED;
	q->connected_at = loop_now();
	q->tries = 0;
	q->error = 0;
	q->conn++;
	qmppeer_unwatch(&q->peer);
	qmpsocks.ops->connected(q->vm, q->conn, fd, pid);
}

/*
 * A listening socket is closed a moment before its process is dead, and only
 * then it has closed all else.  One whose maker was another process is judged
 * by the socket alone.
 */
static int
peer_is_dead(struct qmpsock *q, int error)
{
	if (qmppeer_ended(&q->peer))
		return 1;
	return error == ECONNREFUSED &&
	       (q->peer.pidfd == -1 || q->tries >= RETRY_QUICK_MAX);
}

/* The machine that was connected before.  1 if it lives. */
static int
try_peer(struct qmpsock *q)
{
	int fd, error = 0;
	pid_t pid = 0;

	if (!qmppeer_ended(&q->peer)) {
		if ((fd = connect_peer(q, &pid)) != -1) {
			hand(q, fd, pid);
			return 1;
		}
		error = errno;
	}
	if (peer_is_dead(q, error)) {
		qmppeer_drop(&q->peer);
		q->tries = 0;
		return 0;
	}
	qmpsock_tell(q, error);
	qmppeer_watch(&q->peer, qmpsock_try, q);
	loop_timer_set(&q->retry, retry_delay(q, error), qmpsock_try, q);
	return 1;
}

static void
qmpsock_try(void *arg)
{
	struct qmpsock *q = arg;
	int error, fd, lost = qmppeer_held(&q->peer);
	pid_t pid = 0;

	loop_timer_del(&q->retry);
	if (qmpsocks.suspended || (lost && try_peer(q)))
		return;
	if ((fd = connect_or_watch(q, &error, &pid)) == -1) {
		qmpsock_tell(q, error);
		qmpsock_later(q, error);
		return;
	}
	if (lost)
		qmpsocks.ops->failed(q->vm, ECONNREFUSED, 1, q->conn);
	hand(q, fd, pid);
}

/* Machines that are shared, while nobody is connected. */

static void
qmpsock_gone(void *arg)
{
	struct qmpsock *q = arg;

	loop_timer_del(&q->retry);
	qmppeer_unwatch(&q->peer);
	q->state = SOCK_GONE;
	qmpsocks.ops->gone(q->vm);
}

/* Where no process can be watched: is the socket still the one we know? */
static void
qmpsock_check(struct qmpsock *q)
{
	int file;

	if (q->peer.pidfd != -1)
		return;
	file = parent_open_beneath(AT_FDCWD, q->path, O_PATH);
	if (file == -1 || !qmppeer_is(&q->peer, file))
		qmpsock_gone(q);
	if (file != -1)
		close(file);
}

static void
qmpsock_again(void *arg)
{
	struct qmpsock *q = arg;
	pid_t pid = 0;
	int fd;

	loop_timer_del(&q->retry);
	if ((fd = connect_peer(q, &pid)) != -1)
		hand(q, fd, pid);
	else if (errno == EAGAIN || errno == EMFILE || errno == ENFILE ||
		 errno == ENOMEM || errno == EINTR)
		loop_timer_set(
		    &q->retry, retry_delay(q, EAGAIN), qmpsock_again, q);
	else
		qmpsock_gone(q);
}

/* Events. */

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
		if (q->state == SOCK_SEARCHED) {
			q->tries = 0;
			qmpsock_try(q);
		} else if (q->state == SOCK_RELEASED || q->state == SOCK_WANTED)
			qmpsock_check(q);
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
qmpsock_init(const struct qmpsock_ops *ops)
{
	TAILQ_INIT(&qmpsocks.socks);
	qmpsocks.ops = ops;
	qmpsocks.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (qmpsocks.inotify == -1)
		fatal("inotify_init1");
	loop_add(
	    &qmpsocks.watch, qmpsocks.inotify, EPOLLIN, inotify_readable, NULL);
}

void
qmpsock_add(uint32_t vm, const char *path, int shared)
{
	struct qmpsock *q = calloc(1, sizeof(*q));

	if (q == NULL)
		fatal("calloc");
	q->vm = vm;
	q->wd = -1;
	q->shared = shared;
	qmppeer_init(&q->peer);
	strlcpy(q->path, path, sizeof(q->path));
	TAILQ_INSERT_TAIL(&qmpsocks.socks, q, entry);
	qmpsock_watch(q);
	qmpsock_try(q);
}

static struct qmpsock *
qmpsock_find(uint32_t vm)
{
	struct qmpsock *q;

	TAILQ_FOREACH(q, &qmpsocks.socks, entry)
		if (q->vm == vm)
			return q;
	return NULL;
}

int
qmpsock_has(uint32_t vm)
{
	return qmpsock_find(vm) != NULL;
}

int
qmpsock_release(uint32_t vm)
{
	struct qmpsock *q = qmpsock_find(vm);

	if (q == NULL || !q->shared || q->state != SOCK_HANDED)
		return -1;
	q->state = SOCK_RELEASED;
	qmppeer_watch(&q->peer, qmpsock_gone, q);
	qmpsock_check(q); /* of events before nothing was concluded */
	return 0;
}

int
qmpsock_want(uint32_t vm)
{
	struct qmpsock *q = qmpsock_find(vm);

	if (q == NULL || (q->state != SOCK_RELEASED && q->state != SOCK_GONE))
		return -1;
	if (q->state == SOCK_GONE)
		return 0; /* which it does not know yet */
	q->state = SOCK_WANTED;
	qmpsock_again(q);
	return 0;
}

int
qmpsock_lost(uint32_t vm, enum qmp_end end)
{
	struct qmpsock *q = qmpsock_find(vm);
	uint64_t first;

	if (q == NULL || (q->state != SOCK_HANDED && q->state != SOCK_GONE))
		return -1;
	q->state = SOCK_SEARCHED;
	/* One that lived this long was a machine and no fault. */
	if (loop_now() - q->connected_at >=
	    (end == QMP_END_CLOSED ? RETRY_FAULT : RETRY_SLOWEST))
		q->faults = 0;
	first = end == QMP_END_CLOSED ? RETRY_FIRST : RETRY_FAULT;
	loop_timer_set(&q->retry, backoff(first, q->faults++, RETRY_SLOWEST),
	    qmpsock_try, q);
	return 0;
}

void
qmpsock_remove(uint32_t vm)
{
	struct qmpsock *q = qmpsock_find(vm);

	if (q == NULL)
		return;
	loop_timer_del(&q->retry);
	unwatch(q, -1);
	qmppeer_drop(&q->peer);
	TAILQ_REMOVE(&qmpsocks.socks, q, entry);
	free(q);
}

void
qmpsock_suspend(void)
{
	struct qmpsock *q;

	qmpsocks.suspended = 1;
	TAILQ_FOREACH(q, &qmpsocks.socks, entry) {
		loop_timer_del(&q->retry);
		qmppeer_unwatch(&q->peer);
		q->state = SOCK_SEARCHED;
		q->error = 0; /* what it comes to is told again */
		q->tries = q->faults = 0;
	}
}

void
qmpsock_resume(void)
{
	struct qmpsock *q;

	qmpsocks.suspended = 0;
	TAILQ_FOREACH(q, &qmpsocks.socks, entry)
		qmpsock_try(q);
}

void
qmpsock_each_failed(void (*cb)(uint32_t, int, int, uint32_t))
{
	const struct qmpsock *q;

	TAILQ_FOREACH(q, &qmpsocks.socks, entry)
		if (q->error != 0)
			cb(q->vm, q->error, q->ended, q->conn);
}
