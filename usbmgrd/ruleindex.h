/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef RULEINDEX_H
#define RULEINDEX_H

#include <stddef.h>
#include <stdint.h>
#include "msg.h"

/*
 * Finds the rules that may match a device without a look at the others.
 * Each rule stands under one key: what it compares with that the fewest
 * devices have.  A device has a handful of keys.
 */

struct rule;

struct ruleindex {
	struct ruleindex_entry *entries; /* sorted by key, then rule */
	size_t n;
	struct ruleindex_slot *slots; /* hash table, never full */
	size_t mask; /* slots less one, all bits set */
	uint32_t kinds; /* bits for the kinds of keys there are */
};

/* Keys that one device may have; see ruleindex_keys. */
#define RULEINDEX_KEYS_MAX 32

/* The entries of a key; none for a port that a rule names beside its key. */
struct ruleindex_slot {
	uint64_t key;
	uint32_t first;
	uint32_t n;
};

struct ruleindex_entry {
	uint64_t key;
	uint32_t rule; /* its place in the policy */
	uint32_t quick;
};

/* ruleindex_build: 0, or -1 when memory is short. */
int ruleindex_build(struct ruleindex *, const struct rule *, size_t n);

void ruleindex_free(struct ruleindex *);

/*
 * ruleindex_keys: the keys under which rules for the device stand, with its
 * companion port's where that counts.  Returns how many.
 */
size_t ruleindex_keys(const struct ruleindex *, const struct usbdev *,
    uint64_t keys[RULEINDEX_KEYS_MAX]);

/*
 * ruleindex_find: the entries of a key, in the order of the policy; *n is
 * their number.
 */
const struct ruleindex_entry *ruleindex_find(
    const struct ruleindex *, uint64_t key, size_t *n);

/*
 * ruleindex_names_port, ruleindex_names_below: 1 if some rule names the port
 * of the device, or a hub above it on the same bus.  Rules for its companion
 * port, or for hubs above that, then do not count for the device; where the
 * port is named neither do.
 */
int ruleindex_names_port(const struct ruleindex *, const struct usbdev *);
int ruleindex_names_below(const struct ruleindex *, const struct usbdev *);

/* ruletext_is_pattern: 1 if fnmatch(3) would see more than a string in it. */
int ruletext_is_pattern(const char *);

#endif
