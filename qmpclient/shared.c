/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>

#include "attach.h"
#include "audit.h"
#include "inventory.h"
#include "log.h"
#include "qmpclient.h"
#include "shared.h"

/* A detach without a connection. */
struct waiting {
	TAILQ_ENTRY(waiting) entry;
	struct loop_timer timer;
	struct msg_detach detach;
};

static TAILQ_HEAD(waitings, waiting) waitings = TAILQ_HEAD_INITIALIZER(
    waitings);
static unsigned int nwaitings;

static int
shared_is(const struct vm *vm)
{
	return vm->conf.monitor == MONITOR_SHARED;
}

/* Waiting. */

static void
waiting_free(struct waiting *w)
{
	loop_timer_del(&w->timer);
	TAILQ_REMOVE(&waitings, w, entry);
	nwaitings--;
	free(w);
}

static void
waiting_overdue(void *arg)
{
	struct waiting *w = arg;

	detach_refuse(&w->detach, RESULT_BUSY, SHARED_BUSY);
	waiting_free(w);
}

void
shared_wait(const struct msg_detach *m)
{
	struct waiting *w;

	if (nwaitings >= SHARED_WAIT_MAX) {
		detach_refuse(m, RESULT_BUSY, "too many requests wait");
		return;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL)
		fatal("calloc");
	w->detach = *m;
	TAILQ_INSERT_TAIL(&waitings, w, entry);
	nwaitings++;
	loop_timer_set(&w->timer, SHARED_WAIT_MS, waiting_overdue, w);
}

/* What waits for the machine is sent or, where lost is set, fails. */
static void
waiting_end(uint32_t vm, int lost)
{
	struct waiting *w, *next;
	struct msg_detach m;

	for (w = TAILQ_FIRST(&waitings); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->detach.vm != vm)
			continue;
		m = w->detach;
		waiting_free(w);
		if (lost)
			detach_refuse(&m, RESULT_VM_LOST, "connection lost");
		else
			detach_request(&m);
	}
}

static int
waiting_any(uint32_t vm)
{
	const struct waiting *w;

	TAILQ_FOREACH(w, &waitings, entry)
		if (w->detach.vm == vm)
			return 1;
	return attach_waiting(vm);
}

void
shared_forget(void)
{
	while (!TAILQ_EMPTY(&waitings))
		waiting_free(TAILQ_FIRST(&waitings));
}

/* Coming and going. */

static void
shared_ask(struct vm *vm)
{
	struct msg_vm_number m = { .vm = vm->conf.vm };

	vm->shared.wanted = 1;
	tell_parent(MSG_QMP_WANT, &m);
}

/* Others have waited long enough, whoever they are. */
static int
shared_held_long(const struct vm *vm)
{
	return loop_now() - vm->shared.since >= SHARED_HOLD_MS;
}

static void
shared_again(void *arg)
{
	struct vm *vm = arg;

	if (vm->conn.fd == -1 && !vm->shared.wanted)
		shared_ask(vm);
}

static void
shared_release(void *arg)
{
	struct vm *vm = arg;
	struct msg_vm_number m = { .vm = vm->conf.vm };
	struct json *j;

	if (vm->conn.nsent > 0 || vm->conn.failed || vm->inventory != NULL ||
	    vm->recheck)
		return;
	j = audit_begin("release");
	json_str(j, "vm", vm->conf.name);
	json_num(j, "ms", (int64_t)(loop_now() - vm->shared.since));
	audit_end();
	loop_timer_del(&vm->recount);
	conn_close(&vm->conn);
	vm->shared.online = 0;
	tell_parent(MSG_QMP_RELEASE, &m);
	if (waiting_any(vm->conf.vm))
		shared_ask(vm);
	else if (vm->migrating)
		loop_timer_set(
		    &vm->shared.linger, SHARED_MIGRATING_MS, shared_again, vm);
}

int
shared_want(struct vm *vm)
{
	if (!shared_is(vm))
		return 1;
	if (vm->conn.fd == -1 && !vm->shared.wanted)
		shared_ask(vm);
	if (!vm->shared.online)
		return 0;
	if (!shared_held_long(vm))
		return 1;
	loop_timer_set(&vm->shared.linger, 0, shared_release, vm);
	return 0;
}

void
shared_idle(void *arg)
{
	struct vm *vm = arg;

	if (vm->shared.online)
		loop_timer_set(&vm->shared.linger,
		    shared_held_long(vm) ? 0 : SHARED_LINGER_MS, shared_release,
		    vm);
}

void
shared_late(void *arg)
{
	struct vm *vm = arg;

	if (vm->shared.late)
		return;
	vm->shared.late = 1;
	vm_say_state(vm, vm->ready ? VM_READY : VM_GREETING, SHARED_BUSY);
}

void
shared_online(struct vm *vm)
{
	if (!shared_is(vm) || vm->shared.online)
		return;
	vm->shared.online = 1;
	vm->shared.since = loop_now();
	vm->shared.late = 0;
	waiting_end(vm->conf.vm, 0);
	attach_vm_online(vm->conf.vm);
}

void
shared_lost(struct vm *vm)
{
	loop_timer_del(&vm->shared.linger);
	vm->shared.online = vm->shared.wanted = vm->shared.late = 0;
	waiting_end(vm->conf.vm, 1);
}
