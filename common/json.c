/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include "json.h"

void
json_init(struct json *j, char *buf, size_t size)
{
	j->buf = buf;
	j->size = size;
	j->len = 0;
	j->comma = 0;
	j->overflow = 0;
}

static void
put(struct json *j, const char *s, size_t n)
{
	/* One byte is kept for the NUL. */
	if (j->overflow || n >= j->size - j->len) {
		j->overflow = 1;
		return;
	}
	memcpy(j->buf + j->len, s, n);
	j->len += n;
}

static void
put_unicode(struct json *j, uint32_t c)
{
	char esc[16];
	int n;

	if (c >= 0x10000) {
		c -= 0x10000;
		n = snprintf(esc, sizeof(esc), "\\u%04x\\u%04x",
		    (unsigned int)(0xd800 + (c >> 10)),
		    (unsigned int)(0xdc00 + (c & 0x3ff)));
	} else
		n = snprintf(esc, sizeof(esc), "\\u%04x", (unsigned int)c);
	put(j, esc, (size_t)n);
}

/*
 * Decodes one character of UTF-8 (RFC 3629: no overlong forms, no
 * surrogates).  Returns its length, or 0 if it is none.
 */
static size_t
utf8_decode(const unsigned char *s, size_t n, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len, i;

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		len = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (len > n)
		return 0;
	*c = s[0] & (0xffU >> (len + 1));
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (s[i] & 0x3fU);
	}
	if (*c < least[len] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff))
		return 0;
	return len;
}

static int
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void
put_string(struct json *j, const char *str, size_t n)
{
	const unsigned char *s = (const unsigned char *)str;
	uint32_t c;
	size_t len;

	put(j, "\"", 1);
	while (n > 0) {
		len = 1;
		if (is_plain(*s)) {
			while (len < n && is_plain(s[len]))
				len++;
			put(j, (const char *)s, len);
		} else if (*s == '"' || *s == '\\') {
			put(j, "\\", 1);
			put(j, (const char *)s, 1);
		} else if (*s < 0x80) {
			put_unicode(j, *s);
		} else if ((len = utf8_decode(s, n, &c)) != 0) {
			put_unicode(j, c);
		} else {
			put_unicode(j, 0xfffd);
			len = 1;
		}
		s += len;
		n -= len;
	}
	put(j, "\"", 1);
}

static void
item(struct json *j, const char *name)
{
	if (j->comma)
		put(j, ",", 1);
	j->comma = 1;
	if (name != NULL) {
		put_string(j, name, strlen(name));
		put(j, ":", 1);
	}
}

void
json_object(struct json *j, const char *name)
{
	item(j, name);
	put(j, "{", 1);
	j->comma = 0;
}

void
json_array(struct json *j, const char *name)
{
	item(j, name);
	put(j, "[", 1);
	j->comma = 0;
}

void
json_end(struct json *j, char bracket)
{
	put(j, &bracket, 1);
	j->comma = 1;
}

void
json_str(struct json *j, const char *name, const char *s)
{
	json_strn(j, name, s, strlen(s));
}

void
json_strn(struct json *j, const char *name, const char *s, size_t n)
{
	item(j, name);
	put_string(j, s, n);
}

void
json_num(struct json *j, const char *name, int64_t num)
{
	/* Every line of a log has some of these: printf(3) takes longer. */
	uint64_t rest = num < 0 ? -(uint64_t)num : (uint64_t)num;
	char buf[24], *p = buf + sizeof(buf);

	do
		*--p = (char)('0' + rest % 10);
	while ((rest /= 10) != 0);
	if (num < 0)
		*--p = '-';
	item(j, name);
	put(j, p, (size_t)(buf + sizeof(buf) - p));
}

void
json_bool(struct json *j, const char *name, int truth)
{
	item(j, name);
	put(j, truth ? "true" : "false", truth ? 4 : 5);
}

void
json_null(struct json *j, const char *name)
{
	item(j, name);
	put(j, "null", 4);
}

void
json_hex(struct json *j, const char *name, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char pair[2];

	item(j, name);
	put(j, "\"", 1);
	for (; n > 0; n--, bytes++) {
		pair[0] = digits[*bytes >> 4];
		pair[1] = digits[*bytes & 0xf];
		put(j, pair, 2);
	}
	put(j, "\"", 1);
}

void
json_hex16(struct json *j, const char *name, uint16_t value)
{
	char text[sizeof("ffff")];

	snprintf(text, sizeof(text), "%04x", value);
	json_str(j, name, text);
}

size_t
json_finish(struct json *j)
{
	if (j->overflow || j->len >= j->size)
		return 0;
	j->buf[j->len] = '\0';
	return j->len;
}
