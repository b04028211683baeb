/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "bundle.h"
#include "log.h"

static char nothing[] = "";

struct bundle *
bundle_add(struct bundle_list *list)
{
	struct bundle *b;
	size_t max;
	int i;

	if (list->n == BUNDLES_MAX)
		return NULL;
	if (list->n == list->max) {
		max = list->max * 2 + 16;
		b = reallocarray(list->bundles, max, sizeof(*b));
		if (b == NULL)
			fatal("reallocarray");
		list->bundles = b;
		list->max = max;
	}
	b = &list->bundles[list->n++];
	memset(b, 0, sizeof(*b));
	for (i = 0; i < BUNDLE_TEXTS; i++)
		b->text[i] = nothing;
	return b;
}

void
bundle_set(struct bundle *b, enum bundle_text which, char *text)
{
	if (b->text[which] != nothing)
		free(b->text[which]);
	b->text[which] = text;
}

const char *
bundle_name(const struct bundle *b)
{
	return b->text[BUNDLE_LABEL][0] != '\0' ? b->text[BUNDLE_LABEL]
						: b->text[BUNDLE_LOGICAL];
}

size_t
bundle_prefix(const char *s, size_t max)
{
	size_t len = strnlen(s, max + 1);

	if (len <= max)
		return len;
	for (len = max; len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80;)
		len--;
	return len;
}

int
bundle_list_same(const struct bundle_list *a, const struct bundle_list *b)
{
	size_t i;
	int k;

	if (a->n != b->n)
		return 0;
	for (i = 0; i < a->n; i++)
		for (k = 0; k < BUNDLE_TEXTS; k++)
			if (strcmp(a->bundles[i].text[k],
				b->bundles[i].text[k]) != 0)
				return 0;
	return 1;
}

void
bundle_list_free(struct bundle_list *list)
{
	size_t i;
	int k;

	if (list == NULL)
		return;
	for (i = 0; i < list->n; i++)
		for (k = 0; k < BUNDLE_TEXTS; k++)
			if (list->bundles[i].text[k] != nothing)
				free(list->bundles[i].text[k]);
	free(list->bundles);
	free(list);
}

/* Addresses */

/*
 * EVE compares the port as text with the kernel's: with a blank or a zero
 * more it never matches.
 */
static int
has_leading_zero(const char *chain)
{
	const char *s;

	for (s = chain; *s != '\0'; s++)
		if (*s == '0' && (s == chain || s[-1] == '.'))
			return 1;
	return 0;
}

/* "3:*" or "3:1.2.*" without its wildcard into buf; NULL: it has none. */
static const char *
without_wildcard(const char *usbaddr, char *buf, size_t size)
{
	size_t len = strlen(usbaddr);

	if (len < 3 || len >= size || usbaddr[len - 1] != '*' ||
	    (usbaddr[len - 2] != '.' && usbaddr[len - 2] != ':'))
		return NULL;
	memcpy(buf, usbaddr, len);
	buf[usbaddr[len - 2] == ':' ? len - 1 : len - 2] = '\0';
	return buf;
}

static const char *
read_usbaddr(struct bundle *b)
{
	static const char what[] = "expected bus and port, as in 3:9, 3:1.2 "
				   "or 3:1.*";
	const char *usbaddr = b->text[BUNDLE_USBADDR], *s, *errstr;
	char buf[64];

	if ((s = without_wildcard(usbaddr, buf, sizeof(buf))) != NULL) {
		b->has |= BUNDLE_HAS_WILDCARD;
		if (s[strlen(s) - 1] == ':')
			strlcat(buf, "1", sizeof(buf));
	} else {
		b->has |= BUNDLE_HAS_PORT;
		s = usbaddr;
	}
	if (usbport_parse(&b->port, s, &errstr) == -1 ||
	    has_leading_zero(strchr(s, ':') + 1))
		return what;
	if (s == buf && usbaddr[strlen(usbaddr) - 2] == ':') {
		b->port.chain[0] = 0;
		b->port.depth = 0;
	}
	if (s == buf && b->port.depth == USB_CHAIN_MAX)
		return "nothing can be below a port that deep";
	return NULL;
}

/* Any number of zeros first; what is behind, or NULL. */
static const char *
read_id(const char *s, uint16_t *id)
{
	unsigned long n = 0;
	const char *start = s;

	for (; isxdigit((unsigned char)*s); s++) {
		n = n * 16 + strtoul((char[]){ *s, '\0' }, NULL, 16);
		if (n > UINT16_MAX)
			return NULL;
	}
	*id = (uint16_t)n;
	return s == start ? NULL : s;
}

static const char *
read_usbproduct(struct bundle *b)
{
	const char *s = b->text[BUNDLE_USBPRODUCT];

	b->has |= BUNDLE_HAS_PRODUCT;
	if ((s = read_id(s, &b->vendor)) == NULL || *s++ != ':' ||
	    (s = read_id(s, &b->product)) == NULL || *s != '\0')
		return "expected vendor and product, as in 045e:0823";
	return NULL;
}

void
bundle_read(struct bundle *b)
{
	const char *wrong = NULL;

	if (b->text[BUNDLE_PCI][0] != '\0')
		b->has |= BUNDLE_HAS_PCI;
	if (b->text[BUNDLE_USBADDR][0] != '\0')
		b->wrong = read_usbaddr(b);
	if (b->text[BUNDLE_USBPRODUCT][0] != '\0')
		wrong = read_usbproduct(b);
	if (b->wrong == NULL)
		b->wrong = wrong;
}
