/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef EVEJSON_H
#define EVEJSON_H

#include "bundle.h"
#include "jsonread.h"

/*
 * What EVE publishes: types.AssignableAdapters and types.DomainStatus of
 * lf-edge/eve pkg/pillar.  Empty members are absent or written out, as the
 * release of EVE has it.
 */

#define EVE_ADAPTERS_MAX 1024 /* of one domain */

/* Of a DomainStatus what matters; nothing else of it is kept. */
struct domain {
	char name[MSG_VM_NAME_MAX]; /* DomainName; "" if it has none (yet) */
	int64_t state; /* types.SwState */
	char **adapters; /* names in IoAdapterList */
	size_t nadapters;
};

void domain_free(struct domain *); /* no effect on NULL */

/*
 * evejson_adapters, evejson_domain: from a text.  Returns what is in it, to
 * be freed; NULL with what is wrong with it in error, and where.
 */
struct bundle_list *evejson_adapters(const char *text, size_t len,
    struct jsonread_place *, char *error, size_t n);
struct domain *evejson_domain(const char *text, size_t len,
    struct jsonread_place *, char *error, size_t n);

/*
 * evejson_event_adapters, evejson_event_domain: the same from an event of
 * usbmgrctl replay, which has the text in a member of its own.
 */
struct bundle_list *evejson_event_adapters(
    const char *line, size_t len, char *error, size_t n);
struct domain *evejson_event_domain(
    const char *line, size_t len, char *error, size_t n);

#endif
