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
 * input_changes: up to 16 bytes of the size bytes at buf become other ones: a
 * byte tells how many, then come place and value of each.
 */
static inline void
input_changes(struct input *in, uint8_t *buf, size_t size)
{
	unsigned int n = input_byte(in) % 17;
	size_t at;

	for (; n > 0 && size > 0; n--) {
		at = input_byte(in);
		at |= (size_t)input_byte(in) << 8;
		buf[at % size] = input_byte(in);
	}
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
