/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <ctype.h>
#include <errno.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <yajl/yajl_parse.h>
#include "jsonread.h"
#include "log.h"

/* Memory of yajl: its size stands before it, so that it can be wiped. */

#define HEADER (sizeof(max_align_t))

static void *
wiping_malloc(void *ctx, size_t size)
{
	char *p = malloc(size + HEADER);

	(void)ctx;
	if (p == NULL)
		fatal("malloc");
	memcpy(p, &size, sizeof(size));
	return p + HEADER;
}

static void
wiping_free(void *ctx, void *ptr)
{
	size_t size;
	char *p = ptr;

	(void)ctx;
	if (p == NULL)
		return;
	p -= HEADER;
	memcpy(&size, p, sizeof(size));
	explicit_bzero(p, size + HEADER);
	free(p);
}

static void *
wiping_realloc(void *ctx, void *ptr, size_t size)
{
	char *p = ptr, *fresh = wiping_malloc(ctx, size);
	size_t old;

	if (p == NULL)
		return fresh;
	memcpy(&old, p - HEADER, sizeof(old));
	memcpy(fresh, p, old < size ? old : size);
	wiping_free(ctx, p);
	return fresh;
}

/* Files */

char *
jsonread_load(int fd, size_t *len, char *why, size_t n)
{
	struct stat st;
	ssize_t got = 0;
	size_t size;
	char *text;

	if (fstat(fd, &st) == -1) {
		strlcpy(why, strerror(errno), n);
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > JSONREAD_SIZE_MAX) {
		if (S_ISREG(st.st_mode))
			snprintf(why, n, "%lld bytes: larger than %u MiB",
			    (long long)st.st_size, JSONREAD_SIZE_MAX >> 20);
		else
			strlcpy(why, "not a regular file", n);
		return NULL;
	}
	size = (size_t)st.st_size;
	if ((text = malloc(size + 1)) == NULL)
		fatal("malloc");
	for (*len = 0; *len < size; *len += (size_t)got)
		if ((got = read(fd, text + *len, size - *len)) <= 0)
			break;
	if (got != -1)
		return text;
	strlcpy(why, strerror(errno), n);
	jsonread_unload(text, size);
	return NULL;
}

void
jsonread_unload(char *text, size_t len)
{
	if (text == NULL)
		return;
	explicit_bzero(text, len);
	free(text);
}

/* Places */

/* From from, which is at place, on. */
static struct jsonread_place
place_after(
    struct jsonread_place place, const char *text, size_t from, size_t offset)
{
	for (; from < offset; from++) {
		place.column++;
		if (text[from] == '\n') {
			place.line++;
			place.column = 1;
		}
	}
	return place;
}

static struct jsonread_place
place_of(const char *text, size_t offset)
{
	struct jsonread_place start = { .line = 1, .column = 1 };

	return place_after(start, text, 0, offset);
}

/* What was counted once is not counted again: there may be many members. */
static struct jsonread_place
place_in(struct jsonread *r, size_t offset)
{
	if (offset < r->known || r->known == 0)
		r->known_place = place_of(r->text, offset);
	else
		r->known_place =
		    place_after(r->known_place, r->text, r->known, offset);
	r->known = offset;
	return r->known_place;
}

static int
is_escaped(const char *text, size_t i)
{
	size_t n = 0;

	while (n < i && text[i - n - 1] == '\\')
		n++;
	return n % 2 == 1;
}

/* Where the token that ends before end begins. */
static size_t
token_start(const char *text, size_t end)
{
	size_t i;

	if (end == 0)
		return 0;
	i = end - 1;
	if (text[i] == '"') {
		while (i > 0 && (text[--i] != '"' || is_escaped(text, i)))
			;
		return i;
	}
	while (i > 0 && !isspace((unsigned char)text[i]) &&
	       strchr("{}[]:,\"", text[i - 1]) == NULL &&
	       !isspace((unsigned char)text[i - 1]))
		i--;
	return i;
}

static size_t
consumed(const struct jsonread *r)
{
	size_t n = yajl_get_bytes_consumed(r->yajl);

	return n < r->len ? n : r->len;
}

struct jsonread_place
jsonread_here(struct jsonread *r)
{
	return place_in(r, token_start(r->text, consumed(r)));
}

int
jsonread_fail(struct jsonread *r, const char *fmt, ...)
{
	va_list ap;

	if (r->failed)
		return -1;
	r->failed = 1;
	r->place = jsonread_here(r);
	va_start(ap, fmt);
	vsnprintf(r->error, sizeof(r->error), fmt, ap);
	va_end(ap);
	return -1;
}

/* What is not JSON, but what people write */

static void
note_comma(char *text, size_t at, struct jsonread_tolerated *t)
{
	text[at] = ' ';
	if (t->commas++ == 0)
		t->comma = place_of(text, at);
}

