/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "check.h"
#include "trace.h"

struct told told;
static struct request requests[QEMUS][REQUESTS_MAX];

struct request *
request_get(int qemu, uint32_t number)
{
	CHECK(number != 0 && number < REQUESTS_MAX && qemu >= 0, ALL, qemu,
	    "request %u is out of range", number);
	return &requests[qemu][number];
}

struct told_vm *
told_vm(uint32_t number)
{
	int i;

	for (i = 0; i < LINKS_MAX; i++)
		if (told.vms[i].number == number)
			return &told.vms[i];
	return NULL;
}

const struct conf_vm *
told_conf_vm(uint32_t number)
{
	size_t i;

	for (i = 0; i < told.conf.nvms; i++)
		if (told.conf.vms[i].number == number)
			return &told.conf.vms[i];
	return NULL;
}

const struct others_device *
told_foreign(const struct snapshot *s, int *qemu)
{
	int i, k;

	for (i = 0; i < LINKS_MAX; i++)
		for (k = 0; told.vms[i].in_policy && k < TOLD_FOREIGNS_MAX; k++)
			if (foreign_covers(&told.vms[i].foreigns[k], s)) {
				*qemu = told.vms[i].qemu;
				return &told.vms[i].foreigns[k];
			}
	return NULL;
}

void
told_start(void)
{
	memset(requests, 0, sizeof(requests));
	told_engine();
}

void
told_engine(void)
{
	memset(&told, 0, sizeof(told));
	told.next_request = world.last_request;
}

/* It may be tried again. */
static void
forget_refusals(struct told_device *d)
{
	d->refused_by = 0;
	d->refused = RESULT_OK;
	memset(d->refusals, 0, sizeof(d->refusals));
}

static void
judged_anew(struct told_device *d)
{
	forget_refusals(d);
	d->asked = 0;
}

void
told_policy(const struct conf *conf)
{
	struct told_vm *vm;
	size_t i;

	told.conf = *conf;
	for (i = 0; i < LINKS_MAX; i++)
		told.vms[i].in_policy = 0;
	for (i = 0; i < conf->nvms; i++) {
		if ((vm = told_vm(conf->vms[i].number)) == NULL) {
			vm = told_vm(0);
			CHECK(vm != NULL, NOBODY, conf->vms[i].qemu,
			    "too many machines");
			memset(vm, 0, sizeof(*vm));
			vm->number = conf->vms[i].number;
			vm->qemu = conf->vms[i].qemu;
			told.settled_at = world.now + 5000;
		}
		vm->in_policy = 1;
	}
	for (i = 0; i < SLOTS; i++) {
		judged_anew(&told.devices[i]);
		if (told.devices[i].override == OVERRIDE_ATTACH &&
		    told_conf_vm(told.devices[i].override_vm) == NULL)
			told.devices[i].override = OVERRIDE_NONE;
	}
}

void
told_leaving(uint32_t number, int qemu)
{
	struct told_vm *vm = told_vm(0);

	CHECK(vm != NULL && told_vm(number) == NULL, NOBODY, qemu,
	    "machine %u is told of twice", number);
	memset(vm, 0, sizeof(*vm));
	vm->number = number;
	vm->qemu = qemu;
	told.settled_at = world.now + 5000;
}

void
told_device(const struct snapshot *s)
{
	struct told_device *d = &told.devices[s->slot];

	if (d->dev.plug == 0 || d->dev.devnum != s->devnum)
		memset(d, 0, sizeof(*d));
	else if (d->dev.digest != s->digest)
		d->override = OVERRIDE_NONE;
	d->dev = *s;
	d->scan = told.scan;
	judged_anew(d);
}

void
told_gone(const struct snapshot *s)
{
	struct told_device *d = &told.devices[s->slot];

	if (d->dev.devnum == s->devnum)
		memset(d, 0, sizeof(*d));
}

void
told_scan_done(void)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (told.devices[i].scan != told.scan)
			memset(&told.devices[i], 0, sizeof(told.devices[i]));
}

/* Machines */

void
told_has(uint32_t number, uint32_t request, const struct snapshot *s)
{
	struct told_vm *vm = told_vm(number);
	struct request *r;

	if (request > told.next_request)
		told.next_request = request;
	if (vm == NULL)
		return;
	r = request_get(vm->qemu, request);
	CHECK(r->slot == s->slot && r->devnum == s->devnum, s->slot, vm->qemu,
	    "request %u means two devices", request);
	r->detaching = 0;
}

void
told_dropped(uint32_t number, uint32_t request, const struct snapshot *s)
{
	struct usbport port = slot_port(s->slot);
	struct core_request r;
	struct ctl_device d;

	if (core_request_find(world.core, number, request, &r) == 0 &&
	    !r.detaching && core_device_get(world.core, &port, &d) == 0 &&
	    d.state == DEV_ATTACHED && d.request == request)
		told.devices[s->slot].dropped = 1;
}

