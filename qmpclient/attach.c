/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "again.h"
#include "attach.h"
#include "audit.h"
#include "errors.h"
#include "log.h"
#include "qmpclient.h"
#include "shared.h"
#include "usbfs.h"

/* What is known so far of an attach whose other half is to come. */
struct half {
	TAILQ_ENTRY(half) entry;
	struct loop_timer timer;
	uint32_t request;
	int asked; /* attach is valid */
	int answered; /* with a result; the other half is to be dropped */
	int opened; /* device, fd, error are valid, or QEMU opens it */
	uint64_t since;
	struct msg_attach attach;
	struct msg_open_device device;
	int fd;
	int error;
};

static TAILQ_HEAD(halves, half) halves = TAILQ_HEAD_INITIALIZER(halves);
static unsigned int nhalves;

static unsigned int engine; /* counts them: who is to be answered */

/* Commands of one request that are on their way. */
struct op {
	uint32_t request;
	uint32_t conn; /* as it was asked */
	uint32_t fdset_of; /* request that the set was made for */
	unsigned int guest_port;
	int no_fd; /* add-fd failed, text says why */
	int has_set; /* remove-fd is its last command */
	unsigned int engine; /* that asked for it */
	char id[MSG_ID_MAX];
	char text[MSG_TEXT_MAX];
};

static void
attach_result(uint32_t request, uint32_t vm, uint32_t conn, enum result result,
    unsigned int guest_port, const char *text)
{
	struct msg_result m;
	struct json *j;

	memset(&m, 0, sizeof(m));
	m.request = request;
	m.vm = vm;
	m.conn = conn;
	m.result = result;
	m.guest_port = guest_port;
	strlcpy(m.text, text, sizeof(m.text));

	/* Before the engine can log what it makes of it. */
	j = audit_begin("result");
	json_num(j, "request", request);
	json_str(j, "result", result_string(result));
	if (guest_port != 0)
		json_num(j, "guest_port", guest_port);
	if (text[0] != '\0')
		json_str(j, "reason", m.text);
	audit_end();
	tell_engine(MSG_RESULT, &m);
}

/*
 * File descriptor sets are numbered by whoever makes them; management
 * software starts low, so we stay in the upper half of a positive int.
 */
static int32_t
attach_fdset(uint32_t request)
{
	return (int32_t)(0x40000000U | (request & 0x3fffffffU));
}

static struct op *
op_new(uint32_t request, uint32_t conn, uint32_t fdset_of, const char *id)
{
	struct op *op;

	if ((op = calloc(1, sizeof(*op))) == NULL)
		fatal("calloc");
	op->request = request;
	op->conn = conn;
	op->fdset_of = fdset_of;
	op->engine = engine;
	strlcpy(op->id, id, sizeof(op->id));
	return op;
}

static void
op_result(const struct op *op, struct vm *vm, enum result result,
    unsigned int guest_port, const char *text)
{
	if (op->engine == engine)
		attach_result(op->request, vm->conf.vm, op->conn, result,
		    guest_port, text);
	else
		log_info("request %u of the engine before: %s", op->request,
		    result_string(result));
	again_answered(vm);
}

/* Why the connection of a machine ended, for a request that ends with it. */
static const char *
attach_why_lost(const struct vm *vm)
{
	return vm->conn.why[0] != '\0' ? vm->conn.why
				       : "machine left the policy";
}

/* Sets that QEMU could not close because the machine was paused. */

static void
fdset_remember(struct vm *vm, int32_t set)
{
	unsigned int i;

	for (i = 0; i < vm->nfdsets; i++)
		if (vm->fdsets[i] == set)
			return;
	if (vm->nfdsets == VM_FDSETS_MAX) {
		vm->nfdsets--;
		memmove(vm->fdsets, vm->fdsets + 1,
		    vm->nfdsets * sizeof(vm->fdsets[0]));
	}
	vm->fdsets[vm->nfdsets++] = set;
}

