/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Any text as what EVE publishes, both kinds, and as an event of replay. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "decide.h"
#include "evejson.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
check_error(const struct jsonread_place *place, const char *error, size_t size)
{
	if (place->line == 0 || place->column == 0 || place->line > size + 1 ||
	    place->column > size + 1 || error[0] == '\0')
		abort();
}

static void
check_domain(struct domain *d)
{
	size_t i;

	if (memchr(d->name, '\0', sizeof(d->name)) == NULL ||
	    d->nadapters > EVE_ADAPTERS_MAX)
		abort();
	for (i = 0; i < d->nadapters; i++)
		if (d->adapters[i][0] == '\0')
			abort();
	domain_free(d);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct jsonread_place place = { 0, 0 };
	const char *text = (const char *)data;
	struct bundle_list *list;
	struct domain *d;
	char error[256] = "";

	list = evejson_adapters(text, size, &place, error, sizeof(error));
	if (list == NULL)
		check_error(&place, error, size);
	else
		check_bundles(list);
	d = evejson_domain(text, size, &place, error, sizeof(error));
	if (d == NULL)
		check_error(&place, error, size);
	else
		check_domain(d);
	list = evejson_event_adapters(text, size, error, sizeof(error));
	if (list != NULL)
		check_bundles(list);
	d = evejson_event_domain(text, size, error, sizeof(error));
	if (d != NULL)
		check_domain(d);
	return 0;
}
