/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef REPLAY_H
#define REPLAY_H

/*
 * replay_main: the command "replay [-f file] events", argv[0] being
 * "replay".  Feeds the events through the engine's core and prints its
 * actions.  Returns the exit status.
 */
int replay_main(int argc, char *argv[]);

/* check_main: the command "check file".  Returns the exit status. */
int check_main(int argc, char *argv[]);

#endif
