/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include "check.h"
#include "qmpid.h"
#include "trace.h"

/* The engine: from its channels to the core, and what the core wants done. */

static int
qemu_of(uint32_t vm)
{
	const struct told_vm *t = told_vm(vm);

	return t == NULL ? NOBODY : t->qemu;
}

/* What the core does */

static void
ask(const struct core_action *a, enum note_type type)
{
	int slot = slot_of(&a->port);
	struct note *note;

	note = channel_add(&world.engine_client, type, world.engine_client_gen);
	note->vm = a->vm;
	note->request = a->request;
	note->conn = a->conn;
	note->dev = told.devices[slot].dev;
	note->dev.slot = slot;
	note->dev.devnum = a->devnum;
	if (type != NOTE_ATTACH || a->handover == HANDOVER_ADDRESS)
		return;
	note = channel_add(&world.engine_parent, NOTE_OPEN, 0);
	note->request = a->request;
	note->dev.slot = slot;
	note->dev.devnum = a->devnum;
}

static void
act(const struct core_action *a)
{
	static const char *const names[] = { "detach", "attach", "hold",
		"release" };
	int slot = slot_of(&a->port);

	trace(slot, qemu_of(a->vm), "  %s %s/%u, request %u, machine %u: %s",
	    names[a->type], slot_names[slot], a->devnum, a->request, a->vm,
	    a->reason);
	world.nactions++;
	check_action(a);
	if (a->type == ACT_ATTACH)
		ask(a, NOTE_ATTACH);
	else if (a->type == ACT_DETACH)
		ask(a, NOTE_DETACH);
}

static void
happens(struct core_event *ev)
{
	const struct core_action *actions;
	const uint32_t *left;
	size_t i, n;

	world.nevents++;
	check_event();
	ev->now = world.now;
	actions = core_event(world.core, ev, &n);
	for (i = 0; i < n; i++)
		act(&actions[i]);
	left = core_left(world.core, &n);
	for (i = 0; i < n; i++) {
		trace(NOBODY, qemu_of(left[i]), "  machine %u left", left[i]);
		told_vm_left(left[i]);
		channel_add(&world.engine_parent, NOTE_LEFT, 0)->vm = left[i];
	}
	check_memory(0);
}

/* From the parent */

static void
client_lost(void)
{
	struct core_event ev = { .type = EV_QMPCLIENT_LOST };

	if (!world.engine_client_open)
		return;
	world.engine_client_open = 0;
	trace(ALL, NOBODY, "QMP client is lost");
	told_client_lost();
	happens(&ev);
}

static void
policy(const struct conf *conf)
{
	struct core_event ev = { .type = EV_POLICY };
	size_t i, k;

	for (i = 0; i < conf->nvms; i++)
		trace(ALL, NOBODY, "vm %u: %c%s, pledge %llx",
		    conf->vms[i].number, qemu_names[conf->vms[i].qemu],
		    conf->vms[i].shared ? ", shared" : "",
		    (unsigned long long)conf->vms[i].pledge);
	for (i = 0; i < conf->nrules; i++) {
		const struct conf_rule *r = &conf->rules[i];
		char to[QEMUS + 1] = "";

		for (k = 0; k < r->nvms; k++)
			to[k] = qemu_names[conf->vms[r->vms[k]].qemu];
		trace(ALL, NOBODY, "rule t:%zu: %s%s%s port %s kind %d to %s",
		    i + 1, r->pass ? "pass" : "block", r->quick ? " quick" : "",
		    r->even_if_busy ? " even if busy" : "",
		    r->slot < 0 ? "any" : slot_names[r->slot], r->kind, to);
	}
	told_policy(conf);
	ev.u.policy = conf_policy(conf);
	happens(&ev);
	channel_add(&world.engine_parent, NOTE_CONF_DONE, 0);
}

static void
leaving(uint32_t number)
{
	struct msg_vm vm = { .vm = number };
	struct core_event ev = { .type = EV_VM_LEAVING, .u.vm = &vm };
	int who = link_find(number)->qemu;

	trace(NOBODY, who, "machine %u is leaving", number);
	vm.name[0] = qemu_names[who];
	told_leaving(number, who);
	happens(&ev);
}

static void
peer_monitor(unsigned int gen)
{
	struct core_event ev = { .type = EV_SCAN };

	trace(ALL, NOBODY, "another monitor");
	world.engine_monitor = gen;
	told.scan++;
	happens(&ev);
}

