/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef ENGINE_H
#define ENGINE_H

#include "core.h"

/*
 * engine_main: the engine process, which usbmgrd becomes when it is started
 * with -E as first argument.  Returns its exit status.
 */
int engine_main(int argc, char *argv[]);

/* For control clients. */

/* engine_override: a person's word that core_override_try allowed. */
void engine_override(const struct core_override *);

/* engine_tell_parent: one message. */
void engine_tell_parent(enum msg_type, const void *);

#endif
