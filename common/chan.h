/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CHAN_H
#define CHAN_H

#include <stddef.h>
#include <stdint.h>
#include "imsg.h"
#include "loop.h"
#include "msg.h"

/*
 * An imsg channel on the event loop.  What comes in has been checked against
 * the message table before dispatch sees it; what goes out is checked, too.
 */
struct chan {
	struct imsgbuf ibuf;
	struct loop_fd watch;
	enum proc_id me;
	enum proc_id peer;
	/*
	 * One message: its payload of msg_info(type)->size bytes, aligned, and
	 * its descriptor, which dispatch owns, or -1.
	 */
	void (*dispatch)(struct chan *, enum msg_type, const void *, int fd);
	/*
	 * The channel is over: the peer closed it (why is NULL) or broke the
	 * protocol.  It must call chan_close, or end the process.
	 */
	void (*lost)(struct chan *, const char *why);
	void *arg;
	int dead; /* nothing goes in or out; lost is due */
	const char *why;
	char text[128];
	struct loop_timer bury;
};

/*
 * chan_open: watch fd, which the channel owns from now on.  A channel to a
 * client takes no descriptors.  Ends the process when memory is short.
 */
void chan_open(struct chan *, int fd, enum proc_id me, enum proc_id peer,
    void (*dispatch)(struct chan *, enum msg_type, const void *, int),
    void (*lost)(struct chan *, const char *), void *arg);

/* chan_is_open: 1 between chan_open and chan_close. */
int chan_is_open(const struct chan *);

/*
 * chan_send: queue a message; payload has the size that the table gives.
 * Takes fd (-1: none).  A queue that is full means a peer that is stuck:
 * the channel fails.
 */
void chan_send(struct chan *, enum msg_type, const void *payload, int fd);

/*
 * chan_fail: end the channel; lost is called with why, which must live until
 * then, from the loop and not from within this function, so that a dispatch
 * may use it.
 */
void chan_fail(struct chan *, const char *why);

/*
 * chan_flush: write what is queued, waiting if need be.  0; or -1 with errno
 * set, and the channel fails, or has failed or been closed before (EPIPE).
 */
int chan_flush(struct chan *);

/*
 * chan_drain: handle what has arrived, without a wait; for one whose peer
 * has ended.
 */
void chan_drain(struct chan *);

/* chan_close: stop watching, drop what is queued, close the descriptor. */
void chan_close(struct chan *);

/*
 * chan_lost_fatal: a lost for channels between parent and children.  A peer
 * that broke the protocol ends this process with a message; the parent's
 * end ends it quietly, status 0; a sibling's end only closes the channel.
 */
void chan_lost_fatal(struct chan *, const char *why);

#endif