int
jsonread_tolerate(char *text, size_t len, struct jsonread_tolerated *t)
{
	size_t comma = len, i; /* the last token, if it was one */
	int in_string = 0, first = 1;

	memset(t, 0, sizeof(*t));
	for (i = 0; i < len; i++) {
		if (in_string) {
			in_string = text[i] != '"' || is_escaped(text, i);
			continue;
		}
		if (isspace((unsigned char)text[i]))
			continue;
		in_string = text[i] == '"';
		if (first && in_string) {
			t->braces = 1;
			t->start = place_of(text, i);
		}
		first = 0;
		if ((text[i] == '}' || text[i] == ']') && comma != len)
			note_comma(text, comma, t);
		comma = text[i] == ',' ? i : len;
	}
	if (t->braces && comma != len)
		note_comma(text, comma, t);
	return t->braces || t->commas > 0;
}

/* Callbacks of yajl: 1 to go on, 0 to stop */

static const struct {
	unsigned int type;
	const char *words;
} type_words[] = {
	{ JSONREAD_STRING, "a string" },
	{ JSONREAD_NUMBER, "a whole number" },
	{ JSONREAD_BOOL, "true or false" },
	{ JSONREAD_OBJECT, "an object" },
	{ JSONREAD_ARRAY, "an array" },
};

static void
expected(const struct jsonread_row *row, char *buf, size_t size)
{
	size_t i;

	buf[0] = '\0';
	for (i = 0; i < sizeof(type_words) / sizeof(type_words[0]); i++) {
		if ((row->types & type_words[i].type) == 0)
			continue;
		if (buf[0] != '\0')
			strlcat(buf, " or ", size);
		strlcat(buf, type_words[i].words, size);
	}
}

static int
kind_here(const struct jsonread *r)
{
	return r->depth == 0 ? JSONREAD_TOP : r->stack[r->depth - 1].kind;
}

/* The row of an element of an array, or of the text itself. */
static const struct jsonread_row *
row_of_element(const struct jsonread *r)
{
	const struct jsonread_row *row;
	int kind = kind_here(r);

	for (row = r->rows; row->in != 0; row++)
		if (row->in == kind && row->key == NULL)
			return row;
	return NULL;
}

/* Takes the row that the value is for; NULL: it does not matter. */
static const struct jsonread_row *
take_row(struct jsonread *r)
{
	const struct jsonread_row *row = r->pending;

	r->pending = NULL;
	return row != NULL ? row : row_of_element(r);
}

static int
wrong_type(struct jsonread *r, const struct jsonread_row *row)
{
	char words[128];

	expected(row, words, sizeof(words));
	if (row->key != NULL)
		jsonread_fail(r, "\"%s\": expected %s", row->key, words);
	else
		jsonread_fail(r, "expected %s", words);
	return 0;
}

static int
on_value(struct jsonread *r, const struct jsonread_value *value)
{
	const struct jsonread_row *row = take_row(r);

	if (row == NULL)
		return 1;
	if ((row->types & value->type) == 0)
		return wrong_type(r, row);
	return r->ops->value == NULL || r->ops->value(r, row->id, value) == 0;
}

/* Null is as good as absent, but for the text itself. */
static int
on_null(void *ctx)
{
	struct jsonread *r = ctx;
	const struct jsonread_row *row = take_row(r);

	return row == NULL || r->depth > 0 || wrong_type(r, row);
}

static int
on_boolean(void *ctx, int is_true)
{
	struct jsonread_value value = { .type = JSONREAD_BOOL,
		.number = is_true };

	return on_value(ctx, &value);
}

static int
on_number(void *ctx, const char *digits, size_t len)
{
	struct jsonread_value value = { .type = JSONREAD_NUMBER };
	char buf[24], *end;

	/* One that is not whole, or too long, has no type that is wanted. */
	if (len >= sizeof(buf)) {
		value.type = 0;
		return on_value(ctx, &value);
	}
	memcpy(buf, digits, len);
	buf[len] = '\0';
	errno = 0;
	value.number = strtoll(buf, &end, 10);
	if (*end != '\0' || errno != 0)
		value.type = 0;
	return on_value(ctx, &value);
}

static int
on_string(void *ctx, const unsigned char *s, size_t len)
{
	struct jsonread_value value = {
		.type = JSONREAD_STRING, .string = (const char *)s, .len = len
	};
	struct jsonread *r = ctx;

	if (memchr(s, '\0', len) != NULL && r->pending != NULL) {
		jsonread_fail(r, "\"%s\": NUL in a string", r->pending->key);
		return 0;
	}
	return on_value(ctx, &value);
}

