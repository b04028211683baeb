/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CORE_EVE_H
#define CORE_EVE_H

#include "core_int.h"

/* What core_source.c and core_eve.c share, and nobody else includes. */

void core_eve_init(struct core *);
void core_eve_free(struct core *);

/* core_eve_policy: there is another policy; machines that run are in it. */
void core_eve_policy(struct core *);

/* core_eve_reap: forget machines that left and hold nothing. */
void core_eve_reap(struct core *);

/* core_source_anew: decide on it anew, and act on that after the event. */
void core_source_anew(struct core *, struct device *);

/*
 * core_source_again: ask the sources again, and decide again if the answer
 * is another one.  core_source_again_concerned: the same for all devices
 * that they matched.
 */
void core_source_again(struct core *, struct device *);
void core_source_again_concerned(struct core *);

#endif
