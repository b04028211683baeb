/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CHILDREN_H
#define CHILDREN_H

#include "conf.h"

/*
 * children_start: start all children, connect them with each other, give
 * them their logs, the engine the policy, and wait until each is ready.  0,
 * or -1 after a message when one is not ready in time; children_stop is then
 * still to be called.
 */
int children_start(const struct conf *, int debug, int verbose);

/*
 * children_serve: look for the machines' sockets from now on, and let the
 * engine answer on the control sockets, which are taken; readonly_fd may be
 * -1.
 */
void children_serve(const struct conf *, int control_fd, int readonly_fd);

/*
 * children_policy: send the engine another policy, whose machines qmpclient
 * was told of by children_vm, also of those that changed.
 */
void children_policy(const struct conf *);
void children_vm(const struct conf_vm *);

/* children_tell_engine, children_tell_qmpclient: one message. */
void children_tell_engine(enum msg_type, const void *);
void children_tell_qmpclient(enum msg_type, const void *);

/*
 * children_stop: close all channels, wait for the children to end, kill what
 * does not end in time.
 */
void children_stop(void);

/*
 * children_reap: collect children that ended.  -1 after a message if one
 * ended that should not have, else 0.
 */
int children_reap(void);

/* children_reopen_logs: give each child its log anew (logrotate). */
void children_reopen_logs(void);

#endif
