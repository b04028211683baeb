/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef RESTART_H
#define RESTART_H

#include <stdint.h>

/* A child that dies this often in so many milliseconds will die again. */
#define RESTART_DEATHS 10
#define RESTART_WINDOW 60000

/* When one child died; all zero at first. */
struct restart {
	uint64_t deaths[RESTART_DEATHS]; /* the last ones, a ring */
	unsigned int next;
};

/*
 * restart_after: it died just now (milliseconds, not 0, never less than
 * before).  Returns after how many milliseconds to start it again: at once
 * the first time in the window, then later each time; -1: not again.
 */
int restart_after(struct restart *, uint64_t now);

#endif
