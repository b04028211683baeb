/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_int.h"
#include "core_eve.h"
#include "xalloc.h"

struct source_answer {
	int decides; /* rule takes the place of what the rules said */
	const struct msg_rule *source; /* the RULE_SOURCE that decides */
	struct msg_rule rule;
	struct bundles_answer said;
};

void
core_source_init(struct core *core)
{
	LIST_INIT(&core->sources.devices);
	LIST_INIT(&core->sources.changed);
	core_eve_init(core);
}

void
core_source_free(struct core *core)
{
	core_eve_free(core);
}

/* What a source says */

/* Made of the rule where it stands, which may have a pledge and flags. */
static void
make_rule(struct source_answer *a)
{
	const struct bundles_answer *said = &a->said;
	struct msg_rule *rule = &a->rule;
	unsigned int i;

	*rule = *a->source;
	if (said->verdict == BUNDLES_FORBID) {
		rule->action = RULE_BLOCK;
		return;
	}
	rule->action = RULE_PASS;
	rule->nvms = (uint16_t)said->nvms;
	for (i = 0; i < said->nvms; i++)
		rule->vms[i] = said->vms[i];
	strlcpy(rule->where, said->where[0], sizeof(rule->where));
}

static void
ask_source(struct core *core, const struct policy_source *source,
    const struct usbdev *d, struct source_answer *a)
{
	struct bundles *bundles = source->bundles;

	memset(a, 0, sizeof(*a));
	if (bundles == NULL && !core->sources.eve_known) {
		a->said.verdict = BUNDLES_FORBID;
		strlcpy(a->said.reason, "the files of EVE were not read yet",
		    sizeof(a->said.reason));
		a->said.concerned = 1;
	} else
		bundles_decide(
		    bundles == NULL ? core->sources.eve : bundles, d, &a->said);
	a->source = &core->policy->rules[source->rule].msg;
	a->decides = a->said.verdict != BUNDLES_NOTHING;
	if (a->decides)
		make_rule(a);
}

/* Of those behind the rule that matched the last one that says something. */
static void
ask_sources(struct core *core, const struct usbdev *d,
    const struct policy_match *match, struct source_answer *a)
{
	const struct policy_source *source = NULL;
	struct bundles_answer nothing;
	int concerned = 0;

	memset(a, 0, sizeof(*a));
	memset(&nothing, 0, sizeof(nothing));
	while ((source = policy_source_after(core->policy, match, source)) !=
	       NULL) {
		ask_source(core, source, d, a);
		concerned |= a->said.concerned;
		if (a->decides)
			break;
		if (nothing.reason[0] == '\0' ||
		    (a->said.down && !nothing.down))
			nothing = a->said;
	}
	if (!a->decides)
		a->said = nothing;
	a->said.concerned = concerned;
}

static int
same_answer(const struct source_answer *a, const struct source_answer *b)
{
	unsigned int i;

	if (a == NULL)
		return !b->decides && b->said.reason[0] == '\0';
	if (a->decides != b->decides || a->source != b->source ||
	    a->said.down != b->said.down || a->said.nvms != b->said.nvms ||
	    strcmp(a->said.reason, b->said.reason) != 0)
		return 0;
	for (i = 0; i < a->said.nvms; i++)
		if (a->said.vms[i] != b->said.vms[i] ||
		    strcmp(a->said.where[i], b->said.where[i]) != 0)
			return 0;
	return 1;
}

/* Devices */

static void
note_concerned(struct core *core, struct device *dev, int concerned)
{
	if (concerned && !dev->source.listed)
		LIST_INSERT_HEAD(&core->sources.devices, dev, source.entry);
	else if (!concerned && dev->source.listed)
		LIST_REMOVE(dev, source.entry);
	dev->source.listed = concerned;
}

void
core_source_decide(
    struct core *core, struct device *dev, struct policy_match *match)
{
	struct source_answer answer;

	free(dev->source.answer);
	dev->source.answer = NULL;
	if (core->policy->nsources == 0) {
		note_concerned(core, dev, 0);
		return;
	}
	ask_sources(core, &dev->dev, match, &answer);
	note_concerned(core, dev, answer.said.concerned);
	if (!answer.decides && answer.said.reason[0] == '\0')
		return;
	dev->source.answer = xcalloc(1, sizeof(answer));
	*dev->source.answer = answer;
	if (!answer.decides)
		return;
	match->rule = &dev->source.answer->rule;
	match->companion = 0;
}

