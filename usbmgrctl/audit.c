/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "json.h"
#include "log.h"
#include "proc.h"
#include "term.h"
#include "verify.h"

/*
 * usbmgrctl audit verify: the files, in the order in which they were written.
 */

static struct verify_log logs[PROC_MAX];
static size_t nlogs;

static struct verify_log *
find_log(const char *process)
{
	size_t i;

	for (i = 0; i < nlogs; i++)
		if (strcmp(logs[i].process, process) == 0)
			return &logs[i];
	if (nlogs == PROC_MAX)
		fatalx("logs of more than %d processes", PROC_MAX);
	strlcpy(logs[nlogs].process, process, sizeof(logs[nlogs].process));
	return &logs[nlogs++];
}

/* A file is of one process: that of its first whole line. */
static void
read_file(char *const files[], unsigned int file)
{
	char process[VERIFY_PROCESS_MAX], *line = NULL;
	struct verify_log *log = NULL;
	unsigned long number = 0;
	size_t size = 0;
	ssize_t len;
	FILE *in;

	in = strcmp(files[file], "-") == 0 ? stdin : fopen(files[file], "re");
	if (in == NULL)
		fatal("%s", files[file]);
	while ((len = getline(&line, &size, in)) != -1) {
		if (len > 0 && line[len - 1] == '\n')
			len--;
		number++;
		if (log == NULL && verify_string(line, (size_t)len, "process",
				       process, sizeof(process)) == -1)
			fatalx("%s:%lu: this is no line of an audit log",
			    files[file], number);
		if (log == NULL)
			log = find_log(process);
		verify_add(log, line, (size_t)len, file, number);
	}
	if (ferror(in))
		fatal("%s", files[file]);
	free(line);
	if (in != stdin)
		fclose(in);
}

static int
is_zero(const uint8_t *hash)
{
	static const uint8_t zero[AUDIT_HASH_LEN];

	return memcmp(hash, zero, sizeof(zero)) == 0;
}

static void
hex(const uint8_t *hash, char buf[2 * AUDIT_HASH_LEN + 1])
{
	size_t i;

	for (i = 0; i < AUDIT_HASH_LEN; i++)
		snprintf(buf + 2 * i, 3, "%02x", hash[i]);
}

static int
verify_json(const struct verify_log *log, char *const files[], ssize_t bad,
    const char *text, size_t cuts)
{
	char buf[8192], last[2 * AUDIT_HASH_LEN + 1];
	struct json j;

	json_init(&j, buf, sizeof(buf));
	json_object(&j, NULL);
	json_str(&j, "process", log->process);
	json_num(&j, "lines", (int64_t)log->n);
	json_bool(&j, "whole", bad == -1);
	if (bad != -1) {
		json_str(&j, "file", files[log->lines[bad].file]);
		json_num(&j, "line", (int64_t)log->lines[bad].number);
		json_str(&j, "problem", text);
	}
	json_bool(&j, "from_the_beginning", is_zero(log->lines[0].prev));
	json_num(&j, "cut", (int64_t)cuts);
	json_num(&j, "lost", (int64_t)log->lost);
	hex(log->lines[log->n - 1].hash, last);
	json_str(&j, "last", last);
	json_end(&j, '}');
	if (json_finish(&j) != 0)
		puts(buf);
	return bad != -1;
}

static int
verify_text(const struct verify_log *log, char *const files[], ssize_t bad,
    const char *text, size_t cuts)
{
	char last[2 * AUDIT_HASH_LEN + 1];

	if (bad != -1) {
		term_colour(TERM_BAD);
		printf("%s:%lu: %s\n", files[log->lines[bad].file],
		    log->lines[bad].number, text);
		term_colour(TERM_PLAIN);
		return 1;
	}
	hex(log->lines[log->n - 1].hash, last);
	printf("%s: %zu lines, all in their places%s\n", log->process, log->n,
	    is_zero(log->lines[0].prev)
		? ", from the first one ever"
		: "; those before the first one are not here");
	if (cuts > 0)
		printf("  %zu were cut off when they were written (disk full, "
		       "crash)\n",
		    cuts);
	if (log->lost > 0)
		printf("  %llu were lost, as the log itself says\n",
		    (unsigned long long)log->lost);
	printf("  last: %s\n", last);
	return 0;
}

int
audit_verify_command(const struct arguments *a)
{
	char text[128];
	ssize_t bad;
	size_t i, cuts;
	int status = 0;

	for (i = 0; i < (size_t)a->argc; i++)
		read_file(a->argv, (unsigned int)i);
	for (i = 0; i < nlogs; i++) {
		bad = verify_find(&logs[i], text, sizeof(text), &cuts);
		status |= (a->json ? verify_json : verify_text)(
		    &logs[i], a->argv, bad, text, cuts);
	}
	if (nlogs == 0)
		log_warnx("there is no line in these files");
	return status;
}