/* The last command of an op. */
static void
attach_removed_fd(void *owner, const struct reply *reply, void *arg)
{
	struct vm *vm = owner;
	struct op *op = arg;

	if (reply->type == REPLY_RETURN && !vm->running)
		fdset_remember(vm, attach_fdset(op->fdset_of));
	free(op);
}

static void
attach_remove_fd(struct vm *vm, struct op *op)
{
	struct json *j = conn_begin(&vm->conn, "remove-fd");

	op->has_set = 1;
	json_num(j, "fdset-id", attach_fdset(op->fdset_of));
	conn_add(&vm->conn, op->request, attach_removed_fd, op);
}

void
detach_fdsets(struct vm *vm)
{
	uint32_t request;
	unsigned int i, n = vm->nfdsets;

	vm->nfdsets = 0;
	for (i = 0; i < n; i++) {
		request = (uint32_t)vm->fdsets[i] & 0x3fffffffU;
		attach_remove_fd(vm, op_new(request, 0, request, ""));
	}
	conn_send(&vm->conn, -1);
}

/* The burst. */

static void
attach_added_fd(void *owner, const struct reply *reply, void *arg)
{
	struct op *op = arg;

	(void)owner;
	if (reply->type != REPLY_ERROR)
		return;
	op->no_fd = 1;
	snprintf(op->text, sizeof(op->text), "add-fd: %s", reply->desc);
}

static void
attach_undone(void *owner, const struct reply *reply, void *arg)
{
	(void)owner;
	(void)reply;
	(void)arg;
}

/* What device_add opened is not what we sent: an older set of that number. */
static void
attach_undo(struct vm *vm, const struct op *op)
{
	struct json *j = conn_begin(&vm->conn, "device_del");

	json_str(j, "id", op->id);
	conn_add(&vm->conn, op->request, attach_undone, NULL);
	conn_send(&vm->conn, -1);
}

static enum result
attach_added_result(
    struct vm *vm, const struct op *op, const struct reply *reply)
{
	switch (reply->type) {
	case REPLY_RETURN:
		if (!op->no_fd)
			return RESULT_OK;
		attach_undo(vm, op);
		return RESULT_OTHER;
	case REPLY_ERROR:
		return op->no_fd ? RESULT_OTHER
				 : qmp_error_result(reply->class, reply->desc);
	case REPLY_LOST:
		break;
	}
	return RESULT_VM_LOST;
}

static void
attach_added(void *owner, const struct reply *reply, void *arg)
{
	struct vm *vm = owner;
	struct op *op = arg;
	struct device *dev = vm_device_find(vm, op->id);
	enum result result = attach_added_result(vm, op, reply);

	if (reply->type == REPLY_LOST)
		strlcpy(op->text, attach_why_lost(vm), sizeof(op->text));
	else if (!op->no_fd)
		strlcpy(op->text, reply->desc, sizeof(op->text));
	if (dev != NULL && result != RESULT_OK)
		vm_device_remove(vm, dev);
	else if (dev != NULL && dev->at == DEVICE_ATTACHING) {
		dev->at = DEVICE_ATTACHED;
		dev->seen = DEVICE_KNOWN; /* an inventory may be on its way */
	}
	if (result == RESULT_PORT_TAKEN) {
		vm->ports.taken |= ports_bit(op->guest_port);
		vm_recount_soon(vm);
	}
	op_result(
	    op, vm, result, result == RESULT_OK ? op->guest_port : 0, op->text);
	if (!op->has_set)
		free(op);
}

static void
attach_device_add(
    struct vm *vm, struct op *op, const struct usbport *port, uint16_t devnum)
{
	struct json *j = conn_begin(&vm->conn, "device_add");
	char text[32];

	json_str(j, "driver", "usb-host");
	json_str(j, "id", op->id);
	json_str(j, "bus", vm->bus_name);
	snprintf(text, sizeof(text), "%u", op->guest_port);
	json_str(j, "port", text);
	if (vm->handover == HANDOVER_ADDRESS) {
		json_num(j, "hostbus", port->busnum);
		json_num(j, "hostaddr", devnum);
	} else {
		snprintf(text, sizeof(text), "/dev/fdset/%d",
		    (int)attach_fdset(op->request));
		json_str(j, "hostdevice", text);
	}
	conn_add(&vm->conn, op->request, attach_added, op);
}

