/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef JSON_H
#define JSON_H

#include <stddef.h>
#include <stdint.h>

/*
 * A writer of one JSON text into a buffer of fixed size.  yajl's generator
 * is not used because it passes bytes above 0x7f on: here whatever is not
 * printable ASCII leaves as \u escape, so that no string of a device can do
 * anything to a terminal or break a line.  Bytes that are not UTF-8 become
 * U+FFFD.  The caller need not check each call: a text that did not fit is
 * found by json_finish.
 */

struct json {
	char *buf;
	size_t size;
	size_t len;
	int comma; /* the next item needs one before it */
	int overflow; /* something did not fit */
};

/* json_init: write into buf, which the caller keeps. */
void json_init(struct json *, char *buf, size_t size);

/*
 * json_object, json_array: open one; name is the member's name, or NULL at
 * the top and in an array.  json_end closes with '}' or ']' as given.
 */
void json_object(struct json *, const char *name);
void json_array(struct json *, const char *name);
void json_end(struct json *, char bracket);

/* Members of an object, or elements of an array where name is NULL. */
void json_str(struct json *, const char *name, const char *);
void json_strn(struct json *, const char *name, const char *, size_t);
void json_num(struct json *, const char *name, int64_t);
void json_bool(struct json *, const char *name, int);
void json_null(struct json *, const char *name);
void json_hex(struct json *, const char *name, const uint8_t *, size_t);

/* json_hex16: a string of four digits, as people write vendor and product. */
void json_hex16(struct json *, const char *name, uint16_t);

/*
 * json_finish: NUL-terminates; the length without the NUL, or 0 when the
 * text did not fit.
 */
size_t json_finish(struct json *);

#endif
