/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef SHARED_H
#define SHARED_H

#include "vm.h"

/*
 * A machine whose QMP socket other programs use, too (MONITOR_SHARED).  QEMU
 * serves one client at a time, so we come, do what there is to do and go:
 *
 *	ready, no connection  --request-->  MSG_QMP_WANT to the parent
 *	MSG_QMP_SOCKET  --greeting, inventory-->  online: requests are sent
 *	all answered, a moment passes  -->  closed, MSG_QMP_RELEASE
 *
 * For the engine it is ready all the time.  While somebody else holds the
 * socket requests wait; we do so in QEMU's queue for connect(2), with one
 * connection and as long as it takes: a connection that is closed before it
 * was served keeps its place in that short queue, so trying again would in
 * the end keep everybody out (listen(2) with a backlog of 1).
 */

/* The connection is kept so long after the last answer, for bursts. */
#define SHARED_LINGER_MS 200

/*
 * With ever more requests it is let go all the same after so long, once those
 * sent are answered; the next connection queues behind other clients.
 */
#define SHARED_HOLD_MS 1000

/*
 * Nobody tells us without a connection that a migration is over: it is asked
 * after so long.
 */
#define SHARED_MIGRATING_MS 2000

/* A request waits so long for its turn; then RESULT_BUSY, to be tried again. */
#define SHARED_WAIT_MS 20000
#define SHARED_WAIT_MAX 256 /* detaches, of all machines together */
#define SHARED_BUSY "another client holds its QMP socket, or the machine hangs"

/*
 * shared_want: 1 if commands may be sent to the machine, which must be
 * ready, now; 0 if they have to wait for a connection, which is asked for.
 * Always 1 for machines that are not shared.
 */
int shared_want(struct vm *);

/*
 * shared_wait: keep a detach until there is a connection: detach_request is
 * called again then, or it is answered when the machine or the time is up.
 */
void shared_wait(const struct msg_detach *);

/* shared_online: the inventory is complete: send what has waited. */
void shared_online(struct vm *);

/* shared_lost: the machine is lost or leaves: fail what has waited. */
void shared_lost(struct vm *);

/* For struct conn_ops. */
void shared_late(void *vm);
void shared_idle(void *vm);

/* shared_forget: there is a new engine: what waits is dropped. */
void shared_forget(void);

#endif
