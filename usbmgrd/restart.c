/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "restart.h"

static const int delays[] = { 0, 100, 500, 1000, 2000 };

#define NDELAYS (sizeof(delays) / sizeof(delays[0]))

int
restart_after(struct restart *r, uint64_t now)
{
	unsigned int i, recent = 0;

	r->deaths[r->next] = now;
	r->next = (r->next + 1) % RESTART_DEATHS;
	for (i = 0; i < RESTART_DEATHS; i++)
		recent +=
		    r->deaths[i] != 0 && now - r->deaths[i] < RESTART_WINDOW;
	if (recent == RESTART_DEATHS)
		return -1;
	return delays[recent <= NDELAYS ? recent - 1 : NDELAYS - 1];
}
