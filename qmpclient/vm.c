/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "audit.h"
#include "inventory.h"
#include "log.h"
#include "qmpclient.h"
#include "shared.h"
#include "vm.h"

#define VM_RECOUNT_MS 1000

static void vm_greeting(void *, const char *);
static void vm_event(void *, const char *, yajl_val);
static void vm_lost(void *, enum qmp_end, const char *);

static TAILQ_HEAD(vms, vm) vms = TAILQ_HEAD_INITIALIZER(vms);

static const struct conn_ops vm_conn_ops = {
	.greeting = vm_greeting,
	.event = vm_event,
	.lost = vm_lost,
};

static const struct conn_ops vm_shared_ops = {
	.greeting = vm_greeting,
	.event = vm_event,
	.lost = vm_lost,
	.late = shared_late,
	.idle = shared_idle,
};

struct vm *
vm_find(uint32_t number)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &vms, entry)
		if (vm->conf.vm == number)
			return vm;
	return NULL;
}

void
vm_each(void (*fn)(struct vm *))
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &vms, entry)
		fn(vm);
}

/* Devices of ours. */

struct device *
vm_device_find(struct vm *vm, const char *id)
{
	struct device *dev;

	TAILQ_FOREACH(dev, &vm->devices, entry)
		if (strcmp(dev->id, id) == 0)
			return dev;
	return NULL;
}

struct device *
vm_device_add(
    struct vm *vm, const char *id, const struct qmpid *parts, enum device_at at)
{
	struct device *dev;

	if (vm->ndevices >= VM_DEVICES_MAX)
		return NULL;
	if ((dev = calloc(1, sizeof(*dev))) == NULL)
		fatal("calloc");
	strlcpy(dev->id, id, sizeof(dev->id));
	dev->parts = *parts;
	dev->at = at;
	TAILQ_INSERT_TAIL(&vm->devices, dev, entry);
	vm->ndevices++;
	return dev;
}

void
vm_device_remove(struct vm *vm, struct device *dev)
{
	vm_port_free(vm, dev->guest_port);
	TAILQ_REMOVE(&vm->devices, dev, entry);
	vm->ndevices--;
	free(dev);
}

void
vm_device_say(const struct vm *vm, const struct device *dev, enum msg_type type)
{
	struct msg_vm_has has;

	memset(&has, 0, sizeof(has));
	has.vm = vm->conf.vm;
	has.request = dev->parts.request;
	has.port = dev->parts.port;
	has.devnum = dev->parts.devnum;
	has.guest_port = (uint16_t)dev->guest_port;
	strlcpy(has.id, dev->id, sizeof(has.id));
	tell_engine(type, &has);
}

void
vm_port_free(struct vm *vm, unsigned int port)
{
	vm->ports.taken &= ~ports_bit(port);
	inventory_port_free(vm, port);
}

/* The life of a connection. */

static void
say_state(const struct vm *vm, enum vm_state state, const char *text, int told)
{
	struct msg_vm_state m;
	struct json *j;

	memset(&m, 0, sizeof(m));
	m.vm = vm->conf.vm;
	m.state = state;
	m.handover = vm->handover;
	m.migrating = (uint32_t)vm->migrating;
	m.told = (uint32_t)told;
	m.conn = vm->ready != 0 ? vm->ready : vm->nconn;
	strlcpy(m.text, text, sizeof(m.text));
	tell_engine(MSG_VM_STATE, &m);

	j = audit_begin("vm");
	json_str(j, "vm", vm->conf.name);
	json_str(j, "state", vm_state_string(state));
	json_str(j, "reason", m.text);
	if (vm->pid != 0)
		json_num(j, "pid", vm->pid);
	audit_end();
}

void
vm_say_state(const struct vm *vm, enum vm_state state, const char *text)
{
	say_state(vm, state, text, 0);
}

