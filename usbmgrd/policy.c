/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include "classes.h"
#include "damping.h"
#include "policy_int.h"

const uint32_t rule_text_bits[TEXT_MAX] = {
	[TEXT_SERIAL] = RULE_HAS_SERIAL,
	[TEXT_NAME] = RULE_HAS_NAME,
	[TEXT_MANUFACTURER] = RULE_HAS_MANUFACTURER,
};

struct policy *
policy_new(size_t vms, size_t rules)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->vms = calloc(vms + 1, sizeof(*p->vms));
	p->rules = calloc(rules + 1, sizeof(*p->rules));
	p->maxvms = vms;
	p->maxrules = rules;
	p->damping = damping_default();
	if (p->vms == NULL || p->rules == NULL) {
		policy_free(p);
		return NULL;
	}
	return p;
}

const char *
policy_set_damping(struct policy *p, const struct damping *damping)
{
	if (!damping_valid(damping))
		return "damping that is out of range";
	p->damping = *damping;
	return NULL;
}

static void
free_texts(char *text[TEXT_MAX])
{
	unsigned int i;

	for (i = 0; i < TEXT_MAX; i++) {
		free(text[i]);
		text[i] = NULL;
	}
}

void
policy_free(struct policy *p)
{
	size_t i;

	if (p == NULL)
		return;
	for (i = 0; i < p->nrules; i++)
		free_texts(p->rules[i].text);
	free_texts(p->text);
	for (i = 0; i < p->nsources; i++)
		bundles_free(p->sources[i].bundles);
	free(p->adapters);
	ruleindex_free(&p->index);
	free(p->vms);
	free(p->rules);
	free(p);
}

int
policy_has_vm(const struct policy *p, uint32_t number)
{
	size_t i;

	for (i = 0; i < p->nvms; i++)
		if (p->vms[i].vm == number)
			return 1;
	return 0;
}

const char *
policy_check_vm(const struct msg_vm *vm)
{
	if (!msg_string_ok(vm->name, sizeof(vm->name)) || vm->name[0] == '\0' ||
	    !msg_string_ok(vm->bus, sizeof(vm->bus)))
		return "machine with a bad string";
	if (vm->vm == 0)
		return "machine with a bad number";
	if (vm->handover >= HANDOVER_MAX)
		return "machine with a bad handover";
	if (vm->release > RELEASE_NOBODY)
		return "machine with a bad release";
	return NULL;
}

const char *
policy_add_vm(struct policy *p, const struct msg_vm *vm)
{
	const char *wrong = policy_check_vm(vm);

	if (p->nvms == p->maxvms)
		return "more machines than announced";
	if (wrong != NULL)
		return wrong;
	if (policy_has_vm(p, vm->vm))
		return "machine with a bad number";
	p->vms[p->nvms++] = *vm;
	return NULL;
}

const char *
policy_add_text(struct policy *p, const struct msg_rule_text *m)
{
	unsigned int i;

	if (!msg_string_ok(m->text, sizeof(m->text)))
		return "text without end";
	for (i = 0; i < TEXT_MAX; i++)
		if (rule_text_bits[i] == m->what && p->text[i] == NULL)
			return (p->text[i] = strdup(m->text)) == NULL
				   ? "text for which there is no memory"
				   : NULL;
	return "text that is no text of a rule";
}

static const char *
check_rule(const struct policy *p, const struct msg_rule *r)
{
	size_t i;

	if (p->nrules == p->maxrules)
		return "more rules than announced";
	if (r->action > RULE_SOURCE ||
	    (r->has & ~(uint32_t)RULE_HAS_ALL) != 0 ||
	    (r->flags & ~(uint32_t)RULE_FLAGS_ALL) != 0)
		return "rule with bad bits";
	if ((r->has & RULE_HAS_BELOW) && !usbport_valid(&r->below))
		return "rule with a bad hub";
	if ((r->has & RULE_HAS_CLASS) &&
	    (r->class_parts == 0 || r->class_parts > 3))
		return "rule with a bad class";
	if (!msg_string_ok(r->controller, sizeof(r->controller)))
		return "rule with a bad controller";
	if ((r->action == RULE_SOURCE) != p->source_open ||
	    (r->action == RULE_SOURCE && r->has != 0))
		return "rule that is no source, or a source that is no rule";
	if (r->nvms > MSG_RULE_VMS_MAX ||
	    (r->action == RULE_PASS) != (r->nvms > 0))
		return "rule with a bad number of machines";
	for (i = 0; i < r->nvms; i++)
		if (!policy_has_vm(p, r->vms[i]))
			return "rule for a machine that is not there";
	if (!msg_string_ok(r->where, sizeof(r->where)))
		return "rule without its line";
	return NULL;
}

/* Without a bus it names a port of a controller. */
static const char *
check_port(const struct msg_rule *r)
{
	struct usbport port = r->port;

	if ((r->has & RULE_HAS_PORT) == 0)
		return NULL;
	if (port.busnum == 0 && (r->has & RULE_HAS_CONTROLLER))
		port.busnum = 1;
	return usbport_valid(&port) ? NULL : "rule with a bad port";
}

static const char *
check_texts(const struct policy *p, const struct msg_rule *r)
{
	unsigned int i;

	for (i = 0; i < TEXT_MAX; i++)
		if ((p->text[i] != NULL) != ((r->has & rule_text_bits[i]) != 0))
			return "rule whose texts are not what it says";
	return NULL;
}

