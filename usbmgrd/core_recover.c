/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "core_int.h"

/* What becomes of the state when a process beside the engine is a new one. */

/* Whatever the engine before was, this one has numbers left. */
void
core_requests_from(struct core *core, uint32_t last)
{
	if (last > core->last_request && last < REQUEST_MAX / 4 * 3)
		core->last_request = last;
}

void
core_event_scan(struct core *core)
{
	core->scan++;
}

void
core_forget_unseen(struct core *core)
{
	struct device *dev, *next;

	for (dev = RB_MIN(core_device_tree, &core->devices); dev != NULL;
	     dev = next) {
		next = RB_NEXT(core_device_tree, &core->devices, dev);
		if (dev->scan != core->scan)
			core_device_remove(core, dev);
	}
}

/*
 * Nobody knows what became of what was asked for, and no connection is left:
 * the machines have their devices still, unless they have ended meanwhile.
 */
void
core_event_qmpclient_lost(struct core *core)
{
	struct msg_vm_state lost = { .state = VM_LOST,
		.text = "the QMP client has ended" };
	struct vm *vm, *next;

	/* First, so that no device goes from one of them to another. */
	TAILQ_FOREACH(vm, &core->vms, entry)
		/* What it has may have been told without it being ready yet. */
		if (vm->state == VM_READY || !RB_EMPTY(&vm->attachments)) {
			vm->state = VM_GREETING;
			/* As at the start: any of a list may have it. */
			vm->known = 0;
		}
	for (vm = TAILQ_FIRST(&core->vms); vm != NULL; vm = next) {
		next = TAILQ_NEXT(vm, entry);
		if (vm->state != VM_GREETING)
			continue;
		lost.vm = vm->conf.vm;
		lost.conn = vm->conn;
		core_event_vm_state(core, &lost);
	}
}