void
vm_say_ready(struct vm *vm, int told)
{
	char text[MSG_TEXT_MAX];

	if (vm->untold)
		return; /* not before all that it has */
	snprintf(text, sizeof(text), "QEMU %.40s, handover %s%s%s%s%s%s",
	    vm->version, vm->handover == HANDOVER_FD ? "fd" : "address",
	    vm->migrating ? "; migrating" : "", vm->unable[0] ? "; " : "",
	    vm->unable, vm->problem[0] ? "; " : "", vm->problem);
	if (!told && strcmp(text, vm->ready_text) == 0)
		return;
	strlcpy(vm->ready_text, text, sizeof(vm->ready_text));
	say_state(vm, VM_READY, text, told);
}

/* All that was known of the machine at the other end. */
static void
vm_forget(struct vm *vm)
{
	struct device *dev;

	vm->ready = 0;
	vm->untold = 0;
	conn_close(&vm->conn);
	inventory_stop(vm);
	shared_lost(vm);
	loop_timer_del(&vm->recount);
	attach_vm_lost(vm->conf.vm);
	while ((dev = TAILQ_FIRST(&vm->devices)) != NULL)
		vm_device_remove(vm, dev);
	memset(&vm->ports, 0, sizeof(vm->ports));
	free(vm->foreigns);
	vm->foreigns = NULL;
	vm->nforeigns = 0;
	vm->migrating = vm->recheck = vm->had_bus = 0;
	vm->unable[0] = vm->ready_text[0] = '\0';
	vm->bus_path[0] = vm->bus_name[0] = vm->problem[0] = '\0';
	vm->nfdsets = 0;
	vm->running = 0;
}

/*
 * The policy says other things of it now.  Where its devices go is asked
 * anew over a new connection; those that are there stay.
 */
static void
vm_change(struct vm *vm, const struct msg_vm *conf)
{
	int moved = strcmp(vm->conf.bus, conf->bus) != 0 ||
		    vm->conf.first_port != conf->first_port ||
		    vm->conf.last_port != conf->last_port ||
		    vm->conf.handover != conf->handover;

	vm->conf = *conf;
	vm->range.first = conf->first_port;
	vm->range.last = conf->last_port;
	if (moved && vm->conn.fd != -1)
		conn_fail(&vm->conn, QMP_END_CLOSED,
		    "policy says other things of how it is given devices");
}

void
vm_add(const struct msg_vm *conf)
{
	struct port_range range = { conf->first_port, conf->last_port };
	struct vm *vm;

	if (!msg_string_ok(conf->name, sizeof(conf->name)) ||
	    !msg_string_ok(conf->bus, sizeof(conf->bus)) ||
	    conf->handover >= HANDOVER_MAX || conf->monitor > MONITOR_SHARED ||
	    conf->greeting_ms == 0 || conf->greeting_ms > QMP_TIMEOUT_MAX ||
	    conf->reply_ms == 0 || conf->reply_ms > QMP_TIMEOUT_MAX ||
	    !ports_range_ok(&range))
		fatalx("machine %u makes no sense", conf->vm);
	if ((vm = vm_find(conf->vm)) != NULL) {
		vm_change(vm, conf);
		return;
	}
	if ((vm = calloc(1, sizeof(*vm))) == NULL)
		fatal("calloc");
	vm->conf = *conf;
	vm->range = range;
	conn_init(&vm->conn);
	TAILQ_INIT(&vm->devices);
	TAILQ_INSERT_TAIL(&vms, vm, entry);
}

void
vm_remove(uint32_t number)
{
	struct vm *vm = vm_find(number);

	if (vm == NULL)
		fatalx("there is no machine %u to remove", number);
	vm_forget(vm);
	TAILQ_REMOVE(&vms, vm, entry);
	free(vm);
}

void
vm_socket(const struct msg_qmp_socket *m, int fd)
{
	struct vm *vm = vm_find(m->vm);
	struct conn_patience patience;

	if (vm == NULL || vm->conn.fd != -1 ||
	    vm->shared.wanted != (vm->ready != 0))
		fatalx("no use for a socket of machine %u", m->vm);
	if (m->conn <= vm->nconn)
		fatalx("connections to machine %u are counted wrong", m->vm);
	if (vm->ready && m->pid != vm->pid) {
		vm_forget(vm);
		vm_say_state(vm, VM_LOST, "another QEMU has its socket");
	}
	vm->pid = m->pid;
	vm->nconn = m->conn;
	vm->shared.wanted = 0;
	patience.greeting = vm->conf.greeting_ms;
	patience.reply = vm->conf.reply_ms;
	conn_open(&vm->conn, fd, vm->conf.name, &patience,
	    vm->conf.monitor == MONITOR_SHARED ? &vm_shared_ops : &vm_conn_ops,
	    vm);
	if (!vm->ready)
		vm_say_state(vm, VM_GREETING, "connected, no greeting yet");
}

