/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef BUNDLES_H
#define BUNDLES_H

#include <stddef.h>
#include "bundle.h"

/*
 * A list of bundles, the machines that have them, and what that means for a
 * device: the rules of EVE, as docs/EVE.md has them.  Bundles are found by
 * port, hub, product and controller of the device, without a look at others.
 */

struct bundles;

/*
 * bundles_new: without bundles and machines.  name is for reasons, "eve" or
 * "model.json".  Ends the process when memory is short.
 */
struct bundles *bundles_new(const char *name);

/* bundles_free: no effect on NULL. */
void bundles_free(struct bundles *);

/*
 * bundles_replace: other bundles from now on; takes the list.  Returns 0 if
 * they say the same as those before, which stay, else 1.
 */
int bundles_replace(struct bundles *, struct bundle_list *);

/*
 * bundles_refused: call cb for each bundle that gives no rule though it
 * should, with the reason, in their order.
 */
void bundles_refused(const struct bundles *,
    void (*cb)(const struct bundle *, const char *why, void *arg), void *arg);

/*
 * bundles_machine: the machine of that number, called name, is to have what
 * these n adapters name: phylabel, logicallabel or assigngrp, without regard
 * to case.  It is neither up nor an owner of controllers until
 * bundles_machine_is says so.  Replaces what was known of it, but not whether
 * it is up.  Returns 0 if that was the same, else 1.
 */
int bundles_machine(struct bundles *, uint32_t vm, const char *name,
    char *const *adapters, size_t n);

/* bundles_machine_gone: forget it.  Returns 0 if it was not known, else 1. */
int bundles_machine_gone(struct bundles *, uint32_t vm);

/*
 * bundles_machine_is: up: its bundles are in force; owns: its controllers
 * forbid their devices to all.  Returns 0 if that is no news, else 1.
 */
int bundles_machine_is(struct bundles *, uint32_t vm, int up, int owns);

enum bundles_verdict {
	BUNDLES_NOTHING, /* other rules count */
	BUNDLES_PASS,
	BUNDLES_FORBID
};

struct bundles_answer {
	enum bundles_verdict verdict;
	int concerned; /* may change when a machine does */
	int down; /* NOTHING, because a machine is down */
	unsigned int nvms; /* PASS: equally entitled, the first one first */
	uint32_t vms[MSG_RULE_VMS_MAX];
	char where[MSG_RULE_VMS_MAX][MSG_WHERE_MAX]; /* the bundle of each */
	char reason[MSG_TEXT_MAX]; /* of FORBID; "" or why of NOTHING */
};

/* bundles_decide: what becomes of the device.  Hubs are not considered. */
void bundles_decide(
    struct bundles *, const struct usbdev *, struct bundles_answer *);

/* What an adapter names in several lists of bundles. */
enum bundles_found {
	BUNDLES_NO_SUCH, /* similar is one that there is, or "" */
	BUNDLES_ONE,
	BUNDLES_SEVERAL /* of different groups: first and other are two */
};

struct bundles_named {
	size_t bundles;
	const struct bundle *first;
	const struct bundle *other;
	unsigned int distance; /* of similar */
	char similar[256];
};

/*
 * bundles_find: add what the name means here to named, which is zeroed
 * before the first of several.
 */
enum bundles_found bundles_find(
    const struct bundles *, const char *name, struct bundles_named *);

/*
 * bundles_not_one: why the machine cannot have that adapter, of which
 * bundles_find last said found, into buf of n bytes.
 */
void bundles_not_one(const char *vm, const char *adapter, enum bundles_found,
    const struct bundles_named *, char *buf, size_t n);

#endif
