/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "evejson.h"
#include "log.h"
#include "xalloc.h"

/* In an event of replay a member that is not known is a mistake. */
#define EVENT 20

static int
unknown_key(struct jsonread *r, int kind, const char *key, size_t len)
{
	if (kind != EVENT)
		return 0;
	return jsonread_fail(
	    r, "unknown key \"%.*s\"", (int)(len < 64 ? len : 64), key);
}

/* AssignableAdapters */

enum adapters_kind {
	PUBLICATION = JSONREAD_TOP + 1,
	BUNDLES,
	BUNDLE
};

#define BUNDLE_ROWS                                                            \
	{ BUNDLES, NULL, 0, JSONREAD_OBJECT, BUNDLE, 0 },                      \
	    { BUNDLE, "Phylabel", 0, JSONREAD_STRING, 0, BUNDLE_LABEL },       \
	    { BUNDLE, "Logicallabel", 0, JSONREAD_STRING, 0, BUNDLE_LOGICAL }, \
	    { BUNDLE, "AssignmentGroup", 0, JSONREAD_STRING, 0,                \
		    BUNDLE_GROUP },                                            \
	    { BUNDLE, "ParentAssignmentGroup", 0, JSONREAD_STRING, 0,          \
		    BUNDLE_PARENT },                                           \
	    { BUNDLE, "PciLong", 0, JSONREAD_STRING, 0, BUNDLE_PCI },          \
	    { BUNDLE, "UsbAddr", 0, JSONREAD_STRING, 0, BUNDLE_USBADDR },      \
	    { BUNDLE, "UsbProduct", 0, JSONREAD_STRING, 0,                     \
		    BUNDLE_USBPRODUCT },                                       \
	{                                                                      \
		0, NULL, 0, 0, 0, 0                                            \
	}

static const struct jsonread_row adapters_rows[] = {
	{ JSONREAD_TOP, NULL, 0, JSONREAD_OBJECT, PUBLICATION, 0 },
	{ PUBLICATION, "IoBundleList", 0, JSONREAD_ARRAY, BUNDLES, 0 },
	BUNDLE_ROWS
};

static const struct jsonread_row event_adapters_rows[] = {
	{ JSONREAD_TOP, NULL, 0, JSONREAD_OBJECT, EVENT, 0 },
	{ EVENT, "event", 0, JSONREAD_STRING, 0, BUNDLE_TEXTS },
	{ EVENT, "Initialized", 0, JSONREAD_BOOL, 0, BUNDLE_TEXTS },
	{ EVENT, "IoBundleList", 0, JSONREAD_ARRAY, BUNDLES, 0 }, BUNDLE_ROWS
};

static int
check_text(struct jsonread *r, const struct jsonread_value *value)
{
	if (value->len < BUNDLE_TEXT_MAX)
		return 0;
	return jsonread_fail(r, "longer than %d bytes", BUNDLE_TEXT_MAX - 1);
}

struct adapters {
	struct bundle_list *list;
	struct bundle *bundle; /* being read */
};

static int
adapters_value(struct jsonread *r, int id, const struct jsonread_value *value)
{
	struct adapters *a = r->arg;

	if (id >= BUNDLE_TEXTS)
		return 0;
	if (check_text(r, value) == -1)
		return -1;
	bundle_set(a->bundle, (enum bundle_text)id, jsonread_strdup(value));
	return 0;
}

static int
adapters_open(struct jsonread *r, int kind)
{
	struct adapters *a = r->arg;

	if (kind == BUNDLE && (a->bundle = bundle_add(a->list)) == NULL)
		return jsonread_fail(r, "more than %d bundles", BUNDLES_MAX);
	return 0;
}

static int
adapters_close(struct jsonread *r, int kind)
{
	struct adapters *a = r->arg;

	if (kind == BUNDLE)
		bundle_read(a->bundle);
	return 0;
}

static const struct jsonread_ops adapters_ops = {
	.value = adapters_value,
	.open = adapters_open,
	.close = adapters_close,
	.unknown = unknown_key,
};

static struct bundle_list *
read_adapters(const struct jsonread_row *rows, const char *text, size_t len,
    struct jsonread_place *place, char *error, size_t n)
{
	struct adapters a = { .list = xcalloc(1, sizeof(*a.list)) };
	struct jsonread r = { .rows = rows, .ops = &adapters_ops, .arg = &a };

	if (jsonread_text(&r, text, len) == 0)
		return a.list;
	bundle_list_free(a.list);
	*place = r.place;
	strlcpy(error, r.error, n);
	return NULL;
}