static void
vm_ended(struct vm *vm, enum qmp_end end, const char *why)
{
	struct msg_qmp_lost m;

	vm_forget(vm);
	vm_say_state(vm, VM_LOST, why);
	m.vm = vm->conf.vm;
	m.end = end;
	tell_parent(MSG_QMP_LOST, &m);
}

void
vm_gone(uint32_t number)
{
	struct vm *vm = vm_find(number);

	if (vm == NULL || vm->conn.fd != -1 || !vm->ready)
		fatalx("machine %u cannot end so", number);
	vm_ended(vm, QMP_END_CLOSED, "QEMU has ended, or its socket");
}

static void
vm_lost(void *owner, enum qmp_end end, const char *why)
{
	char text[MSG_TEXT_MAX];

	strlcpy(text, why, sizeof(text)); /* why ends with the connection */
	vm_ended(owner, end, text);
}

static void
vm_capabilities(void *owner, const struct reply *reply, void *arg)
{
	struct vm *vm = owner;

	(void)arg;
	if (reply->type == REPLY_ERROR)
		conn_fail(&vm->conn, QMP_END_PROTOCOL,
		    "refused to negotiate: %s", reply->desc);
}

static void
vm_no_matter(void *owner, const struct reply *reply, void *arg)
{
	(void)owner;
	(void)reply;
	(void)arg;
}

/* Without it QEMU tells of no migration (qapi/migration.json). */
static void
vm_ask_for_events(struct vm *vm)
{
	struct json *j = conn_begin(&vm->conn, "migrate-set-capabilities");

	json_array(j, "capabilities");
	json_object(j, NULL);
	json_str(j, "capability", "events");
	json_bool(j, "state", 1);
	json_end(j, '}');
	json_end(j, ']');
	conn_add(&vm->conn, 0, vm_no_matter, NULL);
}

/*
 * Without OOB: with it QEMU would read ahead, and of two descriptors in
 * flight one would be lost.
 */
static void
vm_greeting(void *owner, const char *version)
{
	struct vm *vm = owner;

	strlcpy(vm->version, version, sizeof(vm->version));
	conn_begin(&vm->conn, "qmp_capabilities");
	conn_add(&vm->conn, 0, vm_capabilities, NULL);
	vm_ask_for_events(vm);
	inventory_start(vm);
	conn_send(&vm->conn, -1);
}

/* What it has now against what the engine knows. */
static void
vm_compare(struct vm *vm)
{
	struct device *dev, *next;

	for (dev = TAILQ_FIRST(&vm->devices); dev != NULL; dev = next) {
		next = TAILQ_NEXT(dev, entry);
		if (dev->at != DEVICE_ATTACHED)
			continue;
		if (dev->seen == DEVICE_NEW)
			vm_device_say(vm, dev, MSG_VM_HAS);
		if (dev->seen != DEVICE_UNSEEN)
			continue;
		vm_device_say(vm, dev, MSG_VM_DROPPED);
		vm_device_remove(vm, dev);
	}
}

/* 1 if the list is another one than before. */
static int
vm_tell_foreigns(struct vm *vm, struct msg_vm_foreign *list, unsigned int n)
{
	unsigned int i;
	int same =
	    n == vm->nforeigns &&
	    (n == 0 || memcmp(list, vm->foreigns, n * sizeof(*list)) == 0);

	free(vm->foreigns);
	vm->foreigns = list;
	vm->nforeigns = n;
	if (same && vm->ready)
		return 0;
	for (i = 0; i < n; i++)
		tell_engine(MSG_VM_FOREIGN, &list[i]);
	return 1;
}

