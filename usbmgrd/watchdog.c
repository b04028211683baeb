/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "children.h"
#include "loop.h"
#include "notify.h"
#include "watchdog.h"

/* In one of its periods a child can be found dead and be started again. */
#define ROUNDS 4

static struct loop_timer timer;

static void
watchdog_round(void *arg)
{
	(void)arg;
	if (children_ping())
		notify("WATCHDOG=1");
	loop_timer_set(
	    &timer, notify_watchdog_ms() / ROUNDS, watchdog_round, NULL);
}

void
watchdog_start(void)
{
	if (notify_watchdog_ms() >= ROUNDS)
		watchdog_round(NULL);
}
