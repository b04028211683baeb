/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "classes.h"
#include "core_int.h"
#include "log.h"
#include "qmpid.h"
#include "xalloc.h"

static enum device_state hold_because(char *, enum device_state, const char *,
    ...) __attribute__((format(printf, 3, 4)));

RB_GENERATE(core_device_tree, device, entry, core_device_cmp)

int
core_device_cmp(struct device *a, struct device *b)
{
	return usbport_cmp(&a->dev.port, &b->dev.port);
}

struct device *
core_device_find(struct core *core, const struct usbport *port)
{
	struct device key;

	key.dev.port = *port;
	return RB_FIND(core_device_tree, &core->devices, &key);
}

static void
device_forget_rule(struct device *dev)
{
	unsigned int i;

	for (i = 0; i < dev->ninterests; i++)
		LIST_REMOVE(&dev->interests[i], entry);
	dev->ninterests = 0;
	dev->rule = NULL;
}

static void
device_interest(struct device *dev, struct vm *vm)
{
	struct interest *interest = &dev->interests[dev->ninterests++];

	interest->dev = dev;
	LIST_INSERT_HEAD(&vm->interests, interest, entry);
}

void
core_device_decide(struct core *core, struct device *dev)
{
	struct policy_match match;
	struct vm *vm;
	unsigned int i;

	device_forget_rule(dev);
	if ((vm = core_override_vm(core, dev)) != NULL)
		device_interest(dev, vm);
	retry_reset(&core->retries, &dev->retry);
	if (dev->att != NULL) {
		retry_reset(&core->retries, &dev->att->retry);
		dev->att->outdated = dev->att->state == ATT_PENDING;
	}
	if (core->policy == NULL)
		return;
	match = policy_decide(core->policy, &dev->dev);
	core_source_decide(core, dev, &match);
	dev->rule = match.rule;
	dev->companion = match.companion;
	if (dev->rule == NULL)
		return;
	policy_hit(core->policy, core_source_rule(dev));
	for (i = 0; i < dev->rule->nvms; i++) {
		vm = core_vm_find(core, dev->rule->vms[i]);
		if (vm == NULL)
			fatalx("rule %s for a machine that is not there",
			    dev->rule->where);
		device_interest(dev, vm);
	}
}

/* Of the machines of its rule: the one that has it, or the first that is up. */
static struct vm *
device_choose_vm(const struct core *core, const struct device *dev)
{
	struct vm *vm, *first_up = NULL;
	unsigned int i;

	for (i = 0; i < dev->rule->nvms; i++) {
		vm = core_vm_find(core, dev->rule->vms[i]);
		if (dev->att != NULL && dev->att->vm == vm)
			return vm;
		if (first_up == NULL && vm->state == VM_READY)
			first_up = vm;
	}
	return first_up;
}

static enum device_state
hold_because(char *reason, enum device_state state, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, MSG_TEXT_MAX, fmt, ap);
	va_end(ap);
	return state;
}

/* " name" or " (name)"; nothing where only its existence is known. */
static const char *
named(const char *name, int brackets, char buf[USBDEV_NAME_MAX + 4])
{
	if (name[0] == '\0' || strcmp(name, "?") == 0)
		return "";
	snprintf(buf, USBDEV_NAME_MAX + 4, brackets ? " (%s)" : " %s", name);
	return buf;
}

enum device_state
core_device_protect(const struct device *dev, int even_if_busy, char *reason)
{
	const struct usbdev *d = &dev->dev;
	char netif[USBDEV_NAME_MAX + 4], busy[USBDEV_NAME_MAX + 4],
	    why[USBDEV_NAME_MAX + 4];

	if (d->odd_descriptors)
		return hold_because(reason, DEV_HELD, "malformed descriptors");
	if (even_if_busy)
		return DEV_UNASSIGNED;
	if (d->netif[0] != '\0')
		return hold_because(reason, DEV_HELD,
		    "protected: network interface%s of the host",
		    named(d->netif, 0, netif));
	if (d->busy[0] != '\0')
		return hold_because(reason, DEV_HELD,
		    "protected: disk%s in use%s", named(d->busy, 0, busy),
		    named(d->busy_why, 1, why));
	return DEV_UNASSIGNED;
}

