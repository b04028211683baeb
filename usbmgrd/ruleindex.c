/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "policy.h"

/* Which of the things that a rule has is its key. */
enum key_kind {
	KEY_REST, /* rules that are looked at for every device */
	KEY_PORT,
	KEY_BELOW,
	KEY_CHAIN, /* a port on any bus of a controller */
	KEY_IDSERIAL,
	KEY_ID,
	KEY_SERIAL,
	KEY_VENDOR,
	KEY_PRODUCT
};

/* FNV-1a.  Keys that collide only cost a comparison more. */
#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

static uint64_t
hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len > 0; len--)
		h = (h ^ *p++) * HASH_PRIME;
	return h;
}

static uint64_t
hash_kind(enum key_kind kind)
{
	uint8_t byte = (uint8_t)kind;

	return hash(HASH_START, &byte, 1);
}

static uint64_t
key_port(enum key_kind kind, const struct usbport *port)
{
	return hash(hash_kind(kind), port, sizeof(*port));
}

static uint64_t
key_chain(const char *controller, const struct usbport *port)
{
	struct usbport chain = *port;

	chain.busnum = 0;
	return hash(key_port(KEY_CHAIN, &chain), controller,
	    strnlen(controller, USBDEV_CONTROLLER_MAX));
}

static uint64_t
key_id(enum key_kind kind, unsigned int vendor, unsigned int product,
    const char *serial)
{
	uint16_t id[2] = { (uint16_t)vendor, (uint16_t)product };

	return hash(
	    hash(hash_kind(kind), id, sizeof(id)), serial, strlen(serial));
}

int
ruletext_is_pattern(const char *s)
{
	return strpbrk(s, "*?[\\") != NULL;
}

static const char *
exact_serial(const struct rule *r)
{
	const char *serial = r->text[TEXT_SERIAL];

	return serial == NULL || ruletext_is_pattern(serial) ? NULL : serial;
}

static int
has(const struct rule *r, uint32_t bits)
{
	return (r->msg.has & bits) == bits;
}

static uint64_t
rule_key(const struct rule *r)
{
	const struct msg_rule *m = &r->msg;
	const char *serial = exact_serial(r);

	if (has(r, RULE_HAS_PORT))
		return m->port.busnum != 0 ? key_port(KEY_PORT, &m->port)
					   : key_chain(m->controller, &m->port);
	if (has(r, RULE_HAS_BELOW))
		return key_port(KEY_BELOW, &m->below);
	if (has(r, RULE_HAS_VENDOR | RULE_HAS_PRODUCT))
		return serial == NULL
			   ? key_id(KEY_ID, m->vendor, m->product, "")
			   : key_id(
				 KEY_IDSERIAL, m->vendor, m->product, serial);
	if (serial != NULL)
		return key_id(KEY_SERIAL, 0, 0, serial);
	if (has(r, RULE_HAS_VENDOR))
		return key_id(KEY_VENDOR, m->vendor, 0, "");
	if (has(r, RULE_HAS_PRODUCT))
		return key_id(KEY_PRODUCT, 0, m->product, "");
	return hash_kind(KEY_REST);
}

static int
entry_cmp(const void *va, const void *vb)
{
	const struct ruleindex_entry *a = va, *b = vb;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->rule < b->rule ? -1 : a->rule > b->rule;
}

static int
key_cmp(const void *va, const void *vb)
{
	const uint64_t *a = va, *b = vb;

	return *a < *b ? -1 : *a > *b;
}

/* The slot of the key, or the free one where it would be. */
static struct ruleindex_slot *
find_slot(const struct ruleindex *ix, uint64_t key)
{
	size_t i = (size_t)(key ^ key >> 32) & ix->mask;

	while (ix->slots[i].n != 0 && ix->slots[i].key != key)
		i = (i + 1) & ix->mask;
	return &ix->slots[i];
}

static int
build_slots(struct ruleindex *ix)
{
	struct ruleindex_slot *slot;
	size_t i, size = 4;

	/* At most half full, so that a search soon ends. */
	while (size < 2 * ix->n)
		size *= 2;
	if ((ix->slots = calloc(size, sizeof(*ix->slots))) == NULL)
		return -1;
	ix->mask = size - 1;
	for (i = 0; i < ix->n; i++) {
		slot = find_slot(ix, ix->entries[i].key);
		if (slot->n++ == 0) {
			slot->key = ix->entries[i].key;
			slot->first = (uint32_t)i;
		}
	}
	return 0;
}

