/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any text as a manifest: bundles that answer for devices, or an error with
 * its place.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "decide.h"
#include "manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static unsigned int errors;

static void
note(struct jsonread_place place, int is_error, const char *text, void *arg)
{
	const size_t *size = arg;

	errors += is_error != 0;
	if (place.line == 0 || place.column == 0 || place.line > *size + 1 ||
	    place.column > *size + 1 || text[0] == '\0')
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bundle_list *list;
	char *text;

	if ((text = malloc(size + 1)) == NULL)
		abort();
	memcpy(text, data, size);
	errors = 0;
	list = manifest_text(text, size, note, &size);
	free(text);
	if ((list == NULL) != (errors > 0))
		abort();
	if (list != NULL)
		check_bundles(list);
	return 0;
}
