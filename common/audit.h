/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef AUDIT_H
#define AUDIT_H

#include <stdint.h>
#include "auditchain.h"
#include "json.h"

/*
 * The audit log of this process: one JSON object a line, one write(2) a
 * line, on a descriptor that the parent opened O_APPEND.
 *
 *	struct json *j = audit_begin("device");
 *	json_num(j, "request", request);
 *	audit_end();
 *
 * Every line has time, mono, process, seq and event first, and prev last
 * (see auditchain.h).
 */

/* audit_open: write to fd from now on; takes fd, closes the one before. */
void audit_open(int fd);

/*
 * audit_continue: the chain goes on from there.  No effect when this process
 * has written a line: then it knows better.
 */
void audit_continue(const struct auditchain *);

/*
 * audit_require: end the process with status EXIT_LOG_REQUIRED when a line
 * cannot be written, or not.  (AUDIT_EXIT is a macro of linux/audit.h.)
 */
#define EXIT_LOG_REQUIRED 4
void audit_require(int);

/* audit_is_open: 1 if there is a log. */
int audit_is_open(void);

/*
 * audit_begin: start a line.  Never NULL; the object is open, members may be
 * added with json_*.  Nesting is not possible: audit_end comes first.
 */
struct json *audit_begin(const char *event);

/*
 * audit_end: write the line.  A line that could not be written or did not
 * fit is counted; the count is told in a line of its own when that works
 * again.  Keeps errno.
 */
void audit_end(void);

/* audit_lost: lines that were lost since the process started. */
uint64_t audit_lost(void);

#endif
