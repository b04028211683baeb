/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef REPLAY_H
#define REPLAY_H

#include "msg.h"

/*
 * The engine's core without a daemon.  Policies are n files, of which the
 * first one counts for events that people write; an audit log says which one
 * was in force.  None: the default.
 */

struct replay_input {
	const char *const *policies;
	int npolicies;
	char *const *files; /* of events, in their order; "-": standard input */
	int nfiles;
};

/*
 * replay_events: feed the events through the core and print its actions; of
 * an audit log also compare them with what it says was done.  Returns the
 * exit status.
 */
int replay_events(const struct replay_input *);

/*
 * replay_explain: the same without printing; then explain_rule and
 * explain_device are called for what is plugged in that port.  -1 after a
 * message when something cannot be read.
 */
int replay_explain(const struct replay_input *, const struct usbport *);

/* check_file: is it a policy that usbmgrd would take?  The exit status. */
int check_file(const char *file);

#endif
