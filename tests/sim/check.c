/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "check.h"
#include "qmpid.h"
#include "trace.h"

/* What may never be, whatever happens. */

/*
 * The core may not have heard what is in that machine: it hangs, or lets
 * nobody connect though it lives.  A device is given to nobody before that
 * was waited for.
 */
static int
is_unheard(int qemu, int waits)
{
	int i, heard = 0, listening = world.qemus[qemu].listening;

	for (i = 0; i < LINKS_MAX; i++)
		if (told.vms[i].number != 0 && told.vms[i].qemu == qemu) {
			if (waits && !told.vms[i].heard &&
			    world.now < told.settled_at)
				return 0;
			heard |= told.vms[i].was_ready ||
				 (told.vms[i].heard && listening);
		}
	return !heard;
}

static int
is_on_its_way(int qemu, uint32_t plug)
{
	const struct qemu *q = &world.qemus[qemu];
	const struct link *l;
	size_t i, k;

	for (i = 0; i < q->nstale; i++)
		if (q->stale[i].type == CMD_ADD && q->stale[i].dev.plug == plug)
			return 1;
	for (k = 0; k < LINKS_MAX; k++) {
		l = &world.links[k];
		if (l->number == 0 || l->qemu != qemu || !l->conn.open ||
		    l->conn.pid != q->pid)
			continue;
		for (i = l->conn.ndone; i < l->conn.n; i++)
			if (l->conn.commands[i].type == CMD_ADD &&
			    l->conn.commands[i].dev.plug == plug)
				return 1;
	}
	return 0;
}

/* Neither another machine, nor one that is about to have it. */
static void
check_nobody_has(const struct core_action *a, int slot, int qemu)
{
	uint32_t plug = told.devices[slot].dev.plug;
	int i;

	for (i = 0; i < QEMUS; i++)
		if (i != qemu && (qemu_has(&world.qemus[i], plug) != NULL ||
				     is_on_its_way(i, plug)))
			CHECK(is_unheard(i, qemu >= 0), slot, i,
			    "%s/%u goes to %c, while %c has it",
			    slot_names[slot], a->devnum,
			    qemu < 0 ? '-' : qemu_names[qemu], qemu_names[i]);
}

static void
check_machine(const struct core_action *a, const struct told_vm *vm, int slot)
{
	CHECK(vm != NULL && world.engine_client_open, slot, NOBODY,
	    "machine %u is not there", a->vm);
	CHECK(vm->ready, slot, vm->qemu, "machine %u is not ready", a->vm);
	CHECK(!vm->migrating, slot, vm->qemu, "machine %u migrates", a->vm);
	CHECK(a->conn == vm->conn, slot, vm->qemu,
	    "machine %u has connection %u, not %u", a->vm, vm->conn, a->conn);
}

static void
check_attach(const struct core_action *a, int slot)
{
	const struct told_vm *vm = told_vm(a->vm);
	const struct others_device *f;
	struct request *r;
	int who = NOBODY;

	check_machine(a, vm, slot);
	CHECK(vm->in_policy, slot, vm->qemu, "machine %u has left", a->vm);
	CHECK(told.devices[slot].dev.devnum == a->devnum, slot, vm->qemu,
	    "%s/%u is not plugged", slot_names[slot], a->devnum);
	CHECK(a->request > told.last_request && a->request < REQUESTS_MAX, slot,
	    vm->qemu, "request %u comes after %u", a->request,
	    told.last_request);
	if (a->request > told.next_request)
		told.next_request = a->request;
	r = request_get(vm->qemu, a->request);
	CHECK(r->engine != world.engines, slot, vm->qemu,
	    "request %u was made before", a->request);
	*r = (struct request){ world.engines, slot, a->devnum, 0, 0, 0 };
	f = told_foreign(&told.devices[slot].dev, &who);
	CHECK(f == NULL, slot, who, "%s/%u is somebody else's, in %c",
	    slot_names[slot], a->devnum, qemu_names[who]);
	check_nobody_has(a, slot, vm->qemu);
	told.devices[slot].asked = 1;
}

static void
check_detach(const struct core_action *a, int slot)
{
	const struct told_vm *vm = told_vm(a->vm);
	struct request *r;
	struct qmpid id;

	check_machine(a, vm, slot);
	CHECK(qmpid_parse(&id, a->id) == 0 && id.request == a->request &&
		  id.devnum == a->devnum &&
		  usbport_cmp(&id.port, &a->port) == 0,
	    slot, vm->qemu, "%s is not request %u", a->id, a->request);
	r = request_get(vm->qemu, a->request);
	CHECK(r->engine != 0 && r->slot == slot && r->devnum == a->devnum, slot,
	    vm->qemu, "request %u is not ours", a->request);
	CHECK(r->detaching != a->conn || r->vm != a->vm, slot, vm->qemu,
	    "request %u is on its way out", a->request);
	r->detaching = a->conn;
	r->vm = a->vm;
}

static void
check_release(const struct core_action *a, int slot)
{
	struct ctl_device d;

	check_nobody_has(a, slot, NOBODY);
	CHECK(core_device_get(world.core, &a->port, &d) == 0 &&
		  d.state != DEV_ATTACHING && d.state != DEV_ATTACHED,
	    slot, NOBODY, "%s/%u is released and %s", slot_names[slot],
	    a->devnum, device_state_string(d.state));
}

void
check_event(void)
{
	told.last_request = told.next_request;
}

void
check_action(const struct core_action *a)
{
	int slot = slot_of(&a->port);

	if (a->type == ACT_ATTACH)
		check_attach(a, slot);
	else if (a->type == ACT_DETACH)
		check_detach(a, slot);
	else if (a->type == ACT_RELEASE)
		check_release(a, slot);
}