static void
socket_failed(const struct msg_vm_socket *m)
{
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = m };

	trace(NOBODY, qemu_of(m->vm),
	    "machine %u cannot be connected to: error %d%s, connection %u",
	    m->vm, m->error, m->ended ? ", ended" : "", m->conn);
	told_socket(m);
	happens(&ev);
}

int
engine_hear_parent(void)
{
	struct note *first = channel_first(&world.parent_engine), note;

	if (world.core == NULL || first == NULL)
		return 0;
	note = *first;
	channel_drop(&world.parent_engine);
	switch (note.type) {
	case NOTE_CONF:
		policy(&note.u.conf);
		break;
	case NOTE_LEAVING:
		leaving(note.vm);
		break;
	case NOTE_START:
		core_requests_from(world.core, note.request);
		break;
	case NOTE_PEER_MONITOR:
		peer_monitor(note.conn);
		break;
	case NOTE_PEER_CLIENT:
		client_lost();
		world.engine_client_gen = note.conn;
		world.engine_client_open = 1;
		break;
	default:
		socket_failed(&note.u.socket);
	}
	return 1;
}

/* Messages of channels that are closed meanwhile are not read. */
static int
next_note(struct channel *c, unsigned int gen, struct note *note)
{
	struct note *first;

	while ((first = channel_first(c)) != NULL && first->gen < gen)
		channel_drop(c);
	if (world.core == NULL || first == NULL || first->gen != gen)
		return 0;
	*note = *first;
	channel_drop(c);
	return 1;
}

/* From the monitor */

static void
device(const struct snapshot *s)
{
	struct usbdev d = host_device(s);
	struct core_event ev = { .type = EV_DEVICE, .u.device = &d };

	CHECK(usbdev_check(&d) == NULL, s->slot, NOBODY, "bad device");
	trace(s->slot, NOBODY, "device %s/%u: kind %d%s%s%s%s, digest %u",
	    slot_names[s->slot], s->devnum, s->kind, s->hub ? ", hub" : "",
	    s->odd ? ", odd" : "", s->netif ? ", netif" : "",
	    s->busy ? ", busy" : "", s->digest);
	told_device(s);
	happens(&ev);
}

static void
gone(const struct snapshot *s)
{
	struct msg_device_gone m = { .devnum = s->devnum };
	struct core_event ev = { .type = EV_DEVICE_GONE, .u.gone = &m };

	trace(s->slot, NOBODY, "device %s/%u is gone", slot_names[s->slot],
	    s->devnum);
	m.port = slot_port(s->slot);
	told_gone(s);
	happens(&ev);
}

int
engine_hear_monitor(void)
{
	struct core_event ev = { .type = EV_SCAN_DONE };
	struct note note;

	if (!next_note(&world.monitor_engine, world.engine_monitor, &note))
		return 0;
	if (note.type == NOTE_DEVICE)
		device(&note.dev);
	else if (note.type == NOTE_GONE)
		gone(&note.dev);
	else {
		trace(ALL, NOBODY, "scan done");
		told_scan_done();
		happens(&ev);
	}
	return 1;
}

/* From the QMP client */

static void
has(const struct note *note, int dropped)
{
	struct core_event ev = { .type = dropped ? EV_VM_DROPPED : EV_VM_HAS };
	struct msg_vm_has m;
	struct qmpid id;

	memset(&m, 0, sizeof(m));
	m.vm = note->vm;
	m.request = id.request = note->request;
	m.port = id.port = slot_port(note->dev.slot);
	m.devnum = id.devnum = note->dev.devnum;
	m.guest_port = 1;
	qmpid_format(&id, m.id, sizeof(m.id));
	trace(note->dev.slot, qemu_of(note->vm), "machine %u %s %s", note->vm,
	    dropped ? "dropped" : "has", m.id);
	if (dropped)
		told_dropped(note->vm, note->request, &note->dev);
	else
		told_has(note->vm, note->request, &note->dev);
	ev.u.has = &m;
	happens(&ev);
}

