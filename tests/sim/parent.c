/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <string.h>
#include "trace.h"
#include "world.h"

/* The parent: sockets, policies, and children that are started again. */

#define BACKLOG 3 /* who is served, and two in the queue */

struct link *
link_find(uint32_t number)
{
	int i;

	for (i = 0; i < LINKS_MAX; i++)
		if (world.links[i].number == number)
			return &world.links[i];
	return NULL;
}

static struct link *
link_new(const struct conf_vm *vm)
{
	struct link *l = link_find(0);

	CHECK(l != NULL, NOBODY, vm->qemu, "too many machines");
	memset(l, 0, sizeof(*l));
	l->number = vm->number;
	l->qemu = vm->qemu;
	l->shared = vm->shared;
	return l;
}

static void
tell_client(enum note_type type, uint32_t vm)
{
	if (world.client_runs)
		channel_add(&world.parent_client, type, 0)->vm = vm;
}

/* Sockets */

static void
tell_socket(struct link *l, int error, int ended)
{
	struct msg_vm_socket *m;

	if (world.core == NULL)
		return;
	m = &channel_add(&world.parent_engine, NOTE_SOCKET_FAILED, 0)->u.socket;
	m->vm = l->number;
	m->error = error;
	m->ended = (uint32_t)ended;
	m->conn = l->parent.conn;
}

static void
failed(struct link *l, int error)
{
	int ended = l->parent.peer == 0;

	if (error == l->parent.error && ended == l->parent.ended)
		return;
	l->parent.error = error;
	l->parent.ended = ended;
	tell_socket(l, error, ended);
}

static int
connect_error(int i)
{
	const struct qemu *q = &world.qemus[i];
	size_t n = 0;
	int k;

	if (q->pid == 0 || !q->listening)
		return q->pid % 2 == 0 ? ENOENT : ECONNREFUSED;
	for (k = 0; k < LINKS_MAX; k++)
		n += world.links[k].conn.open && world.links[k].conn.qemu == i;
	return n + (size_t)q->others >= BACKLOG ? EAGAIN : 0;
}

static void
hand(struct link *l)
{
	struct note *note;

	l->parent.state = SOCK_HANDED;
	l->parent.error = 0;
	l->parent.peer = world.qemus[l->qemu].pid;
	memset(&l->conn, 0, offsetof(struct conn, commands));
	l->conn.open = 1;
	l->conn.qemu = l->qemu;
	l->conn.pid = l->parent.peer;
	l->conn.place = ++world.places;
	note = channel_add(&world.parent_client, NOTE_SOCKET, 0);
	note->vm = l->number;
	note->conn = ++l->parent.conn;
	note->request = l->parent.peer;
}

/* 1 if something came of it. */
static int
search(struct link *l)
{
	struct parent_vm *p = &l->parent;
	int error = connect_error(l->qemu), lost = p->peer != 0,
	    before = p->error;

	if (lost && p->peer == world.qemus[l->qemu].pid) {
		if (error != 0)
			failed(l, error);
		else
			hand(l);
		return error == 0 || before != p->error;
	}
	p->peer = 0;
	if (error != 0) {
		failed(l, error);
		return lost || before != p->error;
	}
	if (lost)
		tell_socket(l, ECONNREFUSED, 1);
	hand(l);
	return 1;
}

static int
ended(struct link *l)
{
	l->parent.state = SOCK_GONE;
	tell_client(NOTE_ENDED, l->number);
	return 1;
}

int
parent_try(struct link *l)
{
	int lives = l->parent.peer == world.qemus[l->qemu].pid;

	if (!l->parent.known || world.suspended)
		return 0;
	switch (l->parent.state) {
	case SOCK_SEARCHED:
		return search(l);
	case SOCK_RELEASED:
		return lives ? 0 : ended(l);
	case SOCK_WANTED:
		if (!lives || !world.qemus[l->qemu].listening)
			return ended(l);
		if (connect_error(l->qemu) != 0)
			return 0;
		hand(l);
		return 1;
	default:
		return 0;
	}
}

/* Machines come and go. */

static void
vm_left(struct link *l)
{
	l->leaving = 0;
	memset(&l->parent, 0, sizeof(l->parent));
	if (world.client_runs)
		tell_client(NOTE_VM_GONE, l->number);
	else
		l->number = 0;
}

static int
is_in(const struct conf *conf, uint32_t number)
{
	size_t i;

	for (i = 0; i < conf->nvms; i++)
		if (conf->vms[i].number == number)
			return 1;
	return 0;
}

