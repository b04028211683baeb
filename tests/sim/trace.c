/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "trace.h"
#include "world.h"

#define LINES 8192
#define SHOWN 40

static struct line {
	uint64_t event, now;
	int slot, qemu;
	char text[120];
} lines[LINES];
static size_t nlines;

void
trace(int slot, int qemu, const char *fmt, ...)
{
	struct line *l = &lines[nlines++ % LINES];
	va_list ap;

	l->event = world.nevents;
	l->now = world.now;
	l->slot = slot;
	l->qemu = qemu;
	va_start(ap, fmt);
	vsnprintf(l->text, sizeof(l->text), fmt, ap);
	va_end(ap);
}

void
trace_clear(void)
{
	nlines = 0;
}

static int
concerns(const struct line *l, int slot, int qemu)
{
	return l->slot == ALL || (slot >= 0 && l->slot == slot) ||
	       (qemu >= 0 && l->qemu == qemu && l->slot < 0) ||
	       (slot < 0 && qemu < 0);
}

/* The last ones that are about it, in their order. */
static void
show(int slot, int qemu)
{
	size_t from = nlines > LINES ? nlines - LINES : 0, i, n = 0;
	const struct line *l;

	for (i = nlines; i > from && n < SHOWN; i--)
		n += (size_t)concerns(&lines[(i - 1) % LINES], slot, qemu);
	for (; i < nlines; i++) {
		l = &lines[i % LINES];
		if (concerns(l, slot, qemu))
			fprintf(stderr, "%8" PRIu64 " %9" PRIu64 " ms  %s\n",
			    l->event, l->now, l->text);
	}
}

void
trace_fail(int slot, int qemu, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "# the last events and actions");
	if (slot >= 0)
		fprintf(stderr, ", device %s", slot_names[slot]);
	if (qemu >= 0)
		fprintf(stderr, ", machine %c", qemu_names[qemu]);
	fprintf(stderr, ":\n");
	show(slot, qemu);
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr,
	    "\n# seed %" PRIu64 ", event %" PRIu64
	    "; again: make sim SEED=%" PRIu64 " EVENTS=%" PRIu64 "\n",
	    world.seed, world.nevents, world.seed, world.nevents + 1);
	exit(1);
}