enum device_state
core_device_breach(
    const struct device *dev, uint64_t pledge, const char *whose, char *reason)
{
	const struct usbclass *class;

	if (pledge == 0 || classes_promised(&dev->dev, pledge, &class))
		return DEV_UNASSIGNED;
	if (class == NULL)
		return hold_because(reason, DEV_HELD,
		    "pledge of %s: it shows no interfaces", whose);
	return hold_because(reason, DEV_HELD,
	    "pledge of %s: it has an interface of class %02x:%02x:%02x", whose,
	    class->class, class->subclass, class->protocol);
}

/*
 * A device may be in any machine of its list since before we started, and
 * stays there if so: none gets it before all were heard of.
 */
static const struct vm *
device_awaited_vm(const struct core *core, const struct device *dev)
{
	const struct vm *vm = core_vm_awaited(core);
	unsigned int i;

	if (vm != NULL)
		return vm;
	for (i = 0; dev->rule->nvms > 1 && i < dev->rule->nvms; i++) {
		vm = core_vm_find(core, dev->rule->vms[i]);
		if (!vm->known)
			return vm;
	}
	return NULL;
}

static enum device_state
device_hold_awaited(const struct vm *vm, char *reason)
{
	return hold_because(reason, DEV_HELD,
	    "machine \"%s\" has not answered yet whether it has it",
	    vm->conf.name);
}

/* Each machine of the list, also if it is not its turn. */
static enum device_state
device_check_pledges(
    const struct core *core, const struct device *dev, char *reason)
{
	const struct vm *vm;
	char whose[MSG_VM_NAME_MAX + 16];
	unsigned int i;

	if (core_device_breach(
		dev, dev->rule->pledge, dev->rule->where, reason) == DEV_HELD)
		return DEV_HELD;
	for (i = 0; i < dev->rule->nvms; i++) {
		vm = core_vm_find(core, dev->rule->vms[i]);
		snprintf(whose, sizeof(whose), "machine \"%s\"", vm->conf.name);
		if (core_device_breach(dev, vm->conf.pledge, whose, reason) ==
		    DEV_HELD)
			return DEV_HELD;
	}
	return DEV_UNASSIGNED;
}

static enum device_state
device_check_vm(const struct core *core, const struct device *dev,
    struct vm **want, char *reason)
{
	const struct vm *vm = device_awaited_vm(core, dev);

	if (vm != NULL && dev->att == NULL)
		return device_hold_awaited(vm, reason);
	if ((*want = device_choose_vm(core, dev)) != NULL)
		return DEV_UNASSIGNED;
	if (dev->rule->nvms > 1)
		return hold_because(
		    reason, DEV_HELD, "no machine of its list is up");
	vm = core_vm_find(core, dev->rule->vms[0]);
	return hold_because(reason, DEV_HELD, "machine \"%s\" is %s",
	    vm->conf.name, core_vm_is_coming(vm) ? "connecting" : "down");
}

enum device_state
core_override_check(
    const struct device *dev, const struct vm *vm, int force, char *reason)
{
	const struct msg_rule *rule = dev->rule;
	char whose[MSG_VM_NAME_MAX + 16];
	int even_if_busy =
	    force || (rule != NULL && (rule->flags & RULE_EVEN_IF_BUSY));

	if (usbdev_is_hub(&dev->dev))
		return hold_because(reason, DEV_HELD, "hub");
	if (core_device_protect(dev, even_if_busy, reason) == DEV_HELD)
		return DEV_HELD;
	if (force)
		return DEV_UNASSIGNED;
	if (rule != NULL && core_device_breach(dev, rule->pledge, rule->where,
				reason) == DEV_HELD)
		return DEV_HELD;
	snprintf(whose, sizeof(whose), "machine \"%s\"", vm->conf.name);
	return core_device_breach(dev, vm->conf.pledge, whose, reason);
}

/* The same for a person's word; *want stays NULL if there is none. */
static int
device_overridden(const struct core *core, struct device *dev, char *reason,
    enum device_state *state, struct vm **want)
{
	struct vm *vm = core_override_vm(core, dev);

	if (dev->override == OVERRIDE_NONE)
		return 0;
	if (dev->override == OVERRIDE_DETACH) {
		*state = DEV_HELD;
		core_override_reason(dev, reason);
		return 1;
	}
	*state = core_override_check(dev, vm, dev->override_force, reason);
	if (*state == DEV_HELD)
		return 1;
	if (dev->att == NULL && core_vm_awaited(core) != NULL)
		*state = device_hold_awaited(core_vm_awaited(core), reason);
	else if (vm->state == VM_READY ||
		 (dev->att != NULL && dev->att->vm == vm))
		*want = vm;
	else
		*state = hold_because(reason, DEV_HELD,
		    "machine \"%s\", to which it was attached by hand, is %s",
		    vm->conf.name,
		    core_vm_is_coming(vm) ? "connecting" : "down");
	return 1;
}

