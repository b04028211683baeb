/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef REPLAY_H
#define REPLAY_H

#include "msg.h"

/* The engine's core without a daemon; file is a policy, NULL: the default. */

/*
 * replay_events: feed the events in that file ("-": standard input) through
 * the core and print its actions.  Returns the exit status.
 */
int replay_events(const char *file, const char *events);

/*
 * replay_explain: the same without printing; then explain_rule and
 * explain_device are called for what is plugged in that port.  -1 after a
 * message when something cannot be read.
 */
int replay_explain(
    const char *file, const char *events, const struct usbport *);

/* check_file: is it a policy that usbmgrd would take?  The exit status. */
int check_file(const char *file);

#endif
