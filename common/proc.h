/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef PROC_H
#define PROC_H

/*
 * Who takes part.  The values index proc_table and are the bit numbers of
 * the sender and receiver sets in the message table.
 */
enum proc_id {
	PROC_PARENT,
	PROC_ENGINE,
	PROC_MONITOR,
	PROC_QMPCLIENT,
	PROC_CLIENT,
	PROC_SPAWNER, /* starts the children, and talks to the parent only */
	PROC_MAX
};

#define PROC_FIRST_CHILD PROC_ENGINE
#define PROC_LAST_CHILD PROC_QMPCLIENT

/* The channel to the parent in every child. */
#define PROC_PARENT_FD 3

struct proc {
	const char *name; /* in messages, logs and documents */
	const char *user; /* runs as; NULL: as whoever started it */
	const char *file; /* executable; NULL for a client */
	const char *log; /* file below the log directory */
};

extern const struct proc proc_table[PROC_MAX];

/*
 * proc_name: the name of a process for messages; "unknown" for a value that
 * is no process.  Never NULL.
 */
const char *proc_name(enum proc_id);

#endif
