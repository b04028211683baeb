/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "verify.h"

/* How far off the line before, or behind, may be that a line points to. */
#define REACH 10000

static const char *
find_member(const char *line, size_t len, const char *name, size_t *rest)
{
	char key[32];
	const char *p;
	int n;

	/* A quote in a string is escaped: this is a member. */
	n = snprintf(key, sizeof(key), ",\"%s\":", name);
	if ((p = memmem(line, len, key, (size_t)n)) == NULL)
		return NULL;
	p += n;
	*rest = len - (size_t)(p - line);
	return p;
}

int
verify_number(const char *line, size_t len, const char *name, uint64_t *value)
{
	size_t rest, i;
	const char *p = find_member(line, len, name, &rest);

	if (p == NULL)
		return -1;
	*value = 0;
	for (i = 0; i < rest && i < 19 && p[i] >= '0' && p[i] <= '9'; i++)
		*value = *value * 10 + (uint64_t)(p[i] - '0');
	return i > 0 ? 0 : -1;
}

int
verify_string(
    const char *line, size_t len, const char *name, char *buf, size_t size)
{
	size_t rest, n;
	const char *p = find_member(line, len, name, &rest), *end;

	if (p == NULL || rest < 2 || *p != '"' ||
	    (end = memchr(p + 1, '"', rest - 1)) == NULL)
		return -1;
	n = (size_t)(end - p) - 1;
	if (n >= size)
		return -1;
	memcpy(buf, p + 1, n);
	buf[n] = '\0';
	return 0;
}

void
verify_add(struct verify_log *log, const char *line, size_t len,
    unsigned int file, unsigned long number)
{
	struct verify_line *l;
	char event[16];
	uint64_t lost;

	/* Doubled each time that n is a power of two. */
	if ((log->n & (log->n - 1)) == 0) {
		log->lines = reallocarray(
		    log->lines, log->n == 0 ? 1 : 2 * log->n, sizeof(*l));
		if (log->lines == NULL)
			fatal("reallocarray");
	}
	l = &log->lines[log->n++];
	memset(l, 0, sizeof(*l));
	l->file = file;
	l->number = number;
	l->whole =
	    auditchain_link(line, len, l->prev, l->cut, &l->has_cut) == 0 &&
	    verify_number(line, len, "seq", &l->seq) == 0;
	auditchain_hash(line, len, l->hash);
	if (l->whole &&
	    verify_string(line, len, "event", event, sizeof(event)) == 0 &&
	    strcmp(event, "lost") == 0 &&
	    verify_number(line, len, "lines", &lost) == 0)
		log->lost += lost;
}

static int
same(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, AUDIT_HASH_LEN) == 0;
}

/* Of the whole lines before i the nearest, or -1. */
static ssize_t
whole_before(const struct verify_log *log, size_t i)
{
	while (i-- > 0)
		if (log->lines[i].whole)
			return (ssize_t)i;
	return -1;
}

/* What is not whole between two lines that are. */
static int
remains_ok(const struct verify_log *log, ssize_t before, size_t i)
{
	const struct verify_line *l = &log->lines[i];
	uint8_t both[2 * AUDIT_HASH_LEN], cut[AUDIT_HASH_LEN];
	size_t k;

	if ((size_t)(before + 1) == i)
		return !l->has_cut;
	memset(cut, 0, sizeof(cut));
	for (k = (size_t)(before + 1); k < i; k++) {
		memcpy(both, cut, sizeof(cut));
		memcpy(both + sizeof(cut), log->lines[k].hash, sizeof(cut));
		auditchain_hash((const char *)both, sizeof(both), cut);
	}
	return l->has_cut && same(l->cut, cut);
}

/*
 * Line i does not follow line b.  If a line behind follows b, what is in
 * between was put in; if i follows one before b, what is in between was.
 * Else b was changed, or i itself, or lines between them are missing: the
 * numbers of the lines tell.
 */
static size_t
blame(const struct verify_log *log, size_t b, size_t i, char *text, size_t size)
{
	const struct verify_line *l = log->lines;
	size_t k;

	for (k = i + 1; k < log->n && k < i + REACH; k++)
		if (l[k].whole && same(l[k].prev, l[b].hash)) {
			strlcpy(text, "this line was inserted", size);
			return i;
		}
	for (k = b; k-- > 0 && k + REACH > b;)
		if (l[k].whole && same(l[i].prev, l[k].hash)) {
			strlcpy(text, "this line was inserted", size);
			return k + 1;
		}
	if (l[i].seq > l[b].seq + 1) {
		snprintf(text, size, "%llu lines before this one were removed",
		    (unsigned long long)(l[i].seq - l[b].seq - 1));
		return i;
	}
	if (l[i].seq != l[b].seq + 1) {
		strlcpy(text,
		    "lines before this one were removed, or the one before it "
		    "was changed",
		    size);
		return i;
	}
	strlcpy(text, "this line was changed", size);
	/* If what follows does not follow i either, it was i. */
	if (i + 1 < log->n && l[i + 1].whole && !same(l[i + 1].prev, l[i].hash))
		return i;
	return b;
}

ssize_t
verify_find(const struct verify_log *log, char *text, size_t size, size_t *cuts)
{
	const struct verify_line *l = log->lines;
	ssize_t b;
	size_t i;

	*cuts = 0;
	for (i = 0; i < log->n; i++) {
		if (!l[i].whole)
			continue;
		b = whole_before(log, i);
		if (b == -1 && i == 0)
			continue;
		if (!remains_ok(log, b, i)) {
			/* One that was changed beyond recognition? */
			strlcpy(text, "this is no line of an audit log", size);
			return (size_t)(b + 1) == i ? (ssize_t)i : b + 1;
		}
		*cuts += i - (size_t)(b + 1);
		if (b != -1 && !same(l[i].prev, l[b].hash))
			return (ssize_t)blame(log, (size_t)b, i, text, size);
	}
	b = whole_before(log, log->n);
	/* At the end there may be one that was just cut off. */
	if (log->n - (size_t)(b + 1) > 1 || b == -1) {
		strlcpy(text, "this is no line of an audit log", size);
		return b + 1;
	}
	*cuts += log->n - (size_t)(b + 1);
	return -1;
}
