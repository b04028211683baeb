/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CHILDREN_INT_H
#define CHILDREN_INT_H

#include "chan.h"
#include "conf.h"

/*
 * What the files of the children have between them: children.c starts, ends
 * and replaces them, children_send.c sends what one gets at its start,
 * children_policy.c the policy, children_requests.c does what they ask for,
 * children_vm.c what concerns the connections to machines.
 */

/* What child_end takes, and the NUL at its end; more is cut off. */
#define CHILD_WHY_MAX 160

/* child_is_open: 1 if there is a channel to it. */
int child_is_open(enum proc_id);

/* child_is_ready: 1 if it has said so; child_ready: it does; -1 if again. */
int child_is_ready(enum proc_id);
int child_ready(enum proc_id);

/* child_answered: to children_ping. */
void child_answered(enum proc_id);

/*
 * child_end: kill it; the first why is what will be said of its end, "" that
 * its wait status tells it.  children_reap does the rest.
 */
void child_end(enum proc_id, const char *why);

/* child_process: what is known of a process, also of parent and spawner. */
void child_process(enum proc_id, struct msg_process *);

/* children_started: end the wait of children_start, if that was all. */
void children_started(void);

/*
 * children_send_start: send a child all that it needs but its siblings.  0,
 * or -1 after a message.
 */
int children_send_start(enum proc_id);

/* children_send_init: prepare for that; ends the process when it cannot. */
void children_send_init(int verbose);

/* children_send_verbose: tell all children, also those to come. */
void children_send_verbose(const struct msg_verbose *);

/* children_send_process: tell the engine of it (usbmgrctl show processes). */
void children_send_process(enum proc_id);

/*
 * children_send_control: the control sockets, which are taken, a copy of which
 * each engine gets; readonly_fd may be -1.
 */
void children_send_control(int control_fd, int readonly_fd);

/* children_send_engine: to an engine that has its siblings, all the rest. */
void children_send_engine(void);

/* children_conf: the policy in force, or the one on its way to the engine. */
const struct conf *children_conf(void);

/*
 * children_policy_start: send it to an engine that has just started.  0, or -1
 * after a message.  children_policy_taken: 1 once an engine has taken one.
 */
int children_policy_start(void);
int children_policy_taken(void);

/* children_policy_done, _refused: MSG_CONF_DONE and MSG_CONF_REFUSED. */
void children_policy_done(struct chan *);
void children_policy_refused(struct chan *, const struct msg_refused *);

/* children_dispatch: what a child sends to the parent; see chan_open. */
void children_dispatch(
    struct chan *, enum msg_type, const void *payload, int fd);

/* children_last_request: the highest number of those to open a device. */
uint32_t children_last_request(void);

/* children_vm_init: prepare for connecting to machines. */
void children_vm_init(void);

/* children_vm_serve: look for the sockets of the policy's machines. */
void children_vm_serve(void);

/* children_vm_send: tell a QMP client that has just started of all machines. */
void children_vm_send(void);

/* children_vm_send_failed: tell a new engine what came of the last connects. */
void children_vm_send_failed(void);

/* children_vm_lost, _release, _want: MSG_QMP_LOST, _RELEASE and _WANT. */
void children_vm_lost(struct chan *, const struct msg_qmp_lost *);
void children_vm_release(struct chan *, const struct msg_vm_number *);
void children_vm_want(struct chan *, const struct msg_vm_number *);

#endif
