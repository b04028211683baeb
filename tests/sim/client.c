/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include "trace.h"
#include "world.h"

/*
 * The QMP client: what it promises to the engine, as qmpclient/ keeps it.
 * Each request of an engine is answered once, unless one of both ends.
 */

/* To the engine */

static struct note *
tell_engine(enum note_type type, const struct link *l)
{
	struct note *note =
	    channel_add(&world.client_engine, type, world.client_gen);

	note->vm = l->number;
	return note;
}

static void
say_state(struct link *l, enum vm_state state, int told, const char *text)
{
	struct client_vm *vm = &l->client;
	struct msg_vm_state *m = &tell_engine(NOTE_STATE, l)->u.state;

	m->vm = l->number;
	m->state = state;
	m->handover = world.qemus[l->qemu].handover;
	if (m->handover == HANDOVER_AUTO)
		m->handover = HANDOVER_FD;
	m->migrating = (uint32_t)vm->migrating;
	m->told = (uint32_t)told;
	m->conn = vm->ready != 0 ? vm->ready : vm->nconn;
	strlcpy(m->text, text, sizeof(m->text));
}

static void
say_ready(struct link *l, int told)
{
	struct client_vm *vm = &l->client;

	if (vm->untold || (!told && vm->told_migrating == vm->migrating))
		return;
	vm->told_migrating = vm->migrating;
	say_state(l, VM_READY, told, "QEMU");
}

static void
say_device(
    const struct link *l, enum note_type type, const struct client_device *d)
{
	struct note *note = tell_engine(type, l);

	note->request = d->request;
	note->dev = d->dev;
}

static void
say_foreigns(const struct link *l)
{
	int i;

	for (i = 0; i < FOREIGNS_MAX; i++)
		if (l->client.foreigns[i].id != 0)
			tell_engine(NOTE_FOREIGN, l)->u.foreign =
			    l->client.foreigns[i];
}

static void
say_result(struct link *l, uint32_t request, uint32_t conn, enum result result)
{
	struct note *note = tell_engine(NOTE_RESULT, l);
	struct msg_result *m = &note->u.result;

	m->request = request;
	m->vm = l->number;
	m->conn = conn;
	m->result = result;
	strlcpy(m->text, "why", sizeof(m->text));
}

static void
tell_parent(enum note_type type, const struct link *l)
{
	channel_add(&world.client_parent, type, 0)->vm = l->number;
}

/* Devices */

static struct client_device *
find(struct client_vm *vm, uint32_t request, const struct snapshot *s)
{
	size_t i;

	for (i = 0; i < vm->n; i++)
		if (vm->devices[i].request == request &&
		    vm->devices[i].dev.slot == s->slot &&
		    vm->devices[i].dev.devnum == s->devnum)
			return &vm->devices[i];
	return NULL;
}

static struct client_device *
add(struct client_vm *vm, uint32_t request, const struct snapshot *s,
    enum device_at at)
{
	struct client_device *d = &vm->devices[vm->n++];

	CHECK(vm->n <= INSIDE_MAX, s->slot, NOBODY, "QMP client has too many");
	memset(d, 0, sizeof(*d));
	d->request = request;
	d->dev = *s;
	d->at = at;
	return d;
}

static void
forget(struct client_vm *vm, struct client_device *d)
{
	*d = vm->devices[--vm->n];
}

/* What was asked for. */

static void
half_free(struct half *h)
{
	*h = world.halves[--world.nhalves];
}

/* Detaches are whole. */
static struct half *
half_get(uint32_t request, int detach)
{
	struct half *h;

	for (h = world.halves; h < world.halves + world.nhalves; h++)
		if (h->request == request && !h->detach && !detach)
			return h;
	CHECK(world.nhalves < HALVES_MAX, NOBODY, NOBODY, "too many halves");
	world.nhalves++;
	memset(h, 0, sizeof(*h));
	h->request = request;
	h->detach = detach;
	return h;
}

/* 1 if commands may be sent now. */
static int
want(struct link *l)
{
	struct client_vm *vm = &l->client;

	if (!l->shared)
		return 1;
	if (!vm->handed && !vm->wanted) {
		vm->wanted = 1;
		tell_parent(NOTE_WANT, l);
	}
	return vm->online;
}