void
vm_inventory_done(struct vm *vm, struct msg_vm_foreign *list, unsigned int n)
{
	int changed = vm_tell_foreigns(vm, list, n) || vm->shared.late;
	struct device *dev;

	if (!vm->ready) {
		TAILQ_FOREACH(dev, &vm->devices, entry)
			vm_device_say(vm, dev, MSG_VM_HAS);
		vm->ready = vm->nconn;
	} else
		vm_compare(vm);
	vm_say_ready(vm, changed);
	shared_online(vm);
	if (vm->running && vm->nfdsets > 0 && !vm->migrating)
		detach_fdsets(vm);
}

static void
vm_recount(void *arg)
{
	struct vm *vm = arg;

	if (vm->inventory != NULL)
		vm->recheck = 1;
	else if (!vm->recheck)
		inventory_recount(vm);
	else {
		vm->recheck = 0;
		inventory_start(vm);
		conn_send(&vm->conn, -1);
	}
}

void
vm_recount_soon(struct vm *vm)
{
	if (vm->ready && vm->conn.fd != -1 && vm->recount.at == 0)
		loop_timer_set(&vm->recount, VM_RECOUNT_MS, vm_recount, vm);
}

void
vm_look_again(struct vm *vm)
{
	uint64_t due = vm->looked + VM_RECOUNT_MS, now = loop_now();

	vm->recheck = 1;
	if (vm->inventory == NULL)
		loop_timer_set(
		    &vm->recount, due > now ? due - now : 0, vm_recount, vm);
}

/* Events. */

static void
vm_event_stop(struct vm *vm, yajl_val data)
{
	(void)data;
	vm->running = 0;
}

static void
vm_event_resume(struct vm *vm, yajl_val data)
{
	(void)data;
	vm->running = 1;
	/* The other end of a migration begins so. */
	if (vm->migrating || vm->inventory != NULL)
		vm_look_again(vm);
	else
		detach_fdsets(vm);
}

/* Nothing is sent while it lasts; then what is there is asked. */
static void
vm_event_migration(struct vm *vm, yajl_val data)
{
	const char *status = qmp_string(data, "status");

	if (status == NULL)
		return;
	if (!inventory_is_migrating(status))
		vm_look_again(vm);
	else if (!vm->migrating) {
		vm->migrating = 1;
		vm->recheck =
		    vm->inventory != NULL; /* which may have missed it */
		if (vm->ready)
			vm_say_ready(vm, 0);
	}
}

static void
vm_event_shutdown(struct vm *vm, yajl_val data)
{
	const char *reason = qmp_string(data, "reason");

	log_debug("%s: machine shuts down: %s", vm->conf.name,
	    reason == NULL ? "no reason given" : reason);
}

/*
 * It comes some 60 ms after the answer to a device_del, when there may be
 * another device in that port: nothing is concluded from it for a device
 * that we took out.
 */
static void
vm_event_deleted(struct vm *vm, yajl_val data)
{
	const char *id = qmp_string(data, "device");
	struct device *dev;
	struct qmpid parts;

	if (id == NULL || qmpid_parse(&parts, id) == -1) {
		vm_recount_soon(vm);
		return;
	}
	dev = vm_device_find(vm, id);
	if (dev == NULL || dev->at != DEVICE_ATTACHED)
		return;
	if (vm->ready) /* else it was not yet told of */
		vm_device_say(vm, dev, MSG_VM_DROPPED);
	vm_device_remove(vm, dev);
}

static void
vm_event(void *owner, const char *name, yajl_val data)
{
	static const struct {
		const char *name;
		void (*handle)(struct vm *, yajl_val);
	} table[] = {
		{ "STOP", vm_event_stop },
		{ "RESUME", vm_event_resume },
		{ "SHUTDOWN", vm_event_shutdown },
		{ "DEVICE_DELETED", vm_event_deleted },
		{ "MIGRATION", vm_event_migration },
	};
	struct vm *vm = owner;
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(table[i].name, name) == 0)
			table[i].handle(vm, data);
}
