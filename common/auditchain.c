/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sha2.h>
#include <string.h>
#include "auditchain.h"

#define HEX_LEN ((size_t)2 * AUDIT_HASH_LEN)

static const char line_start[] = "{\"time\":\"";
static const char prev_start[] = ",\"prev\":\"";
static const char cut_start[] = ",\"cut\":\"";
static const char line_end[] = "\"}";

#define LEN(s) (sizeof(s) - 1)
#define PREV_LEN (LEN(prev_start) + HEX_LEN + LEN(line_end))
#define CUT_LEN (LEN(cut_start) + HEX_LEN + 1)

void
auditchain_hash(const char *line, size_t len, uint8_t hash[AUDIT_HASH_LEN])
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, (const uint8_t *)line, len);
	SHA256Final(hash, &ctx);
}

void
auditchain_add(struct auditchain *c, const char *line, size_t len)
{
	auditchain_hash(line, len, c->last);
	memset(c->cut, 0, sizeof(c->cut));
	c->has_cut = 0;
}

void
auditchain_add_cut(struct auditchain *c, const char *text, size_t len)
{
	uint8_t both[2 * AUDIT_HASH_LEN];

	memcpy(both, c->cut, AUDIT_HASH_LEN);
	auditchain_hash(text, len, both + AUDIT_HASH_LEN);
	auditchain_hash((const char *)both, sizeof(both), c->cut);
	c->has_cut = 1;
}

void
auditchain_members(const struct auditchain *c, struct json *j)
{
	if (c->has_cut)
		json_hex(j, "cut", c->cut, sizeof(c->cut));
	json_hex(j, "prev", c->last, sizeof(c->last));
	json_end(j, '}');
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int
parse_hash(const char *s, uint8_t hash[AUDIT_HASH_LEN])
{
	int high, low;
	size_t i;

	for (i = 0; i < AUDIT_HASH_LEN; i++) {
		high = hex_digit(s[2 * i]);
		low = hex_digit(s[2 * i + 1]);
		if (high == -1 || low == -1)
			return -1;
		hash[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* Within a string a quote would be escaped, so these are members. */
int
auditchain_link(const char *line, size_t len, uint8_t prev[AUDIT_HASH_LEN],
    uint8_t cut[AUDIT_HASH_LEN], int *has_cut)
{
	const char *p;

	*has_cut = 0;
	if (len < LEN(line_start) + PREV_LEN || len >= AUDIT_LINE_MAX ||
	    memcmp(line, line_start, LEN(line_start)) != 0)
		return -1;
	p = line + len - PREV_LEN;
	if (memcmp(p, prev_start, LEN(prev_start)) != 0 ||
	    memcmp(line + len - LEN(line_end), line_end, LEN(line_end)) != 0 ||
	    parse_hash(p + LEN(prev_start), prev) == -1)
		return -1;
	if (len < LEN(line_start) + PREV_LEN + CUT_LEN)
		return 0;
	p -= CUT_LEN;
	if (memcmp(p, cut_start, LEN(cut_start)) == 0 &&
	    p[CUT_LEN - 1] == '"' && parse_hash(p + LEN(cut_start), cut) == 0)
		*has_cut = 1;
	return 0;
}

/* The last whole line before end, or NULL; *len is its length. */
static const char *
last_whole(const char *text, const char *end, size_t *len)
{
	uint8_t prev[AUDIT_HASH_LEN], cut[AUDIT_HASH_LEN];
	const char *start;
	int has_cut;

	while (end > text) {
		start = memrchr(text, '\n', (size_t)(end - text));
		start = start == NULL ? text : start + 1;
		*len = (size_t)(end - start);
		if (auditchain_link(start, *len, prev, cut, &has_cut) == 0)
			return start;
		if (start == text)
			break;
		end = start - 1;
	}
	return NULL;
}

int
auditchain_tail(struct auditchain *c, const char *text, size_t n)
{
	const char *end = text + n, *line, *next;
	size_t len = 0;

	memset(c, 0, sizeof(*c));
	if (n == 0)
		return 0;
	c->unterminated = end[-1] != '\n';
	if (!c->unterminated)
		end--;
	line = last_whole(text, end, &len);
	if (line != NULL) {
		auditchain_add(c, line, len);
		text = line + len + 1;
	}
	for (; text < end; text = next + 1) {
		next = memchr(text, '\n', (size_t)(end - text));
		if (next == NULL)
			next = end;
		auditchain_add_cut(c, text, (size_t)(next - text));
	}
	return line != NULL;
}
