/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp.h"

#define QMP_INPUT_FIRST 4096

void
qmp_input_init(struct qmp_input *in)
{
	memset(in, 0, sizeof(*in));
}

void
qmp_input_free(struct qmp_input *in)
{
	free(in->buf);
	qmp_input_init(in);
}

static int
qmp_input_grow(struct qmp_input *in)
{
	size_t size;
	char *buf;

	if (in->size >= QMP_LINE_MAX)
		return -1;
	size = in->size == 0 ? QMP_INPUT_FIRST : in->size * 2;
	if ((buf = realloc(in->buf, size)) == NULL)
		return -1;
	in->buf = buf;
	in->size = size;
	return 0;
}

char *
qmp_input_space(struct qmp_input *in, size_t *n)
{
	if (in->start > 0) {
		memmove(in->buf, in->buf + in->start, in->len - in->start);
		in->base += in->start;
		in->len -= in->start;
		in->scanned -= in->start;
		in->start = 0;
	}
	if (in->len == in->size && qmp_input_grow(in) == -1)
		return NULL;
	*n = in->size - in->len;
	return in->buf + in->len;
}

void
qmp_input_added(struct qmp_input *in, size_t n)
{
	in->len += n;
}

char *
qmp_input_line(struct qmp_input *in, size_t *len, uint64_t *offset)
{
	char *line, *end;

	if (in->len == in->scanned)
		return NULL;
	end = memchr(in->buf + in->scanned, '\n', in->len - in->scanned);
	if (end == NULL) {
		in->scanned = in->len;
		return NULL;
	}
	line = in->buf + in->start;
	*offset = in->base + in->start;
	in->start = in->scanned = (size_t)(end - in->buf) + 1;
	if (end > line && end[-1] == '\r')
		end--;
	*end = '\0';
	*len = (size_t)(end - line);
	return line;
}

int
qmp_input_partial(const struct qmp_input *in)
{
	return in->len > in->start;
}

uint64_t
qmp_input_offset(const struct qmp_input *in)
{
	return in->base + in->len;
}

/*
 * yajl would stop at a NUL and not tell, and frees its tree by recursion as
 * deep as the text likes.
 */
static int
qmp_check_text(const char *text, size_t len, size_t *at, const char **errstr)
{
	size_t i;
	int depth = 0, quoted = 0;

	for (i = 0; i < len; i++) {
		*at = i;
		if (text[i] == '\0') {
			*errstr = "NUL byte";
			return -1;
		}
		if (quoted && text[i] == '\\' && i + 1 < len &&
		    text[i + 1] != '\0')
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && (text[i] == '{' || text[i] == '['))
			depth++;
		else if (!quoted && (text[i] == '}' || text[i] == ']'))
			depth--;
		if (depth > QMP_DEPTH_MAX) {
			*errstr = "nested too deep";
			return -1;
		}
	}
	*at = 0;
	return 0;
}

yajl_val
qmp_member(yajl_val v, const char *name)
{
	size_t i;

	if (!YAJL_IS_OBJECT(v))
		return NULL;
	for (i = 0; i < v->u.object.len; i++)
		if (strcmp(v->u.object.keys[i], name) == 0)
			return v->u.object.values[i];
	return NULL;
}

const char *
qmp_string(yajl_val v, const char *name)
{
	return YAJL_GET_STRING(qmp_member(v, name));
}

int
qmp_int(yajl_val v, const char *name, long long *n)
{
	yajl_val member = qmp_member(v, name);

	if (!YAJL_IS_INTEGER(member))
		return -1;
	*n = YAJL_GET_INTEGER(member);
	return 0;
}

/* Exactly one of the four members that tell what a message is. */
static int
qmp_classify(struct qmp_message *m)
{
	static const char *const members[] = {
		[QMP_GREETING] = "QMP",
		[QMP_EVENT] = "event",
		[QMP_RETURN] = "return",
		[QMP_ERROR] = "error",
	};
	yajl_val v;
	unsigned int i, found = 0;

	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if ((v = qmp_member(m->tree, members[i])) == NULL)
			continue;
		m->type = (enum qmp_type)i;
		m->value = v;
		found++;
	}
	return found == 1 ? 0 : -1;
}

static const char *
qmp_fill(struct qmp_message *m)
{
	if (!YAJL_IS_OBJECT(m->tree))
		return "not a JSON object";
	if (qmp_classify(m) == -1)
		return "not a greeting, event or answer";
	m->id = -1;
	if (qmp_member(m->tree, "id") != NULL &&
	    (qmp_int(m->tree, "id", &m->id) == -1 || m->id < 0))
		return "answer with an id that was never used";
	if (m->type == QMP_EVENT) {
		if ((m->name = YAJL_GET_STRING(m->value)) == NULL)
			return "event without a name";
		m->value = qmp_member(m->tree, "data");
	}
	if (m->type == QMP_ERROR) {
		m->class = qmp_string(m->value, "class");
		m->desc = qmp_string(m->value, "desc");
		if (m->class == NULL || m->desc == NULL)
			return "error without class and desc";
	}
	return NULL;
}

int
qmp_parse(struct qmp_message *m, const char *text, size_t len, size_t *at,
    const char **errstr)
{
	memset(m, 0, sizeof(*m));
	if (qmp_check_text(text, len, at, errstr) == -1)
		return -1;
	if ((m->tree = yajl_tree_parse(text, NULL, 0)) == NULL) {
		*errstr = "not JSON";
		return -1;
	}
	if ((*errstr = qmp_fill(m)) != NULL) {
		qmp_message_free(m);
		return -1;
	}
	return 0;
}

void
qmp_message_free(struct qmp_message *m)
{
	yajl_tree_free(m->tree);
	memset(m, 0, sizeof(*m));
}

int
qmp_version(const struct qmp_message *m, char *buf, size_t size)
{
	long long major, minor, micro;
	yajl_val v;

	v = qmp_member(qmp_member(m->value, "version"), "qemu");
	if (qmp_int(v, "major", &major) == -1 ||
	    qmp_int(v, "minor", &minor) == -1 ||
	    qmp_int(v, "micro", &micro) == -1)
		return -1;
	snprintf(buf, size, "%lld.%lld.%lld", major, minor, micro);
	return 0;
}
