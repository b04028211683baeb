/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "check.h"
#include "trace.h"

/*
 * Where each device is to be when all is at rest, by the policy alone; and
 * whether it is there, in the core's mind and in truth.
 */

/* What is to be shown of a device that is in no machine. */
struct expected {
	enum device_state state;
	const char *why; /* part of the reason; NULL: it is to be in one of */
	size_t nvms;
	const struct conf_vm *vms[QEMUS];
};

static int
is_up(const struct conf_vm *vm)
{
	return world.qemus[vm->qemu].pid != 0;
}

static struct expected
out(enum device_state state, const char *why)
{
	return (struct expected){ .state = state, .why = why };
}

static struct expected
in(const struct conf_vm *vm)
{
	return (struct expected){ .nvms = 1, .vms = { vm } };
}

static int
breaks(const struct snapshot *s, uint64_t pledge)
{
	return pledge != 0 && (pledge & conf_classes(s->kind)) == 0;
}

static const char *protected(const struct snapshot *s, int even_if_busy)
{
	if (s->odd)
		return "malformed";
	if (s->netif && !even_if_busy)
		return "network interface";
	return s->busy && !even_if_busy ? "disk sdb in use" : NULL;
}

static struct expected
expect_by_hand(const struct told_device *d, const struct conf_rule *r)
{
	const struct conf_vm *vm = told_conf_vm(d->override_vm);
	const char *why;

	if (d->override == OVERRIDE_DETACH)
		return out(DEV_HELD, "detached by hand");
	if (d->dev.hub)
		return out(DEV_HELD, "hub");
	why = protected(&d->dev, d->force || (r != NULL && r->even_if_busy));
	if (why != NULL)
		return out(DEV_HELD, why);
	if (!d->force && ((r != NULL && breaks(&d->dev, r->pledge)) ||
			     breaks(&d->dev, vm->pledge)))
		return out(DEV_HELD, "pledge");
	return is_up(vm) ? in(vm) : out(DEV_HELD, "was attached by hand, is");
}

static struct expected
expect_list(const struct conf_rule *r, const struct told_device *d)
{
	struct expected e = { .nvms = 0 };
	const struct conf_vm *vm;
	size_t i;

	for (i = 0; i < r->nvms; i++) {
		vm = &told.conf.vms[r->vms[i]];
		if (breaks(&d->dev, vm->pledge))
			return out(DEV_HELD, "pledge");
		if (is_up(vm))
			e.vms[e.nvms++] = vm;
	}
	if (d->dropped)
		return out(DEV_HELD, "taken out of its machine");
	if (e.nvms == 0)
		return out(DEV_HELD,
		    r->nvms > 1 ? "no machine of its list is up" : "is down");
	return e;
}

static struct expected
expect(const struct told_device *d, size_t *place)
{
	const struct conf_rule *r = conf_decide(&told.conf, &d->dev, place);
	const char *why;

	if (d->override != OVERRIDE_NONE)
		return expect_by_hand(d, r);
	if (d->dev.hub)
		return out(DEV_HELD, "hub");
	if (r == NULL)
		return out(DEV_UNASSIGNED, "no rule matches");
	if (!r->pass)
		return out(DEV_UNASSIGNED, "blocked by");
	if ((why = protected(&d->dev, r->even_if_busy)) != NULL)
		return out(DEV_HELD, why);
	if (breaks(&d->dev, r->pledge))
		return out(DEV_HELD, "pledge");
	return expect_list(r, d);
}

/* A refusal counts while it is true, or was tried often enough. */
static int
is_refused(const struct told_device *d, const struct conf_vm *vm)
{
	static const unsigned int tries[RESULT_MAX] = { [RESULT_GONE] = 3,
		[RESULT_PERMISSION] = 3,
		[RESULT_PORT_TAKEN] = 5,
		[RESULT_DUPLICATE] = 5,
		[RESULT_OTHER] = 5,
		[RESULT_UNOPENED] = 3 };
	const struct qemu *q = &world.qemus[vm->qemu];
	const struct link *l = link_find(vm->number);

	if (d->refused_by != vm->number)
		return 0;
	switch (d->refused) {
	case RESULT_BUS_FULL:
		return l->client.n + l->client.used >= q->capacity;
	case RESULT_NO_CONTROLLER:
		return !q->has_bus;
	case RESULT_UNABLE:
		return q->unable;
	case RESULT_SPEED:
		return vm->qemu == 1 && d->dev.kind == KIND_TOO_FAST;
	default:
		return tries[d->refused] != 0 &&
		       d->refusals[d->refused] > tries[d->refused];
	}
}