static enum result
start_result(struct link *l, const struct half *h)
{
	struct client_vm *vm = &l->client;
	const struct qemu *q = &world.qemus[l->qemu];

	if (h->failed)
		return RESULT_GONE;
	if (h->opened && h->found.digest != h->dev.digest &&
	    q->handover == HANDOVER_FD)
		return RESULT_CHANGED;
	if (vm->migrating)
		return RESULT_MIGRATING;
	if (q->unable)
		return RESULT_UNABLE;
	if (!vm->has_bus) {
		vm->recount = 1;
		return RESULT_NO_CONTROLLER;
	}
	if (l->qemu == 1 && h->dev.kind == KIND_TOO_FAST)
		return RESULT_SPEED;
	if (vm->n + vm->used >= q->capacity)
		return RESULT_BUS_FULL;
	return find(vm, h->request, &h->dev) != NULL ? RESULT_DUPLICATE
						     : RESULT_OK;
}

static void
start(struct link *l, struct half *h)
{
	enum result result = start_result(l, h);
	struct command *cmd;

	if (result != RESULT_OK) {
		say_result(l, h->request, h->conn, result);
		return;
	}
	add(&l->client, h->request, &h->dev, AT_ATTACHING);
	cmd = conn_send(&l->conn, CMD_ADD);
	cmd->engine = world.client_gen;
	cmd->request = h->request;
	cmd->conn = h->conn;
	cmd->dev = h->opened ? h->found : h->dev;
}

static void
detach(struct link *l, struct half *h)
{
	struct client_vm *vm = &l->client;
	struct client_device *d;
	struct command *cmd;

	if (vm->migrating) {
		say_result(l, h->request, h->conn, RESULT_MIGRATING);
		return;
	}
	if ((d = find(vm, h->request, &h->dev)) != NULL)
		d->at = AT_DETACHING;
	cmd = conn_send(&l->conn, CMD_DEL);
	cmd->engine = world.client_gen;
	cmd->request = h->request;
	cmd->conn = h->conn;
	cmd->dev = h->dev;
}

static int
is_address(const struct link *l)
{
	return world.qemus[l->qemu].handover == HANDOVER_ADDRESS;
}

/* Returns 1 if it is no more. */
static int
join(struct half *h)
{
	struct link *l = link_find(h->vm);
	int known = l != NULL && l->client.known;

	if (!h->asked ||
	    !(h->opened || h->failed || h->detach || (known && is_address(l))))
		return 0;
	if (known && l->client.ready != 0 && h->conn == l->client.ready) {
		if (!h->failed && !want(l))
			return 0;
		if (h->detach)
			detach(l, h);
		else
			start(l, h);
	}
	half_free(h);
	return 1;
}

static void
halves_online(uint32_t vm)
{
	size_t i = 0;

	while (i < world.nhalves)
		if (world.halves[i].vm != vm || !join(&world.halves[i]))
			i++;
}

/* As it is lost: who waits is answered. */
static void
halves_lost(struct link *l, int detaches)
{
	struct half *h;
	size_t i = 0;

	while (i < world.nhalves) {
		h = &world.halves[i];
		if (!h->asked || h->vm != l->number || h->detach != detaches) {
			i++;
			continue;
		}
		say_result(l, h->request, h->conn, RESULT_VM_LOST);
		if (h->detach || h->opened || h->failed)
			half_free(h);
		else {
			h->asked = 0;
			h->vm = 0;
		}
	}
}

/* The life of a connection */

static void
lose_commands(struct link *l, const struct conn *c)
{
	const struct command *cmd;
	size_t i;

	for (i = 0; i < c->n; i++) {
		cmd = &c->commands[i];
		if ((cmd->type == CMD_ADD || cmd->type == CMD_DEL) &&
		    cmd->engine == world.client_gen)
			say_result(l, cmd->request, cmd->conn, RESULT_VM_LOST);
	}
}

static void
vm_forget(struct link *l)
{
	struct client_vm *vm = &l->client;
	uint32_t nconn = vm->nconn;

	vm->ready = 0;
	if (l->client.handed) {
		lose_commands(l, &l->conn);
		conn_close(&l->conn);
	}
	halves_lost(l, 1);
	halves_lost(l, 0);
	memset(vm, 0, sizeof(*vm));
	vm->known = 1;
	vm->nconn = nconn;
}

static int
vm_ended(struct link *l, const char *why)
{
	vm_forget(l);
	say_state(l, VM_LOST, 0, why);
	tell_parent(NOTE_LOST, l);
	return 1;
}

