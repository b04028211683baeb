/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define LIBBSD_OPENBSD_VIS
#include <vis.h>
#include "audit.h"
#include "log.h"

#ifndef VERSION
#define VERSION "unknown"
#endif
#define LINE_MAX_LEN 2048

static enum proc_id log_me = PROC_PARENT;
static int log_to_stderr = 1;
static int log_is_verbose;

static const char *const level_name[] = { [LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARN] = "warning" };

void
log_init(enum proc_id me, int to_stderr)
{
	log_me = me;
	log_to_stderr = to_stderr;
}

void
log_set_stderr(int to_stderr)
{
	log_to_stderr = to_stderr;
}

void
log_set_verbose(int verbose)
{
	log_is_verbose = verbose;
}

void
log_opened(int start)
{
	struct json *j = audit_begin(start ? "start" : "log-opened");

	json_str(j, "version", VERSION);
	json_num(j, "pid", getpid());
	audit_end();
}

enum proc_id
log_proc(void)
{
	return log_me;
}

/* One write, so that lines of several processes do not mix. */
static void
to_stderr(const char *text)
{
	char visible[LINE_MAX_LEN], line[LINE_MAX_LEN + 64];
	int n;

	strnvis(visible, text, sizeof(visible), VIS_NOSLASH | VIS_NL);
	if (log_me == PROC_PARENT || log_me == PROC_CLIENT)
		n = snprintf(
		    line, sizeof(line), "%s: %s\n", getprogname(), visible);
	else
		n = snprintf(line, sizeof(line), "usbmgrd: %s: %s\n",
		    proc_name(log_me), visible);
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) == -1)
		return;
}

static void vlog(enum log_level, int, int, const char *, va_list)
    __attribute__((format(printf, 4, 0)));

static void
vlog(enum log_level level, int err, int force, const char *fmt, va_list ap)
{
	char text[LINE_MAX_LEN];
	struct json *j;
	size_t len;
	int saved = errno;

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		strlcpy(text, fmt, sizeof(text));
	len = strlen(text);
	if (err != 0)
		snprintf(text + len, sizeof(text) - len, ": %s", strerror(err));
	if (audit_is_open()) {
		j = audit_begin("log");
		json_str(j, "level", level_name[level]);
		json_str(j, "message", text);
		audit_end();
	}
	if (log_to_stderr || force)
		to_stderr(text);
	errno = saved;
}

void
log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_LEVEL_WARN, errno, 0, fmt, ap);
	va_end(ap);
}

void
log_warnx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_LEVEL_WARN, 0, 0, fmt, ap);
	va_end(ap);
}

void
log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_LEVEL_INFO, 0, 0, fmt, ap);
	va_end(ap);
}

void
log_debug(const char *fmt, ...)
{
	va_list ap;

	if (!log_is_verbose)
		return;
	va_start(ap, fmt);
	vlog(LOG_LEVEL_DEBUG, 0, 0, fmt, ap);
	va_end(ap);
}

void
fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_LEVEL_WARN, errno, 1, fmt, ap);
	va_end(ap);
	exit(1);
}

void
fatalx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_LEVEL_WARN, 0, 1, fmt, ap);
	va_end(ap);
	exit(1);
}