static void
check_out(const struct told_device *d, const struct ctl_device *c,
    enum device_state state, const char *why)
{
	int slot = d->dev.slot;

	CHECK(c->state == state && strstr(c->reason, why) != NULL, slot, NOBODY,
	    "%s is %s (%s), not %s (%s)", slot_names[slot],
	    device_state_string(c->state), c->reason,
	    device_state_string(state), why);
}

static int
where(const struct told_device *d)
{
	int i, found = NOBODY;

	for (i = 0; i < QEMUS; i++) {
		if (qemu_has(&world.qemus[i], d->dev.plug) == NULL)
			continue;
		CHECK(found == NOBODY, d->dev.slot, i, "two machines have %s",
		    slot_names[d->dev.slot]);
		found = i;
	}
	return found;
}

/* It is to be in one of these machines. */
static void
check_in(const struct told_device *d, const struct ctl_device *c,
    const struct expected *e)
{
	int slot = d->dev.slot, who, at = where(d);
	size_t i;

	if (c->state == DEV_ATTACHED) {
		for (i = 0; i < e->nvms; i++)
			if (e->vms[i]->qemu == at && c->vm[0] == qemu_names[at])
				return;
		trace_fail(slot, at, __FILE__, __LINE__,
		    "%s is said to be in %s and is in %c", slot_names[slot],
		    c->vm, at < 0 ? '-' : qemu_names[at]);
	}
	if (told_foreign(&d->dev, &who) != NULL)
		check_out(d, c, DEV_HELD, "was given it by somebody else");
	else {
		check_out(d, c, DEV_FAILED, result_string(d->refused));
		CHECK(is_refused(d, e->vms[0]), slot, e->vms[0]->qemu,
		    "%s is not in %c for no reason: %s", slot_names[slot],
		    qemu_names[e->vms[0]->qemu], c->reason);
	}
}

/* Its machine has refused so often to give it back that nobody asks again. */
static int
is_stuck(int qemu, uint32_t request)
{
	return request_get(qemu, request)->failures > 5;
}

static void
check_slot(int slot)
{
	const struct told_device *d = &told.devices[slot];
	struct usbport port = slot_port(slot);
	struct ctl_device c;
	struct expected e;
	size_t place;
	int known = core_device_get(world.core, &port, &c) == 0;

	CHECK(known == (world.slots[slot].plug != 0) &&
		  d->dev.plug == world.slots[slot].plug,
	    slot, NOBODY, "%s is not known as it is", slot_names[slot]);
	if (!known)
		return;
	CHECK(c.override == (uint32_t)d->override, slot, NOBODY,
	    "%s has override %u", slot_names[slot], c.override);
	e = expect(d, &place);
	if (e.why == NULL)
		check_in(d, &c, &e);
	else if (c.state != DEV_ATTACHED || where(d) == NOBODY ||
		 !is_stuck(where(d), c.request)) {
		check_out(d, &c, e.state, e.why);
		CHECK(where(d) == NOBODY, slot, where(d),
		    "%s is in a machine all the same", slot_names[slot]);
	}
}

/* What is in it is plugged; where it may be was looked at. */
static void
check_machine(const struct conf_vm *vm)
{
	const struct told_vm *t = told_vm(vm->number);
	struct qemu *q = &world.qemus[vm->qemu];
	const struct inside *i;

	CHECK(t != NULL && t->ready == is_up(vm), NOBODY, vm->qemu,
	    "machine %u is %s", vm->number,
	    t == NULL ? "unknown" : vm_state_string(t->state));
	for (i = q->in; i < q->in + q->n; i++)
		CHECK(world.slots[i->dev.slot].plug == i->dev.plug ||
			  is_stuck(vm->qemu, i->request),
		    i->dev.slot, vm->qemu, "request %u is left in %c",
		    i->request, qemu_names[vm->qemu]);
}

void
oracle_check(void)
{
	size_t i;
	int slot;

	trace(ALL, NOBODY, "all is at rest");
	CHECK(core_next(world.core) == 0, ALL, NOBODY,
	    "something is to be tried again");
	for (i = 0; i < told.conf.nvms; i++)
		check_machine(&told.conf.vms[i]);
	for (slot = 0; slot < SLOTS; slot++)
		check_slot(slot);
	check_memory(1);
}
