/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "audit.h"
#include "children.h"
#include "children_int.h"
#include "parent.h"
#include "parent_eve.h"
#include "reload.h"

void
children_vm(const struct msg_vm *vm)
{
	children_send(PROC_QMPCLIENT, MSG_QMP_VM, vm, -1);
}

void
children_vm_send(void)
{
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &children_conf()->vms, entry)
		children_vm(&vm->msg);
	reload_each_leaving(children_vm);
	parent_eve_send_machines();
}

/* What becomes of their sockets */

static void
audit_qmp(uint32_t number, int error, int32_t pid)
{
	struct json *j = audit_begin("open-qmp");

	json_str(j, "vm",
	    number < EVE_VM_FIRST ? reload_vm_name(number)
				  : parent_eve_vm_name(number));
	json_num(j, "vm_number", number);
	if (error == 0)
		json_num(j, "pid", pid);
	else
		json_str(j, "error", strerror(error));
	audit_end();
}

static void
parent_qmp_connected(uint32_t number, uint32_t conn, int fd, int32_t pid)
{
	struct msg_qmp_socket sock = { .vm = number, .pid = pid, .conn = conn };

	audit_qmp(number, 0, pid);
	children_send(PROC_QMPCLIENT, MSG_QMP_SOCKET, &sock, fd);
}

static void
tell_engine_socket(uint32_t number, int error, int ended, uint32_t conn)
{
	struct msg_vm_socket told = { .vm = number,
		.error = error,
		.ended = (uint32_t)ended,
		.conn = conn };

	children_send(PROC_ENGINE, MSG_VM_SOCKET, &told, -1);
}

static void
parent_qmp_failed(uint32_t number, int error, int ended, uint32_t conn)
{
	audit_qmp(number, error, 0);
	tell_engine_socket(number, error, ended, conn);
}

static void
parent_qmp_gone(uint32_t number)
{
	struct msg_vm_number gone = { .vm = number };

	children_send(PROC_QMPCLIENT, MSG_QMP_GONE, &gone, -1);
}

void
children_vm_init(void)
{
	static const struct qmpsock_ops ops = {
		.connected = parent_qmp_connected,
		.failed = parent_qmp_failed,
		.gone = parent_qmp_gone,
	};

	qmpsock_init(&ops);
}

void
children_vm_serve(void)
{
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &children_conf()->vms, entry)
		qmpsock_add(
		    vm->msg.vm, vm->qmp, vm->msg.monitor == MONITOR_SHARED);
}

void
children_vm_send_failed(void)
{
	qmpsock_each_failed(tell_engine_socket);
}

/* What the QMP client says of its connections */

void
children_vm_lost(struct chan *c, const struct msg_qmp_lost *m)
{
	if (reload_vm_has_left(m->vm))
		return;
	if (m->end >= QMP_END_MAX ||
	    (qmpsock_lost(m->vm, (enum qmp_end)m->end) == -1 &&
		!parent_eve_left(m->vm)))
		chan_fail(c, "lost a connection that there was not");
}

void
children_vm_release(struct chan *c, const struct msg_vm_number *m)
{
	if (!reload_vm_has_left(m->vm) && qmpsock_release(m->vm) == -1 &&
	    !parent_eve_left(m->vm))
		chan_fail(c, "released a connection that there was not");
}

void
children_vm_want(struct chan *c, const struct msg_vm_number *m)
{
	if (!reload_vm_has_left(m->vm) && qmpsock_want(m->vm) == -1 &&
	    !parent_eve_left(m->vm))
		chan_fail(c, "wants a connection to a machine it did not "
			     "release");
}