/* For what it is where policy wants it. */
static const char *
device_why(
    const struct device *dev, const struct vm *vm, char buf[MSG_TEXT_MAX])
{
	if (dev->override != OVERRIDE_NONE || dev->rule == NULL)
		return core_override_reason(dev, buf);
	return core_source_where(dev, vm);
}

/*
 * Where policy wants the device now: a machine that is up, or NULL with the
 * reason and the state that it has then.
 */
static struct vm *
device_want(const struct core *core, struct device *dev, char *reason,
    enum device_state *state)
{
	struct vm *want = NULL;

	if (device_overridden(core, dev, reason, state, &want))
		;
	else if (usbdev_is_hub(&dev->dev))
		*state = hold_because(reason, DEV_HELD, "hub");
	else if (core_source_holds(dev, reason, state))
		;
	else if (dev->rule == NULL)
		*state =
		    hold_because(reason, DEV_UNASSIGNED, "no rule matches");
	else if (dev->rule->action == RULE_BLOCK)
		*state = hold_because(
		    reason, DEV_UNASSIGNED, "blocked by %s", dev->rule->where);
	else if ((*state = core_device_protect(dev,
		      (dev->rule->flags & RULE_EVEN_IF_BUSY) != 0, reason)) ==
		     DEV_HELD ||
		 (*state = device_check_pledges(core, dev, reason)) == DEV_HELD)
		;
	else if (dev->dropped)
		*state = hold_because(reason, DEV_HELD,
		    "taken out of its machine by somebody else");
	else
		*state = device_check_vm(core, dev, &want, reason);
	return want;
}

static void
device_hold(struct core *core, struct device *dev, enum device_state state,
    const char *reason)
{
	int same = dev->state == state && strcmp(dev->reason, reason) == 0;

	dev->state = state;
	strlcpy(dev->reason, reason, sizeof(dev->reason));
	if (!same)
		core_action_add(
		    core, ACT_HOLD, &dev->dev.port, dev->dev.devnum, reason);
}

static int
is_used(const struct core *core, uint32_t request)
{
	const struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		if (core_att_find(vm, request) != NULL)
			return 1;
	return 0;
}

/* From there on machines may have some that were not counted. */
static uint32_t
next_request(struct core *core)
{
	do
		core->last_request++;
	while (core->last_request >= REQUEST_MAX / 2 &&
	       is_used(core, core->last_request));
	return core->last_request;
}

static struct attachment *
device_attach(struct core *core, struct device *dev, struct vm *vm)
{
	struct attachment *att;
	struct core_action *a;
	struct qmpid id = { .port = dev->dev.port, .devnum = dev->dev.devnum };
	char why[MSG_TEXT_MAX];

	dev->request = id.request = next_request(core);
	att = core_att_new(
	    core, vm, dev, &dev->dev.port, dev->dev.devnum, dev->request);
	att->state = ATT_PENDING;
	att->since = core->now;
	qmpid_format(&id, att->id, sizeof(att->id));
	a = core_action_add(core, ACT_ATTACH, &att->port, att->devnum,
	    device_why(dev, vm, why));
	core_action_identify(a, &dev->dev);
	a->vm = vm->conf.vm;
	a->vmname = vm->conf.name;
	a->conn = vm->conn;
	a->request = att->request;
	a->companion = dev->companion;
	a->handover = vm->handover;
	strlcpy(a->id, att->id, sizeof(a->id));
	return att;
}

/* att is the device's. */
static void
device_follow_attachment(struct core *core, struct device *dev,
    struct attachment *att, struct vm *want, const char *reason)
{
	char lost[MSG_TEXT_MAX], why[MSG_TEXT_MAX];

	if (want != NULL)
		reason = device_why(dev, want, why);
	if (att->state == ATT_ATTACHED && att->vm != want &&
	    core_vm_may_ask(att->vm) && !retry_blocks(&att->retry))
		core_att_detach(core, att, reason);
	switch (att->state) {
	case ATT_LOST:
		snprintf(lost, sizeof(lost),
		    "machine \"%s\" may have it still: its connection is lost",
		    att->vm->conf.name);
		device_hold(core, dev, DEV_HELD, lost);
		return;
	case ATT_PENDING:
		dev->state = DEV_ATTACHING;
		break;
	case ATT_ATTACHED:
		dev->state = DEV_ATTACHED;
		break;
	case ATT_DETACHING:
		dev->state = DEV_DETACHING;
		break;
	}
	strlcpy(dev->reason, reason, sizeof(dev->reason));
}

