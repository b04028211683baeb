/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef MANIFEST_H
#define MANIFEST_H

#include "bundle.h"
#include "jsonread.h"

/* The model of a device as EVE's users write it, of which the ioMemberList. */

/* What is told while it is read; line 0: the file as a whole. */
typedef void manifest_note(
    struct jsonread_place, int is_error, const char *text, void *arg);

/*
 * manifest_read: from a file that is at its begin; fd stays the caller's.  A
 * comma before a closing bracket, and that there are no braces around the
 * whole, is one warning.  Returns the bundles, to be freed, or NULL after an
 * error was noted.
 */
struct bundle_list *manifest_read(int fd, manifest_note *note, void *arg);

/* manifest_text: the same from memory, which is changed. */
struct bundle_list *manifest_text(
    char *text, size_t len, manifest_note *note, void *arg);

#endif
