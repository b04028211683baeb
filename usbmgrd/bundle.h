/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef BUNDLE_H
#define BUNDLE_H

#include <stddef.h>
#include "msg.h"

/*
 * An I/O bundle of EVE: what may be assigned to a machine under one name.
 * Both the ioMemberList of a model and EVE's AssignableAdapters are lists of
 * them.  Strings are never NULL; "" is as good as absent.
 */

#define BUNDLES_MAX 65536
#define BUNDLE_TEXT_MAX \
	256 /* what EVE publishes; so a bundle fits a log line */

enum bundle_text {
	BUNDLE_LABEL, /* phylabel */
	BUNDLE_LOGICAL, /* logicallabel */
	BUNDLE_GROUP, /* assigngrp */
	BUNDLE_PARENT, /* parentassigngrp */
	BUNDLE_USBADDR,
	BUNDLE_USBPRODUCT,
	BUNDLE_PCI,
	BUNDLE_TEXTS
};

#define BUNDLE_HAS_PORT 0x1U
#define BUNDLE_HAS_WILDCARD 0x2U /* port is the hub, depth 0 the whole bus */
#define BUNDLE_HAS_PRODUCT 0x4U
#define BUNDLE_HAS_PCI 0x8U

struct bundle {
	char *text[BUNDLE_TEXTS];
	unsigned int line; /* where it stands */
	unsigned int column;
	/* made of the texts by bundle_read */
	unsigned int has; /* 0: it gives no rule */
	struct usbport port;
	uint16_t vendor;
	uint16_t product;
	const char *wrong; /* an address makes no sense: matches nothing */
};

struct bundle_list {
	struct bundle *bundles;
	size_t n;
	size_t max;
};

/*
 * bundle_add: room for one more, its strings empty; NULL when there are
 * BUNDLES_MAX.  Ends the process when memory is short.
 */
struct bundle *bundle_add(struct bundle_list *);

/* bundle_set: takes text. */
void bundle_set(struct bundle *, enum bundle_text, char *text);

/* bundle_read: make addresses of the texts; to be called once. */
void bundle_read(struct bundle *);

/* bundle_name: what people call it: phylabel, else logicallabel. */
const char *bundle_name(const struct bundle *);

/*
 * bundle_prefix: how many of the first max bytes of UTF-8 are whole
 * characters.
 */
size_t bundle_prefix(const char *, size_t max);

/* bundle_list_same: do both say the same, in the same order?  1 or 0. */
int bundle_list_same(const struct bundle_list *, const struct bundle_list *);

/* bundle_list_free: also frees the list itself; no effect on NULL. */
void bundle_list_free(struct bundle_list *);

#endif
