/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef PROMISES_H
#define PROMISES_H

#include <stddef.h>
#include <stdint.h>
#include "proc.h"

/*
 * What processes may do, as data.  A promise is a word for a set of system
 * calls; the words are those of OpenBSD's pledge(2) where they mean the same.
 * A call is either in plain lists, whatever its arguments, or in the argument
 * table, never in both: libseccomp lets a rule without arguments win, and
 * does not tell.
 */
struct promise {
	const char *name;
	const char *text; /* what it is for */
	const char *const *calls; /* NULL-terminated */
};

/* Ends with a row whose name is NULL. */
extern const struct promise promise_table[];

#define PROMISE_CONDS 3

/* A condition of the argument table with this value compares with getpid(). */
#define PROMISE_OWN_PID UINT64_MAX

/*
 * Argument arg (0 to 5) and mask must be value.  A mask of 0 ends the list
 * of conditions, all of which must hold.
 */
struct promise_cond {
	unsigned int arg;
	uint64_t mask;
	uint64_t value;
};

/* A call that belongs to a promise when its arguments are these. */
struct promise_arg {
	const char *promise;
	const char *call;
	struct promise_cond conds[PROMISE_CONDS];
};

/* Ends with a row whose promise is NULL; several rows of a call are "or". */
extern const struct promise_arg promise_args[];

/* Calls without which nothing runs: NULL-terminated. */
extern const char *const promise_always[];

/*
 * Calls that libc tries and can do without; answered with ENOSYS unless a
 * promise holds them.  NULL-terminated.
 */
extern const char *const promise_absent[];

/* What a sanitizer's run time probes: answered with EACCES, its builds only. */
extern const char *const promise_sanitizer_denied[];
extern const char *const promise_sanitizer_calls[];

/* Built-in words of each process, blanks between them; NULL: none. */
extern const char *const profile_table[PROC_MAX];

/*
 * promises_next: the next word of a list with blanks between words.  Returns
 * its length and sets *word and *rest; 0 when there is none.
 */
size_t promises_next(const char *list, const char **word, const char **rest);

/* promises_have: 1 if that word of len bytes is in the list, else 0. */
int promises_have(const char *list, const char *word, size_t len);

/* promise_find: the row with that name of len bytes, or NULL. */
const struct promise *promise_find(const char *name, size_t len);

#endif
