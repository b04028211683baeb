/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core_int.h"
#include "log.h"
#include "xalloc.h"

/* One that hangs keeps the others waiting so long, once. */
#define SETTLE_MS 5000

struct vm *
core_vm_find(const struct core *core, uint32_t number)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		if (vm->conf.vm == number)
			return vm;
	return NULL;
}

int
core_vm_is_coming(const struct vm *vm)
{
	return vm->state == VM_CONNECTING || vm->state == VM_GREETING;
}

int
core_vm_may_ask(const struct vm *vm)
{
	return vm->state == VM_READY && !vm->migrating;
}

struct vm *
core_vm_new(struct core *core, const struct msg_vm *conf)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));

	vm->conf = *conf;
	vm->state = VM_ABSENT;
	LIST_INIT(&vm->interests);
	RB_INIT(&vm->attachments);
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
	RB_FOREACH(att, core_att_tree, &vm->attachments)
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

const struct vm *
core_vm_awaited(const struct core *core)
{
	const struct vm *vm;

	if (core->settle_at == 0)
		return NULL;
	TAILQ_FOREACH(vm, &core->vms, entry)
		if (!vm->known)
			return vm;
	return NULL;
}

void
core_vm_expect(struct core *core)
{
	core->settle_at = core->now + SETTLE_MS;
}

void
core_vm_settle(struct core *core)
{
	core->settle_at = 0;
	reconcile_all(core);
}

/* In the order of the policy, those that left it first. */
static void
vms_replace(struct core *core, const struct policy *policy)
{
	struct vm *vm;
	size_t i;

	TAILQ_FOREACH(vm, &core->vms, entry)
		vm->gone = 1;
	for (i = 0; i < policy->nvms; i++) {
		vm = core_vm_find(core, policy->vms[i].vm);
		if (vm == NULL) {
			core_vm_new(core, &policy->vms[i]);
			core_vm_expect(core);
			continue;
		}
		vm->conf = policy->vms[i];
		vm->gone = 0;
		TAILQ_REMOVE(&core->vms, vm, entry);
		TAILQ_INSERT_TAIL(&core->vms, vm, entry);
	}
}

void
core_vm_reap(struct core *core, struct vm *vm)
{
	/* Not heard of, it may have devices from before we started. */
	if (!vm->gone || !RB_EMPTY(&vm->attachments) ||
	    (!vm->known && !core->sources.alone))
		return;
	core->left =
	    reallocarray(core->left, core->nleft + 1, sizeof(*core->left));
	if (core->left == NULL)
		fatal("reallocarray");
	core->left[core->nleft++] = vm->conf.vm;
	core_foreign_forget(core, vm, 1);
	core_source_vm_reaped(core, vm);
	TAILQ_REMOVE(&core->vms, vm, entry);
	free(vm);
}

void
core_vm_port_freed(struct core *core, struct vm *vm)
{
	struct interest *interest;
	struct device *dev;

	if (!vm->full)
		return;
	vm->full = 0;
	LIST_FOREACH(interest, &vm->interests, entry) {
		dev = interest->dev;
		if (dev->failed_vm != vm->conf.vm ||
		    !retry_waits_for_port(&dev->retry))
			continue;
		retry_reset(&core->retries, &dev->retry);
		core_device_reconcile(core, dev);
	}
}

void
core_event_vm_port(struct core *core, const struct msg_vm_number *m)
{
	struct vm *vm = core_vm_find(core, m->vm);

	if (vm != NULL)
		core_vm_port_freed(core, vm);
}

void
core_event_policy(struct core *core, struct policy *policy)
{
	struct policy *old = core->policy;
	struct device *dev;
	struct vm *vm, *next;

	if (policy_finish(policy) == -1)
		fatal("policy of %zu rules", policy->nrules);
	core->policy = policy;
	core->generation++;
	vms_replace(core, policy);
	core_source_policy(core);
	core_damping_policy(core);
	RB_FOREACH(dev, core_device_tree, &core->devices)
		core_device_decide(core, dev);
	policy_free(old);
	reconcile_all(core);
	for (vm = TAILQ_FIRST(&core->vms); vm != NULL; vm = next) {
		next = TAILQ_NEXT(vm, entry);
		core_vm_reap(core, vm);
	}
}

/* It is to give back what it has; none of that goes elsewhere before. */
void
core_event_vm_leaving(struct core *core, const struct msg_vm *conf)
{
	if (core_vm_find(core, conf->vm) != NULL)
		return;
	core_vm_new(core, conf)->gone = 1;
	core_vm_expect(core);
}

/* A machine that hangs has them still, and what has ended has none. */
static void
vm_lose_attachments(struct core *core, struct vm *vm)
{
	struct attachment *att;

	RB_FOREACH(att, core_att_tree, &vm->attachments) {
		att->state = ATT_LOST;
		retry_reset(&core->retries, &att->retry);
	}
}

static void
vm_drop_lost(struct core *core, struct vm *vm)
{
	struct attachment *att, *next;
	struct device *dev;

	for (att = RB_MIN(core_att_tree, &vm->attachments); att != NULL;
	     att = next) {
		next = RB_NEXT(core_att_tree, &vm->attachments, att);
		if (att->state != ATT_LOST)
			continue;
		dev = core_att_device(core, att);
		core_att_free(core, att);
		if (dev == NULL)
			continue;
		core_device_reconcile(core, dev);
		/* One that is ready has given back what it does not have. */
		if (dev->att == NULL && vm->state == VM_ABSENT &&
		    vm->conf.release == RELEASE_HOST &&
		    !core_att_elsewhere(core, &dev->dev))
			core_device_release(core, dev);
	}
}

