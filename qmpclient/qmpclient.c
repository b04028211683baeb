/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>

#include "again.h"
#include "attach.h"
#include "chan.h"
#include "child.h"
#include "log.h"
#include "loop.h"
#include "qmpclient.h"
#include "vm.h"

static struct chan parent, engine;

void
tell_parent(enum msg_type type, const void *payload)
{
	chan_send(&parent, type, payload, -1);
}

void
tell_engine(enum msg_type type, const void *payload)
{
	if (chan_is_open(&engine))
		chan_send(&engine, type, payload, -1);
}

static void
qmpclient_dispatch_engine(
    struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)c;
	(void)fd;
	switch (type) {
	case MSG_ATTACH:
		attach_request(payload);
		break;
	case MSG_DETACH:
		detach_request(payload);
		break;
	default:
		fatalx("%s from the engine", msg_name(type));
	}
}

static void
qmpclient_peer(const struct msg_peer *m, int fd)
{
	if (m->proc != PROC_ENGINE)
		fatalx("no use for a channel to %s",
		    proc_name((enum proc_id)m->proc));
	chan_close(&engine);
	chan_open(&engine, fd, PROC_QMPCLIENT, PROC_ENGINE,
	    qmpclient_dispatch_engine, chan_lost_fatal, NULL);
	again_engine();
}

static void
qmpclient_start(const struct msg_start *m)
{
	static const struct msg_none none;

	log_set_verbose(m->verbose != 0);
	tell_parent(MSG_READY, &none);
}

static void
qmpclient_dispatch_parent(
    struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)c;
	if (child_dispatch(type, payload, fd))
		return;
	switch (type) {
	case MSG_PEER:
		qmpclient_peer(payload, fd);
		break;
	case MSG_START:
		qmpclient_start(payload);
		break;
	case MSG_QMP_VM:
		vm_add(payload);
		break;
	case MSG_QMP_VM_GONE:
		vm_remove(((const struct msg_vm_number *)payload)->vm);
		break;
	case MSG_QMP_SOCKET:
		vm_socket(payload, fd);
		break;
	case MSG_QMP_GONE:
		vm_gone(((const struct msg_vm_number *)payload)->vm);
		break;
	case MSG_DEVICE_FD:
		attach_device(payload, fd);
		break;
	case MSG_OPEN_FAILED:
		attach_open_failed(payload);
		break;
	default:
		fatalx("%s from the parent", msg_name(type));
	}
}

int
main(int argc, char *argv[])
{
	child_init(PROC_QMPCLIENT, argc, argv, NULL, NULL, &parent,
	    qmpclient_dispatch_parent);
	return loop_run();
}
