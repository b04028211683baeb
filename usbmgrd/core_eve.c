/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "core_eve.h"
#include "log.h"
#include "xalloc.h"

/* More than any host runs; each costs memory. */
#define DOMAINS_MAX 1024

/* A domain of EVE, which is a machine while it runs. */
struct eve_domain {
	TAILQ_ENTRY(eve_domain) entry;
	char key[MSG_KEY_MAX];
	struct domain *status;
	uint32_t number; /* of its machine, now or when it runs */
	int runs;
	int seen; /* since EVE_BEGIN */
};

struct eve_staged {
	STAILQ_ENTRY(eve_staged) entry;
	enum core_event_type type;
	struct bundle_list *adapters;
	struct core_domain domain;
};

void
core_alone(struct core *core)
{
	core->sources.alone = 1;
	core->sources.eve_known = 1;
}

void
core_eve_init(struct core *core)
{
	TAILQ_INIT(&core->sources.domains);
	STAILQ_INIT(&core->sources.staged);
	core->sources.eve = bundles_new("eve");
	core->sources.last_number = EVE_VM_FIRST;
}

static struct eve_domain *
find(const struct core *core, const char *key)
{
	struct eve_domain *e;

	TAILQ_FOREACH(e, &core->sources.domains, entry)
		if (strcmp(e->key, key) == 0)
			return e;
	return NULL;
}

/* Numbers are used once: somebody may still speak of the machine before. */
static uint32_t
fresh_number(struct core *core)
{
	if (core->sources.last_number == EVE_VM_LAST)
		fatalx("no number is left for a machine of EVE");
	return ++core->sources.last_number;
}

static int
is_used(const struct core *core, uint32_t number)
{
	const struct eve_domain *e;

	TAILQ_FOREACH(e, &core->sources.domains, entry)
		if (e->number == number)
			return 1;
	return 0;
}

/* One of that name that is still being emptied. */
static uint32_t
number_for(struct core *core, const char *name)
{
	const struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		if (vm->conf.vm >= EVE_VM_FIRST &&
		    strcmp(vm->conf.name, name) == 0 &&
		    !is_used(core, vm->conf.vm))
			return vm->conf.vm;
	return fresh_number(core);
}

/* Changes, whose meaning is drawn by eve_changed */

static int
apply_adapters(struct core *core, struct bundle_list *list)
{
	if (!bundles_replace(core->sources.eve, list))
		return 0;
	core->sources.eve_time++;
	return 1;
}

unsigned int
core_eve_refused(const struct core *core, unsigned int time,
    void (*cb)(const struct bundle *, const char *, void *), void *arg)
{
	if (core->sources.eve_time != time)
		bundles_refused(core->sources.eve, cb, arg);
	return core->sources.eve_time;
}

static void
domain_remove(struct core *core, struct eve_domain *e)
{
	bundles_machine_gone(core->sources.eve, e->number);
	TAILQ_REMOVE(&core->sources.domains, e, entry);
	core->sources.ndomains--;
	domain_free(e->status);
	free(e);
}

static struct eve_domain *
domain_new(struct core *core, const char *key)
{
	struct eve_domain *e = xcalloc(1, sizeof(*e)), *at;

	core->sources.ndomains++;
	strlcpy(e->key, key, sizeof(e->key));
	TAILQ_FOREACH(at, &core->sources.domains, entry)
		if (strcmp(key, at->key) < 0) {
			TAILQ_INSERT_BEFORE(at, e, entry);
			return e;
		}
	TAILQ_INSERT_TAIL(&core->sources.domains, e, entry);
	return e;
}

/* Another name is another machine. */
static void
apply_domain(struct core *core, const char *key, struct domain *status)
{
	struct eve_domain *e = find(core, key);

	if (e == NULL && core->sources.ndomains == DOMAINS_MAX) {
		log_warnx("eve: domain %s is ignored: there are %d already",
		    status->name, DOMAINS_MAX);
		domain_free(status);
		return;
	}
	if (e == NULL)
		e = domain_new(core, key);
	if (e->status != NULL && strcmp(e->status->name, status->name) != 0) {
		bundles_machine_gone(core->sources.eve, e->number);
		e->number = 0;
	}
	if (e->number == 0)
		e->number = number_for(core, status->name);
	domain_free(e->status);
	e->status = status;
	e->seen = 1;
	bundles_machine(core->sources.eve, e->number, status->name,
	    status->adapters, status->nadapters);
}

