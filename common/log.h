/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef LOG_H
#define LOG_H

#include <stdnoreturn.h>
#include "proc.h"

/*
 * Text for people.  Every line goes to the audit log once there is one, as
 * an event "log"; to stderr while the service starts, with -d, and always
 * when it is the last one of a process.  What may come from a device or a
 * guest is passed through vis(3) on its way to stderr.  errno is kept.
 */

enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN
};

/* log_init: as whom to log and whether to stderr. */
void log_init(enum proc_id, int to_stderr);

/* log_set_stderr: log to stderr from now on, or not. */
void log_set_stderr(int);

/* log_set_verbose: whether log_debug says anything. */
void log_set_verbose(int);

/*
 * log_opened: the first line in a file of the audit log, which says who
 * writes it: "start" if the process has just begun, else "log-opened".
 */
void log_opened(int start);

/* log_proc: as whom this process logs. */
enum proc_id log_proc(void);

/* log_warn appends ": " and strerror(errno); log_warnx does not. */
void log_warn(const char *, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *, ...) __attribute__((format(printf, 1, 2)));

/* fatal, fatalx: as log_warn, log_warnx, then exit with status 1. */
noreturn void fatal(const char *, ...) __attribute__((format(printf, 1, 2)));
noreturn void fatalx(const char *, ...) __attribute__((format(printf, 1, 2)));

#endif