static void
inventory_start(struct link *l)
{
	struct client_vm *vm = &l->client;
	size_t i;

	vm->inventory = 1;
	vm->recount = 0;
	for (i = 0; i < vm->n; i++)
		vm->devices[i].seen = vm->devices[i].new = 0;
	conn_send(&l->conn, CMD_DEVICES);
}

void
client_look_again(struct link *l)
{
	if (!l->client.known || !l->client.handed || !l->conn.greeted)
		return;
	if (l->client.inventory)
		l->client.recheck = 1;
	else
		inventory_start(l);
}

static void
found_devices(struct link *l)
{
	struct client_vm *vm = &l->client;
	struct client_device *d;
	const struct inside *in;
	size_t i;

	for (i = 0; i < l->conn.nfound; i++) {
		in = &l->conn.found[i];
		if ((d = find(vm, in->request, &in->dev)) == NULL) {
			d = add(vm, in->request, &in->dev, AT_ATTACHED);
			d->new = 1;
		}
		d->seen = 1;
	}
	conn_send(&l->conn, CMD_PORTS);
}

static void
compare(struct link *l)
{
	struct client_vm *vm = &l->client;
	struct client_device *d;
	size_t i = 0;

	while (i < vm->n) {
		d = &vm->devices[i];
		if (d->at == AT_ATTACHED && d->new)
			say_device(l, NOTE_HAS, d);
		d->new = 0;
		if (d->at == AT_ATTACHED && !d->seen) {
			say_device(l, NOTE_DROPPED, d);
			forget(vm, d);
		} else
			i++;
	}
}

static int
take_foreigns(struct link *l)
{
	struct client_vm *vm = &l->client;
	int same =
	    memcmp(vm->foreigns, l->conn.foreigns, sizeof(vm->foreigns)) == 0;

	memcpy(vm->foreigns, l->conn.foreigns, sizeof(vm->foreigns));
	if (same && vm->ready)
		return 0;
	say_foreigns(l);
	return 1;
}

static void
inventory_done(struct link *l, size_t used)
{
	struct client_vm *vm = &l->client;
	int changed, has_bus = world.qemus[l->qemu].has_bus;
	size_t i;

	vm->migrating = l->conn.migrating;
	if (vm->ready && has_bus && (!vm->has_bus || used < vm->used))
		tell_engine(NOTE_PORT, l);
	vm->has_bus = has_bus;
	vm->used = used;
	vm->inventory = 0;
	changed = take_foreigns(l) || vm->late;
	if (!vm->ready) {
		for (i = 0; i < vm->n; i++)
			say_device(l, NOTE_HAS, &vm->devices[i]);
		vm->ready = vm->nconn;
	} else
		compare(l);
	vm->late = 0;
	say_ready(l, changed);
	if (l->shared && !vm->online) {
		vm->online = 1;
		halves_online(l->number);
	}
	if (vm->recheck || vm->recount) {
		vm->recheck = 0;
		inventory_start(l);
	}
}

static void
attach_answered(struct link *l, const struct command *cmd)
{
	struct client_vm *vm = &l->client;
	struct client_device *d = find(vm, cmd->request, &cmd->dev);

	if (d != NULL && cmd->result != RESULT_OK)
		forget(vm, d);
	else if (d != NULL && d->at == AT_ATTACHING) {
		d->at = AT_ATTACHED;
		d->seen = 1;
		d->new = 0;
		d->dev = cmd->dev;
	}
	vm->recount |= cmd->result == RESULT_PORT_TAKEN;
}

static void
detach_answered(struct link *l, const struct command *cmd)
{
	struct client_device *d = find(&l->client, cmd->request, &cmd->dev);

	if (d != NULL && cmd->result == RESULT_OK)
		forget(&l->client, d);
	else if (d != NULL)
		d->at = AT_ATTACHED;
}

static int
is_changing(const struct client_vm *vm)
{
	size_t i;

	for (i = 0; i < vm->n; i++)
		if (vm->devices[i].at != AT_ATTACHED)
			return 1;
	return 0;
}

