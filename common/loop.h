/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef LOOP_H
#define LOOP_H

#include <stdint.h>
#include <sys/tree.h>

/*
 * One event loop a process: epoll(7), timers, signals as descriptors.  All
 * callbacks run from loop_run.  Nothing here wakes up unless there is
 * something to do.
 */

struct loop_fd {
	int fd; /* -1: not watched */
	uint32_t events;
	void (*cb)(uint32_t events, void *arg);
	void *arg;
};

struct loop_timer {
	RB_ENTRY(loop_timer) entry;
	uint64_t at; /* 0: not set */
	void (*cb)(void *arg);
	void *arg;
};

/*
 * loop_init: make the epoll descriptor (close-on-exec).  Before any other
 * function here and before a filter.  Ends the process when it fails.
 */
void loop_init(void);

/*
 * loop_add: call cb when one of events (EPOLLIN, EPOLLOUT, EPOLLPRI; errors
 * and hang-ups always) holds for fd.  The caller keeps fd and the watch.
 */
void loop_add(struct loop_fd *, int fd, uint32_t events,
    void (*cb)(uint32_t events, void *arg), void *arg);

/* loop_events: change what is watched for; no system call if the same. */
void loop_events(struct loop_fd *, uint32_t events);

/*
 * loop_del: stop watching, also in the middle of a round of callbacks.  To
 * be called before fd is closed.  No effect when not watched.
 */
void loop_del(struct loop_fd *);

/* loop_timer_set: call cb once in ms milliseconds; replaces what was set. */
void loop_timer_set(
    struct loop_timer *, uint64_t ms, void (*cb)(void *), void *arg);

/* loop_timer_del: no effect when not set. */
void loop_timer_del(struct loop_timer *);

/*
 * loop_signals: block the signals of the list, which 0 ends, and call cb for
 * each that arrives (signalfd(2)).  Once a process.
 */
void loop_signals(const int *list, void (*cb)(int signo));

/* loop_now: CLOCK_MONOTONIC in milliseconds. */
uint64_t loop_now(void);

/* loop_run: until loop_end; returns what was given to it. */
int loop_run(void);

/* loop_end: make loop_run return status after the current callback. */
void loop_end(int status);

#endif
