/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any text as the lines that replay reads: an event, whose device is one
 * that the core may be told of, or a message.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../usbmgrctl/events.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
check_line(const char *line, size_t len)
{
	static struct replay_event ev;
	char error[256] = "";

	if (events_parse(line, len, &ev, error, sizeof(error)) == -1) {
		if (error[0] == '\0')
			abort();
	} else if (ev.type == REPLAY_DEVICE_ADD) {
		if (usbdev_check(&ev.device) != NULL)
			abort();
	} else {
		bundle_list_free(ev.adapters);
		domain_free(ev.domain);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line = (const char *)data, *end;

	while ((end = memchr(line, '\n', size)) != NULL) {
		check_line(line, (size_t)(end - line));
		size -= (size_t)(end - line) + 1;
		line = end + 1;
	}
	check_line(line, size);
	return 0;
}