/* A new engine is told all, once what the old one asked for is answered. */
static void
changing_over(struct link *l)
{
	struct client_vm *vm = &l->client;
	size_t i;

	vm->untold = vm->ready != 0 && is_changing(vm);
	if (vm->untold)
		say_state(l, VM_GREETING, 0, "answers the engine before");
	else if (vm->ready != 0) {
		for (i = 0; i < vm->n; i++)
			say_device(l, NOTE_HAS, &vm->devices[i]);
		say_foreigns(l);
		say_ready(l, 1);
	} else if (vm->handed)
		say_state(l, VM_GREETING, 0, "no greeting yet");
}

static void
op_answered(struct link *l, const struct command *cmd)
{
	if (cmd->engine == world.client_gen)
		say_result(l, cmd->request, cmd->conn, cmd->result);
	if (l->client.ready != 0 && l->client.untold &&
	    !is_changing(&l->client))
		changing_over(l);
}

static void
deleted(struct link *l, const struct command *cmd)
{
	struct client_vm *vm = &l->client;
	struct client_device *d;

	if (cmd->request == 0) {
		vm->recount = 1;
		return;
	}
	d = find(vm, cmd->request, &cmd->dev);
	if (d == NULL || d->at != AT_ATTACHED)
		return;
	if (vm->ready != 0)
		say_device(l, NOTE_DROPPED, d);
	forget(vm, d);
}

static void
migration(struct link *l, const struct command *cmd)
{
	struct client_vm *vm = &l->client;

	if (cmd->result != RESULT_MIGRATING)
		client_look_again(l);
	else if (!vm->migrating) {
		vm->migrating = 1;
		vm->recheck = vm->inventory;
		if (vm->ready != 0)
			say_ready(l, 0);
	}
}

static void
answered(struct link *l, const struct command *cmd)
{
	switch (cmd->type) {
	case CMD_DEVICES:
		found_devices(l);
		break;
	case CMD_PORTS:
		inventory_done(l, cmd->request);
		break;
	case CMD_ADD:
		attach_answered(l, cmd);
		op_answered(l, cmd);
		break;
	case CMD_DEL:
		detach_answered(l, cmd);
		op_answered(l, cmd);
		break;
	case CMD_DELETED:
		deleted(l, cmd);
		break;
	case CMD_MIGRATION:
		migration(l, cmd);
		break;
	}
}

int
client_read(struct link *l)
{
	struct conn *c = &l->conn;
	struct command cmd;

	if (!world.client_runs || !l->client.known || !l->client.handed)
		return 0;
	if (c->ndone > 0) {
		cmd = c->commands[0];
		c->ndone--;
		c->n--;
		memmove(c->commands, c->commands + 1,
		    c->n * sizeof(c->commands[0]));
		answered(l, &cmd);
		return 1;
	}
	if (c->closed)
		return vm_ended(l, "QEMU has closed it");
	if (!c->greeted && conn_served(c)) {
		c->greeted = 1;
		inventory_start(l);
		return 1;
	}
	if (c->greeted && l->client.recount && !l->client.inventory &&
	    !l->client.migrating && l->client.ready != 0) {
		inventory_start(l);
		return 1;
	}
	return 0;
}

/* Who shares a socket waits for its turn as long as it takes. */
int
client_give_up(struct link *l)
{
	struct conn *c = &l->conn;

	if (!world.client_runs || !l->client.handed || c->ndone > 0 ||
	    c->closed || (c->greeted && c->n == 0) || conn_served(c))
		return 0;
	if (c->greeted || !l->shared)
		return vm_ended(l, "no answer in time");
	if (l->client.late)
		return 0;
	l->client.late = 1;
	say_state(l, l->client.ready != 0 ? VM_READY : VM_GREETING, 0, "busy");
	return 1;
}

int
client_release(struct link *l)
{
	struct client_vm *vm = &l->client;
	size_t i;

	if (!world.client_runs || !vm->handed || !vm->online || l->conn.n > 0 ||
	    vm->inventory || l->conn.closed)
		return 0;
	conn_close(&l->conn);
	vm->handed = vm->online = 0;
	vm->recount = vm->recheck = 0;
	tell_parent(NOTE_RELEASE, l);
	for (i = 0; i < world.nhalves; i++)
		if (world.halves[i].asked && world.halves[i].vm == l->number &&
		    (world.halves[i].opened || world.halves[i].detach))
			want(l);
	return 1;
}