static void
foreign(uint32_t vm, const struct others_device *f)
{
	struct msg_vm_foreign m;
	struct core_event ev = { .type = EV_VM_FOREIGN, .u.foreign = &m };
	struct usbdev d;

	memset(&m, 0, sizeof(m));
	m.vm = vm;
	m.devnum = f->devnum;
	if (f->slot >= 0) {
		m.port = slot_port(f->slot);
		m.busnum = m.port.busnum;
		m.port.busnum = 0;
	}
	if (f->kind >= 0) {
		d = host_device(&(struct snapshot){ .kind = f->kind });
		m.vendor = d.vendor;
		m.product = d.product;
	}
	snprintf(m.id, sizeof(m.id), "his%u", f->id);
	trace(NOBODY, qemu_of(vm), "machine %u was given %s", vm, m.id);
	told_foreign_device(vm, f);
	happens(&ev);
}

static void
state(const struct msg_vm_state *m)
{
	struct core_event ev = { .type = EV_VM_STATE, .u.vm_state = m };

	trace(NOBODY, qemu_of(m->vm), "machine %u is %s%s%s, connection %u: %s",
	    m->vm, vm_state_string(m->state), m->migrating ? ", migrating" : "",
	    m->told ? ", told" : "", m->conn, m->text);
	told_state(m);
	happens(&ev);
}

static void
result(const struct msg_result *m)
{
	struct core_event ev = { .type = EV_RESULT, .u.result = m };
	int qemu = qemu_of(m->vm),
	    slot = qemu < 0 ? NOBODY : request_get(qemu, m->request)->slot;

	trace(slot, qemu, "request %u, machine %u: %s", m->request, m->vm,
	    result_string(m->result));
	CHECK(core_check_result(world.core, m), slot, qemu,
	    "answer to what was not asked: request %u", m->request);
	told_result(m);
	happens(&ev);
}

int
engine_hear_client(void)
{
	struct core_event port = { .type = EV_VM_PORT };
	struct msg_vm_number number;
	struct note note;

	if (!world.engine_client_open ||
	    !next_note(&world.client_engine, world.engine_client_gen, &note))
		return 0;
	switch (note.type) {
	case NOTE_HAS:
	case NOTE_DROPPED:
		has(&note, note.type == NOTE_DROPPED);
		break;
	case NOTE_FOREIGN:
		foreign(note.vm, &note.u.foreign);
		break;
	case NOTE_STATE:
		state(&note.u.state);
		break;
	case NOTE_RESULT:
		result(&note.u.result);
		break;
	case NOTE_PORT:
		number.vm = note.vm;
		port.u.vm_number = &number;
		trace(NOBODY, qemu_of(note.vm), "port of machine %u", note.vm);
		happens(&port);
		break;
	default:
		client_lost();
	}
	return 1;
}

/* Time and people */

int
engine_tick(int wait)
{
	struct core_event ev = { .type = EV_TICK };
	uint64_t next;

	if (world.core == NULL || (next = core_next(world.core)) == 0 ||
	    (next > world.now && !wait))
		return 0;
	if (next > world.now)
		world.now = next;
	trace(ALL, NOBODY, "tick");
	happens(&ev);
	return 1;
}

void
engine_override(void)
{
	static const enum override commands[] = { OVERRIDE_ATTACH,
		OVERRIDE_ATTACH, OVERRIDE_DETACH, OVERRIDE_NONE };
	int slot = (int)chance(SLOTS);
	struct core_override o = { .port = slot_port(slot) };
	struct core_event ev = { .type = EV_OVERRIDE, .u.override = &o };
	char why[MSG_TEXT_MAX] = "";

	if (world.core == NULL)
		return;
	o.command = commands[chance(COUNT(commands))];
	o.force = o.command == OVERRIDE_ATTACH && chance(3) == 0;
	o.uid = 1000;
	o.vm[0] = qemu_names[chance(QEMUS)];
	trace(slot, NOBODY, "override %d of %s, machine %s%s", o.command,
	    slot_names[slot], o.vm, o.force ? ", forced" : "");
	if (core_override_try(world.core, &o, why, sizeof(why)) == 0)
		told_override(&o, slot);
	else
		trace(slot, NOBODY, "refused: %s", why);
	happens(&ev);
}

/* What the parent had not read of it is read or not. */
void
engine_die(void)
{
	if (world.core == NULL)
		return;
	trace(ALL, NOBODY, "engine dies");
	while (chance(2) == 0 && parent_hear_engine())
		;
	core_free(world.core);
	world.core = NULL;
	world.engine_parent.n = world.parent_engine.n = 0;
	world.engine_monitor = world.engine_client_gen = 0;
	world.engine_client_open = 0;
	world.confs = 0;
	told_engine();
}
