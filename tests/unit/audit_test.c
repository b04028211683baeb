/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "audit.h"
#include "log.h"

static int file; /* what the log writes to */
static int64_t seq; /* of the last line */

/* A new, empty log; lines keep their numbers. */
static int
setup(void **state)
{
	(void)state;
	log_init(PROC_ENGINE, 0);
	file = memfd_create("log", 0);
	if (file == -1 || fcntl(file, F_SETFL, O_APPEND) == -1)
		return -1;
	audit_open(dup(file));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	close(file);
	return 0;
}

static void
write_line(const char *event, const char *text)
{
	json_str(audit_begin(event), "text", text);
	audit_end();
	seq++;
}

/* What is in the log, in a buffer that lasts until the next call. */
static char *
log_text(void)
{
	static char text[65536];
	ssize_t n;

	n = pread(file, text, sizeof(text) - 1, 0);
	assert_true(n >= 0 && n < (ssize_t)sizeof(text) - 1);
	text[n] = '\0';
	return text;
}

/* The line, without its times and what follows in prev, has to be this. */
static void
is_line(const char *line, const char *expected)
{
	static const char start[] = "{\"time\":\"", end[] = "Z\",\"mono\":";
	const char *rest = strstr(line, end), *prev = strstr(line, ",\"prev\"");
	char between[256];

	assert_int_equal(strncmp(line, start, strlen(start)), 0);
	assert_non_null(rest);
	assert_non_null(prev);
	rest += strlen(end);
	assert_true(strspn(rest, "0123456789") > 0);
	rest += strspn(rest, "0123456789");
	snprintf(between, sizeof(between), "%.*s}\n", (int)(prev - rest), rest);
	assert_string_equal(between, expected);
}

static void
line_has_time_process_seq_event(void **state)
{
	int y, mo, d, h, mi, s, us, n = 0;
	char expected[256], *text;

	(void)state;
	write_line("test", "some text");
	text = log_text();
	assert_int_equal(
	    sscanf(text, "{\"time\":\"%4d-%2d-%2dT%2d:%2d:%2d.%6dZ\",%n", &y,
		&mo, &d, &h, &mi, &s, &us, &n),
	    7);
	assert_int_equal(
	    n, strlen("{\"time\":\"2026-01-01T00:00:00.000000Z\","));
	assert_true(y >= 2024 && mo <= 12 && d <= 31);
	snprintf(expected, sizeof(expected),
	    ",\"process\":\"engine\",\"seq\":%lld,\"event\":\"test\","
	    "\"text\":\"some text\"}\n",
	    (long long)seq);
	is_line(text, expected);
}

/* A reader that sees packets sees a line in each. */
static void
each_line_is_one_write(void **state)
{
	char buf[16384];
	int fds[2], i;
	ssize_t n;

	(void)state;
	/* O_DIRECT: a write(2) is a packet (pipe(2)). */
	assert_int_equal(pipe2(fds, O_DIRECT | O_NONBLOCK), 0);
	audit_open(fds[1]);
	for (i = 0; i < 3; i++)
		write_line("test", "text");
	for (i = 0; i < 3; i++) {
		n = read(fds[0], buf, sizeof(buf) - 1);
		assert_true(n > 2);
		buf[n] = '\0';
		assert_int_equal(buf[0], '{');
		assert_string_equal(strchr(buf, '\n'), "\n");
	}
	assert_int_equal(read(fds[0], buf, sizeof(buf)), -1);
	close(fds[0]);
}

static void
hostile_strings_stay_in_their_line(void **state)
{
	static const char *const hostile[] = { "a\nb", "\r\n{\"time\":\"",
		"\"}\n{\"event\":\"attach\"", "\x1b[2J\x07", "\xc2\x9b[2J",
		"\xff\xfe\n", "\\", "\\\"", "\xe2\x80\xa8", "%s%n" };
	const size_t n = sizeof(hostile) / sizeof(hostile[0]);
	const char *p;
	size_t i, lines = 0;

	(void)state;
	for (i = 0; i < n; i++)
		write_line(hostile[i], hostile[i]);
	for (p = log_text(); *p != '\0'; p++) {
		if (*p == '\n')
			lines++;
		else
			assert_true(*p >= 0x20 && *p < 0x7f);
		if (*p == '\n' && p[1] != '\0')
			assert_int_equal(
			    strncmp(p + 1, "{\"time\":\"2", 10), 0);
	}
	assert_int_equal(lines, n);
}

