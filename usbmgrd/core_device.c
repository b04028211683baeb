/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_int.h"
#include "log.h"

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

void
core_device_decide(struct core *core, struct device *dev)
{
	struct interest *interest;
	struct vm *vm;
	unsigned int i;

	device_forget_rule(dev);
	retry_reset(&core->retries, &dev->retry);
	if (core->policy == NULL)
		return;
	dev->rule = policy_decide(core->policy, &dev->dev);
	if (dev->rule == NULL)
		return;
	for (i = 0; i < dev->rule->nvms; i++) {
		vm = core_vm_find(core, dev->rule->vms[i]);
		if (vm == NULL)
			fatalx("rule %s for a machine that is not there",
			    dev->rule->where);
		interest = &dev->interests[dev->ninterests++];
		interest->dev = dev;
		LIST_INSERT_HEAD(&vm->interests, interest, entry);
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

/*
 * Where policy wants the device now: a machine that is up, or NULL with the
 * reason and whether a rule would have passed it.
 */
static struct vm *
device_want(const struct core *core, const struct device *dev, char *reason,
    size_t size, enum device_state *state)
{
	const struct usbdev *d = &dev->dev;
	struct vm *vm;

	*state = DEV_HELD;
	if (usbdev_is_hub(d)) {
		strlcpy(reason, "hub", size);
	} else if (dev->rule == NULL) {
		*state = DEV_UNASSIGNED;
		strlcpy(reason, "no rule matches", size);
	} else if (dev->rule->action == RULE_BLOCK) {
		*state = DEV_UNASSIGNED;
		snprintf(reason, size, "blocked by %s", dev->rule->where);
	} else if (d->odd_descriptors) {
		strlcpy(reason, "malformed descriptors", size);
	} else if (d->netif[0] != '\0') {
		snprintf(reason, size,
		    "protected: network interface %s of "
		    "the host",
		    d->netif);
	} else if (d->busy[0] != '\0') {
		snprintf(reason, size, "protected: disk %s in use (%s)",
		    d->busy, d->busy_why);
	} else if (dev->dropped) {
		strlcpy(
		    reason, "taken out of its machine by somebody else", size);
	} else if ((vm = device_choose_vm(core, dev)) == NULL) {
		vm = core_vm_find(core, dev->rule->vms[0]);
		snprintf(reason, size, "machine \"%s\" is %s", vm->conf.name,
		    vm_state_string(vm->state));
	} else
		return vm;
	return NULL;
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

static void
device_attach(struct core *core, struct device *dev, struct vm *vm)
{
	struct attachment *att;
	struct core_action *a;
	char port[USBPORT_STRLEN];

	att = core_att_new(core, vm, dev, &dev->dev.port, dev->dev.devnum);
	att->state = ATT_PENDING;
	att->request = dev->request = ++core->last_request;
	usbport_string(&att->port, port);
	*strchr(port, ':') = '-';
	snprintf(att->id, sizeof(att->id), "usbmgrd-%s-%u-%u", port,
	    att->devnum, att->request);
	a = core_action_add(
	    core, ACT_ATTACH, &att->port, att->devnum, dev->rule->where);
	core_action_identify(a, &dev->dev);
	a->vm = vm->conf.vm;
	a->vmname = vm->conf.name;
	a->request = att->request;
	a->handover = (enum handover)vm->conf.handover;
	strlcpy(a->id, att->id, sizeof(a->id));
}

static void
device_follow_attachment(
    struct core *core, struct device *dev, struct vm *want, const char *reason)
{
	struct attachment *att = dev->att;

	if (att->state == ATT_ATTACHED && att->vm != want &&
	    !retry_blocks(&att->retry))
		core_att_detach(
		    core, att, want != NULL ? dev->rule->where : reason);
	switch (att->state) {
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
	strlcpy(dev->reason, want != NULL ? dev->rule->where : reason,
	    sizeof(dev->reason));
}

void
core_device_reconcile(struct core *core, struct device *dev)
{
	enum device_state state;
	char reason[MSG_TEXT_MAX] = "";
	struct vm *want;

	want = device_want(core, dev, reason, sizeof(reason), &state);
	if (dev->att == NULL && want != NULL && !retry_blocks(&dev->retry))
		device_attach(core, dev, want);
	if (dev->att != NULL)
		device_follow_attachment(core, dev, want, reason);
	else if (want == NULL)
		device_hold(core, dev, state, reason);
	/* else it failed; state and reason say so since then */
}

void
core_device_remove(struct core *core, struct device *dev)
{
	struct attachment *att = dev->att;

	if (att != NULL) {
		att->dev = NULL;
		LIST_INSERT_HEAD(&core->orphans, att, orphan_entry);
		core_att_reconcile(core, att);
	}
	device_forget_rule(dev);
	retry_cancel(&core->retries, &dev->retry);
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
		dev = core_alloc(1, sizeof(*dev));
		dev->dev = *d;
		dev->retry.dev = dev;
		RB_INSERT(core_device_tree, &core->devices, dev);
		core_att_adopt(core, dev);
	} else
		dev->dev = *d;
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
	LIST_FOREACH(att, &core->orphans, orphan_entry)
		core_att_reconcile(core, att);
}
