/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CLIENT_H
#define CLIENT_H

#include "msg.h"

#define EXIT_NOT_RUNNING 3

/* Room for whatever usbmgrd answers with. */
union client_item {
	struct ctl_device device;
	struct ctl_rule rule;
	struct ctl_vm vm;
};

/*
 * client_connect: to the control socket.  Ends the process with a message
 * when usbmgrd is not there (EXIT_NOT_RUNNING).  The descriptor is the
 * caller's.
 */
int client_connect(const char *path);

/*
 * client_ask: send a request over that connection, which is taken, and call
 * answer for each message of the answer, without the one that ends it.  Ends
 * the process with a message when usbmgrd does not answer.
 */
void client_ask(int fd, enum msg_type request, const void *payload,
    void (*answer)(enum msg_type, const void *));

#endif
