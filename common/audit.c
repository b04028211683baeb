/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "audit.h"
#include "log.h"

#define AUDIT_LINE_MAX 8192

static struct {
	int fd;
	uint64_t seq;
	uint64_t lost;
	int broken; /* the last line was written in part */
	struct json json;
	char line[AUDIT_LINE_MAX];
} log_file = { .fd = -1 };

void
audit_open(int fd)
{
	if (log_file.fd != -1)
		close(log_file.fd);
	log_file.fd = fd;
}

int
audit_is_open(void)
{
	return log_file.fd != -1;
}

static void
put_time(struct json *j)
{
	char date[32], stamp[48];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp, sizeof(stamp), "%s.%06uZ", date,
	    (unsigned int)(ts.tv_nsec / 1000) % 1000000);
	json_str(j, "time", stamp);
}

struct json *
audit_begin(const char *event)
{
	struct json *j = &log_file.json;

	/* A byte is kept on each side for a newline. */
	json_init(j, log_file.line + 1, sizeof(log_file.line) - 2);
	json_object(j, NULL);
	put_time(j);
	json_str(j, "process", proc_name(log_proc()));
	json_num(j, "seq", (int64_t)++log_file.seq);
	json_str(j, "event", event);
	return j;
}

static int
put_line(void)
{
	struct json *j = &log_file.json;
	char *line = log_file.line + 1;
	ssize_t n;
	size_t len;

	json_end(j, '}');
	if ((len = json_finish(j)) == 0)
		return -1;
	line[len++] = '\n';
	if (log_file.broken) {
		*--line = '\n';
		len++;
	}
	n = write(log_file.fd, line, len);
	if (n > 0)
		log_file.broken = (size_t)n < len;
	return n == (ssize_t)len ? 0 : -1;
}

void
audit_end(void)
{
	int saved = errno;

	if (log_file.fd == -1)
		return;
	if (put_line() == -1) {
		log_file.lost++;
	} else if (log_file.lost > 0) {
		json_num(audit_begin("lost"), "lines", (int64_t)log_file.lost);
		if (put_line() == 0)
			log_file.lost = 0;
	}
	errno = saved;
}
