/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef ENGINE_EVE_H
#define ENGINE_EVE_H

#include "core.h"
#include "msg.h"

/*
 * What the engine reads: a manifest and EVE's files, from descriptors that
 * the parent opened.
 */

/*
 * engine_manifest: read it, log what is odd about it.  Takes fd.  Returns
 * the bundles, the caller's; or NULL with the reason in why.
 */
struct bundles *engine_manifest(
    const struct msg_manifest *, int fd, char *why, size_t n);

/*
 * engine_eve: one of MSG_EVE_BEGIN to MSG_EVE_END, from the parent.  Takes
 * fd, calls event with what it means for the core.
 */
void engine_eve(enum msg_type, const void *payload, int fd, const struct core *,
    void (*event)(struct core_event *));

#endif
