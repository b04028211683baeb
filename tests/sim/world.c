/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "trace.h"
#include "world.h"

struct world world;
const char *const slot_names[SLOTS] = { "1:1", "1:2", "1:2.1", "1:3", "2:1",
	"2:2", "2:4", "2:4.1" };
const char qemu_names[QEMUS] = { 'a', 'b', 'c', 'd' };

static struct usbport slot_ports[SLOTS];

uint32_t
chance(uint32_t n)
{
	/* xorshift64* (G. Marsaglia, S. Vigna) */
	world.random ^= world.random >> 12;
	world.random ^= world.random << 25;
	world.random ^= world.random >> 27;
	return (uint32_t)((world.random * 0x2545f4914f6cdd1dULL) >> 32) % n;
}

struct usbport
slot_port(int slot)
{
	return slot_ports[slot];
}

int
slot_of(const struct usbport *port)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (usbport_cmp(&slot_ports[i], port) == 0)
			return i;
	trace_fail(ALL, NOBODY, __FILE__, __LINE__, "no such port");
}

struct note *
channel_add(struct channel *c, enum note_type type, unsigned int gen)
{
	struct note *note = &c->notes[(c->first + c->n) % CHANNEL_MAX];

	CHECK(c->n < CHANNEL_MAX, NOBODY, NOBODY, "a channel is full");
	c->n++;
	memset(note, 0, sizeof(*note));
	note->type = type;
	note->gen = gen;
	return note;
}

struct note *
channel_first(struct channel *c)
{
	return c->n == 0 ? NULL : &c->notes[c->first];
}

void
channel_drop(struct channel *c)
{
	c->first = (c->first + 1) % CHANNEL_MAX;
	c->n--;
}

void
world_start(uint64_t seed)
{
	const char *errstr;
	int i;

	core_free(world.core);
	memset(&world, 0, sizeof(world));
	world.seed = seed;
	world.random = seed * 0x9e3779b97f4a7c15ULL | 1;
	world.now = 1000;
	world.suspended = 1;
	for (i = 0; i < SLOTS; i++) {
		usbport_parse(&slot_ports[i], slot_names[i], &errstr);
		world.slots[i].slot = i;
	}
	trace_clear();
}
