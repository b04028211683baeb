/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef QMPPEER_H
#define QMPPEER_H

#include <sys/types.h>

#include "loop.h"

/*
 * The QEMU behind a socket, also while nobody is connected to it: its process
 * and its socket file, both held, so that neither number comes to mean
 * another.
 */
struct qmppeer {
	int file; /* O_PATH; -1: none */
	int pidfd; /* pidfd_open(2); -1: none */
	struct loop_fd watch;
	void (*ended)(void *arg);
	void *arg;
};

/* qmppeer_init: none is held. */
void qmppeer_init(struct qmppeer *);

/*
 * qmppeer_hold: from now on it is this socket file, an O_PATH descriptor that
 * is taken, and the process of that number.  Where there is no such process
 * (0: one of another PID namespace) only the file tells of its end.
 */
void qmppeer_hold(struct qmppeer *, int file, pid_t pid);

/* qmppeer_held: 1 if one is held, else 0. */
int qmppeer_held(const struct qmppeer *);

/*
 * qmppeer_ended: 1 if its process is dead (pidfd_open(2)), and so has closed
 * all that it had open; 0 if it lives or is not known.
 */
int qmppeer_ended(const struct qmppeer *);

/* qmppeer_is: 1 if file is the socket file that is held, else 0. */
int qmppeer_is(const struct qmppeer *, int file);

/*
 * qmppeer_watch: call ended(arg), on the loop, once the process is gone, in
 * place of what was to be called before; qmppeer_unwatch: no more.
 */
void qmppeer_watch(struct qmppeer *, void (*ended)(void *), void *arg);
void qmppeer_unwatch(struct qmppeer *);

/* qmppeer_drop: hold none. */
void qmppeer_drop(struct qmppeer *);

#endif
