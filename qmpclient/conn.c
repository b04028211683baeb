/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/socket.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"
#include "conn.h"
#include "log.h"

/* What may wait because the other end does not read. */
#define CONN_CHUNK_MAX (256 * 1024)

/* A command that was not yet answered. */
struct command {
	TAILQ_ENTRY(command) entry;
	const char *execute;
	long long id;
	uint32_t request;
	uint64_t since;
	conn_reply_cb *cb;
	void *arg;
};

/* Text that goes out in one piece, with a descriptor or without. */
struct chunk {
	TAILQ_ENTRY(chunk) entry;
	char *text;
	size_t len;
	size_t size;
	size_t sent;
	int fd;
};

static void conn_ready(uint32_t, void *);
static void conn_set_events(struct conn *);

void
conn_init(struct conn *c)
{
	memset(c, 0, sizeof(*c));
	c->fd = c->watch.fd = -1;
	TAILQ_INIT(&c->sent);
	TAILQ_INIT(&c->out);
}

static void
conn_failing(void *arg)
{
	struct conn *c = arg;

	c->ops->lost(c->owner, c->end, c->why);
}

void
conn_fail(struct conn *c, enum qmp_end end, const char *fmt, ...)
{
	va_list ap;

	if (c->failed || c->fd == -1)
		return;
	c->failed = 1;
	c->end = end;
	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	loop_del(&c->watch);
	loop_timer_del(&c->deadline);
	loop_timer_del(&c->pause);
	loop_timer_set(&c->failing, 0, conn_failing, c);
}

static void
conn_overdue(void *arg)
{
	struct conn *c = arg;
	struct command *cmd = TAILQ_FIRST(&c->sent);
	uint64_t now = loop_now();

	if (!c->greeted && c->ops->late != NULL && !qmp_input_partial(&c->in)) {
		loop_timer_set(
		    &c->deadline, c->patience.greeting, conn_overdue, c);
		c->ops->late(c->owner);
	} else if (!c->greeted)
		conn_fail(c, QMP_END_TIMEOUT, "no greeting in %u s",
		    c->patience.greeting / 1000);
	else if (cmd != NULL && now >= c->head_since + c->patience.reply)
		conn_fail(c, QMP_END_TIMEOUT, "no reply to %s in %u s",
		    cmd->execute, c->patience.reply / 1000);
	else
		conn_fail(c, QMP_END_TIMEOUT,
		    "half a message and no more of it in %u s",
		    c->patience.reply / 1000);
}

/* The earliest of what is waited for. */
static void
conn_set_deadline(struct conn *c)
{
	uint64_t at = UINT64_MAX, now;

	if (c->failed || !c->greeted)
		return;
	if (!TAILQ_EMPTY(&c->sent))
		at = c->head_since + c->patience.reply;
	if (c->line_since != 0 && c->line_since + c->patience.reply < at)
		at = c->line_since + c->patience.reply;
	if (at == UINT64_MAX) {
		loop_timer_del(&c->deadline);
		return;
	}
	now = loop_now();
	loop_timer_set(&c->deadline, at > now ? at - now : 0, conn_overdue, c);
}

void
conn_open(struct conn *c, int fd, const char *name,
    const struct conn_patience *patience, const struct conn_ops *ops,
    void *owner)
{
	conn_init(c);
	c->fd = fd;
	c->name = name;
	c->patience = *patience;
	c->ops = ops;
	c->owner = owner;
	loop_add(&c->watch, fd, EPOLLIN, conn_ready, c);
	loop_timer_set(&c->deadline, c->patience.greeting, conn_overdue, c);
}

/* Commands out. */

struct json *
conn_begin(struct conn *c, const char *execute)
{
	c->execute = execute;
	json_init(&c->json, c->text, sizeof(c->text));
	json_object(&c->json, NULL);
	json_str(&c->json, "execute", execute);
	json_object(&c->json, "arguments");
	return &c->json;
}

static struct chunk *
chunk_new(void)
{
	struct chunk *chunk;

	if ((chunk = calloc(1, sizeof(*chunk))) == NULL)
		fatal("calloc");
	chunk->fd = -1;
	return chunk;
}

static void
chunk_free(struct chunk *chunk)
{
	if (chunk == NULL)
		return;
	if (chunk->fd != -1)
		close(chunk->fd);
	free(chunk->text);
	free(chunk);
}

static int
chunk_append(struct chunk *chunk, const char *text, size_t len)
{
	size_t size;
	char *p;

	if (len > CONN_CHUNK_MAX - chunk->len)
		return -1;
	if (chunk->len + len > chunk->size) {
		size = chunk->len + len + CONN_COMMAND_LEN;
		if ((p = realloc(chunk->text, size)) == NULL)
			fatal("realloc");
		chunk->text = p;
		chunk->size = size;
	}
	memcpy(chunk->text + chunk->len, text, len);
	chunk->len += len;
	return 0;
}