static void
attach_burst(struct vm *vm, struct op *op, const struct msg_attach *m, int fd)
{
	struct json *j;

	if (vm->handover == HANDOVER_FD) {
		j = conn_begin(&vm->conn, "add-fd");
		json_num(j, "fdset-id", attach_fdset(op->request));
		json_str(j, "opaque", op->id);
		conn_add(&vm->conn, op->request, attach_added_fd, op);
	}
	attach_device_add(vm, op, &m->port, m->devnum);
	if (vm->handover == HANDOVER_FD)
		attach_remove_fd(vm, op);
	conn_send(&vm->conn, fd);
}

/*
 * Takes fd, whose device has been verified, or -1 for a machine that opens
 * the device itself.  RESULT_OK: the commands are on their way.
 */
static enum result
attach_start(
    struct vm *vm, const struct msg_attach *m, int fd, char *text, size_t size)
{
	struct device *dev;
	struct qmpid parts;
	struct op *op;
	unsigned int port;
	enum result result = RESULT_OK;

	port = ports_choose(
	    &vm->ports, &vm->range, (enum usbspeed)m->speed, m->speeds);
	qmpid_parse(&parts, m->id);
	if (vm->unable[0] != '\0') {
		strlcpy(text, vm->unable, size);
		result = RESULT_UNABLE;
	} else if (vm->bus_path[0] == '\0') {
		strlcpy(text, vm->problem, size);
		vm_recount_soon(vm);
		result = RESULT_NO_CONTROLLER;
	} else if (port == 0) {
		result = ports_why_none(&vm->ports, &vm->range, m->speeds,
		    vm->bus_name, text, size);
	} else if (vm_device_find(vm, m->id) != NULL) {
		strlcpy(text, "the machine has that id already", size);
		result = RESULT_DUPLICATE;
	} else if ((dev = vm_device_add(vm, m->id, &parts, DEVICE_ATTACHING)) ==
		   NULL) {
		strlcpy(text, "too many devices in the machine", size);
		result = RESULT_OTHER;
	} else {
		dev->guest_port = port;
		vm->ports.taken |= ports_bit(port);
		op = op_new(m->request, m->conn, m->request, m->id);
		op->guest_port = port;
		attach_burst(vm, op, m, fd);
		fd = -1;
	}
	if (fd != -1)
		close(fd);
	return result;
}

/* Two halves of an attach. */

static struct half *
half_find(uint32_t request)
{
	struct half *h;

	TAILQ_FOREACH(h, &halves, entry)
		if (h->request == request)
			return h;
	return NULL;
}

/* Before the engine hears of it: it may want to use the device elsewhere. */
static void
half_close(struct half *h)
{
	if (h->fd != -1)
		close(h->fd);
	h->fd = -1;
}

static void
half_free(struct half *h)
{
	half_close(h);
	loop_timer_del(&h->timer);
	TAILQ_REMOVE(&halves, h, entry);
	nhalves--;
	free(h);
}

static void
half_answer(struct half *h, enum result result, const char *text)
{
	if (h->asked && !h->answered)
		attach_result(
		    h->request, h->attach.vm, h->attach.conn, result, 0, text);
	h->answered = 1;
}

static void
half_overdue(void *arg)
{
	struct half *h = arg;

	if (h->opened && h->asked) {
		half_close(h);
		half_answer(h, RESULT_BUSY, SHARED_BUSY);
	} else if (h->opened)
		log_warnx("request %u: opened a device that nobody attached",
		    h->request);
	half_answer(h, RESULT_OTHER, "the parent did not open it in time");
	half_free(h);
}

/* The half that is there, or a new one; NULL when there are too many. */
static struct half *
half_get(uint32_t request)
{
	struct half *h;

	if ((h = half_find(request)) != NULL)
		return h;
	if (nhalves >= ATTACH_PENDING_MAX)
		return NULL;
	if ((h = calloc(1, sizeof(*h))) == NULL)
		fatal("calloc");
	h->request = request;
	h->fd = -1;
	h->since = loop_now();
	TAILQ_INSERT_TAIL(&halves, h, entry);
	nhalves++;
	loop_timer_set(&h->timer, ATTACH_HALF_MS, half_overdue, h);
	return h;
}

