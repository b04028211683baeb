/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef RETRY_H
#define RETRY_H

#include <stdint.h>
#include <sys/queue.h>
#include "msg.h"

/*
 * When to try again what a machine refused.  A failed device_add stops
 * QEMU's main loop for 61 ms, so tries are few: a class of failure says
 * after how long, how often, or that only an event helps.
 */

struct device;
struct attachment;

struct retry {
	TAILQ_ENTRY(retry) entry;
	int listed;
	uint64_t at; /* due, when listed */
	unsigned int failures; /* of any class, since the last reset */
	uint16_t tries[RESULT_MAX]; /* of each class */
	int failed; /* the last try failed and no other has begun */
	enum result result;
	struct device *dev; /* whose it is, */
	struct attachment *att; /* or else this one's */
};

TAILQ_HEAD(retry_list, retry);

void retry_init(struct retry_list *);

/* retry_failed: note a failure; plans another try if its class allows. */
void retry_failed(
    struct retry_list *, struct retry *, uint64_t now, enum result);

/* retry_reset: something changed, or it worked: as if never tried. */
void retry_reset(struct retry_list *, struct retry *);

/* retry_cancel: to be called before the owner is freed. */
void retry_cancel(struct retry_list *, struct retry *);

/* retry_blocks: 1 if a failure forbids to try now. */
int retry_blocks(const struct retry *);

/*
 * retry_waits_for_port: 1 if the guest's bus was full, or there was none.
 * retry_waits_for_turn: 1 if others held the machine's socket.
 */
int retry_waits_for_port(const struct retry *);
int retry_waits_for_turn(const struct retry *);

/*
 * retry_event: what, besides the time that retry_next tells, makes it worth
 * to try again after such a failure, in words that follow "tried again";
 * never NULL.  Whatever it was: a replug, a machine that is started anew,
 * and rules that change, too.
 */
const char *retry_event(enum result);

/*
 * retry_due: takes one that is due at now from the list, after which it
 * blocks no longer; NULL if none is.
 */
struct retry *retry_due(struct retry_list *, uint64_t now);

/* retry_next: when the next one is due, 0 if none is planned. */
uint64_t retry_next(const struct retry_list *);

#endif
