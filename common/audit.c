/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "audit.h"
#include "log.h"

static struct {
	int fd;
	uint64_t seq;
	uint64_t lost; /* and not yet told */
	uint64_t lost_ever;
	int required;
	int chained; /* a line was written: the chain is ours */
	struct auditchain chain;
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

void
audit_continue(const struct auditchain *chain)
{
	if (!log_file.chained)
		log_file.chain = *chain;
}

void
audit_require(int required)
{
	log_file.required = required;
}

int
audit_is_open(void)
{
	return log_file.fd != -1;
}

/* n digits of v, the last ones, at p. */
static void
put_digits(char *p, unsigned int n, int64_t v)
{
	while (n-- > 0) {
		p[n] = (char)('0' + v % 10);
		v /= 10;
	}
}

/*
 * Days since 1970 to a date.  A year that starts in March has its leap day
 * at its end, and months of 153 days in each five.
 */
static void
put_date(char *p, int64_t days)
{
	int64_t era, year, month;

	days += 719468; /* since March of year 0 */
	era = days / 146097;
	days %= 146097;
	year = (days - days / 1460 + days / 36524 - days / 146096) / 365;
	days -= 365 * year + year / 4 - year / 100;
	month = (5 * days + 2) / 153;
	put_digits(p + 8, 2, days - (153 * month + 2) / 5 + 1);
	put_digits(p + 5, 2, month < 10 ? month + 3 : month - 9);
	put_digits(p, 4, era * 400 + year + (month >= 10));
}

/* Not by gmtime(3) and strftime(3): half of a line's time would be theirs. */
static void
put_time(struct json *j)
{
	char stamp[] = "0000-00-00T00:00:00.000000Z";
	struct timespec ts;
	int64_t second;

	clock_gettime(CLOCK_REALTIME, &ts);
	second = ts.tv_sec % 86400;
	put_date(stamp, ts.tv_sec / 86400);
	put_digits(stamp + 11, 2, second / 3600);
	put_digits(stamp + 14, 2, second / 60 % 60);
	put_digits(stamp + 17, 2, second % 60);
	put_digits(stamp + 20, 6, ts.tv_nsec / 1000);
	json_str(j, "time", stamp);
	/* In microseconds, to tell what was first and how long it took. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	json_num(j, "mono",
	    (int64_t)ts.tv_sec * 1000000 + (int64_t)ts.tv_nsec / 1000);
}

struct json *
audit_begin(const char *event)
{
	struct json *j = &log_file.json;

	/* A byte is kept on each side for a newline. */
	json_init(j, log_file.line + 1,
	    sizeof(log_file.line) - 2 - AUDITCHAIN_MEMBERS_LEN);
	json_object(j, NULL);
	put_time(j);
	json_str(j, "process", proc_name(log_proc()));
	json_num(j, "seq", (int64_t)++log_file.seq);
	json_str(j, "event", event);
	return j;
}

/* n bytes of a line of len bytes, and of the newlines around it, are out. */
static int
wrote(const char *line, size_t len, size_t n)
{
	struct auditchain *chain = &log_file.chain;

	if (n > 0 && chain->unterminated) {
		chain->unterminated = 0;
		n--;
	}
	if (n == 0)
		return -1;
	log_file.chained = 1;
	chain->unterminated = n <= len;
	if (n >= len) {
		auditchain_add(chain, line, len);
		return 0;
	}
	auditchain_add_cut(chain, line, n);
	errno = ENOSPC; /* write(2) says so only for the next byte */
	return -1;
}

static int
put_line(void)
{
	struct json *j = &log_file.json;
	char *line = log_file.line + 1;
	size_t len, newline = log_file.chain.unterminated ? 1 : 0;
	ssize_t n;

	j->size += AUDITCHAIN_MEMBERS_LEN;
	auditchain_members(&log_file.chain, j);
	if ((len = json_finish(j)) == 0) {
		errno = EMSGSIZE;
		return -1;
	}
	line[len] = '\n';
	line[-1] = '\n';
	n = write(log_file.fd, line - newline, newline + len + 1);
	return n < 0 ? -1 : wrote(line, len, (size_t)n);
}

static void
lose(void)
{
	log_file.lost++;
	log_file.lost_ever++;
	if (!log_file.required)
		return;
	/* It would be logged, too. */
	close(log_file.fd);
	log_file.fd = -1;
	log_set_stderr(1);
	log_warn("audit log cannot be written, and the policy says "
		 "log required");
	exit(EXIT_LOG_REQUIRED);
}

void
audit_end(void)
{
	int saved = errno;

	if (log_file.fd == -1)
		return;
	if (put_line() == -1) {
		lose();
	} else if (log_file.lost > 0) {
		json_num(audit_begin("lost"), "lines", (int64_t)log_file.lost);
		if (put_line() == 0)
			log_file.lost = 0;
	}
	errno = saved;
}

uint64_t
audit_lost(void)
{
	return log_file.lost_ever;
}
