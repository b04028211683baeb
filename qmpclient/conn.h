/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CONN_H
#define CONN_H

#include <sys/queue.h>

#include <stdint.h>
#include "json.h"
#include "loop.h"
#include "msg.h"
#include "qmp.h"

/*
 * One QMP connection on the event loop: commands out, answers and events in.
 * Commands are pipelined; QEMU answers them in their order, so the n-th
 * answer must have the id of the n-th command.  Everything is bounded, and
 * nothing that the other end does harms more than this connection.
 */

/* How long is waited, in ms. */
struct conn_patience {
	uint32_t greeting; /* from the start to the greeting */
	/* from the answer before to an answer, from a line's start to its end */
	uint32_t reply;
};

/*
 * No more is read than this many bytes in CONN_ROUND_MS, so that one that
 * sends without end costs the others little.  All that is ever asked of a
 * machine at once is answered in less.
 */
#define CONN_ROUND_BYTES (512 * 1024)
#define CONN_ROUND_MS 500
#define CONN_COMMANDS_MAX 1024 /* not yet answered */
#define CONN_COMMAND_LEN 4096

enum reply_type {
	REPLY_RETURN,
	REPLY_ERROR,
	REPLY_LOST /* the connection ended before the answer came */
};

struct reply {
	enum reply_type type;
	yajl_val value; /* of a return */
	const char *class; /* of an error, as desc; "" else */
	const char *desc;
};

/* Called once for each command, in the order of the commands. */
typedef void conn_reply_cb(void *owner, const struct reply *, void *arg);

struct conn_ops {
	/* The greeting came, from a QEMU of that version. */
	void (*greeting)(void *owner, const char *version);
	void (*event)(void *owner, const char *name, yajl_val data);
	/*
	 * The connection is of no more use; why in words.  To be answered
	 * with conn_close.  Never called from within a call of ours.
	 */
	void (*lost)(void *owner, enum qmp_end, const char *why);
	/*
	 * If not NULL, called instead of giving the connection up when not
	 * a byte of the greeting came in time, and again after as long.
	 */
	void (*late)(void *owner);
	/* If not NULL: the last command was answered. */
	void (*idle)(void *owner);
};

struct command;
struct chunk;
TAILQ_HEAD(commands, command);
TAILQ_HEAD(chunks, chunk);

struct conn {
	struct loop_fd watch;
	struct loop_timer deadline;
	struct loop_timer failing;
	struct loop_timer pause; /* set: nothing is read */
	struct conn_patience patience;
	uint64_t round_since;
	size_t round_bytes; /* read since then */
	const struct conn_ops *ops;
	void *owner;
	const char *name; /* of the machine, for the log */
	int fd; /* -1: not open */
	int greeted;
	int failed;
	enum qmp_end end;
	char why[MSG_TEXT_MAX];
	struct qmp_input in;
	uint64_t line_since; /* 0: no line has begun */
	uint64_t head_since; /* since when the first command has waited */
	struct commands sent;
	unsigned int nsent;
	struct chunks out;
	struct chunk *chunk;
	long long next_id;
	struct json json;
	char text[CONN_COMMAND_LEN];
	const char *execute;
};

/* conn_init: a connection that is not open. */
void conn_init(struct conn *);

/*
 * conn_open: start on the connected, non-blocking socket fd, which the
 * connection owns from now on.  name stays the caller's.
 */
void conn_open(struct conn *, int fd, const char *name,
    const struct conn_patience *, const struct conn_ops *, void *owner);

/*
 * conn_begin: start the command execute; its arguments are members of the
 * object that is open in what is returned.  conn_add completes it: request
 * is for the log (0: none), cb is called with the answer.  Commands go out,
 * all in one write where the socket takes it, at conn_send: with descriptor
 * fd, if it is not -1, which conn_send takes and closes once it is sent.
 * QEMU reads the descriptor with the first byte, so the command that wants
 * it must be the first one since the last conn_send.
 */
struct json *conn_begin(struct conn *, const char *execute);
void conn_add(struct conn *, uint32_t request, conn_reply_cb *cb, void *arg);
void conn_send(struct conn *, int fd);

/*
 * conn_fail: give the connection up; lost is called soon, with the reason
 * that was the first one.
 */
void conn_fail(struct conn *, enum qmp_end, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * conn_close: close the socket and answer all commands with REPLY_LOST.  No
 * effect when not open.
 */
void conn_close(struct conn *);

#endif
