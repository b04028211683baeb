/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* The chain of lines: written by audit.c, found again, and verified. */

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

#include "../../usbmgrctl/verify.h"
#include "audit.h"
#include "log.h"

#define LINES 8

static char text[65536];
static size_t textlen;
static int file;

static void
read_back(void)
{
	ssize_t n = pread(file, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	textlen = (size_t)n;
	text[n] = '\0';
}

static int
setup(void **state)
{
	struct auditchain fresh;
	int i;

	(void)state;
	log_init(PROC_ENGINE, 0);
	file = memfd_create("log", 0);
	if (file == -1 || fcntl(file, F_SETFL, O_APPEND) == -1)
		return -1;
	audit_open(dup(file));
	memset(&fresh, 0, sizeof(fresh));
	for (i = 0; i < LINES; i++) {
		json_num(audit_begin("test"), "n", i);
		audit_end();
	}
	read_back();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	audit_open(-1);
	close(file);
	return 0;
}

/* The place of the first bad line, from 1; 0: none. */
static ssize_t
verify(const char *s, size_t len, size_t *cuts)
{
	struct verify_log log;
	const char *next;
	char why[128];
	ssize_t bad;
	unsigned long number = 0;

	memset(&log, 0, sizeof(log));
	for (; len > 0; len -= (size_t)(next - s) + 1, s = next + 1) {
		next = memchr(s, '\n', len);
		if (next == NULL) {
			verify_add(&log, s, len, 0, ++number);
			break;
		}
		verify_add(&log, s, (size_t)(next - s), 0, ++number);
	}
	bad = verify_find(&log, why, sizeof(why), cuts);
	free(log.lines);
	return bad + 1;
}

static void
what_was_written_is_whole(void **state)
{
	size_t cuts;

	(void)state;
	assert_int_equal(verify(text, textlen, &cuts), 0);
	assert_int_equal(cuts, 0);
}

/* Whatever byte is another one, it is noticed, but in the last line. */
static void
each_byte_counts(void **state)
{
	size_t i, cuts, last = textlen - 1;

	(void)state;
	while (text[last - 1] != '\n')
		last--;
	for (i = 0; i < last; i++) {
		text[i] ^= 1;
		if (verify(text, textlen, &cuts) == 0)
			fail_msg("byte %zu", i);
		text[i] ^= 1;
	}
}

/* Each line but the last one, which nothing follows. */
static void
each_line_counts(void **state)
{
	char copy[sizeof(text)], *line = text, *next;
	size_t len, cuts;
	ssize_t n;

	(void)state;
	for (n = 1; n < LINES; n++, line = next) {
		next = strchr(line, '\n') + 1;
		len = (size_t)(line - text);
		memcpy(copy, text, len);
		memcpy(copy + len, next, textlen - (size_t)(next - text));
		/* Where the first one is missing, others may be, too. */
		assert_int_equal(
		    verify(copy, textlen - (size_t)(next - line), &cuts),
		    n == 1 ? 0 : n);
		/* Twice: the second one was put in. */
		memcpy(copy, text, (size_t)(next - text));
		memcpy(copy + (next - text), line, textlen - len);
		assert_int_equal(
		    verify(copy, textlen + (size_t)(next - line), &cuts),
		    n + 1);
	}
}

/* A chain goes on where the file before it ended. */
static void
the_tail_is_found(void **state)
{
	struct auditchain chain;
	uint8_t prev[AUDIT_HASH_LEN], cut[AUDIT_HASH_LEN], hash[AUDIT_HASH_LEN];
	const char *last;
	int has_cut;

	(void)state;
	last = memrchr(text, '\n', textlen - 1);
	last++;
	auditchain_hash(last, textlen - (size_t)(last - text) - 1, hash);
	assert_int_equal(auditchain_tail(&chain, text, textlen), 1);
	assert_memory_equal(chain.last, hash, sizeof(hash));
	assert_int_equal(chain.has_cut, 0);
	assert_int_equal(chain.unterminated, 0);
	/* Without its newline it is whole all the same. */
	assert_int_equal(auditchain_tail(&chain, text, textlen - 1), 1);
	assert_memory_equal(chain.last, hash, sizeof(hash));
	assert_int_equal(chain.has_cut, 0);
	assert_int_equal(chain.unterminated, 1);
	/* Cut off anywhere in it, the line before is the last. */
	assert_int_equal(
	    auditchain_link(
		last, textlen - (size_t)(last - text) - 1, prev, cut, &has_cut),
	    0);
	assert_int_equal(auditchain_tail(&chain, text, textlen - 2), 1);
	assert_memory_equal(chain.last, prev, sizeof(prev));
	assert_int_equal(chain.has_cut, 1);
	assert_int_equal(chain.unterminated, 1);
	/* A part of the file is enough; nothing of it is none. */
	assert_int_equal(auditchain_tail(&chain, last - 9,
			     textlen - (size_t)(last - text) + 9),
	    1);
	assert_memory_equal(chain.last, hash, sizeof(hash));
	assert_int_equal(auditchain_tail(&chain, text, 0), 0);
	assert_int_equal(auditchain_tail(&chain, "garbage\n", 8), 0);
}

/* A disk that is full in the middle of a line, at each byte of it. */
static void
remains_are_no_break(void **state)
{
	struct rlimit limit, old;
	struct stat st;
	size_t cuts, before, room;
	char *end;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	for (room = 1; room < 200; room += 7) {
		assert_int_equal(fstat(file, &st), 0);
		limit = old;
		limit.rlim_cur = (rlim_t)st.st_size + room;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		audit_begin("cut");
		audit_end();
		audit_begin("cut");
		audit_end();
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		audit_begin("whole");
		audit_end();
	}
	read_back();
	assert_int_equal(verify(text, textlen, &before), 0);
	assert_true(before > 20);
	/* The remains are bound, too. */
	for (end = strchr(text, '\n'); end[-1] == '}';)
		end = strchr(end + 1, '\n');
	end[-1] ^= 1;
	assert_int_not_equal(verify(text, textlen, &cuts), 0);
}

static void
members_are_found(void **state)
{
	static const char line[] =
	    "{\"time\":\"x\",\"a\":\",\\\"seq\\\":9\",\"seq\":12,\"b\":\"c\"}";
	uint64_t n = 0;
	char s[8];

	(void)state;
	assert_int_equal(verify_number(line, strlen(line), "seq", &n), 0);
	assert_int_equal(n, 12);
	assert_int_equal(
	    verify_string(line, strlen(line), "b", s, sizeof(s)), 0);
	assert_string_equal(s, "c");
	assert_int_equal(verify_number(line, strlen(line), "c", &n), -1);
	assert_int_equal(verify_number(line, strlen(line), "b", &n), -1);
	assert_int_equal(verify_string(line, strlen(line), "a", s, 2), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_written_is_whole),
		TEST(each_byte_counts),
		TEST(each_line_counts),
		TEST(the_tail_is_found),
		TEST(remains_are_no_break),
		TEST(members_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