static void
apply_domain_gone(struct core *core, const char *key)
{
	struct eve_domain *e = find(core, key);

	if (e != NULL)
		domain_remove(core, e);
}

static int
is_running_state(const struct policy *policy, int64_t state)
{
	uint32_t i;

	for (i = 0; i < policy->eve.nstates; i++)
		if (policy->eve.states[i] == state)
			return 1;
	return 0;
}

static int
name_is_taken(const struct core *core, const struct eve_domain *e)
{
	const struct eve_domain *other;
	size_t i;

	for (i = 0; i < core->policy->nvms; i++)
		if (strcmp(core->policy->vms[i].name, e->status->name) == 0)
			return 1;
	TAILQ_FOREACH(other, &core->sources.domains, entry) {
		if (other == e)
			return 0;
		if (other->runs &&
		    strcmp(other->status->name, e->status->name) == 0)
			return 1;
	}
	return 0;
}

static int
should_run(const struct core *core, const struct eve_domain *e)
{
	return core->policy != NULL && core->policy->has_eve &&
	       e->status->name[0] != '\0' &&
	       is_running_state(core->policy, e->status->state) &&
	       !name_is_taken(core, e);
}

/* Machines */

static void
renumber(struct core *core, struct eve_domain *e)
{
	bundles_machine_gone(core->sources.eve, e->number);
	e->number = fresh_number(core);
	bundles_machine(core->sources.eve, e->number, e->status->name,
	    e->status->adapters, e->status->nadapters);
}

/* The parent sees to it that each new one has a higher number. */
static void
vm_add(struct core *core, struct eve_domain *e)
{
	struct msg_vm conf = core->policy->eve.vm;
	struct vm *vm = core_vm_find(core, e->number);
	struct usbport nowhere = { .busnum = 0 };
	struct core_action *a;

	if (vm == NULL)
		renumber(core, e);
	conf.vm = e->number;
	strlcpy(conf.name, e->status->name, sizeof(conf.name));
	if (vm != NULL) {
		vm->conf = conf;
		vm->gone = 0;
		return;
	}
	vm = core_vm_new(core, &conf);
	if (core->sources.alone) {
		vm->state = VM_READY;
		vm->known = 1;
	} else if (!core->sources.eve_known)
		core_vm_expect(core); /* as after a restart */
	a = core_action_add(core, ACT_VM_NEW, &nowhere, 0, "");
	a->vm = vm->conf.vm;
	a->vmname = vm->conf.name;
}

/* Machines are there before a device may want one, and go after. */
static void
eve_machines(struct core *core)
{
	struct eve_domain *e;

	TAILQ_FOREACH(e, &core->sources.domains, entry) {
		e->runs = should_run(core, e);
		if (e->runs)
			vm_add(core, e);
		bundles_machine_is(
		    core->sources.eve, e->number, e->runs, e->runs);
	}
}

static void
eve_leave(struct core *core)
{
	struct eve_domain *e;
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		if (vm->conf.vm >= EVE_VM_FIRST)
			vm->gone = 1;
	core->sources.eve_left = 1;
	TAILQ_FOREACH(e, &core->sources.domains, entry)
		if (e->runs && (vm = core_vm_find(core, e->number)) != NULL)
			vm->gone = 0;
}

/* What they were given by hand goes by the policy again. */
static void
eve_take_back(struct core *core)
{
	struct interest *interest;
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		while (vm->conf.vm >= EVE_VM_FIRST && vm->gone &&
		       (interest = LIST_FIRST(&vm->interests)) != NULL)
			core_source_anew(core, interest->dev);
}

static void
eve_changed(struct core *core, int bundles_changed)
{
	struct device *dev;

	eve_machines(core);
	if (core->policy != NULL && core->policy->has_eve) {
		if (bundles_changed)
			RB_FOREACH(dev, core_device_tree, &core->devices)
				core_source_again(core, dev);
		else
			core_source_again_concerned(core);
	}
	eve_leave(core);
	eve_take_back(core);
}

/* An engine before this one may have used numbers. */
void
core_eve_policy(struct core *core)
{
	if (core->policy->eve.last_vm > core->sources.last_number)
		core->sources.last_number = core->policy->eve.last_vm;
	eve_machines(core);
	eve_leave(core);
}

void
core_eve_reap(struct core *core)
{
	struct vm *vm, *next;

	if (!core->sources.eve_left)
		return;
	core->sources.eve_left = 0;
	for (vm = TAILQ_FIRST(&core->vms); vm != NULL; vm = next) {
		next = TAILQ_NEXT(vm, entry);
		if (vm->conf.vm >= EVE_VM_FIRST)
			core_vm_reap(core, vm);
	}
}