void
conn_add(struct conn *c, uint32_t request, conn_reply_cb *cb, void *arg)
{
	struct command *cmd;
	size_t len;

	if ((cmd = calloc(1, sizeof(*cmd))) == NULL)
		fatal("calloc");
	cmd->execute = c->execute;
	cmd->id = c->next_id++;
	cmd->request = request;
	cmd->since = loop_now();
	cmd->cb = cb;
	cmd->arg = arg;
	if (TAILQ_EMPTY(&c->sent))
		c->head_since = cmd->since;
	TAILQ_INSERT_TAIL(&c->sent, cmd, entry);

	json_end(&c->json, '}');
	json_num(&c->json, "id", cmd->id);
	json_end(&c->json, '}');
	len = json_finish(&c->json);
	if (c->chunk == NULL)
		c->chunk = chunk_new();
	c->nsent++;
	if (len == 0)
		conn_fail(
		    c, QMP_END_PROTOCOL, "%s would be too long", c->execute);
	else if (c->nsent > CONN_COMMANDS_MAX ||
		 chunk_append(c->chunk, c->text, len) == -1 ||
		 chunk_append(c->chunk, "\n", 1) == -1)
		conn_fail(c, QMP_END_PROTOCOL, "%u commands wait for an answer",
		    c->nsent);
}

/* 1 if all of it went out, 0 if the socket is full or the end is near. */
static int
conn_write_chunk(struct conn *c, struct chunk *chunk)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr msg;
	struct cmsghdr *cmsg;
	ssize_t n;

	memset(&msg, 0, sizeof(msg));
	iov.iov_base = chunk->text + chunk->sent;
	iov.iov_len = chunk->len - chunk->sent;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	if (chunk->fd != -1) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &chunk->fd, sizeof(int));
	}
	do
		n = sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	if (n == -1) {
		if (errno == EPIPE || errno == ECONNRESET)
			conn_fail(c, QMP_END_CLOSED, "closed by QEMU");
		else if (errno != EAGAIN)
			conn_fail(c, QMP_END_CLOSED, "cannot send: %s",
			    strerror(errno));
		return 0;
	}
	/* It went with the first byte; as long as we had it, it was in use. */
	if (chunk->fd != -1)
		close(chunk->fd);
	chunk->fd = -1;
	chunk->sent += (size_t)n;
	return chunk->sent == chunk->len;
}

static void
conn_write(struct conn *c)
{
	struct chunk *chunk;

	while ((chunk = TAILQ_FIRST(&c->out)) != NULL) {
		if (!conn_write_chunk(c, chunk))
			break;
		TAILQ_REMOVE(&c->out, chunk, entry);
		chunk_free(chunk);
	}
	if (!c->failed)
		conn_set_events(c);
}

void
conn_send(struct conn *c, int fd)
{
	if (c->chunk == NULL || c->failed || c->fd == -1) {
		if (fd != -1)
			close(fd);
		return;
	}
	c->chunk->fd = fd;
	TAILQ_INSERT_TAIL(&c->out, c->chunk, entry);
	c->chunk = NULL;
	conn_write(c);
	conn_set_deadline(c);
}

/* Answers in. */

static void
conn_audit(struct conn *c, const struct command *cmd, const struct reply *r)
{
	struct json *j = audit_begin("qmp");

	json_str(j, "vm", c->name);
	if (cmd->request != 0)
		json_num(j, "request", cmd->request);
	json_str(j, "command", cmd->execute);
	json_num(j, "id", cmd->id);
	json_num(j, "ms", (int64_t)(loop_now() - cmd->since));
	if (r->type == REPLY_RETURN)
		json_str(j, "result", "ok");
	else
		json_strn(j, "error", r->desc, strnlen(r->desc, MSG_TEXT_MAX));
	audit_end();
}

/* The answer to the command that has waited longest. */
static void
conn_answer(struct conn *c, const struct reply *reply)
{
	struct command *cmd = TAILQ_FIRST(&c->sent);

	TAILQ_REMOVE(&c->sent, cmd, entry);
	c->nsent--;
	c->head_since = loop_now();
	conn_audit(c, cmd, reply);
	cmd->cb(c->owner, reply, cmd->arg);
	free(cmd);
	if (c->nsent == 0 && !c->failed && c->ops->idle != NULL)
		c->ops->idle(c->owner);
}

static void
conn_greeting(struct conn *c, const struct qmp_message *m)
{
	char version[64];

	if (qmp_version(m, version, sizeof(version)) == -1) {
		conn_fail(
		    c, QMP_END_PROTOCOL, "sent a greeting without a version");
		return;
	}
	c->greeted = 1;
	loop_timer_del(&c->deadline);
	c->ops->greeting(c->owner, version);
}

static void
conn_reply(struct conn *c, const struct qmp_message *m)
{
	struct command *cmd = TAILQ_FIRST(&c->sent);
	struct reply reply;

	if (cmd == NULL || m->id != cmd->id) {
		conn_fail(c, QMP_END_PROTOCOL,
		    "sent an answer to a question that was not asked");
		return;
	}
	reply.type = m->type == QMP_RETURN ? REPLY_RETURN : REPLY_ERROR;
	reply.value = m->value;
	reply.class = m->type == QMP_ERROR ? m->class : "";
	reply.desc = m->type == QMP_ERROR ? m->desc : "";
	conn_answer(c, &reply);
}