/* Both halves are there: are they the same device, the judged one? */
static enum result
half_verify(const struct half *h, char *text, size_t size)
{
	const struct msg_attach *m = &h->attach;

	if (h->error != 0) {
		snprintf(text, size, "open: %s", strerror(h->error));
		return usbfs_errno_result(h->error);
	}
	if (h->fd == -1)
		return RESULT_OK; /* QEMU opens it */
	if (h->device.busnum != m->port.busnum ||
	    h->device.devnum != m->devnum) {
		snprintf(text, size, "the parent opened %u/%u instead of %u/%u",
		    h->device.busnum, h->device.devnum, m->port.busnum,
		    m->devnum);
		return RESULT_CHANGED;
	}
	return usbfs_verify(
	    h->fd, m->port.busnum, m->devnum, m->digest, text, size);
}

static void
half_start(struct half *h, struct vm *vm)
{
	char text[MSG_TEXT_MAX] = "";
	enum result result = half_verify(h, text, sizeof(text));
	int fd;

	if (result == RESULT_OK && vm->migrating)
		result = RESULT_MIGRATING;
	/* It may have become so since the device was opened, or was not. */
	if (vm->handover == HANDOVER_ADDRESS)
		half_close(h);
	else if (result == RESULT_OK && h->fd == -1) {
		strlcpy(text, "it takes devices by descriptor by now",
		    sizeof(text));
		result = RESULT_OTHER;
	}
	fd = h->fd;
	if (result == RESULT_OK) {
		h->fd = -1;
		result = attach_start(vm, &h->attach, fd, text, sizeof(text));
	}
	half_close(h);
	if (result == RESULT_OK)
		h->answered = 1;
	else
		half_answer(h, result, text);
}

static void
half_join(struct half *h)
{
	uint64_t waited = loop_now() - h->since;
	struct vm *vm;

	if (!h->opened || !h->asked)
		return;
	vm = vm_find(h->attach.vm);
	if (!h->answered && vm != NULL && vm->ready) {
		if (h->error == 0 && !shared_want(vm)) {
			loop_timer_set(&h->timer,
			    waited < SHARED_WAIT_MS ? SHARED_WAIT_MS - waited
						    : 0,
			    half_overdue, h);
			return;
		}
		half_start(h, vm);
	}
	half_free(h);
}

int
attach_waiting(uint32_t vm)
{
	struct half *h;

	TAILQ_FOREACH(h, &halves, entry)
		if (h->asked && h->opened && h->attach.vm == vm)
			return 1;
	return 0;
}

void
attach_vm_online(uint32_t vm)
{
	struct half *h, *next;

	for (h = TAILQ_FIRST(&halves); h != NULL; h = next) {
		next = TAILQ_NEXT(h, entry);
		if (h->asked && h->attach.vm == vm)
			half_join(h);
	}
}

void
attach_vm_lost(uint32_t vm)
{
	struct half *h, *next;

	for (h = TAILQ_FIRST(&halves); h != NULL; h = next) {
		next = TAILQ_NEXT(h, entry);
		if (!h->asked || h->attach.vm != vm)
			continue;
		half_close(h);
		half_answer(h, RESULT_VM_LOST, "connection lost");
		if (h->opened)
			half_free(h);
	}
}

void
attach_forget(void)
{
	engine++;
	while (!TAILQ_EMPTY(&halves))
		half_free(TAILQ_FIRST(&halves));
}

/* Messages. */

static void
attach_check(const struct msg_attach *m)
{
	struct qmpid parts;

	if (!msg_string_ok(m->id, sizeof(m->id)) ||
	    qmpid_parse(&parts, m->id) == -1 || parts.request != m->request ||
	    parts.devnum != m->devnum ||
	    usbport_cmp(&parts.port, &m->port) != 0 ||
	    m->speed >= USB_SPEED_MAX || m->speeds >= 1U << USB_SPEED_MAX ||
	    m->handover >= HANDOVER_MAX)
		fatalx("attach of request %u makes no sense", m->request);
}