void
told_foreign_device(uint32_t number, const struct others_device *f)
{
	struct told_vm *vm = told_vm(number);
	int i, at = -1;

	for (i = 0; vm != NULL && i < TOLD_FOREIGNS_MAX; i++)
		if (vm->foreigns[i].id == f->id ||
		    (at < 0 && vm->foreigns[i].id == 0))
			at = i;
	if (vm == NULL)
		return;
	CHECK(at >= 0, NOBODY, vm->qemu, "too many foreign devices");
	for (i = 0; i < TOLD_FOREIGNS_MAX; i++)
		if (vm->foreigns[i].id == f->id)
			at = i;
	vm->foreigns[at] = *f;
	vm->fresh[at] = 1;
}

static void
forget_foreigns(struct told_vm *vm, int all)
{
	int i;

	for (i = 0; i < TOLD_FOREIGNS_MAX; i++) {
		if (all || !vm->fresh[i])
			vm->foreigns[i].id = 0;
		vm->fresh[i] = 0;
	}
}

static void
forget_refusals_of(uint32_t number)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (told.devices[i].refused_by == number)
			forget_refusals(&told.devices[i]);
}

void
told_state(const struct msg_vm_state *m)
{
	struct told_vm *vm = told_vm(m->vm);
	int ready = m->state == VM_READY;

	if (vm == NULL)
		return;
	if (ready && (!vm->ready || (vm->migrating && !m->migrating)))
		forget_refusals_of(vm->number);
	if (ready)
		vm->heard = vm->was_ready = 1;
	vm->ready = ready;
	vm->migrating = ready && m->migrating;
	vm->conn = m->conn;
	vm->state = (enum vm_state)m->state;
	if (ready && m->told)
		forget_foreigns(vm, 0);
	else if (vm->state == VM_LOST && vm->deserted &&
		 vm->deserted_conn >= m->conn)
		forget_foreigns(vm, 1);
}

/* Its word counts while there is no connection. */
void
told_socket(const struct msg_vm_socket *m)
{
	struct told_vm *vm = told_vm(m->vm);

	if (vm == NULL || m->conn < vm->conn)
		return;
	vm->heard |= m->ended != 0;
	vm->deserted = m->ended != 0;
	vm->deserted_conn = m->conn;
	if (vm->deserted && vm->state != VM_READY && vm->state != VM_GREETING)
		forget_foreigns(vm, 1);
}

void
told_result(const struct msg_result *m)
{
	struct told_vm *vm = told_vm(m->vm);
	struct told_device *d;
	struct core_request q;
	struct ctl_device c;
	struct request *r;

	if (vm == NULL || m->conn != vm->conn ||
	    core_request_find(world.core, m->vm, m->request, &q) == -1)
		return;
	r = request_get(vm->qemu, m->request);
	d = &told.devices[r->slot];
	r->detaching = 0;
	if (q.detaching)
		r->failures += m->result != RESULT_OK;
	if (d->dev.plug == 0 || d->dev.devnum != r->devnum)
		return;
	/* What another machine had beside it says nothing. */
	if (core_device_get(world.core, &q.port, &c) == -1 ||
	    c.request != m->request)
		return;
	if (m->result == RESULT_OK)
		forget_refusals(d);
	else if (!q.detaching && d->asked && m->result != RESULT_VM_LOST) {
		if (d->refused_by != m->vm)
			forget_refusals(d);
		d->refused_by = m->vm;
		d->refused = (enum result)m->result;
		d->refusals[m->result]++;
	}
}

void
told_client_lost(void)
{
	int i;

	for (i = 0; i < LINKS_MAX; i++) {
		told.vms[i].ready = told.vms[i].migrating = 0;
		if (told.vms[i].state == VM_READY ||
		    told.vms[i].state == VM_GREETING)
			told.vms[i].state = VM_LOST;
		if (told.vms[i].deserted &&
		    told.vms[i].deserted_conn >= told.vms[i].conn)
			forget_foreigns(&told.vms[i], 1);
	}
}

void
told_override(const struct core_override *o, int slot)
{
	struct told_device *d = &told.devices[slot];
	size_t i;

	d->override = o->command;
	d->force = o->force;
	d->dropped = 0;
	for (i = 0; i < told.conf.nvms; i++)
		if (qemu_names[told.conf.vms[i].qemu] == o->vm[0])
			d->override_vm = told.conf.vms[i].number;
	judged_anew(d);
}

void
told_vm_left(uint32_t number)
{
	struct told_vm *vm = told_vm(number);

	CHECK(vm != NULL && !vm->in_policy, NOBODY, NOBODY,
	    "machine %u left that should not", number);
	memset(vm, 0, sizeof(*vm));
}