int
ruleindex_build(struct ruleindex *ix, const struct rule *rules, size_t n)
{
	const struct rule *r;
	size_t i;

	memset(ix, 0, sizeof(*ix));
	ix->entries = calloc(n + 1, sizeof(*ix->entries));
	ix->own = calloc(2 * n + 1, sizeof(*ix->own));
	if (ix->entries == NULL || ix->own == NULL) {
		ruleindex_free(ix);
		return -1;
	}
	for (i = 0; i < n; i++) {
		r = &rules[i];
		ix->entries[i].key = rule_key(r);
		ix->entries[i].rule = (uint32_t)i;
		ix->entries[i].quick = (r->msg.flags & RULE_QUICK) != 0;
		if (has(r, RULE_HAS_PORT) && r->msg.port.busnum != 0)
			ix->own[ix->nown++] = key_port(KEY_PORT, &r->msg.port);
		if (has(r, RULE_HAS_BELOW))
			ix->own[ix->nown++] =
			    key_port(KEY_BELOW, &r->msg.below);
	}
	ix->n = n;
	qsort(ix->entries, n, sizeof(*ix->entries), entry_cmp);
	qsort(ix->own, ix->nown, sizeof(*ix->own), key_cmp);
	if (build_slots(ix) == -1) {
		ruleindex_free(ix);
		return -1;
	}
	return 0;
}

void
ruleindex_free(struct ruleindex *ix)
{
	free(ix->entries);
	free(ix->own);
	free(ix->slots);
	memset(ix, 0, sizeof(*ix));
}

static int
is_own(const struct ruleindex *ix, uint64_t key)
{
	return bsearch(&key, ix->own, ix->nown, sizeof(*ix->own), key_cmp) !=
	       NULL;
}

int
ruleindex_names_port(const struct ruleindex *ix, const struct usbport *port)
{
	return is_own(ix, key_port(KEY_PORT, port));
}

/* The hub that port hangs on: false at the root. */
static int
hub_above(struct usbport *port)
{
	if (port->depth <= 1)
		return 0;
	port->chain[--port->depth] = 0;
	return 1;
}

int
ruleindex_names_below(const struct ruleindex *ix, const struct usbport *port)
{
	struct usbport hub = *port;

	while (hub_above(&hub))
		if (is_own(ix, key_port(KEY_BELOW, &hub)))
			return 1;
	return 0;
}

static size_t
keys_of_place(
    const struct usbport *port, int with_port, int with_below, uint64_t *keys)
{
	struct usbport hub = *port;
	size_t n = 0;

	if (with_port)
		keys[n++] = key_port(KEY_PORT, port);
	while (with_below && hub_above(&hub))
		keys[n++] = key_port(KEY_BELOW, &hub);
	return n;
}

size_t
ruleindex_keys(const struct ruleindex *ix, const struct usbdev *d,
    uint64_t keys[RULEINDEX_KEYS_MAX])
{
	size_t n;

	n = keys_of_place(&d->port, 1, 1, keys);
	if (d->peer.busnum != 0) {
		n +=
		    keys_of_place(&d->peer, !ruleindex_names_port(ix, &d->port),
			!ruleindex_names_below(ix, &d->port), keys + n);
		keys[n++] = key_chain(d->controller, &d->peer);
	}
	keys[n++] = key_chain(d->controller, &d->port);
	keys[n++] = key_id(KEY_IDSERIAL, d->vendor, d->product, d->serial);
	keys[n++] = key_id(KEY_ID, d->vendor, d->product, "");
	keys[n++] = key_id(KEY_SERIAL, 0, 0, d->serial);
	keys[n++] = key_id(KEY_VENDOR, d->vendor, 0, "");
	keys[n++] = key_id(KEY_PRODUCT, 0, d->product, "");
	keys[n++] = hash_kind(KEY_REST);
	return n;
}

const struct ruleindex_entry *
ruleindex_find(const struct ruleindex *ix, uint64_t key, size_t *n)
{
	const struct ruleindex_slot *slot = find_slot(ix, key);

	*n = slot->n;
	return ix->entries + slot->first;
}
