/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef DECIDE_H
#define DECIDE_H

#include <stdlib.h>
#include <string.h>
#include "bundles.h"

/* What must hold for any bundles, whoever has them. */

static inline void
check_answer(struct bundles *set, const struct usbdev *d)
{
	struct bundles_answer a, again;
	unsigned int i;

	bundles_decide(set, d, &a);
	bundles_decide(set, d, &again);
	if (a.verdict != again.verdict || a.nvms != again.nvms ||
	    memcmp(a.vms, again.vms, sizeof(a.vms)) != 0 ||
	    (a.verdict == BUNDLES_PASS) != (a.nvms > 0) ||
	    (a.verdict == BUNDLES_FORBID && a.reason[0] == '\0') ||
	    memchr(a.reason, '\0', sizeof(a.reason)) == NULL)
		abort();
	/* Machine 3 is down, and 2 owns no controller. */
	for (i = 0; i < a.nvms; i++)
		if (a.vms[i] < 1 || a.vms[i] > 2 ||
		    memchr(a.where[i], '\0', sizeof(a.where[i])) == NULL)
			abort();
}

static inline void
check_refused(const struct bundle *b, const char *why, void *arg)
{
	(void)arg;
	if (bundle_name(b) == NULL || why[0] == '\0')
		abort();
}

/* Takes the list; every third bundle is another machine's. */
static inline void
check_bundles(struct bundle_list *list)
{
	struct bundles *set = bundles_new("fuzz");
	struct bundles_named named;
	struct usbdev d;
	char *names[3][64];
	size_t n[3] = { 0, 0, 0 }, i;

	for (i = 0; i < list->n && i < 3 * 64; i++)
		names[i % 3][n[i % 3]++] =
		    list->bundles[i].text[(enum bundle_text)(i / 3 % 3)];
	for (i = 0; i < 3; i++) {
		bundles_machine(set, (uint32_t)i + 1, "m", names[i], n[i]);
		bundles_machine_is(set, (uint32_t)i + 1, i < 2, i == 0);
	}
	/* The empty list is what there was. */
	if (!bundles_replace(set, list)) {
		bundles_free(set);
		return;
	}
	bundles_refused(set, check_refused, NULL);
	for (i = 0; i < list->n && i < 64; i++) {
		memset(&d, 0, sizeof(d));
		d.port.busnum = 3;
		d.port.depth = 2;
		d.port.chain[0] = d.port.chain[1] = 1;
		if (list->bundles[i].port.busnum != 0)
			d.port = list->bundles[i].port;
		d.vendor = list->bundles[i].vendor;
		d.product = list->bundles[i].product;
		strlcpy(d.controller, list->bundles[i].text[BUNDLE_PCI],
		    sizeof(d.controller));
		check_answer(set, &d);
		memset(&named, 0, sizeof(named));
		bundles_find(set, list->bundles[i].text[BUNDLE_GROUP], &named);
	}
	bundles_free(set);
}

#endif