/* What failed before, the machine may do now. */
static void
vm_forget_failures(struct core *core, struct vm *vm, int all)
{
	struct interest *interest;
	struct attachment *att;

	LIST_FOREACH(interest, &vm->interests, entry)
		if (all || retry_waits_for_turn(&interest->dev->retry))
			retry_reset(&core->retries, &interest->dev->retry);
	if (!all)
		return;
	RB_FOREACH(att, core_att_tree, &vm->attachments)
		retry_reset(&core->retries, &att->retry);
}

static void
vm_set_state(
    struct core *core, struct vm *vm, enum vm_state state, const char *reason)
{
	enum vm_state before = vm->state;
	int heard = state == VM_READY || state == VM_ABSENT;
	int first = !vm->known && heard;

	strlcpy(vm->reason, reason, sizeof(vm->reason));
	vm->known |= first;
	/* One that is ready says so again when something has changed. */
	if (before == state && state != VM_READY && !first)
		return;
	vm->state = state;
	core_source_vm_state(core, vm);
	/* Not when it is connected: what it has is told from then on. */
	if (state != VM_READY &&
	    (!core_vm_is_coming(vm) || before == VM_READY)) {
		vm_lose_attachments(core, vm);
		core_foreign_untold(core, vm);
	}
	if (state == VM_READY)
		vm_forget_failures(core, vm, before != state);
	else
		vm->migrating = 0;
	if (state == VM_ABSENT)
		core_foreign_forget(core, vm, 1);
	/* What it has was told before it became ready. */
	if (heard)
		vm_drop_lost(core, vm);
	core_vm_reconcile(core, vm);
	core_vm_reap(core, vm);
	if (first && core->settle_at != 0 && core_vm_awaited(core) == NULL)
		core_vm_settle(core);
}

/*
 * The parent's word may be read after the QMP client's later ones, and before
 * its earlier ones: a connection lasts until the QMP client says otherwise,
 * and what the parent says of one before it is of the past.
 */
void
core_event_vm_socket(struct core *core, const struct msg_vm_socket *m)
{
	struct vm *vm = core_vm_find(core, m->vm);
	enum vm_state state;

	if (vm == NULL || m->conn < vm->conn)
		return;
	vm->deserted = m->ended != 0;
	vm->deserted_conn = m->conn;
	if (vm->state == VM_READY || vm->state == VM_GREETING)
		return;
	if (m->error == EAGAIN)
		state = VM_CONNECTING;
	else if (vm->deserted || (vm->known && RB_EMPTY(&vm->attachments) &&
				     !core_foreign_any(core, vm)))
		state = VM_ABSENT;
	else
		state = VM_LOST;
	vm_set_state(core, vm, state,
	    state == VM_CONNECTING ? "others wait at its QMP socket"
				   : strerror(m->error));
}

static void
vm_ready(struct core *core, struct vm *vm, const struct msg_vm_state *m)
{
	int migrated = vm->migrating && !m->migrating;

	vm->migrating = m->migrating != 0;
	vm->handover = (enum handover)m->handover;
	if (migrated)
		vm_forget_failures(core, vm, 1);
	vm_set_state(core, vm, VM_READY, m->text);
	/* One that left the policy may be gone with what was lost in it. */
	if (m->told && (vm = core_vm_find(core, m->vm)) != NULL)
		core_foreign_forget(core, vm, 0);
}

void
core_event_vm_state(struct core *core, const struct msg_vm_state *m)
{
	struct vm *vm = core_vm_find(core, m->vm);

	if (vm == NULL)
		return;
	vm->conn = m->conn;
	if (m->state == VM_READY)
		vm_ready(core, vm, m);
	else if (m->state == VM_LOST && vm->deserted &&
		 vm->deserted_conn >= m->conn)
		vm_set_state(core, vm, VM_ABSENT, m->text);
	else
		vm_set_state(core, vm, (enum vm_state)m->state, m->text);
}

void
core_event_vm_has(struct core *core, const struct msg_vm_has *m)
{
	struct vm *vm = core_vm_find(core, m->vm);
	struct device *dev = core_device_find(core, &m->port);
	struct attachment *att;

	/*
	 * Ids are never used twice, also not across a restart; nor may one
	 * that a QEMU has made up use up all there are.
	 */
	if (m->request > core->last_request && m->request < REQUEST_MAX / 2)
		core->last_request = m->request;
	if (vm == NULL)
		return;
	if ((att = core_att_find(vm, m->request)) != NULL) {
		if (att->state == ATT_LOST) {
			att->state = ATT_ATTACHED;
			att->guest_port = m->guest_port;
		}
		return;
	}
	if (dev != NULL && (dev->dev.devnum != m->devnum || dev->att != NULL))
		dev = NULL;
	att = core_att_new(core, vm, dev, &m->port, m->devnum, m->request);
	att->state = ATT_ATTACHED;
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

	if (vm != NULL && (att = core_att_find(vm, m->request)) != NULL)
		core_att_dropped(core, att);
}
