/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef ENGINELOG_H
#define ENGINELOG_H

#include "core.h"
#include "counters.h"

/*
 * What goes into the core and comes out of it, for the audit log, for
 * control clients that watch, and counted.  The events are those that
 * usbmgrctl replay reads, so that the log replays.
 */

/* enginelog_event: before the core has it. */
void enginelog_event(struct core *, const struct core_event *);

/* enginelog_requests: before core_requests_from. */
void enginelog_requests(uint32_t last, uint64_t now);

/* enginelog_action: before it is carried out. */
void enginelog_action(struct core *, const struct core_action *);

/* enginelog_count: one more of that. */
void enginelog_count(enum counter_family);

/*
 * enginelog_counters: call cb for each counter and gauge, in the order of
 * the table.
 */
void enginelog_counters(struct core *, uint32_t clients,
    void (*cb)(const struct ctl_counter *, void *), void *arg);

/* enginelog_eve: the same for events of EVE's files. */
void enginelog_eve(const struct core_event *);

#endif
