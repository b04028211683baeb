/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CLIENT_H
#define CLIENT_H

#include "command.h"
#include "msg.h"

#define EXIT_NOT_RUNNING 3

/* Room for whatever usbmgrd answers with. */
union client_item {
	struct ctl_device device;
	struct ctl_rule rule;
	struct ctl_vm vm;
	struct ctl_policy_rule policy_rule;
	struct msg_process process;
	struct ctl_counter counter;
	struct ctl_event event;
	struct msg_line line;
	struct msg_done done;
};

/*
 * client_connect: to the control socket of usbmgrd.  Ends the process with a
 * message when it is not there (EXIT_NOT_RUNNING).  The descriptor is the
 * caller's.
 */
int client_connect(const struct arguments *);

/* client_try: the same, but -1 when it is not there. */
int client_try(const struct arguments *);

/*
 * client_ask: send a request over that connection, which is taken, and call
 * answer for each message of the answer, without the one that ends it: that
 * is MSG_CTL_DONE, put into done, or MSG_CTL_END where done is NULL.  Ends
 * the process with a message when usbmgrd does not answer.
 */
void client_ask(int fd, enum msg_type request, const void *payload,
    void (*answer)(enum msg_type, const void *), struct msg_done *done);

/*
 * client_watch: the same for a request whose answer has no end; returns when
 * the connection ends.
 */
void client_watch(int fd, enum msg_type request, const void *payload,
    void (*answer)(enum msg_type, const void *));

/* client_unexpected: such an answer is none: ends the process. */
void client_unexpected(enum msg_type);

#endif
