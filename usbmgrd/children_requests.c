/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "audit.h"
#include "children.h"
#include "children_int.h"
#include "filter.h"
#include "log.h"
#include "parent.h"
#include "parent_eve.h"
#include "reload.h"

static uint32_t last_request; /* of an engine, to open a device */

uint32_t
children_last_request(void)
{
	return last_request;
}

/* The engine knows devices as the monitor may send them, so it has no other. */
static int
is_device(const struct msg_open_device *m)
{
	return m->request != 0 && m->request < REQUEST_MAX && m->busnum != 0 &&
	       m->busnum <= USB_BUSNUM_MAX && m->devnum != 0 &&
	       m->devnum <= USB_DEVNUM_MAX;
}

static void
open_device(const struct msg_open_device *m)
{
	struct msg_open_failed failed = { .request = m->request };
	int fd = usbfs_open(m->busnum, m->devnum);
	struct json *j;

	failed.error = errno;
	if (m->request > last_request)
		last_request = m->request;
	j = audit_begin("open-device");
	json_num(j, "request", m->request);
	json_num(j, "busnum", m->busnum);
	json_num(j, "devnum", m->devnum);
	if (fd == -1)
		json_str(j, "error", strerror(failed.error));
	audit_end();
	if (fd == -1)
		children_send(PROC_QMPCLIENT, MSG_OPEN_FAILED, &failed, -1);
	else
		children_send(PROC_QMPCLIENT, MSG_DEVICE_FD, m, fd);
}

static void
parent_open_device(struct chan *c, const struct msg_open_device *m)
{
	if (is_device(m))
		open_device(m);
	else
		chan_fail(c, "wants a device that cannot be");
}

static void
parent_release_device(const struct msg_release_device *m)
{
	int bound = usbfs_release(m->busnum, m->devnum), error = errno;
	struct json *j = audit_begin("release-device");

	json_num(j, "busnum", m->busnum);
	json_num(j, "devnum", m->devnum);
	if (bound == -1)
		json_str(j, "error", strerror(error));
	else
		json_num(j, "interfaces", bound);
	audit_end();
}

static void
parent_want_verbose(const struct msg_verbose *m)
{
	log_set_verbose(m->verbose != 0);
	children_send_verbose(m);
	log_info("logs are %s", m->verbose ? "verbose" : "brief");
}

/* If it does not die of it, it lies, and dies, too. */
static void
parent_trapped(enum proc_id proc, const struct msg_trapped *m)
{
	char call[64], why[CHILD_WHY_MAX];

	filter_call_name(m->arch, m->nr, call, sizeof(call));
	snprintf(
	    why, sizeof(why), "was killed by its system call filter: %s", call);
	child_end(proc, why);
}

void
children_dispatch(
    struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)fd;
	switch (type) {
	case MSG_READY:
		if (child_ready(c->peer) == -1)
			chan_fail(c, "ready twice");
		break;
	case MSG_CONF_DONE:
		children_policy_done(c);
		break;
	case MSG_CONF_REFUSED:
		children_policy_refused(c, payload);
		break;
	case MSG_PONG:
		child_answered(c->peer);
		break;
	case MSG_TRAPPED:
		parent_trapped(c->peer, payload);
		break;
	case MSG_OPEN_DEVICE:
		parent_open_device(c, payload);
		break;
	case MSG_RELEASE_DEVICE:
		parent_release_device(payload);
		break;
	case MSG_QMP_LOST:
		children_vm_lost(c, payload);
		break;
	case MSG_QMP_RELEASE:
		children_vm_release(c, payload);
		break;
	case MSG_QMP_WANT:
		children_vm_want(c, payload);
		break;
	case MSG_VM_LEFT:
		reload_vm_left(((const struct msg_vm_number *)payload)->vm);
		break;
	case MSG_RELOAD:
		reload_now(1);
		break;
	case MSG_WANT_VERBOSE:
		parent_want_verbose(payload);
		break;
	case MSG_EVE_VM:
		parent_eve_vm(c, payload);
		break;
	case MSG_EVE_VM_GONE:
		parent_eve_vm_gone(c, payload);
		break;
	default:
		chan_fail(c, msg_name(type));
	}
}
