/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "trace.h"
#include "world.h"

/* QEMUs: what is in them, and what they make of commands. */

struct inside *
qemu_find(struct qemu *q, uint32_t request, const struct snapshot *s)
{
	size_t i;

	for (i = 0; i < q->n; i++)
		if (q->in[i].request == request &&
		    q->in[i].dev.slot == s->slot &&
		    q->in[i].dev.devnum == s->devnum)
			return &q->in[i];
	return NULL;
}

struct inside *
qemu_has(struct qemu *q, uint32_t plug)
{
	size_t i;

	for (i = 0; q->pid != 0 && i < q->n; i++)
		if (q->in[i].dev.plug == plug)
			return &q->in[i];
	return NULL;
}

int
foreign_covers(const struct others_device *f, const struct snapshot *s)
{
	return f->id != 0 && (f->slot < 0 || f->slot == s->slot) &&
	       (f->kind < 0 || f->kind == s->kind) &&
	       (f->devnum == 0 || f->devnum == s->devnum);
}

size_t
foreigns_count(const struct others_device *f)
{
	size_t i, n = 0;

	for (i = 0; i < FOREIGNS_MAX; i++)
		n += f[i].id != 0;
	return n;
}

static struct conn *
served_conn(int qemu)
{
	size_t i;

	for (i = 0; i < LINKS_MAX; i++)
		if (world.links[i].conn.open &&
		    world.links[i].conn.qemu == qemu &&
		    conn_served(&world.links[i].conn))
			return &world.links[i].conn;
	return NULL;
}

static void
start(int i)
{
	struct qemu *q = &world.qemus[i];

	memset(q, 0, sizeof(*q));
	q->pid = ++world.pids;
	q->listening = 1;
	q->has_bus = chance(12) != 0;
	q->unable = chance(24) == 0;
	q->forbidden = chance(24) == 0;
	q->handover = chance(2) == 0 ? HANDOVER_FD : HANDOVER_ADDRESS;
	q->capacity = chance(3) == 0 ? 2 : 12;
	trace(NOBODY, i, "%c starts, pid %u%s%s%s, %zu ports", qemu_names[i],
	    q->pid, q->has_bus ? "" : ", no bus", q->unable ? ", unable" : "",
	    q->forbidden ? ", forbidden" : "", q->capacity);
}

static void
die(int i)
{
	struct qemu *q = &world.qemus[i];
	size_t k;

	trace(NOBODY, i, "%c dies", qemu_names[i]);
	for (k = 0; k < LINKS_MAX; k++)
		if (world.links[k].conn.open && world.links[k].conn.qemu == i &&
		    world.links[k].conn.pid == q->pid)
			world.links[k].conn.closed = 1;
	memset(q, 0, sizeof(*q));
}

/* Commands */

static enum result
refusal(const struct qemu *q, const struct command *cmd, int i)
{
	static const enum result passing[] = { RESULT_GONE, RESULT_PERMISSION,
		RESULT_PORT_TAKEN, RESULT_DUPLICATE, RESULT_OTHER,
		RESULT_UNOPENED };
	const struct snapshot *s = &world.slots[cmd->dev.slot];

	if (q->migrating)
		return RESULT_MIGRATING;
	if (!q->has_bus)
		return RESULT_NO_CONTROLLER;
	if (q->forbidden)
		return RESULT_PERMISSION;
	if (s->plug != cmd->dev.plug)
		return RESULT_UNOPENED;
	if (s->kind == KIND_TOO_FAST && i == 1)
		return RESULT_SPEED;
	if (q->n + foreigns_count(q->foreigns) >= q->capacity)
		return RESULT_PORT_TAKEN;
	if (world.faults && chance(6) == 0)
		return passing[chance(COUNT(passing))];
	return RESULT_OK;
}

/* One that opens the device by its address takes what has that now. */
static void
add(int i, struct command *cmd)
{
	struct qemu *q = &world.qemus[i];

	if (q->handover == HANDOVER_ADDRESS && cmd->dev.plug != 0 &&
	    world.slots[cmd->dev.slot].devnum == cmd->dev.devnum)
		cmd->dev.plug = world.slots[cmd->dev.slot].plug;
	cmd->result = cmd->dev.plug == 0 ? RESULT_UNOPENED : refusal(q, cmd, i);
	if (cmd->result == RESULT_OK &&
	    qemu_find(q, cmd->request, &cmd->dev) != NULL)
		cmd->result = RESULT_DUPLICATE;
	trace(cmd->dev.slot, i, "%c: device_add %s/%u, request %u: %s",
	    qemu_names[i], slot_names[cmd->dev.slot], cmd->dev.devnum,
	    cmd->request, result_string(cmd->result));
	if (cmd->result != RESULT_OK)
		return;
	CHECK(q->n < INSIDE_MAX, cmd->dev.slot, i, "too much in a machine");
	q->in[q->n++] = (struct inside){ cmd->request, cmd->dev };
}

static void
del(int i, struct command *cmd)
{
	struct qemu *q = &world.qemus[i];
	struct inside *in = qemu_find(q, cmd->request, &cmd->dev);

	cmd->result = RESULT_OK;
	if (q->migrating)
		cmd->result = RESULT_MIGRATING;
	else if (world.faults && in != NULL && chance(10) == 0)
		cmd->result = RESULT_OTHER;
	else if (in != NULL)
		*in = q->in[--q->n];
	trace(cmd->dev.slot, i, "%c: device_del %s/%u, request %u: %s",
	    qemu_names[i], slot_names[cmd->dev.slot], cmd->dev.devnum,
	    cmd->request, result_string(cmd->result));
}