static void
send_conf(void)
{
	channel_add(&world.parent_engine, NOTE_CONF, 0)->u.conf = world.conf;
	world.confs++;
}

void
parent_reload(void)
{
	struct conf before = world.conf;
	struct link *l;
	size_t i;

	if (world.conf_pending)
		return;
	world.conf_pending = 1;
	conf_chance(&world.conf, &before);
	trace(ALL, NOBODY, "reload");
	for (i = 0; i < before.nvms; i++)
		if (!is_in(&world.conf, before.vms[i].number) &&
		    (l = link_find(before.vms[i].number)) != NULL)
			l->leaving = 1;
	if (world.core != NULL)
		send_conf();
}

static void
reload_done(void)
{
	const struct conf_vm *vm;
	struct link *l;
	size_t i;

	world.conf_pending = 0;
	for (i = 0; i < world.conf.nvms; i++) {
		vm = &world.conf.vms[i];
		if (link_find(vm->number) != NULL)
			continue;
		l = link_new(vm);
		l->parent.known = 1;
		tell_client(NOTE_VM, vm->number);
	}
}

/* Messages */

static void
open_device(const struct note *asked)
{
	const struct snapshot *s = &world.slots[asked->dev.slot];
	struct note *note;
	int is_there = s->plug != 0 && s->devnum == asked->dev.devnum;

	if (asked->request > world.last_request)
		world.last_request = asked->request;
	if (!world.client_runs)
		return;
	note = channel_add(
	    &world.parent_client, is_there ? NOTE_OPENED : NOTE_OPEN_FAILED, 0);
	note->request = asked->request;
	note->dev = *s;
}

int
parent_hear_engine(void)
{
	struct note *note = channel_first(&world.engine_parent);
	struct link *l;

	if (note == NULL)
		return 0;
	if (note->type == NOTE_OPEN)
		open_device(note);
	else if (note->type == NOTE_CONF_DONE) {
		if (--world.confs == 0 && world.conf_pending)
			reload_done();
	} else if (note->type == NOTE_LEFT &&
		   (l = link_find(note->vm)) != NULL && l->leaving)
		vm_left(l);
	channel_drop(&world.engine_parent);
	return 1;
}

int
parent_hear_client(void)
{
	struct note *note = channel_first(&world.client_parent);
	struct link *l;

	if (note == NULL)
		return 0;
	l = link_find(note->vm);
	if (l == NULL || !l->parent.known)
		;
	else if (note->type == NOTE_LOST)
		l->parent.state = SOCK_SEARCHED;
	else if (note->type == NOTE_RELEASE)
		l->parent.state = SOCK_RELEASED;
	else if (l->parent.state != SOCK_GONE)
		l->parent.state = SOCK_WANTED;
	channel_drop(&world.client_parent);
	return 1;
}

/* Children */

static void
connect_client(void)
{
	unsigned int gen = ++world.gens;

	channel_add(&world.parent_client, NOTE_PEER_ENGINE, 0)->conn = gen;
	channel_add(&world.parent_engine, NOTE_PEER_CLIENT, 0)->conn = gen;
}

int
parent_start_client(void)
{
	int i;

	if (world.client_runs)
		return 0;
	world.client_runs = 1;
	world.suspended = 0;
	if (world.core != NULL)
		connect_client();
	for (i = 0; i < LINKS_MAX; i++)
		if (world.links[i].number != 0)
			tell_client(NOTE_VM, world.links[i].number);
	return 1;
}

/* An engine knows its machines before it hears of them. */
int
parent_start_engine(void)
{
	struct link *l;
	int i;

	if (world.core != NULL)
		return 0;
	trace(
	    ALL, NOBODY, "another engine, last request %u", world.last_request);
	CHECK((world.core = core_new()) != NULL, ALL, NOBODY, "core_new");
	world.engines++;
	send_conf();
	for (i = 0; i < LINKS_MAX; i++)
		if (world.links[i].number != 0 && world.links[i].leaving)
			channel_add(&world.parent_engine, NOTE_LEAVING, 0)->vm =
			    world.links[i].number;
	channel_add(&world.parent_engine, NOTE_START, 0)->request =
	    world.last_request;
	world.monitor_peer = ++world.gens;
	channel_add(&world.parent_engine, NOTE_PEER_MONITOR, 0)->conn =
	    world.monitor_peer;
	if (world.client_runs)
		connect_client();
	for (i = 0; i < LINKS_MAX; i++) {
		l = &world.links[i];
		if (l->number != 0 && l->parent.known && l->parent.error != 0)
			tell_socket(l, l->parent.error, l->parent.ended);
	}
	return 1;
}
