/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef STANDIN_LOG_H
#define STANDIN_LOG_H

/*
 * In the place of common/log.c and common/audit.c, for the one file of a
 * target: lines go nowhere, and what ends the process calls process_ends.
 */

#include <unistd.h>
#include "audit.h"
#include "log.h"

static void process_ends(void) __attribute__((__noreturn__));

void
fatal(const char *fmt, ...)
{
	(void)fmt;
	process_ends();
}

void
fatalx(const char *fmt, ...)
{
	(void)fmt;
	process_ends();
}

void
log_warn(const char *fmt, ...)
{
	(void)fmt;
}

void
log_warnx(const char *fmt, ...)
{
	(void)fmt;
}

void
log_info(const char *fmt, ...)
{
	(void)fmt;
}

void
log_debug(const char *fmt, ...)
{
	(void)fmt;
}

void
log_set_verbose(int verbose)
{
	(void)verbose;
}

void
log_set_stderr(int to_stderr)
{
	(void)to_stderr;
}

void
log_init(enum proc_id proc, int to_stderr)
{
	(void)proc;
	(void)to_stderr;
}

void
log_opened(int start)
{
	(void)start;
}

enum proc_id
log_proc(void)
{
	return PROC_PARENT;
}

struct json *
audit_begin(const char *event)
{
	static struct json j;
	static char text[4096];

	(void)event;
	json_init(&j, text, sizeof(text));
	json_object(&j, NULL);
	return &j;
}

void
audit_end(void)
{
}

void
audit_open(int fd)
{
	close(fd);
}

void
audit_continue(const struct auditchain *chain)
{
	(void)chain;
}

void
audit_require(int required)
{
	(void)required;
}

int
audit_is_open(void)
{
	return 0;
}

uint64_t
audit_lost(void)
{
	return 0;
}

#endif