static void
answer(int i, struct conn *c, struct command *cmd)
{
	const struct qemu *q = &world.qemus[i];

	if (cmd->type == CMD_ADD)
		add(i, cmd);
	else if (cmd->type == CMD_DEL)
		del(i, cmd);
	else if (cmd->type == CMD_DEVICES) {
		c->nfound = q->n;
		memcpy(c->found, q->in, sizeof(c->found));
		memcpy(c->foreigns, q->foreigns, sizeof(c->foreigns));
		c->migrating = q->migrating;
	} else
		cmd->request = (uint32_t)foreigns_count(q->foreigns);
}

int
qemu_carry_out(int i)
{
	struct qemu *q = &world.qemus[i];
	struct conn *c;

	if (q->pid == 0 || q->hangs)
		return 0;
	if (q->nstale > 0) {
		answer(i, NULL, &q->stale[0]);
		q->nstale--;
		memmove(
		    q->stale, q->stale + 1, q->nstale * sizeof(q->stale[0]));
		return 1;
	}
	if ((c = served_conn(i)) == NULL || c->ndone == c->n)
		return 0;
	answer(i, c, &c->commands[c->ndone]);
	c->ndone++;
	return 1;
}

/* What others do. */

static void
others_take_out(int i)
{
	struct qemu *q = &world.qemus[i];
	struct conn *c = served_conn(i);
	struct command *cmd;
	struct inside *in;

	if (q->n == 0 || q->migrating)
		return;
	in = &q->in[chance((uint32_t)q->n)];
	trace(in->dev.slot, i, "%c: somebody takes out %s/%u, request %u",
	    qemu_names[i], slot_names[in->dev.slot], in->dev.devnum,
	    in->request);
	if (c != NULL && c->greeted) {
		cmd = conn_event(c, CMD_DELETED);
		cmd->request = in->request;
		cmd->dev = in->dev;
	}
	*in = q->in[--q->n];
}

static void
others_give(int i, struct others_device *f)
{
	struct qemu *q = &world.qemus[i];
	struct conn *c = served_conn(i);

	if (f->id != 0) {
		trace(NOBODY, i, "%c: foreign %u leaves", qemu_names[i], f->id);
		f->id = 0;
		if (c != NULL && c->greeted)
			conn_event(c, CMD_DELETED);
		return;
	}
	if (q->n + foreigns_count(q->foreigns) >= q->capacity)
		return;
	f->id = ++world.foreigns;
	f->slot = chance(2) == 0 ? (int)chance(SLOTS) : -1;
	f->kind = f->slot < 0 || chance(3) == 0 ? (int)chance(KINDS) : -1;
	f->devnum = f->slot >= 0 && world.slots[f->slot].plug != 0
			? world.slots[f->slot].devnum
			: 0;
	trace(NOBODY, i, "%c: foreign %u comes: slot %d, kind %d, devnum %u",
	    qemu_names[i], f->id, f->slot, f->kind, f->devnum);
}

static void
migrate(int i)
{
	struct qemu *q = &world.qemus[i];
	struct conn *c = served_conn(i);

	q->migrating = !q->migrating;
	trace(NOBODY, i, "%c: migration %s", qemu_names[i],
	    q->migrating ? "begins" : "ends");
	if (c != NULL && c->greeted)
		conn_event(c, CMD_MIGRATION)->result =
		    q->migrating ? RESULT_MIGRATING : RESULT_OK;
}

void
qemu_step(void)
{
	int i = (int)chance(QEMUS);
	struct qemu *q = &world.qemus[i];

	if (q->pid == 0) {
		if (chance(2) == 0)
			start(i);
		return;
	}
	switch (chance(10)) {
	case 0:
		die(i);
		break;
	case 1:
		q->hangs = !q->hangs;
		trace(NOBODY, i, "%c %s", qemu_names[i],
		    q->hangs ? "hangs" : "goes on");
		break;
	case 2:
		migrate(i);
		break;
	case 3:
	case 4:
		others_take_out(i);
		break;
	case 5:
	case 6:
		others_give(i, &q->foreigns[chance(FOREIGNS_MAX)]);
		break;
	case 7:
		q->others = !q->others && chance(2) == 0;
		break;
	case 8: /* it is about to end */
		q->listening = q->listening && chance(4) != 0;
		break;
	default:
		q->has_bus = q->has_bus || chance(4) == 0;
		q->forbidden = q->forbidden && chance(4) != 0;
	}
}

static unsigned int
links_to(int i)
{
	unsigned int k, n = 0;

	for (k = 0; k < LINKS_MAX; k++)
		n += world.links[k].number != 0 && world.links[k].qemu == i;
	return n;
}

/*
 * One that left the policy and is back under another number may keep the
 * socket from itself as long as it lives.
 */
void
qemu_end_doubled(int i)
{
	if (world.qemus[i].pid != 0 && links_to(i) > 1)
		die(i);
}

/* So that all can come to rest. */
void
qemu_heal(int i)
{
	struct qemu *q = &world.qemus[i];

	if (q->pid == 0)
		return;
	if (chance(8) == 0 || !q->listening) {
		die(i);
		return;
	}
	q->hangs = q->others = 0;
	if (q->migrating)
		migrate(i);
}