void
attach_request(const struct msg_attach *m)
{
	struct vm *vm = vm_find(m->vm);
	struct half *h;

	attach_check(m);
	if ((h = half_get(m->request)) == NULL) {
		attach_result(m->request, m->vm, m->conn, RESULT_BUSY, 0,
		    "too many devices on their way");
		return;
	}
	if (h->asked)
		fatalx("request %u came twice", m->request);
	if (m->handover == HANDOVER_ADDRESS && h->opened)
		fatalx("request %u has a device that it does not need",
		    m->request);
	h->asked = 1;
	h->opened |= m->handover == HANDOVER_ADDRESS;
	h->attach = *m;
	if (vm == NULL || !vm->ready || m->conn != vm->ready)
		half_answer(h, RESULT_VM_LOST, "machine is not ready");
	half_join(h);
}

static struct half *
attach_opened(uint32_t request)
{
	struct half *h = half_get(request);

	if (h == NULL)
		log_warnx("request %u: too many devices on their way", request);
	else if (h->opened)
		fatalx("device of request %u was opened twice", request);
	else
		h->opened = 1;
	return h;
}

void
attach_device(const struct msg_open_device *m, int fd)
{
	struct half *h = attach_opened(m->request);

	if (h == NULL) {
		close(fd);
		return;
	}
	h->device = *m;
	h->fd = fd;
	half_join(h);
}

void
attach_open_failed(const struct msg_open_failed *m)
{
	struct half *h = attach_opened(m->request);

	if (h == NULL)
		return;
	h->error = m->error > 0 ? m->error : -1;
	half_join(h);
}

/* Detaching. */

static void
detach_deleted(void *owner, const struct reply *reply, void *arg)
{
	struct vm *vm = owner;
	struct op *op = arg;
	struct device *dev = vm_device_find(vm, op->id);
	enum result result = RESULT_OK;
	const char *text = reply->desc;

	if (reply->type == REPLY_LOST) {
		result = RESULT_VM_LOST;
		text = attach_why_lost(vm);
	} else if (reply->type == REPLY_ERROR &&
		   strcmp(reply->class, QMP_CLASS_NOT_FOUND) != 0)
		result = qmp_error_result(reply->class, reply->desc);
	if (dev != NULL && result == RESULT_OK)
		vm_device_remove(vm, dev);
	else if (dev != NULL)
		dev->at = DEVICE_ATTACHED;
	op_result(op, vm, result, op->guest_port, text);
	if (!op->has_set)
		free(op);
}

void
detach_refuse(const struct msg_detach *m, enum result result, const char *text)
{
	attach_result(m->request, m->vm, m->conn, result, 0, text);
}

void
detach_request(const struct msg_detach *m)
{
	struct vm *vm = vm_find(m->vm);
	struct device *dev;
	struct qmpid parts;
	struct op *op;

	if (!msg_string_ok(m->id, sizeof(m->id)) ||
	    qmpid_parse(&parts, m->id) == -1)
		fatalx("detach of request %u is not of ours", m->request);
	if (vm == NULL || !vm->ready || m->conn != vm->ready) {
		detach_refuse(m, RESULT_VM_LOST, "machine is not ready");
		return;
	}
	if (!shared_want(vm)) {
		shared_wait(m);
		return;
	}
	if (vm->migrating) {
		detach_refuse(m, RESULT_MIGRATING, "");
		return;
	}
	op = op_new(m->request, m->conn, parts.request, m->id);
	if ((dev = vm_device_find(vm, m->id)) != NULL) {
		dev->at = DEVICE_DETACHING;
		op->guest_port = dev->guest_port;
	}
	json_str(conn_begin(&vm->conn, "device_del"), "id", m->id);
	conn_add(&vm->conn, m->request, detach_deleted, op);
	if (vm->handover == HANDOVER_FD)
		attach_remove_fd(vm, op);
	conn_send(&vm->conn, -1);
}
