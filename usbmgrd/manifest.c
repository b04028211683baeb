/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "log.h"
#include "manifest.h"

struct manifest {
	struct bundle_list *list;
	struct bundle *bundle; /* being read */
	int has_list;
	manifest_note *note;
	void *arg;
};

enum kind {
	TOP = JSONREAD_TOP,
	MODEL,
	MEMBERS,
	MEMBER,
	PHYADDRS
};

/* phyaddrs that EVE knows and that say nothing of USB. */
#define OTHER_PHYADDR BUNDLE_TEXTS
#define ZTYPE (BUNDLE_TEXTS + 1)

static const struct jsonread_row rows[] = { { TOP, NULL, 0, JSONREAD_OBJECT,
						MODEL, 0 },
	{ MODEL, "ioMemberList", 0, JSONREAD_ARRAY, MEMBERS, 0 },
	{ MEMBERS, NULL, 0, JSONREAD_OBJECT, MEMBER, 0 },
	{ MEMBER, "ztype", 0, JSONREAD_STRING | JSONREAD_NUMBER, 0, ZTYPE },
	{ MEMBER, "phylabel", 0, JSONREAD_STRING, 0, BUNDLE_LABEL },
	{ MEMBER, "logicallabel", 0, JSONREAD_STRING, 0, BUNDLE_LOGICAL },
	{ MEMBER, "assigngrp", 0, JSONREAD_STRING, 0, BUNDLE_GROUP },
	{ MEMBER, "parentassigngrp", 0, JSONREAD_STRING, 0, BUNDLE_PARENT },
	{ MEMBER, "phyaddrs", 0, JSONREAD_OBJECT, PHYADDRS, 0 },
	{ PHYADDRS, "PciLong", 1, JSONREAD_STRING, 0, BUNDLE_PCI },
	{ PHYADDRS, "usbaddr", 1, JSONREAD_STRING, 0, BUNDLE_USBADDR },
	{ PHYADDRS, "usbproduct", 1, JSONREAD_STRING, 0, BUNDLE_USBPRODUCT },
	{ PHYADDRS, "Ifname", 1, JSONREAD_STRING, 0, OTHER_PHYADDR },
	{ PHYADDRS, "Serial", 1, JSONREAD_STRING, 0, OTHER_PHYADDR },
	{ PHYADDRS, "Irq", 1, JSONREAD_STRING, 0, OTHER_PHYADDR },
	{ PHYADDRS, "Ioports", 1, JSONREAD_STRING, 0, OTHER_PHYADDR },
	{ 0, NULL, 0, 0, 0, 0 } };

static int
read_value(struct jsonread *r, int id, const struct jsonread_value *value)
{
	struct manifest *m = r->arg;

	if (id < BUNDLE_TEXTS)
		bundle_set(
		    m->bundle, (enum bundle_text)id, jsonread_strdup(value));
	return 0;
}

static int
open_kind(struct jsonread *r, int kind)
{
	struct manifest *m = r->arg;
	struct jsonread_place place;

	if (kind == MEMBERS)
		m->has_list = 1;
	if (kind != MEMBER)
		return 0;
	if ((m->bundle = bundle_add(m->list)) == NULL)
		return jsonread_fail(r, "more than %d members", BUNDLES_MAX);
	place = jsonread_here(r);
	m->bundle->line = place.line;
	m->bundle->column = place.column;
	return 0;
}

static int
close_kind(struct jsonread *r, int kind)
{
	struct manifest *m = r->arg;

	if (kind == MEMBER)
		bundle_read(m->bundle);
	return 0;
}

static int
unknown_key(struct jsonread *r, int kind, const char *key, size_t len)
{
	struct manifest *m = r->arg;
	char text[256];

	if (kind != PHYADDRS)
		return 0;
	snprintf(text, sizeof(text),
	    "unknown phyaddrs \"%.*s\" is ignored: expected PciLong, usbaddr, "
	    "usbproduct, Ifname, Serial, Irq or Ioports",
	    (int)(len < 64 ? len : 64), key);
	m->note(jsonread_here(r), 0, text, m->arg);
	return 0;
}

static const struct jsonread_ops ops = {
	.value = read_value,
	.open = open_kind,
	.close = close_kind,
	.unknown = unknown_key,
};

/* One warning for all of it. */
static void
warn_tolerated(const struct jsonread_tolerated *t, struct manifest *m)
{
	char text[256], more[32] = "";

	if (t->commas > 1)
		snprintf(more, sizeof(more), " and %u more place%s",
		    t->commas - 1, t->commas == 2 ? "" : "s");
	if (t->braces && t->commas > 0)
		snprintf(text, sizeof(text),
		    "not JSON, but read all the same: no braces around the "
		    "whole, and a comma before a closing bracket in "
		    "%u:%u%s",
		    t->comma.line, t->comma.column, more);
	else if (t->braces)
		strlcpy(text,
		    "not JSON, but read all the same: no braces around the "
		    "whole",
		    sizeof(text));
	else
		snprintf(text, sizeof(text),
		    "not JSON, but read all the same: a comma before a "
		    "closing bracket here%s",
		    more);
	m->note(t->braces ? t->start : t->comma, 0, text, m->arg);
}

struct bundle_list *
manifest_text(char *text, size_t len, manifest_note *note, void *arg)
{
	struct manifest m = { .note = note, .arg = arg };
	struct jsonread r = { .rows = rows, .ops = &ops, .arg = &m };
	struct jsonread_tolerated tolerated;
	struct jsonread_place top = { .line = 1, .column = 1 };
	int odd;

	if ((m.list = calloc(1, sizeof(*m.list))) == NULL)
		fatal("calloc");
	odd = jsonread_tolerate(text, len, &tolerated);
	r.braces = tolerated.braces;
	if (jsonread_text(&r, text, len) == -1)
		note(r.place, 1, r.error, arg);
	else if (!m.has_list)
		note(top, 1, "there is no ioMemberList in it", arg);
	else {
		if (odd)
			warn_tolerated(&tolerated, &m);
		return m.list;
	}
	bundle_list_free(m.list);
	return NULL;
}

struct bundle_list *
manifest_read(int fd, manifest_note *note, void *arg)
{
	struct jsonread_place none = { .line = 0, .column = 0 };
	struct bundle_list *list;
	char why[128], *text;
	size_t len;

	if ((text = jsonread_load(fd, &len, why, sizeof(why))) == NULL) {
		note(none, 1, why, arg);
		return NULL;
	}
	list = manifest_text(text, len, note, arg);
	jsonread_unload(text, len);
	return list;
}
