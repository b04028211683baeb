/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "core_int.h"

struct vm *
core_vm_find(const struct core *core, uint32_t number)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		if (vm->conf.vm == number)
			return vm;
	return NULL;
}

static struct vm *
vm_new(struct core *core, const struct msg_vm *conf)
{
	struct vm *vm = core_alloc(1, sizeof(*vm));

	vm->conf = *conf;
	vm->state = VM_ABSENT;
	LIST_INIT(&vm->interests);
	LIST_INIT(&vm->attachments);
	TAILQ_INSERT_TAIL(&core->vms, vm, entry);
	return vm;
}

void
core_vm_reconcile(struct core *core, struct vm *vm)
{
	struct interest *interest;
	struct attachment *att;

	LIST_FOREACH(interest, &vm->interests, entry)
		core_device_reconcile(core, interest->dev);
	LIST_FOREACH(att, &vm->attachments, vm_entry)
		if (att->dev == NULL)
			core_att_reconcile(core, att);
		else
			core_device_reconcile(core, att->dev);
}

static void
reconcile_all(struct core *core)
{
	struct attachment *att;
	struct device *dev;

	LIST_FOREACH(att, &core->orphans, orphan_entry)
		core_att_reconcile(core, att);
	RB_FOREACH(dev, core_device_tree, &core->devices)
		core_device_reconcile(core, dev);
}

void
core_event_policy(struct core *core, struct policy *policy)
{
	struct policy *old = core->policy;
	struct device *dev;
	struct vm *vm;
	size_t i;

	core->policy = policy;
	for (i = 0; i < policy->nvms; i++)
		if ((vm = core_vm_find(core, policy->vms[i].vm)) != NULL)
			vm->conf = policy->vms[i];
		else
			vm_new(core, &policy->vms[i]);
	RB_FOREACH(dev, core_device_tree, &core->devices)
		core_device_decide(core, dev);
	policy_free(old);
	reconcile_all(core);
}

static void
vm_drop_attachments(struct core *core, struct vm *vm)
{
	struct attachment *att;
	struct device *dev;

	/* Whatever is in it now will be told before it is ready again. */
	while ((att = LIST_FIRST(&vm->attachments)) != NULL) {
		dev = att->dev;
		core_att_free(core, att);
		if (dev != NULL)
			core_device_reconcile(core, dev);
	}
}

static void
vm_set_state(
    struct core *core, struct vm *vm, enum vm_state state, const char *reason)
{
	struct interest *interest;

	strlcpy(vm->reason, reason, sizeof(vm->reason));
	if (vm->state == state)
		return;
	vm->state = state;
	if (state != VM_READY)
		vm_drop_attachments(core, vm);
	else
		LIST_FOREACH(interest, &vm->interests, entry)
			retry_reset(&core->retries, &interest->dev->retry);
	core_vm_reconcile(core, vm);
}

void
core_event_vm_socket(struct core *core, const struct msg_vm_socket *m)
{
	struct vm *vm = core_vm_find(core, m->vm);

	/*
	 * The parent's word may be read after the QMP client's later one: a
	 * machine that is ready is so until the QMP client says otherwise.
	 */
	if (vm == NULL || vm->state == VM_READY)
		return;
	if (m->error == 0)
		vm_set_state(core, vm, VM_CONNECTING, "socket connected");
	else
		vm_set_state(core, vm, VM_ABSENT, strerror(m->error));
}

void
core_event_vm_state(struct core *core, const struct msg_vm_state *m)
{
	struct vm *vm = core_vm_find(core, m->vm);

	if (vm != NULL)
		vm_set_state(core, vm, (enum vm_state)m->state, m->text);
}

void
core_event_vm_has(struct core *core, const struct msg_vm_has *m)
{
	struct vm *vm = core_vm_find(core, m->vm);
	struct device *dev = core_device_find(core, &m->port);
	struct attachment *att;

	/* Ids are never used twice, also not across a restart. */
	if (m->request > core->last_request)
		core->last_request = m->request;
	if (vm == NULL || core_att_find(vm, m->request) != NULL)
		return;
	if (dev != NULL && (dev->dev.devnum != m->devnum || dev->att != NULL))
		dev = NULL;
	att = core_att_new(core, vm, dev, &m->port, m->devnum);
	att->state = ATT_ATTACHED;
	att->request = m->request;
	att->guest_port = m->guest_port;
	strlcpy(att->id, m->id, sizeof(att->id));
	if (dev != NULL)
		dev->request = m->request;
}

void
core_event_vm_dropped(struct core *core, const struct msg_vm_has *m)
{
	struct vm *vm = core_vm_find(core, m->vm);
	struct attachment *att;
	struct device *dev;

	if (vm == NULL || (att = core_att_find(vm, m->request)) == NULL ||
	    att->state == ATT_PENDING)
		return;
	dev = att->dev;
	if (dev != NULL && att->state == ATT_ATTACHED)
		dev->dropped = 1;
	core_att_free(core, att);
	if (dev != NULL)
		core_device_reconcile(core, dev);
	core_vm_reconcile(core, vm);
}
