/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CHILDREN_H
#define CHILDREN_H

#include "conf.h"
#include "msg.h"

/*
 * children_start: start all children, connect them with each other, give
 * them their logs, the engine the policy, and wait until each is ready.  The
 * spawner is there (spawner.h); conf stays.  0, or -1 after a message when
 * one is not ready in time; children_stop is then still to be called.
 */
int children_start(const struct conf *, int debug, int verbose);

/*
 * children_serve: look for the machines' sockets from now on, and let the
 * engine answer on the control sockets, which are taken (readonly_fd may be
 * -1).  From now on a child that ends is started again (restart.h).
 */
void children_serve(int control_fd, int readonly_fd);

/*
 * children_policy: send the engine another policy, which stays, and whose
 * machines qmpclient was told of by children_vm, also of those that changed.
 */
void children_policy(const struct conf *);
void children_vm(const struct msg_vm *);

/* children_policy_stays: that one was refused; this one is in force. */
void children_policy_stays(const struct conf *);

/*
 * children_stop: close all channels, wait for the children to end, kill what
 * does not end in time.
 */
void children_stop(void);

/*
 * children_reap: collect children that ended, and see to it that they are
 * started again.  -1 after a message if that is not to be, else 0.
 */
int children_reap(void);

/*
 * children_send: to that child; takes fd.  children_flush: wait until what
 * was sent is written; 0 or -1.
 */
void children_send(enum proc_id, enum msg_type, const void *payload, int fd);
int children_flush(enum proc_id);

/*
 * children_renew: the policy is in force.  A child that runs with other
 * promises than it says ends, once it has done what it was sent before, and is
 * started with these.  children_renews: 1 if that child will end for it.
 */
void children_renew(void);
int children_renews(enum proc_id);

/*
 * children_ping: ask each child for a sign of life.  1 if there are all and
 * each has answered the time before; else 0, and one that had not is ended.
 */
int children_ping(void);

/* children_reopen_logs: give each child its log anew (logrotate). */
void children_reopen_logs(void);

#endif