void
core_source_anew(struct core *core, struct device *dev)
{
	core_device_decide(core, dev);
	if (!dev->source.changed)
		LIST_INSERT_HEAD(
		    &core->sources.changed, dev, source.changed_entry);
	dev->source.changed = 1;
}

/* Failures of the past and what is on its way count on if nothing is new. */
void
core_source_again(struct core *core, struct device *dev)
{
	struct policy_match match;
	struct source_answer answer;

	if (core->policy == NULL)
		return;
	match = policy_decide(core->policy, &dev->dev);
	ask_sources(core, &dev->dev, &match, &answer);
	note_concerned(core, dev, answer.said.concerned);
	if (!same_answer(dev->source.answer, &answer))
		core_source_anew(core, dev);
}

void
core_source_again_concerned(struct core *core)
{
	struct device *dev, *next;

	for (dev = LIST_FIRST(&core->sources.devices); dev != NULL;
	     dev = next) {
		next = LIST_NEXT(dev, source.entry);
		core_source_again(core, dev);
	}
}

void
core_source_forget(struct device *dev)
{
	if (dev->source.listed)
		LIST_REMOVE(dev, source.entry);
	if (dev->source.changed)
		LIST_REMOVE(dev, source.changed_entry);
	free(dev->source.answer);
}

void
core_source_reconcile(struct core *core)
{
	struct device *dev;

	while ((dev = LIST_FIRST(&core->sources.changed)) != NULL) {
		LIST_REMOVE(dev, source.changed_entry);
		dev->source.changed = 0;
		core_device_reconcile(core, dev);
	}
	core_eve_reap(core);
}

int
core_source_holds(
    const struct device *dev, char *reason, enum device_state *state)
{
	const struct source_answer *a = dev->source.answer;

	if (a == NULL ||
	    (a->decides ? a->rule.action == RULE_PASS : dev->rule != NULL))
		return 0;
	strlcpy(reason, a->said.reason, MSG_TEXT_MAX);
	*state = a->decides || a->said.down ? DEV_HELD : DEV_UNASSIGNED;
	return 1;
}

const char *
core_source_where(const struct device *dev, const struct vm *vm)
{
	const struct source_answer *a = dev->source.answer;
	unsigned int i;

	if (a != NULL && a->decides && vm != NULL)
		for (i = 0; i < a->said.nvms; i++)
			if (a->said.vms[i] == vm->conf.vm)
				return a->said.where[i];
	return dev->rule->where;
}

const struct msg_rule *
core_source_rule(const struct device *dev)
{
	const struct source_answer *a = dev->source.answer;

	return a != NULL && a->decides ? a->source : dev->rule;
}

const struct msg_rule *
core_source_explain(
    struct core *core, const struct device *dev, const struct msg_rule *rule)
{
	static struct source_answer answer;
	const struct source_answer *own = dev->source.answer;
	size_t i;

	/* The very one that decides is to be known as that. */
	if (own != NULL && own->decides && own->source == rule)
		return &own->rule;
	for (i = 0; i < core->policy->nsources; i++) {
		if (&core->policy->rules[core->policy->sources[i].rule].msg !=
		    rule)
			continue;
		ask_source(core, &core->policy->sources[i], &dev->dev, &answer);
		return answer.decides ? &answer.rule : NULL;
	}
	return NULL;
}

/* Machines of the policy */

static int
note_vm(struct bundles *bundles, const struct vm *vm)
{
	/* What may be in it is not for others before it was heard of. */
	return bundles_machine_is(bundles, vm->conf.vm,
	    vm->state == VM_READY || !vm->known,
	    vm->state != VM_ABSENT || !vm->known);
}

void
core_source_vm_state(struct core *core, const struct vm *vm)
{
	struct policy *policy = core->policy;
	int changed = 0;
	size_t i;

	for (i = 0; policy != NULL && i < policy->nsources; i++)
		if (policy->sources[i].bundles != NULL)
			changed |= note_vm(policy->sources[i].bundles, vm);
	if (changed)
		core_source_again_concerned(core);
}

void
core_source_policy(struct core *core)
{
	struct vm *vm;
	size_t i;

	for (i = 0; i < core->policy->nsources; i++) {
		if (core->policy->sources[i].bundles == NULL)
			continue;
		TAILQ_FOREACH(vm, &core->vms, entry)
			note_vm(core->policy->sources[i].bundles, vm);
	}
	core_eve_policy(core);
}
