/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef VERIFY_H
#define VERIFY_H

#include <stdint.h>
#include <stdio.h>
#include "auditchain.h"

/* Do the lines of audit logs hang together, as auditchain.h says? */

#define VERIFY_PROCESS_MAX 16

struct verify_line {
	uint8_t hash[AUDIT_HASH_LEN];
	uint8_t prev[AUDIT_HASH_LEN];
	uint8_t cut[AUDIT_HASH_LEN];
	uint64_t seq;
	unsigned int file; /* place in the list of names */
	unsigned long number; /* in its file */
	int whole; /* a line of an audit log by its form */
	int has_cut;
};

/* The lines of one process, over all files. */
struct verify_log {
	char process[VERIFY_PROCESS_MAX];
	struct verify_line *lines;
	size_t n;
	uint64_t lost; /* as the lines say */
};

/*
 * verify_add: the next line of the log, without its newline.  Ends the
 * process when memory is short.
 */
void verify_add(struct verify_log *, const char *line, size_t len,
    unsigned int file, unsigned long number);

/*
 * verify_find: the first line that is not right: its place, and what is
 * wrong with it in text; or -1, and then *cuts is the number of lines that
 * were cut off when they were written.
 */
ssize_t verify_find(
    const struct verify_log *, char *text, size_t size, size_t *cuts);

/*
 * verify_number, verify_string: a member of a line as audit.c writes it, the
 * first one of that name.  0, or -1 if there is none such.
 */
int verify_number(
    const char *line, size_t len, const char *name, uint64_t *value);
int verify_string(
    const char *line, size_t len, const char *name, char *buf, size_t size);

#endif
