/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include "log.h"
#include "loop.h"

#define ROUND_MAX 16

static int timer_cmp(struct loop_timer *, struct loop_timer *);

RB_HEAD(looptimers, loop_timer);
RB_PROTOTYPE(looptimers, loop_timer, entry, timer_cmp)

static struct {
	int epfd;
	int ended;
	int status;
	struct looptimers timers;
	struct epoll_event round[ROUND_MAX];
	int round_len;
	struct loop_fd signals;
	void (*signal_cb)(int);
} loop = { .epfd = -1, .signals.fd = -1 };

static int
timer_cmp(struct loop_timer *a, struct loop_timer *b)
{
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return a < b ? -1 : a > b;
}

RB_GENERATE(looptimers, loop_timer, entry, timer_cmp)

void
loop_init(void)
{
	RB_INIT(&loop.timers);
	loop.ended = 0;
	loop.epfd = epoll_create1(EPOLL_CLOEXEC);
	if (loop.epfd == -1)
		fatal("epoll_create1");
}

static void
loop_ctl(int op, struct loop_fd *w)
{
	struct epoll_event ev = { .events = w->events, .data.ptr = w };

	if (epoll_ctl(loop.epfd, op, w->fd, &ev) == -1)
		fatal("epoll_ctl");
}

void
loop_add(struct loop_fd *w, int fd, uint32_t events,
    void (*cb)(uint32_t, void *), void *arg)
{
	w->fd = fd;
	w->events = events;
	w->cb = cb;
	w->arg = arg;
	loop_ctl(EPOLL_CTL_ADD, w);
}

void
loop_events(struct loop_fd *w, uint32_t events)
{
	if (w->events == events)
		return;
	w->events = events;
	loop_ctl(EPOLL_CTL_MOD, w);
}

void
loop_del(struct loop_fd *w)
{
	int i;

	if (w->fd == -1)
		return;
	loop_ctl(EPOLL_CTL_DEL, w);
	w->fd = -1;
	/* What was reported for it in this round is of the past. */
	for (i = 0; i < loop.round_len; i++)
		if (loop.round[i].data.ptr == w)
			loop.round[i].data.ptr = NULL;
}

void
loop_timer_set(struct loop_timer *t, uint64_t ms, void (*cb)(void *), void *arg)
{
	loop_timer_del(t);
	t->at = loop_now() + ms;
	t->cb = cb;
	t->arg = arg;
	RB_INSERT(looptimers, &loop.timers, t);
}

void
loop_timer_del(struct loop_timer *t)
{
	if (t->at == 0)
		return;
	RB_REMOVE(looptimers, &loop.timers, t);
	t->at = 0;
}

static void
signals_readable(uint32_t events, void *arg)
{
	struct signalfd_siginfo info;

	(void)events;
	(void)arg;
	if (read(loop.signals.fd, &info, sizeof(info)) == sizeof(info))
		loop.signal_cb((int)info.ssi_signo);
}

void
loop_signals(const int *list, void (*cb)(int))
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (; *list != 0; list++)
		sigaddset(&set, *list);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
		fatal("sigprocmask");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd == -1)
		fatal("signalfd");
	loop.signal_cb = cb;
	loop_add(&loop.signals, fd, EPOLLIN, signals_readable, NULL);
}

uint64_t
loop_now(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		fatal("clock_gettime");
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int
next_timeout(void)
{
	struct loop_timer *t = RB_MIN(looptimers, &loop.timers);
	uint64_t now;

	if (t == NULL)
		return -1;
	now = loop_now();
	if (t->at <= now)
		return 0;
	return t->at - now > 3600000 ? 3600000 : (int)(t->at - now);
}

static void
run_timers(void)
{
	struct loop_timer *t;
	uint64_t now;

	if (RB_EMPTY(&loop.timers))
		return;
	now = loop_now();
	while (!loop.ended && (t = RB_MIN(looptimers, &loop.timers)) != NULL &&
	       t->at <= now) {
		loop_timer_del(t);
		t->cb(t->arg);
	}
}

static void
run_fds(void)
{
	struct loop_fd *w;
	int i;

	for (i = 0; i < loop.round_len && !loop.ended; i++)
		if ((w = loop.round[i].data.ptr) != NULL)
			w->cb(loop.round[i].events, w->arg);
	loop.round_len = 0;
}

int
loop_run(void)
{
	int n;

	while (!loop.ended) {
		n = epoll_wait(
		    loop.epfd, loop.round, ROUND_MAX, next_timeout());
		if (n == -1 && errno != EINTR)
			fatal("epoll_wait");
		loop.round_len = n == -1 ? 0 : n;
		run_fds();
		run_timers();
	}
	loop.ended = 0;
	return loop.status;
}

void
loop_end(int status)
{
	loop.ended = 1;
	loop.status = status;
}