static void
no_log_is_no_error(void **state)
{
	(void)state;
	audit_open(-1);
	assert_int_equal(audit_is_open(), 0);
	errno = EXDEV;
	write_line("test", "nobody reads this");
	assert_int_equal(errno, EXDEV);
	assert_string_equal(log_text(), "");
	audit_open(dup(file));
	assert_int_equal(audit_is_open(), 1);
	write_line("test", "text");
	assert_null(strstr(log_text(), "\"lost\""));
}

static void
the_log_before_is_closed(void **state)
{
	int fd = dup(file);

	(void)state;
	audit_open(fd);
	audit_open(dup(file));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void
lost_lines_are_counted(void **state)
{
	char expected[256], *text;

	(void)state;
	audit_open(open("/dev/full", O_WRONLY));
	errno = EXDEV;
	write_line("test", "1");
	write_line("test", "2");
	write_line("test", "3");
	assert_int_equal(errno, EXDEV);
	audit_open(dup(file));
	write_line("test", "4");
	text = log_text();
	assert_non_null(strstr(text, "\"text\":\"4\",\"prev\":"));
	seq++;
	snprintf(expected, sizeof(expected),
	    ",\"process\":\"engine\",\"seq\":%lld,\"event\":\"lost\","
	    "\"lines\":3}\n",
	    (long long)seq);
	is_line(strchr(text, '\n') + 1, expected);
	write_line("test", "5");
	assert_null(strstr(strstr(log_text(), "lost") + 4, "lost"));
}

static void
line_that_is_too_long_is_lost(void **state)
{
	struct json *j;
	char *text;
	int i;

	(void)state;
	j = audit_begin("test");
	for (i = 0; i < 2000; i++)
		json_str(j, "text", "a long text");
	audit_end();
	seq++;
	assert_string_equal(log_text(), "");
	write_line("test", "short");
	text = log_text();
	assert_non_null(strstr(text, "\"text\":\"short\",\"prev\":"));
	assert_non_null(strstr(text, "\"event\":\"lost\",\"lines\":1,"));
	seq++;
}

/* A disk that is full in the middle of a line must not spoil the next one. */
static void
line_cut_off_does_not_spoil_the_next(void **state)
{
	struct rlimit limit, old;
	struct stat st;
	char *line;
	int n = 0;

	(void)state;
	write_line("test", "1");
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = (rlim_t)st.st_size + 20;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	write_line("test", "2");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	write_line("test", "3");
	seq++;
	for (line = strtok(log_text(), "\n"); line != NULL;
	     line = strtok(NULL, "\n"))
		n += line[0] == '{' && line[strlen(line) - 1] == '}' &&
		     strstr(line + 1, "{\"time\"") == NULL;
	/* The first, the third and the count of what was lost. */
	assert_int_equal(n, 3);
}

static void
log_lines_go_there_too(void **state)
{
	(void)state;
	errno = ENOENT;
	log_warn("%s", "a\nb");
	assert_int_equal(errno, ENOENT);
	assert_non_null(strstr(log_text(),
	    "\"event\":\"log\","
	    "\"level\":\"warning\",\"message\":\"a\\u000ab: No such file "
	    "or directory\",\"prev\":"));
	log_debug("not said");
	assert_null(strstr(log_text(), "not said"));
	log_set_verbose(1);
	log_debug("said");
	log_set_verbose(0);
	assert_non_null(strstr(log_text(), "\"level\":\"debug\",\"message\":"
					   "\"said\",\"prev\":"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(line_has_time_process_seq_event),
		TEST(each_line_is_one_write),
		TEST(hostile_strings_stay_in_their_line),
		TEST(no_log_is_no_error),
		TEST(the_log_before_is_closed),
		TEST(lost_lines_are_counted),
		TEST(line_that_is_too_long_is_lost),
		TEST(line_cut_off_does_not_spoil_the_next),
		TEST(log_lines_go_there_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
