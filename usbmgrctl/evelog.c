/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "evejson.h"
#include "replayint.h"
#include "xalloc.h"

/* The lines of usbmgrd/enginelog_eve.c, until they make an event. */
static struct {
	struct bundle_list *list;
	size_t bundles; /* that it is to have */
	struct domain *domain;
	size_t adapters;
	char key[MSG_KEY_MAX];
} evelog;

static void
add_bundle(const struct replay_event *ev)
{
	struct bundle *b = bundle_add(evelog.list);
	unsigned int i;

	for (i = 0; i < BUNDLE_TEXTS; i++)
		if (ev->eve_text[i][0] != '\0')
			bundle_set(
			    b, (enum bundle_text)i, xstrdup(ev->eve_text[i]));
	bundle_read(b);
}

static void
begin_domain(const struct replay_event *ev)
{
	struct domain *d = xcalloc(1, sizeof(*d));

	evelog_free();
	strlcpy(d->name, ev->vm, sizeof(d->name));
	d->state = ev->eve_state;
	d->adapters = xcalloc((size_t)ev->count + 1, sizeof(*d->adapters));
	evelog.domain = d;
	evelog.adapters = (size_t)ev->count;
	strlcpy(evelog.key, ev->eve_file, sizeof(evelog.key));
}

/* 1 if the file is whole. */
static int
adapters(struct core_event *cev)
{
	if (evelog.list->n < evelog.bundles)
		return 0;
	cev->type = EV_EVE_ADAPTERS;
	cev->u.adapters = evelog.list;
	evelog.list = NULL;
	return 1;
}

static int
domain(struct core_event *cev, struct core_domain *d)
{
	if (evelog.domain->nadapters < evelog.adapters)
		return 0;
	strlcpy(d->key, evelog.key, sizeof(d->key));
	d->status = evelog.domain;
	evelog.domain = NULL;
	cev->type = EV_EVE_DOMAIN;
	return 1;
}

static int
file(struct core_event *cev, struct core_domain *d, enum core_event_type type,
    const struct replay_event *ev)
{
	strlcpy(d->key, ev->eve_file, sizeof(d->key));
	cev->type = type;
	return 1;
}

int
evelog_event(const struct replay_event *ev, struct core_event *cev,
    struct core_domain *d)
{
	memset(d, 0, sizeof(*d));
	cev->u.domain = d;
	switch (ev->type) {
	case REPLAY_EVE_BEGIN:
		cev->type = EV_EVE_BEGIN;
		return 1;
	case REPLAY_EVE_END:
		cev->type = EV_EVE_END;
		return 1;
	case REPLAY_EVE_ADAPTERS:
		evelog_free();
		evelog.list = xcalloc(1, sizeof(*evelog.list));
		evelog.bundles = (size_t)ev->count;
		return adapters(cev);
	case REPLAY_EVE_BUNDLE:
		if (evelog.list == NULL)
			return -1;
		add_bundle(ev);
		return adapters(cev);
	case REPLAY_EVE_ADAPTERS_UNREAD:
		cev->type = EV_EVE_ADAPTERS;
		cev->u.adapters = NULL;
		return 1;
	case REPLAY_EVE_ADAPTERS_GONE:
		cev->type = EV_EVE_ADAPTERS_GONE;
		return 1;
	case REPLAY_EVE_DOMAIN:
		begin_domain(ev);
		return domain(cev, d);
	case REPLAY_EVE_ADAPTER:
		if (evelog.domain == NULL)
			return -1;
		evelog.domain->adapters[evelog.domain->nadapters++] =
		    xstrdup(ev->eve_text[BUNDLE_LABEL]);
		return domain(cev, d);
	case REPLAY_EVE_DOMAIN_UNREAD:
		return file(cev, d, EV_EVE_DOMAIN, ev);
	case REPLAY_EVE_DOMAIN_GONE:
		return file(cev, d, EV_EVE_DOMAIN_GONE, ev);
	default:
		return -1;
	}
}

void
evelog_free(void)
{
	bundle_list_free(evelog.list);
	domain_free(evelog.domain);
	evelog.list = NULL;
	evelog.domain = NULL;
}
