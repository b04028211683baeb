/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any bytes from QEMU, received in pieces whose length the first byte tells:
 * the same lines whatever the pieces, each a message or an error in it.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
check_message(const char *line, size_t len)
{
	struct qmp_message m;
	const char *errstr = NULL;
	char version[32];
	size_t at = 0;

	if (line[len] != '\0')
		abort();
	if (qmp_parse(&m, line, len, &at, &errstr) == -1) {
		if (errstr == NULL || at > len)
			abort();
		return;
	}
	if ((m.type == QMP_EVENT && m.name == NULL) ||
	    (m.type == QMP_ERROR && m.desc == NULL))
		abort();
	if (m.type == QMP_GREETING)
		qmp_version(&m, version, sizeof(version));
	qmp_message_free(&m);
}

/* Returns the number of lines. */
static unsigned int
receive(const uint8_t *data, size_t size, size_t piece)
{
	struct qmp_input in;
	uint64_t offset;
	size_t at, len, n;
	unsigned int lines = 0;
	char *line, *space;

	qmp_input_init(&in);
	for (at = 0; at < size; at += n) {
		if ((space = qmp_input_space(&in, &n)) == NULL)
			break;
		n = n < piece ? n : piece;
		n = n < size - at ? n : size - at;
		memcpy(space, data + at, n);
		qmp_input_added(&in, n);
		while ((line = qmp_input_line(&in, &len, &offset)) != NULL) {
			if (offset + len >= size || strlen(line) > len)
				abort();
			check_message(line, len);
			lines++;
		}
	}
	qmp_input_free(&in);
	return lines;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	if (receive(data + 1, size - 1, (size_t)data[0] + 1) !=
	    receive(data + 1, size - 1, size))
		abort();
	return 0;
}