void
core_source_vm_reaped(struct core *core, const struct vm *vm)
{
	struct usbport nowhere = { .busnum = 0 };
	struct core_action *a;
	struct eve_domain *e;

	if (vm->conf.vm < EVE_VM_FIRST)
		return;
	a = core_action_add(core, ACT_VM_GONE, &nowhere, 0, "");
	a->vm = vm->conf.vm;
	TAILQ_FOREACH(e, &core->sources.domains, entry) {
		if (e->number != vm->conf.vm)
			continue;
		renumber(core, e);
	}
}

/* Events */

static int
apply(struct core *core, enum core_event_type type,
    struct bundle_list *adapters, const struct core_domain *domain)
{
	switch (type) {
	case EV_EVE_ADAPTERS:
		return adapters != NULL && apply_adapters(core, adapters);
	case EV_EVE_ADAPTERS_GONE:
		return apply_adapters(
		    core, xcalloc(1, sizeof(struct bundle_list)));
	case EV_EVE_DOMAIN:
		if (domain->status != NULL)
			apply_domain(core, domain->key, domain->status);
		break;
	case EV_EVE_DOMAIN_GONE:
		apply_domain_gone(core, domain->key);
		break;
	default:
		break;
	}
	return 0;
}

static void
stage(struct core *core, const struct core_event *ev)
{
	struct eve_staged *s = xcalloc(1, sizeof(*s));

	s->type = ev->type;
	if (ev->type == EV_EVE_ADAPTERS)
		s->adapters = ev->u.adapters;
	else if (ev->type != EV_EVE_ADAPTERS_GONE)
		s->domain = *ev->u.domain;
	STAILQ_INSERT_TAIL(&core->sources.staged, s, entry);
}

static void
keep(struct core *core, const char *key)
{
	struct eve_domain *e = find(core, key);

	if (e != NULL)
		e->seen = 1;
}

static void
unsee(struct core *core)
{
	struct eve_domain *e;

	TAILQ_FOREACH(e, &core->sources.domains, entry)
		e->seen = 0;
}

/* What was not told of is there no more; what could not be read is. */
static void
eve_end(struct core *core)
{
	struct eve_domain *e, *next;
	struct eve_staged *s;
	int changed = 0, adapters = 0;

	unsee(core);
	while ((s = STAILQ_FIRST(&core->sources.staged)) != NULL) {
		STAILQ_REMOVE_HEAD(&core->sources.staged, entry);
		adapters |= s->type == EV_EVE_ADAPTERS;
		if (s->type == EV_EVE_DOMAIN && s->domain.status == NULL)
			keep(core, s->domain.key);
		changed |= apply(core, s->type, s->adapters, &s->domain);
		free(s);
	}
	if (!adapters)
		changed |= apply(core, EV_EVE_ADAPTERS_GONE, NULL, NULL);
	for (e = TAILQ_FIRST(&core->sources.domains); e != NULL; e = next) {
		next = TAILQ_NEXT(e, entry);
		if (!e->seen)
			domain_remove(core, e);
	}
	core->sources.eve_staging = 0;
	eve_machines(core);
	changed |= !core->sources.eve_known;
	core->sources.eve_known = 1;
	eve_changed(core, changed);
}

void
core_source_event(struct core *core, const struct core_event *ev)
{
	int changed;

	if (ev->type == EV_EVE_BEGIN)
		core->sources.eve_staging = 1;
	else if (ev->type == EV_EVE_END)
		eve_end(core);
	else if (core->sources.eve_staging)
		stage(core, ev);
	else {
		changed = apply(core, ev->type,
		    ev->type == EV_EVE_ADAPTERS ? ev->u.adapters : NULL,
		    ev->type == EV_EVE_ADAPTERS ? NULL : ev->u.domain);
		eve_changed(core, changed);
	}
}

void
core_eve_free(struct core *core)
{
	struct eve_domain *e;
	struct eve_staged *s;

	while ((e = TAILQ_FIRST(&core->sources.domains)) != NULL)
		domain_remove(core, e);
	while ((s = STAILQ_FIRST(&core->sources.staged)) != NULL) {
		STAILQ_REMOVE_HEAD(&core->sources.staged, entry);
		bundle_list_free(s->adapters);
		domain_free(s->domain.status);
		free(s);
	}
	bundles_free(core->sources.eve);
}
