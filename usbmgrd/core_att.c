/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_int.h"
#include "xalloc.h"

RB_GENERATE(core_att_tree, attachment, vm_entry, core_att_cmp)

int
core_att_cmp(struct attachment *a, struct attachment *b)
{
	return a->request < b->request ? -1 : a->request > b->request;
}

struct attachment *
core_att_new(struct core *core, struct vm *vm, struct device *dev,
    const struct usbport *port, uint16_t devnum, uint32_t request)
{
	struct attachment *att = xcalloc(1, sizeof(*att));

	att->vm = vm;
	att->dev = dev;
	att->retry.att = att;
	att->port = *port;
	att->devnum = devnum;
	att->request = request;
	RB_INSERT(core_att_tree, &vm->attachments, att);
	if (dev != NULL)
		dev->att = att;
	else
		LIST_INSERT_HEAD(&core->orphans, att, orphan_entry);
	return att;
}

void
core_att_free(struct core *core, struct attachment *att)
{
	retry_cancel(&core->retries, &att->retry);
	RB_REMOVE(core_att_tree, &att->vm->attachments, att);
	if (att->dev != NULL)
		att->dev->att = NULL;
	else
		LIST_REMOVE(att, orphan_entry);
	free(att);
}

struct attachment *
core_att_find(const struct vm *vm, uint32_t request)
{
	struct core_att_tree attachments = vm->attachments;
	struct attachment key;

	key.request = request;
	return RB_FIND(core_att_tree, &attachments, &key);
}

void
core_att_detach(struct core *core, struct attachment *att, const char *reason)
{
	struct core_action *a;

	att->state = ATT_DETACHING;
	a = core_action_add(core, ACT_DETACH, &att->port, att->devnum, reason);
	a->vm = att->vm->conf.vm;
	a->vmname = att->vm->conf.name;
	a->conn = att->vm->conn;
	a->request = att->request;
	strlcpy(a->id, att->id, sizeof(a->id));
	if (att->dev != NULL)
		core_action_identify(a, &att->dev->dev);
}

/* What is in a machine but not plugged has to leave it. */
void
core_att_reconcile(struct core *core, struct attachment *att)
{
	if (core->scan_done && att->state == ATT_ATTACHED &&
	    core_vm_may_ask(att->vm) && !retry_blocks(&att->retry))
		core_att_detach(core, att, "device removed");
}

void
core_att_adopt(struct core *core, struct device *dev)
{
	struct attachment *att, *next;

	for (att = LIST_FIRST(&core->orphans); att != NULL; att = next) {
		next = LIST_NEXT(att, orphan_entry);
		if (dev->att != NULL || att->state != ATT_ATTACHED ||
		    att->unplugged || att->devnum != dev->dev.devnum ||
		    usbport_cmp(&att->port, &dev->dev.port) != 0)
			continue;
		LIST_REMOVE(att, orphan_entry);
		att->dev = dev;
		dev->att = att;
		dev->request = att->request;
	}
}

int
core_att_elsewhere(const struct core *core, const struct usbdev *d)
{
	const struct attachment *att;

	LIST_FOREACH(att, &core->orphans, orphan_entry)
		if (att->devnum == d->devnum &&
		    usbport_cmp(&att->port, &d->port) == 0)
			return 1;
	return 0;
}

struct device *
core_att_device(struct core *core, const struct attachment *att)
{
	struct device *dev = att->dev;

	if (dev != NULL)
		return dev;
	dev = core_device_find(core, &att->port);
	return dev != NULL && dev->dev.devnum == att->devnum ? dev : NULL;
}

/* Forgets it, and sees to who waited for that. */
static void
att_left(struct core *core, struct attachment *att, int had_port)
{
	struct device *dev = core_att_device(core, att);
	struct vm *vm = att->vm;

	core_att_free(core, att);
	if (dev != NULL)
		core_device_reconcile(core, dev);
	if (had_port)
		core_vm_port_freed(core, vm);
	core_vm_reap(core, vm);
}

static void
attach_failed(struct core *core, struct device *dev, struct vm *vm,
    const struct msg_result *m)
{
	dev->failed_vm = vm->conf.vm;
	vm->full |=
	    m->result == RESULT_BUS_FULL || m->result == RESULT_NO_CONTROLLER;
	retry_failed(
	    &core->retries, &dev->retry, core->now, (enum result)m->result);
	snprintf(dev->failure, sizeof(dev->failure), "%.60s: %.190s",
	    result_string(m->result), m->text);
}

static void
result_of_attach(
    struct core *core, struct attachment *att, const struct msg_result *m)
{
	struct device *dev = att->dev;

	if (m->result == RESULT_OK) {
		att->state = ATT_ATTACHED;
		att->guest_port = m->guest_port;
		if (dev == NULL) {
			core_att_reconcile(core, att);
			return;
		}
		retry_reset(&core->retries, &dev->retry);
		core_device_reconcile(core, dev);
		return;
	}
	/* QEMU may carry out what it has read; it will be asked. */
	if (m->result == RESULT_VM_LOST) {
		att->state = ATT_LOST;
		if (dev != NULL)
			core_device_reconcile(core, dev);
		return;
	}
	/* What was refused is not what would be asked for now. */
	if (dev != NULL && !att->outdated)
		attach_failed(core, dev, att->vm, m);
	att_left(core, att,
	    m->result != RESULT_BUS_FULL && m->result != RESULT_NO_CONTROLLER);
}

static void
result_of_detach(
    struct core *core, struct attachment *att, const struct msg_result *m)
{
	struct device *dev = att->dev;

	/* What is refused may be gone all the same. */
	if (m->result == RESULT_OK || att->dropped) {
		/* Where it is now, what failed before may work. */
		if (dev != NULL)
			retry_reset(&core->retries, &dev->retry);
		att_left(core, att, 1);
		return;
	}
	att->state = m->result == RESULT_VM_LOST ? ATT_LOST : ATT_ATTACHED;
	retry_failed(
	    &core->retries, &att->retry, core->now, (enum result)m->result);
	if (dev != NULL)
		core_device_reconcile(core, dev);
}

/* Somebody else took it out: it stays out until it is plugged again. */
void
core_att_dropped(struct core *core, struct attachment *att)
{
	/* What we have asked for will be answered, too. */
	att->dropped = att->state == ATT_DETACHING;
	if (att->state != ATT_ATTACHED)
		return;
	if (att->dev != NULL)
		att->dev->dropped = 1;
	att_left(core, att, 1);
}

void
core_event_result(struct core *core, const struct msg_result *m)
{
	struct vm *vm = core_vm_find(core, m->vm);
	struct attachment *att;

	/* What was asked of a connection before is lost, and was said to be. */
	if (vm == NULL || m->conn != vm->conn ||
	    (att = core_att_find(vm, m->request)) == NULL)
		return;
	if (att->state == ATT_PENDING)
		result_of_attach(core, att, m);
	else if (att->state == ATT_DETACHING)
		result_of_detach(core, att, m);
}