static void
conn_message(struct conn *c, const struct qmp_message *m)
{
	if (c->greeted == (m->type == QMP_GREETING))
		conn_fail(c, QMP_END_PROTOCOL, "%s",
		    c->greeted ? "sent a second greeting"
			       : "did not start with a greeting");
	else if (m->type == QMP_GREETING)
		conn_greeting(c, m);
	else if (m->type == QMP_EVENT)
		c->ops->event(c->owner, m->name, m->value);
	else
		conn_reply(c, m);
}

static void
conn_line(struct conn *c, const char *line, size_t len, uint64_t offset)
{
	struct qmp_message m;
	const char *errstr;
	size_t at;

	if (qmp_parse(&m, line, len, &at, &errstr) == -1) {
		conn_fail(c, QMP_END_PROTOCOL,
		    "sent something that is not QMP at byte %llu: %s",
		    (unsigned long long)(offset + at), errstr);
		return;
	}
	conn_message(c, &m);
	qmp_message_free(&m);
}

static void
conn_received(struct conn *c, size_t n)
{
	uint64_t offset;
	size_t len;
	char *line;

	qmp_input_added(&c->in, n);
	while (!c->failed &&
	       (line = qmp_input_line(&c->in, &len, &offset)) != NULL) {
		c->line_since = 0;
		conn_line(c, line, len, offset);
	}
	if (!qmp_input_partial(&c->in))
		c->line_since = 0;
	else if (c->line_since == 0)
		c->line_since = loop_now();
	conn_set_deadline(c);
}

static void
conn_set_events(struct conn *c)
{
	loop_events(&c->watch, (c->pause.at == 0 ? EPOLLIN : 0U) |
				   (TAILQ_EMPTY(&c->out) ? 0U : EPOLLOUT));
}

static void
conn_resume(void *arg)
{
	conn_set_events(arg);
}

/* See CONN_ROUND_BYTES. */
static void
conn_pace(struct conn *c, size_t n)
{
	uint64_t now = loop_now();

	if (now - c->round_since >= CONN_ROUND_MS) {
		c->round_since = now;
		c->round_bytes = 0;
	}
	c->round_bytes += n;
	if (c->round_bytes < CONN_ROUND_BYTES || c->failed)
		return;
	loop_timer_set(
	    &c->pause, c->round_since + CONN_ROUND_MS - now, conn_resume, c);
	conn_set_events(c);
}

static void
conn_ended(struct conn *c)
{
	if (qmp_input_partial(&c->in))
		conn_fail(c, QMP_END_PROTOCOL,
		    "closed in the middle of a message, at byte %llu",
		    (unsigned long long)qmp_input_offset(&c->in));
	else
		conn_fail(c, QMP_END_CLOSED, "closed by QEMU");
}

/* One read a round, so that no machine keeps the others waiting. */
static void
conn_read(struct conn *c)
{
	size_t size;
	ssize_t n;
	char *p;

	if ((p = qmp_input_space(&c->in, &size)) == NULL) {
		conn_fail(c, QMP_END_PROTOCOL,
		    "sent %u bytes without the end of a line, up to byte %llu",
		    QMP_LINE_MAX, (unsigned long long)qmp_input_offset(&c->in));
		return;
	}
	n = recv(c->fd, p, size, MSG_DONTWAIT);
	if (n > 0) {
		conn_received(c, (size_t)n);
		conn_pace(c, (size_t)n);
	} else if (n == 0)
		conn_ended(c);
	else if (errno == ECONNRESET)
		conn_fail(c, QMP_END_CLOSED, "closed by QEMU");
	else if (errno != EAGAIN && errno != EINTR)
		conn_fail(
		    c, QMP_END_CLOSED, "cannot receive: %s", strerror(errno));
}

static void
conn_ready(uint32_t events, void *arg)
{
	struct conn *c = arg;

	if (events & EPOLLOUT)
		conn_write(c);
	if (!c->failed && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		conn_read(c);
}

void
conn_close(struct conn *c)
{
	static const struct reply lost = {
		.type = REPLY_LOST, .class = "", .desc = "connection lost"
	};
	struct chunk *chunk;

	if (c->fd == -1)
		return;
	c->failed = 1; /* nothing that a callback says goes out */
	loop_del(&c->watch);
	loop_timer_del(&c->deadline);
	loop_timer_del(&c->failing);
	loop_timer_del(&c->pause);
	while ((chunk = TAILQ_FIRST(&c->out)) != NULL) {
		TAILQ_REMOVE(&c->out, chunk, entry);
		chunk_free(chunk);
	}
	while (!TAILQ_EMPTY(&c->sent))
		conn_answer(c, &lost);
	chunk_free(c->chunk);
	qmp_input_free(&c->in);
	close(c->fd);
	conn_init(c);
}