struct bundle_list *
evejson_adapters(const char *text, size_t len, struct jsonread_place *place,
    char *error, size_t n)
{
	return read_adapters(adapters_rows, text, len, place, error, n);
}

struct bundle_list *
evejson_event_adapters(const char *line, size_t len, char *error, size_t n)
{
	struct jsonread_place place;

	return read_adapters(event_adapters_rows, line, len, &place, error, n);
}

/* DomainStatus */

enum domain_kind {
	STATUS = JSONREAD_TOP + 1,
	ADAPTERS,
	ADAPTER
};

enum domain_value {
	NOTHING,
	DOMAIN_NAME,
	STATE,
	ADAPTER_NAME
};

#define STATUS_ROWS                                                      \
	{ STATUS, "DomainName", 0, JSONREAD_STRING, 0, DOMAIN_NAME },    \
	    { STATUS, "State", 0, JSONREAD_NUMBER, 0, STATE },           \
	    { STATUS, "IoAdapterList", 0, JSONREAD_ARRAY, ADAPTERS, 0 }, \
	    { ADAPTERS, NULL, 0, JSONREAD_OBJECT, ADAPTER, 0 },          \
	    { ADAPTER, "Name", 0, JSONREAD_STRING, 0, ADAPTER_NAME },    \
	{                                                                \
		0, NULL, 0, 0, 0, 0                                      \
	}

static const struct jsonread_row domain_rows[] = {
	{ JSONREAD_TOP, NULL, 0, JSONREAD_OBJECT, STATUS, 0 }, STATUS_ROWS
};

static const struct jsonread_row event_domain_rows[] = {
	{ JSONREAD_TOP, NULL, 0, JSONREAD_OBJECT, EVENT, 0 },
	{ EVENT, "event", 0, JSONREAD_STRING, 0, NOTHING },
	{ EVENT, "DomainStatus", 0, JSONREAD_OBJECT, STATUS, 0 }, STATUS_ROWS
};

void
domain_free(struct domain *d)
{
	size_t i;

	if (d == NULL)
		return;
	for (i = 0; i < d->nadapters; i++)
		free(d->adapters[i]);
	free(d->adapters);
	free(d);
}

static int
add_adapter(
    struct jsonread *r, struct domain *d, const struct jsonread_value *value)
{
	if (value->len == 0)
		return 0;
	if (check_text(r, value) == -1)
		return -1;
	if (d->nadapters == EVE_ADAPTERS_MAX)
		return jsonread_fail(
		    r, "more than %d adapters", EVE_ADAPTERS_MAX);
	d->adapters =
	    reallocarray(d->adapters, d->nadapters + 1, sizeof(*d->adapters));
	if (d->adapters == NULL)
		fatal("reallocarray");
	d->adapters[d->nadapters++] = jsonread_strdup(value);
	return 0;
}

static int
domain_value(struct jsonread *r, int id, const struct jsonread_value *value)
{
	struct domain *d = r->arg;

	switch (id) {
	case DOMAIN_NAME:
		if (value->len >= sizeof(d->name))
			return jsonread_fail(r,
			    "\"DomainName\": longer than %zu bytes",
			    sizeof(d->name) - 1);
		memcpy(d->name, value->string, value->len);
		d->name[value->len] = '\0';
		return 0;
	case STATE:
		d->state = value->number;
		return 0;
	case ADAPTER_NAME:
		return add_adapter(r, d, value);
	}
	return 0;
}

static const struct jsonread_ops domain_ops = {
	.value = domain_value,
	.unknown = unknown_key,
};

static struct domain *
read_domain(const struct jsonread_row *rows, const char *text, size_t len,
    struct jsonread_place *place, char *error, size_t n)
{
	struct domain *d = xcalloc(1, sizeof(*d));
	struct jsonread r = { .rows = rows, .ops = &domain_ops, .arg = d };

	if (jsonread_text(&r, text, len) == 0)
		return d;
	domain_free(d);
	*place = r.place;
	strlcpy(error, r.error, n);
	return NULL;
}

struct domain *
evejson_domain(const char *text, size_t len, struct jsonread_place *place,
    char *error, size_t n)
{
	return read_domain(domain_rows, text, len, place, error, n);
}

struct domain *
evejson_event_domain(const char *line, size_t len, char *error, size_t n)
{
	struct jsonread_place place;
	struct domain *d;

	d = read_domain(event_domain_rows, line, len, &place, error, n);
	if (d != NULL && d->name[0] == '\0') {
		strlcpy(error, "\"DomainStatus\": DomainName is missing", n);
		domain_free(d);
		return NULL;
	}
	return d;
}
