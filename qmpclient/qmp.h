/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef QMP_H
#define QMP_H

#include <stddef.h>
#include <stdint.h>
#include <yajl/yajl_tree.h>

/*
 * What QEMU sends, from bytes to messages (docs/interop/qmp-spec.rst).  The
 * sender belongs to a guest that may have taken it over: nothing here grows
 * beyond QMP_LINE_MAX, and no text reaches the parser that could make it
 * recurse deeper than QMP_DEPTH_MAX.
 */
#define QMP_LINE_MAX (256 * 1024)
#define QMP_DEPTH_MAX 32

/* Bytes received and not yet taken out as lines. */
struct qmp_input {
	char *buf;
	size_t size; /* allocated */
	size_t start; /* of the first line not taken out */
	size_t len; /* end of what was received */
	size_t scanned; /* no line end before this */
	uint64_t base; /* offset in the stream of buf[0] */
};

/* qmp_input_init, qmp_input_free: empty, at the start of a stream. */
void qmp_input_init(struct qmp_input *);
void qmp_input_free(struct qmp_input *);

/*
 * qmp_input_space: where to receive to and, in *n, how much; NULL when the
 * line is longer than QMP_LINE_MAX or memory is short.  Ends what
 * qmp_input_line gave.  qmp_input_added: so many bytes were put there.
 */
char *qmp_input_space(struct qmp_input *, size_t *n);
void qmp_input_added(struct qmp_input *, size_t n);

/*
 * qmp_input_line: the next whole line, its CRLF (or LF) cut off and a NUL
 * put there; NULL if there is none.  *len is its length, *offset that of its
 * first byte in the stream.  Valid until qmp_input_space.
 */
char *qmp_input_line(struct qmp_input *, size_t *len, uint64_t *offset);

/* qmp_input_partial: 1 if the start of a line was received. */
int qmp_input_partial(const struct qmp_input *);

/* qmp_input_offset: how many bytes of the stream were received. */
uint64_t qmp_input_offset(const struct qmp_input *);

enum qmp_type {
	QMP_GREETING,
	QMP_EVENT,
	QMP_RETURN,
	QMP_ERROR
};

struct qmp_message {
	enum qmp_type type;
	yajl_val tree; /* all of it */
	yajl_val value; /* QMP, data, return or error; NULL: no such member */
	long long id; /* -1: none, or not an integer of ours */
	const char *name; /* of an event */
	const char *class; /* of an error, as desc */
	const char *desc;
};

/*
 * qmp_parse: NUL-terminated text of len bytes to a message, which
 * qmp_message_free releases.  0; or -1, with *errstr saying what is wrong
 * and *at the offset in text where, as exactly as is known.
 */
int qmp_parse(struct qmp_message *, const char *text, size_t len, size_t *at,
    const char **errstr);
void qmp_message_free(struct qmp_message *);

/*
 * Members of an object: NULL when v is none or has no such member of that
 * type.  qmp_int: 0, or -1 then.
 */
yajl_val qmp_member(yajl_val v, const char *name);
const char *qmp_string(yajl_val v, const char *name);
int qmp_int(yajl_val v, const char *name, long long *);

/*
 * qmp_version: "7.2.22" of a greeting into buf of size bytes; 0, or -1 when
 * the greeting has no version.
 */
int qmp_version(const struct qmp_message *, char *buf, size_t size);

#endif
