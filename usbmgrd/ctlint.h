/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CTLINT_H
#define CTLINT_H

#include <sys/queue.h>
#include <sys/socket.h>
#include "chan.h"
#include "core.h"

/* What the files of the control socket share, and nobody else includes. */

/* What a client waits for. */
enum client_wait {
	WAIT_NOTHING,
	WAIT_DEVICE, /* until what it asked for is done */
	WAIT_RELOAD,
	WAIT_NEXT_RELOAD /* one that began before it asked is under way */
};

struct client {
	TAILQ_ENTRY(client) entry;
	struct chan chan;
	uint32_t number;
	struct ucred who;
	int readonly;
	int watches;
	enum client_wait wait;
	struct ctl_override asked; /* WAIT_DEVICE */
	struct loop_timer deadline;
};

TAILQ_HEAD(clients, client);

struct control {
	struct clients clients; /* oldest first */
	uint32_t nclients;
	uint32_t nwatching;
	struct core *core;
};

extern struct control control;

/* ctlreq_serve: a request came, of the right size for its type. */
void ctlreq_serve(struct client *, enum msg_type, const void *);

/* ctlreq_forget: the client is to be freed. */
void ctlreq_forget(struct client *);

/* control_audit: begin a line about that client. */
struct json *control_audit(const char *event, const struct client *);

#endif
