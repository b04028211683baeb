/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef AUDITCHAIN_H
#define AUDITCHAIN_H

#include <stddef.h>
#include <stdint.h>
#include "json.h"

/*
 * How the lines of an audit log hang together: each ends with a member
 * "prev", the SHA-256 of the line before it, newlines left out; 64 zeros
 * where there was none.  A line that could only be written in part is no
 * link: the next whole line names in "cut" what such remains are in between
 * and in "prev" the last whole one.
 */

#define AUDIT_HASH_LEN 32
#define AUDIT_LINE_MAX 16384 /* with its newline */

struct auditchain {
	uint8_t last[AUDIT_HASH_LEN]; /* of the last whole line */
	uint8_t cut[AUDIT_HASH_LEN]; /* of the remains behind it */
	uint32_t has_cut;
	uint32_t unterminated; /* the file does not end in a newline */
};

/* auditchain_hash: of a line of len bytes, without its newline. */
void auditchain_hash(const char *line, size_t len, uint8_t[AUDIT_HASH_LEN]);

/* auditchain_add: that whole line was written. */
void auditchain_add(struct auditchain *, const char *line, size_t len);

/* auditchain_add_cut: remains of a line of len bytes were. */
void auditchain_add_cut(struct auditchain *, const char *, size_t len);

/*
 * auditchain_members: "cut", if there are remains, and "prev", into an
 * object that holds the rest of the line and is then complete.
 */
#define AUDITCHAIN_MEMBERS_LEN 256
void auditchain_members(const struct auditchain *, struct json *);

/*
 * auditchain_link: what the line says of the one before.  0; or -1 if it is
 * no whole line of an audit log, or not to be told from one that was
 * changed.  *has_cut says whether cut was filled in.
 */
int auditchain_link(const char *line, size_t len, uint8_t prev[AUDIT_HASH_LEN],
    uint8_t cut[AUDIT_HASH_LEN], int *has_cut);

/*
 * auditchain_tail: where the chain of a log ends, from the n bytes at its
 * end, which are all of it or at least AUDITCHAIN_TAIL.  1, or 0 if there
 * is no whole line; then it begins anew, behind what remains there are.
 */
#define AUDITCHAIN_TAIL ((size_t)4 * AUDIT_LINE_MAX)
int auditchain_tail(struct auditchain *, const char *, size_t n);

#endif
