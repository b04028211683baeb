/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "trace.h"
#include "world.h"

struct command *
conn_send(struct conn *c, enum command_type type)
{
	struct command *cmd = &c->commands[c->n++];

	CHECK(c->n <= COMMANDS_MAX, NOBODY, c->qemu, "too many commands");
	memset(cmd, 0, sizeof(*cmd));
	cmd->type = type;
	return cmd;
}

/* Behind what was answered, before what was not carried out yet. */
struct command *
conn_event(struct conn *c, enum command_type type)
{
	struct command *cmd = &c->commands[c->ndone];

	CHECK(c->n < COMMANDS_MAX, NOBODY, c->qemu, "too many events");
	memmove(cmd + 1, cmd, (c->n - c->ndone) * sizeof(*cmd));
	c->n++;
	c->ndone++;
	memset(cmd, 0, sizeof(*cmd));
	cmd->type = type;
	return cmd;
}

/* QEMU has one client at a time, the first that came. */
int
conn_served(const struct conn *c)
{
	const struct qemu *q = &world.qemus[c->qemu];
	size_t i;

	if (!c->open || c->closed || q->pid != c->pid || q->hangs ||
	    q->others || q->nstale > 0)
		return 0;
	for (i = 0; i < LINKS_MAX; i++)
		if (world.links[i].conn.open &&
		    world.links[i].conn.qemu == c->qemu &&
		    world.links[i].conn.pid == c->pid &&
		    world.links[i].conn.place < c->place)
			return 0;
	return 1;
}

/* What QEMU has read it may carry out all the same, but some is lost. */
void
conn_close(struct conn *c)
{
	struct qemu *q = &world.qemus[c->qemu];
	size_t i;

	if (!c->open)
		return;
	for (i = c->ndone; i < c->n && q->pid == c->pid; i++) {
		if (chance(3) == 0 || q->nstale == COMMANDS_MAX)
			break;
		if (c->commands[i].type == CMD_ADD ||
		    c->commands[i].type == CMD_DEL)
			q->stale[q->nstale++] = c->commands[i];
	}
	memset(c, 0, offsetof(struct conn, commands));
	c->nfound = 0;
}
