/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "acts.h"
#include "audit.h"
#include "chan.h"
#include "log.h"

static void chan_ready(uint32_t, void *);

void
chan_open(struct chan *c, int fd, enum proc_id me, enum proc_id peer,
    void (*dispatch)(struct chan *, enum msg_type, const void *, int),
    void (*lost)(struct chan *, const char *), void *arg)
{
	memset(c, 0, sizeof(*c));
	if (imsgbuf_init(&c->ibuf, fd) == -1)
		fatal("imsgbuf_init");
	if (me != PROC_CLIENT && peer != PROC_CLIENT)
		imsgbuf_allow_fdpass(&c->ibuf);
	c->me = me;
	c->peer = peer;
	c->dispatch = dispatch;
	c->lost = lost;
	c->arg = arg;
	acts_channel(peer, fd);
	loop_add(&c->watch, fd, EPOLLIN, chan_ready, c);
}

int
chan_is_open(const struct chan *c)
{
	return c->lost != NULL;
}

static void
chan_bury(void *arg)
{
	struct chan *c = arg;

	c->lost(c, c->why);
}

void
chan_fail(struct chan *c, const char *why)
{
	if (c->dead)
		return;
	c->dead = 1;
	c->why = why;
	loop_events(&c->watch, 0);
	loop_timer_set(&c->bury, 0, chan_bury, c);
}

static void
chan_violation(struct chan *c, struct imsg *imsg, const char *why)
{
	uint32_t type = imsg_get_type(imsg);

	if (msg_info(type) == NULL)
		snprintf(c->text, sizeof(c->text), "message %u: %s", type, why);
	else
		snprintf(
		    c->text, sizeof(c->text), "%s: %s", msg_name(type), why);
	chan_fail(c, c->text);
}

static void
chan_message(struct chan *c, struct imsg *imsg)
{
	alignas(uint64_t) uint8_t payload[MAX_IMSGSIZE];
	uint32_t type = imsg_get_type(imsg);
	size_t size = imsg_get_len(imsg);
	int fd = imsg_get_fd(imsg);
	const char *why;

	why = msg_check(c->peer, c->me, type, size, fd != -1);
	if (why == NULL && imsg_get_data(imsg, payload, size) == -1)
		why = "cannot be read";
	if (why != NULL) {
		if (fd != -1)
			close(fd);
		chan_violation(c, imsg, why);
		return;
	}
	c->dispatch(c, (enum msg_type)type, payload, fd);
}

/*
 * A peer that ends with something unread resets the connection (unix(7)
 * does not say so; net/unix/af_unix.c, unix_release_sock).
 */
static const char *
chan_why(int error)
{
	return error == EPIPE || error == ECONNRESET ? NULL : strerror(error);
}

static void
chan_read(struct chan *c)
{
	struct imsg imsg;
	int n;

	switch (imsgbuf_read(&c->ibuf)) {
	case -1:
		chan_fail(c, chan_why(errno));
		return;
	case 0:
		chan_fail(c, NULL);
		break;
	}
	/* What arrived before the end still counts. */
	while (chan_is_open(c) && (n = imsgbuf_get(&c->ibuf, &imsg)) != 0) {
		if (n == -1) {
			chan_fail(c, strerror(errno));
			return;
		}
		chan_message(c, &imsg);
		imsg_free(&imsg);
		if (c->dead && c->why != NULL)
			return;
	}
}

static void
chan_write(struct chan *c)
{
	if (c->dead)
		return;
	if (imsgbuf_write(&c->ibuf) == -1) {
		chan_fail(c, chan_why(errno));
		return;
	}
	loop_events(&c->watch,
	    imsgbuf_queuelen(&c->ibuf) > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void
chan_ready(uint32_t events, void *arg)
{
	struct chan *c = arg;

	if (events & EPOLLOUT)
		chan_write(c);
	if (!c->dead && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		chan_read(c);
}

void
chan_send(struct chan *c, enum msg_type type, const void *payload, int fd)
{
	const struct msg_info *info = msg_info(type);
	const char *why;

	why = info == NULL
		  ? "no message"
		  : msg_check(c->me, c->peer, type, info->size, fd != -1);
	if (why != NULL)
		fatalx("%s to %s: %s", msg_name(type), proc_name(c->peer), why);
	if (c->dead) {
		if (fd != -1)
			close(fd);
		return;
	}
	if (imsg_compose(&c->ibuf, type, 0, -1, fd, payload, info->size) ==
	    -1) {
		if (fd != -1)
			close(fd);
		chan_fail(
		    c, errno == ENOBUFS ? "does not read" : strerror(errno));
		return;
	}
	/* Without a wait in the loop first: a plug crosses four channels. */
	if (imsgbuf_queuelen(&c->ibuf) == 1)
		chan_write(c);
}

int
chan_flush(struct chan *c)
{
	int error;

	if (c->dead) {
		errno = EPIPE;
		return -1;
	}
	if (imsgbuf_flush(&c->ibuf) == -1) {
		error = errno;
		chan_fail(
		    c, error == ETIMEDOUT ? "does not read" : chan_why(error));
		errno = error;
		return -1;
	}
	loop_events(&c->watch, EPOLLIN);
	return 0;
}

void
chan_drain(struct chan *c)
{
	int rounds; /* as many as a socket's buffer can fill */

	for (rounds = 0; rounds < 8 && chan_is_open(c) && c->why == NULL;
	     rounds++)
		chan_read(c);
}

void
chan_close(struct chan *c)
{
	if (!chan_is_open(c))
		return;
	loop_del(&c->watch);
	loop_timer_del(&c->bury);
	close(c->ibuf.fd);
	imsgbuf_clear(&c->ibuf);
	c->lost = NULL;
	c->dead = 1;
}

void
chan_lost_fatal(struct chan *c, const char *why)
{
	if (why != NULL)
		fatalx("%s broke the protocol: %s", proc_name(c->peer), why);
	if (c->peer == PROC_PARENT) {
		audit_begin("end");
		audit_end();
		exit(0);
	}
	/*
	 * A sibling that ended is the parent's business, which will say why
	 * and end or replace it; nothing more can come from there.
	 */
	log_debug("%s closed its channel", proc_name(c->peer));
	chan_close(c);
}
