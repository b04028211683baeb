/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef STANDIN_LOOP_H
#define STANDIN_LOOP_H

/*
 * In the place of common/loop.c, for the one file of a target: descriptors
 * are looked at when the target says so, and time passes when it says so.
 */

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include "loop.h"

#define STANDIN_MAX 256

static struct loop_fd *standin_fds[STANDIN_MAX];
static struct loop_timer *standin_timers[STANDIN_MAX];
static size_t standin_nfds, standin_ntimers;
static uint64_t standin_now = 1;

void
loop_init(void)
{
}

void
loop_add(struct loop_fd *w, int fd, uint32_t events,
    void (*cb)(uint32_t, void *), void *arg)
{
	if (standin_nfds == STANDIN_MAX)
		abort();
	standin_fds[standin_nfds++] = w;
	w->fd = fd;
	w->events = events;
	w->cb = cb;
	w->arg = arg;
}

void
loop_events(struct loop_fd *w, uint32_t events)
{
	w->events = events;
}

void
loop_del(struct loop_fd *w)
{
	size_t i;

	if (w->fd == -1)
		return;
	w->fd = -1;
	for (i = 0; i < standin_nfds; i++)
		if (standin_fds[i] == w)
			break;
	if (i == standin_nfds)
		abort();
	standin_fds[i] = standin_fds[--standin_nfds];
}

void
loop_timer_set(struct loop_timer *t, uint64_t ms, void (*cb)(void *), void *arg)
{
	loop_timer_del(t);
	if (standin_ntimers == STANDIN_MAX)
		abort();
	standin_timers[standin_ntimers++] = t;
	t->at = standin_now + ms;
	t->cb = cb;
	t->arg = arg;
}

void
loop_timer_del(struct loop_timer *t)
{
	size_t i;

	if (t->at == 0)
		return;
	t->at = 0;
	for (i = 0; i < standin_ntimers; i++)
		if (standin_timers[i] == t)
			break;
	if (i == standin_ntimers)
		abort();
	standin_timers[i] = standin_timers[--standin_ntimers];
}

void
loop_signals(const int *list, void (*cb)(int))
{
	(void)list;
	(void)cb;
}

uint64_t
loop_now(void)
{
	return standin_now;
}

int
loop_run(void)
{
	abort();
}

void
loop_end(int status)
{
	(void)status;
}

static struct loop_timer *
standin_due(void)
{
	struct loop_timer *first = NULL;
	size_t i;

	for (i = 0; i < standin_ntimers; i++)
		if (standin_timers[i]->at <= standin_now &&
		    (first == NULL || standin_timers[i]->at < first->at))
			first = standin_timers[i];
	return first;
}

/* standin_pass: that many milliseconds pass. */
static inline void
standin_pass(uint64_t ms)
{
	uint64_t end = standin_now + ms;
	struct loop_timer *t;
	unsigned int n;

	for (n = 0; (t = standin_due()) != NULL && n < 10000; n++) {
		loop_timer_del(t);
		t->cb(t->arg);
	}
	standin_now = end;
	for (; (t = standin_due()) != NULL && n < 10000; n++) {
		loop_timer_del(t);
		t->cb(t->arg);
	}
}

/*
 * standin_turn: each descriptor that is ready is told of once; those that are
 * dropped meanwhile are not.  Returns how many were ready.
 */
static inline int
standin_turn(void)
{
	struct loop_fd *round[STANDIN_MAX];
	struct pollfd fds[STANDIN_MAX];
	size_t i, j, n = standin_nfds;
	int ready;

	for (i = 0; i < n; i++) {
		round[i] = standin_fds[i];
		fds[i].fd = round[i]->fd;
		fds[i].events = (short)round[i]->events;
		fds[i].revents = 0;
	}
	if ((ready = poll(fds, n, 0)) == -1)
		abort();
	for (i = 0; i < n; i++) {
		if (fds[i].revents == 0)
			continue;
		for (j = 0; j < standin_nfds; j++)
			if (standin_fds[j] == round[i] &&
			    round[i]->fd == fds[i].fd)
				break;
		if (j < standin_nfds)
			round[i]->cb((uint32_t)fds[i].revents, round[i]->arg);
	}
	standin_pass(0);
	return ready;
}

#endif
