/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "retry.h"

#define PORT "when a guest port is free"
#define TURN "when the socket is free"
#define MIGRATED "when the migration is over"
#define DEVICE "when plugged in again"
#define MACHINE "when the machine starts anew"

/*
 * First delay in ms (doubled each time), how many tries (0: only an event
 * helps), and the event.
 */
static const struct {
	uint32_t delay;
	unsigned int tries;
	const char *event;
} classes[RESULT_MAX] = {
	[RESULT_OK] = { 0, 0, DEVICE },
	[RESULT_GONE] = { 1000, 3, DEVICE },
	[RESULT_CHANGED] = { 0, 0, DEVICE },
	[RESULT_PERMISSION] = { 5000, 3, MACHINE },
	[RESULT_BUS_FULL] = { 0, 0, PORT },
	[RESULT_PORT_TAKEN] = { 500, 5, MACHINE },
	[RESULT_SPEED] = { 0, 0, MACHINE },
	[RESULT_DUPLICATE] = { 100, 5, MACHINE },
	[RESULT_NO_CONTROLLER] = { 5000, 5, MACHINE },
	[RESULT_MIGRATING] = { 2000, 100, MIGRATED },
	[RESULT_VM_LOST] = { 0, 0, MACHINE },
	[RESULT_BUSY] = { 1000, 1000, TURN },
	[RESULT_OTHER] = { 2000, 5, DEVICE },
	[RESULT_UNOPENED] = { 2000, 3, DEVICE },
	[RESULT_UNABLE] = { 0, 0, MACHINE },
};

#define DELAY_MAX 60000

void
retry_init(struct retry_list *list)
{
	TAILQ_INIT(list);
}

static void
unlist(struct retry_list *list, struct retry *r)
{
	if (r->listed)
		TAILQ_REMOVE(list, r, entry);
	r->listed = 0;
}

void
retry_failed(
    struct retry_list *list, struct retry *r, uint64_t now, enum result result)
{
	uint64_t delay = classes[result].delay;
	unsigned int i;

	unlist(list, r);
	r->failed = 1;
	r->result = result;
	r->failures++;
	if (r->tries[result] >= classes[result].tries)
		return;
	r->tries[result]++;
	for (i = 1; i < r->failures && delay < DELAY_MAX; i++)
		delay *= 2;
	r->at = now + (delay < DELAY_MAX ? delay : DELAY_MAX);
	r->listed = 1;
	TAILQ_INSERT_TAIL(list, r, entry);
}

void
retry_reset(struct retry_list *list, struct retry *r)
{
	unlist(list, r);
	r->failed = 0;
	r->failures = 0;
	memset(r->tries, 0, sizeof(r->tries));
}

void
retry_cancel(struct retry_list *list, struct retry *r)
{
	unlist(list, r);
}

int
retry_blocks(const struct retry *r)
{
	return r->failed;
}

int
retry_waits_for_port(const struct retry *r)
{
	return r->failed && (r->result == RESULT_BUS_FULL ||
				r->result == RESULT_NO_CONTROLLER);
}

int
retry_waits_for_turn(const struct retry *r)
{
	return r->failed && r->result == RESULT_BUSY;
}

const char *
retry_event(enum result result)
{
	return classes[result].event;
}

struct retry *
retry_due(struct retry_list *list, uint64_t now)
{
	struct retry *r;

	TAILQ_FOREACH(r, list, entry)
		if (r->at <= now) {
			unlist(list, r);
			r->failed = 0;
			return r;
		}
	return NULL;
}

uint64_t
retry_next(const struct retry_list *list)
{
	const struct retry *r;
	uint64_t next = 0;

	TAILQ_FOREACH(r, list, entry)
		if (next == 0 || r->at < next)
			next = r->at;
	return next;
}