const char *
policy_add_rule(struct policy *p, const struct msg_rule *msg)
{
	struct rule *r;
	const char *wrong;

	if ((wrong = check_rule(p, msg)) != NULL ||
	    (wrong = check_port(msg)) != NULL ||
	    (wrong = check_texts(p, msg)) != NULL)
		return wrong;
	if (p->source_open)
		p->sources[p->nsources - 1].rule = p->nrules;
	p->source_open = 0;
	r = &p->rules[p->nrules++];
	r->msg = *msg;
	memcpy(r->text, p->text, sizeof(r->text));
	memset(p->text, 0, sizeof(p->text));
	return NULL;
}

int
policy_finish(struct policy *p)
{
	if (policy_join_machines(p) == -1)
		return -1;
	return ruleindex_build(&p->index, p->rules, p->nrules);
}

/* Matching */

static int
is_port(const struct msg_rule *r, const struct usbport *port)
{
	struct usbport at = *port;

	if (r->port.busnum == 0)
		at.busnum = 0;
	return usbport_cmp(&r->port, &at) == 0;
}

static int
matches_place(
    const struct msg_rule *r, const struct usbport *port, int with_below)
{
	if ((r->has & RULE_HAS_PORT) && !is_port(r, port))
		return 0;
	if ((r->has & RULE_HAS_BELOW) &&
	    (!with_below || !usbport_below(port, &r->below)))
		return 0;
	return 1;
}

static int
matches_class(const struct msg_rule *r, const struct usbdev *d)
{
	unsigned int i;

	for (i = 0; i < d->ninterfaces; i++)
		if (class_agree(&r->class, &d->interfaces[i], r->class_parts))
			return 1;
	return 0;
}

static int
matches_text(const char *pattern, const char *s)
{
	return pattern == NULL || fnmatch(pattern, s, 0) == 0;
}

static int
matches_identity(const struct rule *rule, const struct usbdev *d)
{
	const struct msg_rule *r = &rule->msg;

	if ((r->has & RULE_HAS_VENDOR) && r->vendor != d->vendor)
		return 0;
	if ((r->has & RULE_HAS_PRODUCT) && r->product != d->product)
		return 0;
	if ((r->has & RULE_HAS_SPEED) && r->speed != d->speed)
		return 0;
	if ((r->has & RULE_HAS_CONTROLLER) &&
	    strcmp(r->controller, d->controller) != 0)
		return 0;
	if ((r->has & RULE_HAS_CLASS) && !matches_class(r, d))
		return 0;
	return matches_text(rule->text[TEXT_SERIAL], d->serial) &&
	       matches_text(rule->text[TEXT_NAME], d->name) &&
	       matches_text(rule->text[TEXT_MANUFACTURER], d->manufacturer);
}

/* 1: as it stands; 2: through the companion port; 0: it does not. */
static int
matches(const struct policy *p, const struct rule *r, const struct usbdev *d)
{
	if (r->msg.action == RULE_SOURCE || !matches_identity(r, d))
		return 0;
	if (matches_place(&r->msg, &d->port, 1))
		return 1;
	if (d->peer.busnum != 0 && !ruleindex_names_port(&p->index, d) &&
	    matches_place(
		&r->msg, &d->peer, !ruleindex_names_below(&p->index, d)))
		return 2;
	return 0;
}

struct policy_match
policy_decide(const struct policy *p, const struct usbdev *d)
{
	uint64_t keys[RULEINDEX_KEYS_MAX];
	const struct ruleindex_entry *e;
	size_t best = p->nrules, nkeys, n, i, k;
	int best_quick = 0, best_how = 0, how;

	nkeys = ruleindex_keys(&p->index, d, keys);
	for (k = 0; k < nkeys; k++) {
		e = ruleindex_find(&p->index, keys[k], &n);
		for (i = 0; i < n; i++) {
			if (best_how != 0 &&
			    !(best_quick ? e[i].quick && e[i].rule < best
					 : e[i].quick || e[i].rule > best))
				continue;
			how = matches(p, &p->rules[e[i].rule], d);
			if (how == 0)
				continue;
			best = e[i].rule;
			best_quick = e[i].quick != 0;
			best_how = how;
		}
	}
	return (struct policy_match){
		.rule = best_how == 0 ? NULL : &p->rules[best].msg,
		.companion = best_how == 2,
		.at = best
	};
}

void
policy_hit(struct policy *p, const struct msg_rule *rule)
{
	const char *first = (const char *)&p->rules[0].msg;

	p->rules[(size_t)((const char *)rule - first) / sizeof(p->rules[0])]
	    .hits++;
}

void
policy_explain(const struct policy *p, const struct usbdev *d,
    void (*cb)(const struct policy_match *, void *), void *arg)
{
	struct policy_match match;
	size_t i;
	int how;

	for (i = 0; i < p->nrules; i++) {
		how = matches(p, &p->rules[i], d);
		if (how == 0 && p->rules[i].msg.action != RULE_SOURCE)
			continue;
		match.at = i;
		match.rule = &p->rules[i].msg;
		match.companion = how == 2;
		cb(&match, arg);
		if (p->rules[i].msg.flags & RULE_QUICK)
			return;
	}
}