static int
on_open(struct jsonread *r, unsigned int type)
{
	const struct jsonread_row *row = take_row(r);
	int kind = row == NULL ? JSONREAD_IGNORED : row->to;

	if (row != NULL && (row->types & type) == 0)
		return wrong_type(r, row);
	if (r->depth == JSONREAD_DEPTH_MAX) {
		jsonread_fail(r, "nested deeper than %d", JSONREAD_DEPTH_MAX);
		return 0;
	}
	r->stack[r->depth].kind = kind;
	r->stack[r->depth++].seen = 0;
	return kind == JSONREAD_IGNORED || r->ops->open == NULL ||
	       r->ops->open(r, kind) == 0;
}

static int
on_start_map(void *ctx)
{
	return on_open(ctx, JSONREAD_OBJECT);
}

static int
on_start_array(void *ctx)
{
	return on_open(ctx, JSONREAD_ARRAY);
}

static int
on_close(void *ctx)
{
	struct jsonread *r = ctx;
	int kind = r->stack[--r->depth].kind;

	return kind == JSONREAD_IGNORED || r->ops->close == NULL ||
	       r->ops->close(r, kind) == 0;
}

static int
is_key(const struct jsonread_row *row, const char *key, size_t len)
{
	if (row->key == NULL || strlen(row->key) != len)
		return 0;
	return row->any_case ? strncasecmp(row->key, key, len) == 0
			     : memcmp(row->key, key, len) == 0;
}

static int
on_map_key(void *ctx, const unsigned char *s, size_t len)
{
	struct jsonread *r = ctx;
	const struct jsonread_row *row;
	const char *key = (const char *)s;
	int kind = kind_here(r);
	uint32_t bit = 1;

	r->pending = NULL;
	if (kind == JSONREAD_IGNORED)
		return 1;
	for (row = r->rows; row->in != 0; row++) {
		if (row->in != kind)
			continue;
		if (is_key(row, key, len))
			break;
		bit <<= 1;
	}
	if (row->in == 0)
		return r->ops->unknown == NULL ||
		       r->ops->unknown(r, kind, key, len) == 0;
	if (r->stack[r->depth - 1].seen & bit) {
		jsonread_fail(r, "\"%s\" stands twice", row->key);
		return 0;
	}
	r->stack[r->depth - 1].seen |= bit;
	r->pending = row;
	return 1;
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_boolean,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_start_map,
	.yajl_map_key = on_map_key,
	.yajl_end_map = on_close,
	.yajl_start_array = on_start_array,
	.yajl_end_array = on_close,
};

/* yajl's words without what it read, which may be a secret. */
static void
syntax_error(struct jsonread *r, int at_end)
{
	unsigned char *words = yajl_get_error(r->yajl, 0, NULL, 0);
	const char *text = (const char *)words;
	size_t at = r->len;

	while (at_end && at > 0 && isspace((unsigned char)r->text[at - 1]))
		at--;
	if (!at_end) {
		at = token_start(r->text, consumed(r));
		/* yajl stops behind the first byte of a string. */
		at -= at > 0 && r->text[at - 1] == '"';
	}
	r->failed = 1;
	r->place = place_in(r, at);
	if (strncmp(text, "parse error: ", 13) == 0)
		text += 13;
	else if (strncmp(text, "lexical error: ", 15) == 0)
		text += 15;
	snprintf(r->error, sizeof(r->error), "not JSON: %.*s",
	    (int)strcspn(text, "\n"), text);
	yajl_free_error(r->yajl, words);
}

static int
feed(struct jsonread *r, const char *text, size_t len)
{
	if (yajl_parse(r->yajl, (const unsigned char *)text, len) ==
	    yajl_status_ok)
		return 0;
	if (!r->failed)
		syntax_error(r, 0);
	return -1;
}

int
jsonread_text(struct jsonread *r, const char *text, size_t len)
{
	static yajl_alloc_funcs memory = { wiping_malloc, wiping_realloc,
		wiping_free, NULL };
	int rc = 0;

	r->text = text;
	r->len = 0;
	r->known = 0;
	r->yajl = yajl_alloc(&callbacks, &memory, r);
	if (r->braces)
		rc = feed(r, "{", 1);
	r->len = len;
	if (rc == 0)
		rc = feed(r, text, len);
	if (rc == 0 && r->braces)
		rc = feed(r, "}", 1);
	if (rc == 0 && yajl_complete_parse(r->yajl) != yajl_status_ok) {
		if (!r->failed)
			syntax_error(r, 1);
		rc = -1;
	}
	yajl_free(r->yajl);
	r->yajl = NULL;
	return rc;
}

char *
jsonread_strdup(const struct jsonread_value *value)
{
	char *copy = strndup(value->string, value->len);

	if (copy == NULL)
		fatal("strndup");
	return copy;
}
