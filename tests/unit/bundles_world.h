/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef BUNDLES_WORLD_H
#define BUNDLES_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bundles.h"

/* Bundles and devices by chance, in a world so small that much coincides. */

#define N 8 /* bundles */

static uint32_t seed;

static inline unsigned int
pick(unsigned int n)
{
	seed = seed * 1103515245 + 12345;
	return seed >> 16 & 0x7fff ? (seed >> 16 & 0x7fff) % n : 0;
}

static inline char *
copy(const char *s)
{
	char *c = strdup(s);

	assert_non_null(c);
	return c;
}

/* The world */

static const char *const groups[] = { "", "A", "B", "C", "a" };
static const char *const usbaddrs[] = { "", "", "1:1", "1:2", "1:1.1", "1:*",
	"1:1.*", "2:1", "1-1" };
static const char *const products[] = { "", "", "", "1:1", "1:2", "x" };
static const char *const pcis[] = { "", "", "00:1", "00:2" };
static const char *const names[] = { "p0", "p1", "p2", "p3", "p4", "p5", "p6",
	"p7", "A", "b", "P1" };
static const char *const ports[] = { "1:1", "1:2", "1:1.1", "1:3", "2:1" };

#define PICK(list) (list)[pick(sizeof(list) / sizeof((list)[0]))]

static inline struct bundle_list *
random_list(void)
{
	struct bundle_list *list = calloc(1, sizeof(*list));
	struct bundle *b;
	char name[16];
	int i, n = (int)pick(N + 1);

	assert_non_null(list);
	for (i = 0; i < n; i++) {
		b = bundle_add(list);
		snprintf(name, sizeof(name), "p%d", i);
		bundle_set(b, BUNDLE_LABEL, copy(name));
		bundle_set(b, BUNDLE_GROUP, copy(PICK(groups)));
		if (pick(3) == 0)
			bundle_set(b, BUNDLE_PARENT, copy(PICK(groups)));
		bundle_set(b, BUNDLE_USBADDR, copy(PICK(usbaddrs)));
		bundle_set(b, BUNDLE_USBPRODUCT, copy(PICK(products)));
		bundle_set(b, BUNDLE_PCI, copy(PICK(pcis)));
		bundle_read(b);
	}
	return list;
}

static inline struct usbdev
random_device(void)
{
	struct usbdev d;
	const char *errstr;

	memset(&d, 0, sizeof(d));
	assert_int_equal(usbport_parse(&d.port, PICK(ports), &errstr), 0);
	d.vendor = 1;
	d.product = (uint16_t)(1 + pick(3));
	strlcpy(d.controller, PICK(pcis), sizeof(d.controller));
	return d;
}

#endif
