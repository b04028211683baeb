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

/*
 * FNV-1a.  Keys that collide only cost a comparison more.  No key is 0, which
 * is an empty slot.
 */
#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

static uint64_t
hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len > 0; len--)
		h = (h ^ *p++) * HASH_PRIME;
	return h == 0 ? HASH_START : h;
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

static enum key_kind
rule_kind(const struct rule *r)
{
	if (has(r, RULE_HAS_PORT))
		return r->msg.port.busnum != 0 ? KEY_PORT : KEY_CHAIN;
	if (has(r, RULE_HAS_BELOW))
		return KEY_BELOW;
	if (has(r, RULE_HAS_VENDOR | RULE_HAS_PRODUCT))
		return exact_serial(r) == NULL ? KEY_ID : KEY_IDSERIAL;
	if (exact_serial(r) != NULL)
		return KEY_SERIAL;
	if (has(r, RULE_HAS_VENDOR))
		return KEY_VENDOR;
	return has(r, RULE_HAS_PRODUCT) ? KEY_PRODUCT : KEY_REST;
}

/* Adds its kind to kinds. */
static uint64_t
rule_key(const struct rule *r, uint32_t *kinds)
{
	const struct msg_rule *m = &r->msg;
	enum key_kind kind = rule_kind(r);

	*kinds |= 1U << kind;
	switch (kind) {
	case KEY_PORT:
		return key_port(KEY_PORT, &m->port);
	case KEY_CHAIN:
		return key_chain(m->controller, &m->port);
	case KEY_BELOW:
		return key_port(KEY_BELOW, &m->below);
	case KEY_ID:
		return key_id(kind, m->vendor, m->product, "");
	case KEY_IDSERIAL:
		return key_id(kind, m->vendor, m->product, exact_serial(r));
	case KEY_SERIAL:
		return key_id(kind, 0, 0, exact_serial(r));
	case KEY_VENDOR:
		return key_id(kind, m->vendor, 0, "");
	case KEY_PRODUCT:
		return key_id(kind, 0, m->product, "");
	case KEY_REST:
		break;
	}
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

/* The slot of the key, or the empty one where it would be. */
static struct ruleindex_slot *
find_slot(const struct ruleindex *ix, uint64_t key)
{
	size_t i = (size_t)(key ^ key >> 32);

	for (;; i++)
		if (ix->slots[i & ix->mask].key == key ||
		    ix->slots[i & ix->mask].key == 0)
			return &ix->slots[i & ix->mask];
}

/* Twice as many slots as there can be keys: a rule may have two. */
static int
make_slots(struct ruleindex *ix, size_t rules)
{
	size_t n = 16;

	while (n < 4 * rules)
		n *= 2;
	ix->slots = calloc(n, sizeof(*ix->slots));
	ix->mask = n - 1;
	return ix->slots == NULL ? -1 : 0;
}

static void
add_names(struct ruleindex *ix, const struct rule *r)
{
	uint64_t key;

	if (has(r, RULE_HAS_PORT)) {
		key = rule_key(r, &ix->kinds);
		find_slot(ix, key)->key = key;
	}
	if (has(r, RULE_HAS_BELOW)) {
		key = key_port(KEY_BELOW, &r->msg.below);
		find_slot(ix, key)->key = key;
		ix->kinds |= 1U << KEY_BELOW;
	}
}

static void
add_entries(struct ruleindex *ix)
{
	struct ruleindex_slot *slot;
	size_t i;

	for (i = 0; i < ix->n; i++) {
		slot = find_slot(ix, ix->entries[i].key);
		if (slot->n++ == 0)
			slot->first = (uint32_t)i;
		slot->key = ix->entries[i].key;
	}
}

int
ruleindex_build(struct ruleindex *ix, const struct rule *rules, size_t n)
{
	const struct rule *r;
	size_t i;

	memset(ix, 0, sizeof(*ix));
	ix->entries = calloc(n + 1, sizeof(*ix->entries));
	if (ix->entries == NULL || make_slots(ix, n) == -1) {
		ruleindex_free(ix);
		return -1;
	}
	ix->n = n;
	for (i = 0; i < n; i++) {
		r = &rules[i];
		ix->entries[i].key = rule_key(r, &ix->kinds);
		ix->entries[i].rule = (uint32_t)i;
		ix->entries[i].quick = (r->msg.flags & RULE_QUICK) != 0;
		add_names(ix, r);
	}
	qsort(ix->entries, n, sizeof(*ix->entries), entry_cmp);
	add_entries(ix);
	return 0;
}

void
ruleindex_free(struct ruleindex *ix)
{
	free(ix->entries);
	free(ix->slots);
	memset(ix, 0, sizeof(*ix));
}

static int
has_kind(const struct ruleindex *ix, enum key_kind kind)
{
	return (ix->kinds & 1U << kind) != 0;
}

static int
is_key(const struct ruleindex *ix, uint64_t key)
{
	return find_slot(ix, key)->key == key;
}

int
ruleindex_names_port(const struct ruleindex *ix, const struct usbdev *d)
{
	return (has_kind(ix, KEY_PORT) &&
		   is_key(ix, key_port(KEY_PORT, &d->port))) ||
	       (has_kind(ix, KEY_CHAIN) &&
		   is_key(ix, key_chain(d->controller, &d->port)));
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
ruleindex_names_below(const struct ruleindex *ix, const struct usbdev *d)
{
	struct usbport hub = d->port;

	while (has_kind(ix, KEY_BELOW) && hub_above(&hub))
		if (is_key(ix, key_port(KEY_BELOW, &hub)))
			return 1;
	return 0;
}

static size_t
keys_of_port(const struct ruleindex *ix, const struct usbdev *d,
    const struct usbport *port, uint64_t *keys)
{
	size_t n = 0;

	if (has_kind(ix, KEY_PORT))
		keys[n++] = key_port(KEY_PORT, port);
	if (has_kind(ix, KEY_CHAIN))
		keys[n++] = key_chain(d->controller, port);
	return n;
}

static size_t
keys_below(
    const struct ruleindex *ix, const struct usbport *port, uint64_t *keys)
{
	struct usbport hub = *port;
	size_t n = 0;

	while (has_kind(ix, KEY_BELOW) && hub_above(&hub))
		keys[n++] = key_port(KEY_BELOW, &hub);
	return n;
}

static size_t
keys_of_identity(
    const struct ruleindex *ix, const struct usbdev *d, uint64_t *keys)
{
	size_t n = 0;

	if (has_kind(ix, KEY_IDSERIAL))
		keys[n++] =
		    key_id(KEY_IDSERIAL, d->vendor, d->product, d->serial);
	if (has_kind(ix, KEY_ID))
		keys[n++] = key_id(KEY_ID, d->vendor, d->product, "");
	if (has_kind(ix, KEY_SERIAL))
		keys[n++] = key_id(KEY_SERIAL, 0, 0, d->serial);
	if (has_kind(ix, KEY_VENDOR))
		keys[n++] = key_id(KEY_VENDOR, d->vendor, 0, "");
	if (has_kind(ix, KEY_PRODUCT))
		keys[n++] = key_id(KEY_PRODUCT, 0, d->product, "");
	if (has_kind(ix, KEY_REST))
		keys[n++] = hash_kind(KEY_REST);
	return n;
}

size_t
ruleindex_keys(const struct ruleindex *ix, const struct usbdev *d,
    uint64_t keys[RULEINDEX_KEYS_MAX])
{
	size_t n;

	n = keys_of_port(ix, d, &d->port, keys);
	n += keys_below(ix, &d->port, keys + n);
	if (d->peer.busnum != 0 && !ruleindex_names_port(ix, d)) {
		n += keys_of_port(ix, d, &d->peer, keys + n);
		if (!ruleindex_names_below(ix, d))
			n += keys_below(ix, &d->peer, keys + n);
	}
	return n + keys_of_identity(ix, d, keys + n);
}

const struct ruleindex_entry *
ruleindex_find(const struct ruleindex *ix, uint64_t key, size_t *n)
{
	const struct ruleindex_slot *slot = find_slot(ix, key);

	*n = slot->n;
	return ix->entries + slot->first;
}
