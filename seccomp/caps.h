/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CAPS_H
#define CAPS_H

#include "proc.h"

/*
 * Capabilities that a process keeps as root, and why: docs/SECURITY.md has
 * this table.  Who has no row here has another user and none at all.
 */
struct cap_row {
	enum proc_id proc;
	int cap; /* CAP_KILL and so on */
	const char *name; /* as capabilities(7) has it */
	const char *why;
};

/* Ends with a row whose name is NULL. */
extern const struct cap_row caps_table[];

/*
 * caps_cut: give up all capabilities but those of the table, also as what an
 * exec could give back (bounding, inheritable, ambient set); of those in the
 * table what there was is left.  No effect for a process without a row.
 * Returns 0; or -1 with errno set, and the process must end.
 */
int caps_cut(enum proc_id);

#endif
