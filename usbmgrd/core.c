/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "core_int.h"
#include "log.h"

struct core *
core_new(void)
{
	struct core *core = calloc(1, sizeof(*core));

	if (core == NULL)
		return NULL;
	RB_INIT(&core->devices);
	TAILQ_INIT(&core->vms);
	LIST_INIT(&core->orphans);
	LIST_INIT(&core->foreigns);
	retry_init(&core->retries);
	core_damping_init(core);
	core_source_init(core);
	return core;
}

struct core_action *
core_action_add(struct core *core, enum core_action_type type,
    const struct usbport *port, uint16_t devnum, const char *reason)
{
	struct core_action *a;
	size_t max;

	if (core->nactions == core->maxactions) {
		max = core->maxactions * 2 + 16;
		a = reallocarray(core->actions, max, sizeof(*a));
		if (a == NULL)
			fatal("reallocarray");
		core->actions = a;
		core->maxactions = max;
	}
	a = &core->actions[core->nactions++];
	memset(a, 0, sizeof(*a));
	a->type = type;
	a->port = *port;
	a->devnum = devnum;
	strlcpy(a->reason, reason, sizeof(a->reason));
	return a;
}

void
core_action_identify(struct core_action *a, const struct usbdev *d)
{
	a->vendor = d->vendor;
	a->product = d->product;
	a->speed = (enum usbspeed)d->speed;
	a->speeds = usbdev_speeds(d);
	a->uevent = d->uevent;
	memcpy(a->digest, d->digest, sizeof(a->digest));
}

static int
action_cmp(const void *va, const void *vb)
{
	const struct core_action *a = va, *b = vb;
	int c;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if ((c = usbport_cmp(&a->port, &b->port)) != 0)
		return c;
	return a->request < b->request ? -1 : a->request > b->request;
}

static void
event_tick(struct core *core)
{
	struct retry *due;

	if (core->settle_at != 0 && core->settle_at <= core->now)
		core_vm_settle(core);
	core_damping_tick(core);
	while ((due = retry_due(&core->retries, core->now)) != NULL)
		if (due->dev != NULL)
			core_device_reconcile(core, due->dev);
		else if (due->att->dev != NULL)
			core_device_reconcile(core, due->att->dev);
		else
			core_att_reconcile(core, due->att);
}

const struct core_action *
core_event(struct core *core, const struct core_event *ev, size_t *n)
{
	core->nactions = 0;
	core->nleft = 0;
	core->now = ev->now;
	switch (ev->type) {
	case EV_POLICY:
		core_event_policy(core, ev->u.policy);
		break;
	case EV_DEVICE:
		core_event_device(core, ev->u.device);
		break;
	case EV_DEVICE_GONE:
		core_event_device_gone(core, ev->u.gone);
		break;
	case EV_SCAN_DONE:
		core_event_scan_done(core);
		break;
	case EV_VM_LEAVING:
		core_event_vm_leaving(core, ev->u.vm);
		break;
	case EV_VM_SOCKET:
		core_event_vm_socket(core, ev->u.vm_socket);
		break;
	case EV_VM_HAS:
		core_event_vm_has(core, ev->u.has);
		break;
	case EV_VM_STATE:
		core_event_vm_state(core, ev->u.vm_state);
		break;
	case EV_VM_DROPPED:
		core_event_vm_dropped(core, ev->u.has);
		break;
	case EV_VM_FOREIGN:
		core_event_vm_foreign(core, ev->u.foreign);
		break;
	case EV_VM_PORT:
		core_event_vm_port(core, ev->u.vm_number);
		break;
	case EV_RESULT:
		core_event_result(core, ev->u.result);
		break;
	case EV_TICK:
		event_tick(core);
		break;
	case EV_OVERRIDE:
		core_event_override(core, ev->u.override);
		break;
	case EV_SCAN:
		core_event_scan(core);
		break;
	case EV_QMPCLIENT_LOST:
		core_event_qmpclient_lost(core);
		break;
	default:
		core_source_event(core, ev);
		break;
	}
	core_source_reconcile(core);
	*n = core->nactions;
	core_sort_actions(core->actions, *n);
	return *n == 0 ? NULL : core->actions;
}

void
core_sort_actions(struct core_action *actions, size_t n)
{
	if (n > 1)
		qsort(actions, n, sizeof(*actions), action_cmp);
}

const uint32_t *
core_left(const struct core *core, size_t *n)
{
	*n = core->nleft;
	return core->left;
}

uint16_t
core_devnum(struct core *core, const struct usbport *port)
{
	const struct device *dev = core_device_find(core, port);

	return dev == NULL ? 0 : dev->dev.devnum;
}

/* 0 is never. */
static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

uint64_t
core_next(const struct core *core)
{
	uint64_t next = retry_next(&core->retries);

	next = sooner(next, core_damping_next(core));
	return sooner(next, core->settle_at);
}

int
core_check_result(const struct core *core, const struct msg_result *m)
{
	const struct vm *vm = core_vm_find(core, m->vm);
	const struct attachment *att;

	if (m->result >= RESULT_MAX || !msg_string_ok(m->text, sizeof(m->text)))
		return 0;
	/* It may have crossed the word that the machine is lost. */
	if (m->result == RESULT_VM_LOST || (vm != NULL && m->conn < vm->conn))
		return 1;
	if (vm == NULL || m->conn != vm->conn ||
	    (att = core_att_find(vm, m->request)) == NULL)
		return 0;
	return att->state != ATT_ATTACHED;
}

void
core_free(struct core *core)
{
	struct device *dev;
	struct vm *vm;

	if (core == NULL)
		return;
	while ((dev = RB_MIN(core_device_tree, &core->devices)) != NULL)
		core_device_remove(core, dev);
	while ((vm = TAILQ_FIRST(&core->vms)) != NULL) {
		while (!RB_EMPTY(&vm->attachments))
			core_att_free(core, RB_ROOT(&vm->attachments));
		core_foreign_forget(core, vm, 1);
		TAILQ_REMOVE(&core->vms, vm, entry);
		free(vm);
	}
	core_damping_free(core);
	core_source_free(core);
	policy_free(core->policy);
	free(core->actions);
	free(core->left);
	free(core);
}