/* A half whose other one does not come, or what waited for its turn. */
int
client_overdue(void)
{
	struct half *h;
	struct link *l;

	if (world.nhalves == 0)
		return 0;
	h = &world.halves[chance((uint32_t)world.nhalves)];
	l = h->vm == 0 ? NULL : link_find(h->vm);
	if (h->asked && l != NULL && l->client.known)
		say_result(l, h->request, h->conn,
		    h->opened || h->detach || is_address(l) ? RESULT_BUSY
							    : RESULT_OTHER);
	half_free(h);
	return 1;
}

/* From the engine */

static void
requested(const struct note *note, int is_detach)
{
	struct link *l = link_find(note->vm);
	struct half *h;

	if (l == NULL || !l->client.known || l->client.ready == 0 ||
	    note->conn != l->client.ready) {
		/* It may have left; then the engine knows that already. */
		if (l != NULL && l->client.known)
			say_result(
			    l, note->request, note->conn, RESULT_VM_LOST);
		return;
	}
	h = half_get(note->request, is_detach);
	h->asked = 1;
	h->vm = note->vm;
	h->conn = note->conn;
	h->dev = note->dev;
	join(h);
}

/* Of an engine whose channel is closed. */
static void
drop_old_requests(void)
{
	struct note *note;

	while ((note = channel_first(&world.engine_client)) != NULL &&
	       note->gen < world.client_gen)
		channel_drop(&world.engine_client);
}

int
client_hear_engine(void)
{
	struct note *first, note;

	drop_old_requests();
	first = channel_first(&world.engine_client);
	if (!world.client_runs || first == NULL ||
	    first->gen != world.client_gen)
		return 0;
	note = *first;
	channel_drop(&world.engine_client);
	requested(&note, note.type == NOTE_DETACH);
	return 1;
}

/* From the parent */

static void
peer(unsigned int gen)
{
	int i;

	world.client_gen = gen;
	world.nhalves = 0;
	for (i = 0; i < LINKS_MAX; i++)
		if (world.links[i].client.known)
			changing_over(&world.links[i]);
}

static void
handed(struct link *l, const struct note *note)
{
	struct client_vm *vm = &l->client;

	if (vm->ready != 0 && vm->pid != note->request) {
		l->client.handed = 0; /* the connection is a new one's */
		vm_forget(l);
		say_state(l, VM_LOST, 0, "another QEMU has its socket");
	}
	vm->pid = note->request;
	vm->nconn = note->conn;
	vm->wanted = 0;
	vm->handed = 1;
	if (vm->ready == 0)
		say_state(l, VM_GREETING, 0, "no greeting yet");
}

static void
opened(const struct note *note)
{
	struct half *h = half_get(note->request, 0);

	h->opened = note->type == NOTE_OPENED;
	h->failed = !h->opened;
	h->found = note->dev;
	join(h);
}

static void
vm_gone(struct link *l)
{
	vm_forget(l);
	memset(&l->client, 0, sizeof(l->client));
	if (!l->parent.known)
		l->number = 0;
}

int
client_hear_parent(void)
{
	struct note *first = channel_first(&world.parent_client), note;
	struct link *l;

	if (!world.client_runs || first == NULL)
		return 0;
	note = *first;
	channel_drop(&world.parent_client);
	l = note.vm == 0 ? NULL : link_find(note.vm);
	switch (note.type) {
	case NOTE_PEER_ENGINE:
		peer(note.conn);
		break;
	case NOTE_VM:
		l->client.known = 1;
		break;
	case NOTE_VM_GONE:
		vm_gone(l);
		break;
	case NOTE_SOCKET:
		handed(l, &note);
		break;
	case NOTE_ENDED:
		vm_ended(l, "QEMU has ended");
		break;
	default:
		opened(&note);
	}
	return 1;
}

void
client_die(void)
{
	struct link *l;
	int i;

	trace(ALL, NOBODY, "QMP client dies");
	for (i = 0; i < LINKS_MAX; i++) {
		l = &world.links[i];
		conn_close(&l->conn);
		memset(&l->client, 0, sizeof(l->client));
		l->parent.state = SOCK_SEARCHED;
		l->parent.error = 0;
		if (!l->parent.known)
			l->number = 0;
	}
	if (world.client_gen != 0)
		channel_add(&world.client_engine, NOTE_END, world.client_gen);
	world.client_runs = 0;
	world.client_gen = 0;
	world.nhalves = 0;
	world.parent_client.n = world.client_parent.n = 0;
	world.engine_client.n = 0;
	world.suspended = 1;
}
