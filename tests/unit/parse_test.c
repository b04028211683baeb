/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * The policy files of tests/conf, whole and cut off and changed at each
 * byte, under the sanitizers.  That the messages are the right ones is for
 * conf.t to tell.
 */

#include <sys/mman.h>
#include <sys/stat.h>
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "conf.h"

#define DIRECTORY "tests/conf"
#define TEXT_MAX 16384

static char path[64]; /* of the policy file that is rewritten */
static int fd;

static int
make_file(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_error("must be run by root: policy files are root's\n");
		return -1;
	}
	fd = memfd_create("conf", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fd == -1 ? -1 : fchmod(fd, 0600);
}

static int
close_file(void **state)
{
	(void)state;
	return close(fd);
}

/* Every line says where, one at most for a line and one for an unknown vm. */
static size_t
count_messages(char *text)
{
	size_t n = 0, len = strlen(path);
	char *line, *rest = text;
	unsigned long last = 0, at;

	while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		assert_memory_equal(line, path, len);
		assert_int_equal(line[len], ':');
		at = strtoul(line + len + 1, &line, 10);
		assert_memory_equal(line, ": ", 2);
		if (strncmp(line, ": unknown vm", 12) != 0) {
			assert_true(at > last);
			last = at;
		}
		n++;
	}
	return n;
}

/* The messages are checked and their number is in *messages. */
static struct conf *
parse(const char *text, size_t len, size_t *messages)
{
	FILE *saved = stderr;
	struct conf *conf;
	char *said;
	size_t n;

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, text, len, 0), len);
	/* Not descriptor 2, which the sanitizers write to. */
	stderr = open_memstream(&said, &n);
	assert_non_null(stderr);
	conf = conf_parse(path, CONF_ROOT_ONLY);
	fclose(stderr);
	stderr = saved;
	*messages = count_messages(said);
	free(said);
	assert_int_equal(conf == NULL, *messages > 0);
	return conf;
}

static char *
print(const struct conf *conf)
{
	FILE *stream;
	char *text;
	size_t n;

	stream = open_memstream(&text, &n);
	assert_non_null(stream);
	conf_print(conf, stream);
	fclose(stream);
	return text;
}

/* What passes prints itself so that it parses again to the same. */
static int
passes(const char *text, size_t len)
{
	struct conf *conf, *again;
	char *first, *second;
	size_t messages;

	if ((conf = parse(text, len, &messages)) == NULL)
		return 0;
	first = print(conf);
	again = parse(first, strlen(first), &messages);
	assert_non_null(again);
	second = print(again);
	assert_string_equal(first, second);
	conf_free(conf);
	conf_free(again);
	free(first);
	free(second);
	return 1;
}

static size_t
read_file(const char *name, char *text)
{
	char file[PATH_MAX];
	FILE *stream;
	size_t n;

	snprintf(file, sizeof(file), DIRECTORY "/%s", name);
	stream = fopen(file, "r");
	assert_non_null(stream);
	n = fread(text, 1, TEXT_MAX, stream);
	assert_true(n < TEXT_MAX);
	fclose(stream);
	return n;
}

static void
for_each_file(void (*cb)(const char *name, char *text, size_t len))
{
	DIR *dir = opendir(DIRECTORY);
	char text[TEXT_MAX];
	struct dirent *ent;
	const char *dot;
	int n = 0;

	assert_non_null(dir);
	while ((ent = readdir(dir)) != NULL) {
		dot = strrchr(ent->d_name, '.');
		if (dot == NULL || strcmp(dot, ".conf") != 0)
			continue;
		cb(ent->d_name, text, read_file(ent->d_name, text));
		n++;
	}
	closedir(dir);
	assert_true(n > 20);
}

static void
check_file(const char *name, char *text, size_t len)
{
	if (passes(text, len) != (strncmp(name, "pass-", 5) == 0))
		fail_msg("%s", name);
}

static void
files_pass_or_fail_by_name(void **state)
{
	(void)state;
	for_each_file(check_file);
}

static void
cut_file(const char *name, char *text, size_t len)
{
	size_t n, step = 1 + len / 200;

	(void)name;
	for (n = 0; n < len; n += step)
		passes(text, n);
}

static void
files_may_be_cut_off_anywhere(void **state)
{
	(void)state;
	for_each_file(cut_file);
}

static void
change_file(const char *name, char *text, size_t len)
{
	static const char bytes[] = "\n\"\\ #0:.\0\r\377";
	size_t i, n, step = 1 + len / 40;
	char was;

	(void)name;
	for (n = 0; n < len; n += step) {
		was = text[n];
		for (i = 0; i < sizeof(bytes) - 1; i++) {
			text[n] = bytes[i];
			passes(text, len);
		}
		text[n] = was;
	}
}

static void
files_may_be_changed_anywhere(void **state)
{
	(void)state;
	for_each_file(change_file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_pass_or_fail_by_name),
		cmocka_unit_test(files_may_be_cut_off_anywhere),
		cmocka_unit_test(files_may_be_changed_anywhere),
	};

	return cmocka_run_group_tests(tests, make_file, close_file);
}
