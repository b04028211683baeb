/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "audit.h"
#include "enginelog.h"
#include "evejson.h"

/*
 * What EVE's files say, as far as it counts: a line for the file, then one
 * for each of its bundles or adapters, of which there may be too many for
 * one.  usbmgrctl/evelog.c reads them.
 */

static const char *const bundle_keys[BUNDLE_TEXTS] = {
	[BUNDLE_LABEL] = "Phylabel",
	[BUNDLE_LOGICAL] = "Logicallabel",
	[BUNDLE_GROUP] = "AssignmentGroup",
	[BUNDLE_PARENT] = "ParentAssignmentGroup",
	[BUNDLE_USBADDR] = "UsbAddr",
	[BUNDLE_USBPRODUCT] = "UsbProduct",
	[BUNDLE_PCI] = "PciLong",
};

static struct json *
begin(const char *event, const struct core_event *ev)
{
	struct json *j = audit_begin(event);

	json_num(j, "at", (int64_t)ev->now);
	return j;
}

static void
log_plain(const char *event, const struct core_event *ev)
{
	begin(event, ev);
	audit_end();
}

static void
log_bundle(const struct bundle *b)
{
	struct json *j = audit_begin("eve-bundle");
	unsigned int i;

	for (i = 0; i < BUNDLE_TEXTS; i++)
		json_str(j, bundle_keys[i], b->text[i]);
	audit_end();
}

static void
log_adapters(const struct core_event *ev)
{
	const struct bundle_list *list = ev->u.adapters;
	size_t i;

	if (list == NULL) {
		log_plain("eve-adapters-unread", ev);
		return;
	}
	json_num(begin("eve-adapters", ev), "bundles", (int64_t)list->n);
	audit_end();
	for (i = 0; i < list->n; i++)
		log_bundle(&list->bundles[i]);
}

static void
log_file(const char *event, const struct core_event *ev)
{
	json_str(begin(event, ev), "file", ev->u.domain->key);
	audit_end();
}

static void
log_domain(const struct core_event *ev)
{
	const struct domain *d = ev->u.domain->status;
	struct json *j;
	size_t i;

	if (d == NULL) {
		log_file("eve-domain-unread", ev);
		return;
	}
	j = begin("eve-domain", ev);
	json_str(j, "file", ev->u.domain->key);
	json_str(j, "vm", d->name);
	json_num(j, "state", d->state);
	json_num(j, "adapters", (int64_t)d->nadapters);
	audit_end();
	for (i = 0; i < d->nadapters; i++) {
		json_str(audit_begin("eve-adapter"), "name", d->adapters[i]);
		audit_end();
	}
}

void
enginelog_eve(const struct core_event *ev)
{
	switch (ev->type) {
	case EV_EVE_BEGIN:
		log_plain("eve-begin", ev);
		break;
	case EV_EVE_END:
		log_plain("eve-end", ev);
		break;
	case EV_EVE_ADAPTERS:
		log_adapters(ev);
		break;
	case EV_EVE_ADAPTERS_GONE:
		log_plain("eve-adapters-gone", ev);
		break;
	case EV_EVE_DOMAIN:
		log_domain(ev);
		break;
	default:
		log_file("eve-domain-gone", ev);
	}
}