/* What another machine has refused is no reason not to try this one. */
static int
device_may_try(struct core *core, struct device *dev, const struct vm *want)
{
	if (dev->failed_vm != want->conf.vm)
		retry_reset(&core->retries, &dev->retry);
	return !retry_blocks(&dev->retry);
}

/* Why the machine cannot be asked now, with the state that it means. */
static enum device_state
device_wait(const struct core *core, const struct device *dev,
    const struct vm *want, char *reason)
{
	const struct foreign *f = core_foreign_has(core, &dev->dev);

	if (core_damping_holds(core, dev, reason))
		return DEV_HELD;
	if (want->migrating)
		return hold_because(reason, DEV_HELD,
		    "machine \"%s\" is migrating", want->conf.name);
	if (f != NULL)
		return hold_because(reason, DEV_HELD,
		    "machine \"%s\" was given it by somebody else, as %.*s",
		    f->vm->conf.name, MSG_ID_MAX, f->msg.id);
	return DEV_UNASSIGNED;
}

void
core_device_reconcile(struct core *core, struct device *dev)
{
	struct attachment *att;
	enum device_state state;
	char reason[MSG_TEXT_MAX] = "";
	struct vm *want;

	want = device_want(core, dev, reason, &state);
	att = dev->att;
	if (att != NULL)
		device_follow_attachment(core, dev, att, want, reason);
	else if (want == NULL ||
		 (state = device_wait(core, dev, want, reason)) == DEV_HELD)
		device_hold(core, dev, state, reason);
	else if (!device_may_try(core, dev, want))
		device_hold(core, dev, DEV_FAILED, dev->failure);
	else if (core_att_elsewhere(core, &dev->dev)) {
		dev->state = DEV_DETACHING;
		strlcpy(dev->reason, "still in another machine",
		    sizeof(dev->reason));
	} else {
		att = device_attach(core, dev, want);
		device_follow_attachment(core, dev, att, want, reason);
	}
}

void
core_device_release(struct core *core, const struct device *dev)
{
	core_action_add(core, ACT_RELEASE, &dev->dev.port, dev->dev.devnum,
	    "its machine died");
}

void
core_device_remove(struct core *core, struct device *dev)
{
	struct attachment *att = dev->att;

	if (att != NULL) {
		att->dev = NULL;
		att->unplugged = 1;
		retry_reset(&core->retries, &att->retry);
		LIST_INSERT_HEAD(&core->orphans, att, orphan_entry);
		core_att_reconcile(core, att);
	}
	device_forget_rule(dev);
	core_source_forget(dev);
	retry_cancel(&core->retries, &dev->retry);
	core_damping_end(core, dev);
	RB_REMOVE(core_device_tree, &core->devices, dev);
	free(dev);
}

void
core_event_device(struct core *core, const struct usbdev *d)
{
	struct device *dev = core_device_find(core, &d->port);

	if (dev != NULL && dev->dev.devnum != d->devnum) {
		core_device_remove(core, dev);
		dev = NULL;
	}
	if (dev == NULL) {
		dev = xcalloc(1, sizeof(*dev));
		dev->dev = *d;
		dev->retry.dev = dev;
		RB_INSERT(core_device_tree, &core->devices, dev);
		core_damping_plugged(core, dev);
		core_att_adopt(core, dev);
	} else {
		/* What was said by hand was said of another device. */
		if (memcmp(dev->dev.digest, d->digest, sizeof(d->digest)) != 0)
			dev->override = OVERRIDE_NONE;
		dev->dev = *d;
	}
	dev->scan = core->scan;
	core_device_decide(core, dev);
	core_device_reconcile(core, dev);
}

void
core_event_device_gone(struct core *core, const struct msg_device_gone *gone)
{
	struct device *dev = core_device_find(core, &gone->port);

	if (dev != NULL && dev->dev.devnum == gone->devnum)
		core_device_remove(core, dev);
}

void
core_event_scan_done(struct core *core)
{
	struct attachment *att;

	core->scan_done = 1;
	core_forget_unseen(core);
	LIST_FOREACH(att, &core->orphans, orphan_entry)
		core_att_reconcile(core, att);
}
