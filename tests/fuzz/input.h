/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef INPUT_H
#define INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An input that is read as a list of acts, and what must hold of them. */
struct input {
	const uint8_t *data;
	size_t size;
};

/* input_byte: the next one; 0 behind the last. */
static inline uint8_t
input_byte(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

/* input_bytes: up to n bytes, as many as there are, into buf; how many. */
static inline size_t
input_bytes(struct input *in, void *buf, size_t n)
{
	if (n > in->size)
		n = in->size;
	memcpy(buf, in->data, n);
	in->data += n;
	in->size -= n;
	return n;
}

/*
 * input_changes: of the size bytes at buf some become others.  A byte tells
 * how many, up to 16, then come place and value of each; from INPUT_FILL on
 * first comes a place, a length in units of 8 and the value of all bytes
 * there: a text without an end.
 */
#define INPUT_FILL 0xe0

static inline size_t
input_place(struct input *in, size_t size)
{
	size_t at = input_byte(in);

	at |= (size_t)input_byte(in) << 8;
	return at % size;
}

static inline void
input_fill(struct input *in, uint8_t *buf, size_t size)
{
	size_t at = input_place(in, size);
	size_t n = 8 * ((size_t)input_byte(in) + 1);

	memset(buf + at, input_byte(in), n < size - at ? n : size - at);
}

static inline void
input_changes(struct input *in, uint8_t *buf, size_t size)
{
	unsigned int n = input_byte(in);
	size_t at;

	if (size == 0)
		return;
	if (n >= INPUT_FILL) {
		input_fill(in, buf, size);
		n -= INPUT_FILL;
	}
	for (n %= 17; n > 0; n--) {
		at = input_place(in, size);
		buf[at] = input_byte(in);
	}
}

/* exactly: a copy until the next one; what reads behind its end is seen. */
static inline const void *
exactly(const void *payload, size_t size)
{
	static void *copy;

	free(copy);
	if ((copy = malloc(size)) == NULL)
		abort();
	return memcpy(copy, payload, size);
}

/* must: what is claimed in docs/SECURITY.md holds. */
#define must(claim) \
	((claim) ? (void)0 : must_failed(__FILE__, __LINE__, #claim))

static inline void
must_failed(const char *file, int line, const char *claim)
{
	dprintf(STDERR_FILENO, "%s:%d: does not hold: %s\n", file, line, claim);
	abort();
}

/* all_is_written: reads each byte of what would be sent, for valgrind. */
static inline void
all_is_written(const void *payload, size_t size)
{
	const uint8_t *bytes = payload;
	size_t sum = 0, i;

	for (i = 0; i < size; i++)
		sum += bytes[i];
	must(sum <= UINT8_MAX * size);
}

#endif
