/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef POLICY_H
#define POLICY_H

#include <stddef.h>
#include "bundles.h"
#include "msg.h"
#include "ruleindex.h"

/* The policy as the engine holds it: machines and rules in their order. */

enum rule_text {
	TEXT_SERIAL,
	TEXT_NAME,
	TEXT_MANUFACTURER,
	TEXT_MAX
};

/* RULE_HAS_SERIAL and so on, for each. */
extern const uint32_t rule_text_bits[TEXT_MAX];

struct rule {
	struct msg_rule msg;
	char *text[TEXT_MAX]; /* NULL where msg.has has no such bit */
	uint64_t
	    hits; /* how often it decided on a device that came or changed */
};

#define POLICY_SOURCES_MAX 16

/* Where rules come from that do not stand in the policy file. */
struct policy_source {
	size_t rule; /* the one that it stands for */
	struct bundles *bundles; /* of a manifest; NULL: those of EVE */
};

struct policy {
	struct msg_vm *vms;
	size_t nvms;
	size_t maxvms;
	struct rule *rules;
	size_t nrules;
	size_t maxrules;
	char *text[TEXT_MAX]; /* of the next rule */
	struct policy_source sources[POLICY_SOURCES_MAX];
	size_t nsources;
	int source_open; /* the last one has no rule yet */
	struct msg_adapter *adapters; /* of machines, in the manifests */
	size_t nadapters;
	struct msg_eve eve; /* where a source is EVE */
	int has_eve;
	struct ruleindex index;
	struct damping damping; /* as policy_new has it, the default */
	uint8_t hash[AUDIT_HASH_LEN]; /* as in MSG_CONF_BEGIN */
};

/*
 * policy_new: an empty policy with room for that many machines and rules;
 * NULL when memory is short.  policy_free has no effect on NULL.
 */
struct policy *policy_new(size_t vms, size_t rules);
void policy_free(struct policy *);

/* policy_check_vm: NULL, or what is wrong with a machine by itself. */
const char *policy_check_vm(const struct msg_vm *);

/*
 * policy_add_vm, policy_add_text, policy_add_rule: append a copy; the texts
 * of a rule come before it.  NULL, or what is wrong: no room, a string
 * without end, a number out of range, a machine that is not there.
 */
const char *policy_add_vm(struct policy *, const struct msg_vm *);
const char *policy_add_text(struct policy *, const struct msg_rule_text *);
const char *policy_add_rule(struct policy *, const struct msg_rule *);

/* policy_set_damping: NULL, or what is wrong: a number out of range. */
const char *policy_set_damping(struct policy *, const struct damping *);

/*
 * policy_add_adapter: of a machine that was added.  policy_add_manifest,
 * which takes bundles, also when it fails, and policy_add_eve: what the next
 * rule, a RULE_SOURCE, stands for.
 */
const char *policy_add_adapter(struct policy *, const struct msg_adapter *);
const char *policy_add_manifest(struct policy *, struct bundles *);
const char *policy_add_eve(struct policy *, const struct msg_eve *);

/*
 * policy_find_adapter: what the name means in all manifests; *named says
 * more.
 */
enum bundles_found policy_find_adapter(
    const struct policy *, const char *name, struct bundles_named *named);

/*
 * policy_check_adapters: does each adapter name something of the manifests,
 * and no two things?  0, or -1 with the first that does not in why.
 */
int policy_check_adapters(const struct policy *, char *why, size_t n);

/*
 * policy_finish: to be called once, when all was added, before the policy is
 * asked.  0, or -1 when memory is short.
 */
int policy_finish(struct policy *);

/* How a rule came to match. */
struct policy_match {
	const struct msg_rule *rule;
	int companion; /* through the other half of the device's port */
	size_t at; /* its place in the policy */
};

/*
 * policy_decide: the rule that decides on the device: the first that matches
 * and says "quick", else the last that matches; rule is NULL if none does.
 * A RULE_SOURCE does not match: see policy_source_after.
 * Depends on nothing but its arguments.  Rules for other ports and products
 * are not looked at.
 */
struct policy_match policy_decide(const struct policy *, const struct usbdev *);

/* policy_hit: count that this rule of the policy decided. */
void policy_hit(struct policy *, const struct msg_rule *);

/*
 * policy_source_after: the last source that may decide where the rules have
 * decided so; with before, the last one before that source.  NULL: none.
 */
const struct policy_source *policy_source_after(const struct policy *,
    const struct policy_match *, const struct policy_source *before);

/*
 * policy_explain: call cb for each rule that matches or is a RULE_SOURCE, in
 * the order of the policy, up to the deciding one.  A walk over all rules: for
 * people.
 */
void policy_explain(const struct policy *, const struct usbdev *,
    void (*cb)(const struct policy_match *, void *arg), void *arg);

#endif
