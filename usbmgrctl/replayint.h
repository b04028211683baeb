/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef REPLAYINT_H
#define REPLAYINT_H

#include "conf.h"
#include "core.h"
#include "events.h"

/*
 * The replay of an audit log: the core gets exactly what the engine's core
 * got, at the same times, and what it does is compared with what the log
 * says was done.
 */

/* auditlog_policy: one that may have been in force; takes it. */
void auditlog_policy(struct conf *);

/*
 * auditlog_replay: a line of the log.  print is called for each action, if
 * it is not NULL.  NULL, or what is wrong with the line.
 */
const char *auditlog_replay(
    const struct replay_event *, void (*print)(const struct core_action *));

/*
 * auditlog_end: the log is over.  0; or -1 after a message when it was empty
 * of what can be replayed.
 */
int auditlog_end(void);

/* auditlog_explain: as core_explain, of where the log has led to. */
void auditlog_explain(const struct usbport *,
    void (*rule)(const struct ctl_rule *, void *),
    void (*device)(const struct ctl_device *, void *));

void auditlog_free(void);

/*
 * evelog_event: a line of the log about EVE's files to an event, with the
 * domain for it.  1: it is whole, and what it has is the core's; 0: more
 * lines belong to it; -1: the line belongs to none.
 */
int evelog_event(
    const struct replay_event *, struct core_event *, struct core_domain *);

void evelog_free(void);

#endif
