/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <poll.h>
#include <unistd.h>
#include "qmppeer.h"

void
qmppeer_init(struct qmppeer *p)
{
	p->file = p->pidfd = p->watch.fd = -1;
}

void
qmppeer_hold(struct qmppeer *p, int file, pid_t pid)
{
	qmppeer_drop(p);
	p->file = file;
	if (pid > 0)
		p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
}

int
qmppeer_held(const struct qmppeer *p)
{
	return p->file != -1;
}

int
qmppeer_ended(const struct qmppeer *p)
{
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };

	return p->pidfd != -1 && poll(&pfd, 1, 0) == 1;
}

int
qmppeer_is(const struct qmppeer *p, int file)
{
	struct stat held, st;

	return p->file != -1 && fstat(p->file, &held) == 0 &&
	       fstat(file, &st) == 0 && held.st_dev == st.st_dev &&
	       held.st_ino == st.st_ino;
}

static void
process_ended(uint32_t events, void *arg)
{
	struct qmppeer *p = arg;

	(void)events;
	qmppeer_unwatch(p);
	p->ended(p->arg);
}

void
qmppeer_watch(struct qmppeer *p, void (*ended)(void *), void *arg)
{
	p->ended = ended;
	p->arg = arg;
	if (p->pidfd != -1 && p->watch.fd == -1)
		loop_add(&p->watch, p->pidfd, EPOLLIN, process_ended, p);
}

void
qmppeer_unwatch(struct qmppeer *p)
{
	loop_del(&p->watch);
}

void
qmppeer_drop(struct qmppeer *p)
{
	qmppeer_unwatch(p);
	if (p->pidfd != -1)
		close(p->pidfd);
	if (p->file != -1)
		close(p->file);
	p->file = p->pidfd = -1;
}
