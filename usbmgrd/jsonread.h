/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef JSONREAD_H
#define JSONREAD_H

#include <stddef.h>
#include <stdint.h>

/*
 * Takes a few members out of a JSON text, by a table, as yajl reads it: there
 * never is a tree, and what the table does not name is neither looked at nor
 * kept.  yajl's memory is wiped when it is freed, as there may be secrets
 * beside what is wanted.
 */

#define JSONREAD_SIZE_MAX (16U * 1024 * 1024)
#define JSONREAD_DEPTH_MAX 64
#define JSONREAD_MEMBERS_MAX 32 /* that the table names, of one object */

#define JSONREAD_STRING 0x1U
#define JSONREAD_NUMBER 0x2U
#define JSONREAD_BOOL 0x4U
#define JSONREAD_OBJECT 0x8U
#define JSONREAD_ARRAY 0x10U

/* What is known of each open object or array; the table gives it a number. */
#define JSONREAD_TOP 1 /* the text itself */
#define JSONREAD_IGNORED 0 /* nothing in it matters */

/* A member, or the elements of an array, that matter. */
struct jsonread_row {
	int in; /* kind of the object or array that it is in; 0 ends the table */
	const char *key; /* NULL: an element of an array, or the text itself */
	int any_case; /* of the key, in ASCII */
	unsigned int types; /* that it may have; null is as good as absent */
	int to; /* kind of this object or array */
	int id; /* for the value callback */
};

struct jsonread_value {
	unsigned int type;
	const char *string; /* not terminated, has no NUL */
	size_t len;
	int64_t number; /* also of a bool */
};

/* The first line is 1, so is the first byte of a line. */
struct jsonread_place {
	unsigned int line;
	unsigned int column;
};

struct jsonread;

struct jsonread_ops {
	/* Each returns 0, or -1 after jsonread_fail.  Each may be NULL. */
	int (*value)(struct jsonread *, int id, const struct jsonread_value *);
	int (*open)(struct jsonread *, int kind);
	int (*close)(struct jsonread *, int kind);
	/* A member that the table does not have, of an object that it has. */
	int (*unknown)(
	    struct jsonread *, int kind, const char *key, size_t len);
};

/* What a person may write: see jsonread_tolerate. */
struct jsonread_tolerated {
	unsigned int commas; /* before a closing bracket */
	int braces; /* missing around the whole */
	struct jsonread_place comma; /* the first one */
	struct jsonread_place start; /* where the brace is missing */
};

struct jsonread {
	const struct jsonread_row *rows;
	const struct jsonread_ops *ops;
	void *arg; /* the caller's */
	int braces; /* read as if they stood around the text */
	struct jsonread_place place; /* of the error */
	char error[256];
	/* private */
	const char *text;
	size_t len;
	size_t known; /* up to there lines were counted: */
	struct jsonread_place known_place;
	void *yajl;
	int failed;
	unsigned int depth;
	const struct jsonread_row *pending; /* whose value comes next */
	struct {
		int kind;
		uint32_t
		    seen; /* rows, by their order among those of the kind */
	} stack[JSONREAD_DEPTH_MAX];
};

/*
 * jsonread_load: all of a regular file of at most JSONREAD_SIZE_MAX bytes
 * from its begin.  Returns memory for jsonread_unload, *len its length, or
 * NULL with the reason in why (of size n).  Keeps fd.
 */
char *jsonread_load(int fd, size_t *len, char *why, size_t n);

/* jsonread_unload: wipe and free. */
void jsonread_unload(char *text, size_t len);

/*
 * jsonread_tolerate: blanks instead of commas before a closing bracket, so
 * that places stay; notes whether there are braces around the whole, which
 * jsonread_text supplies when told.  1 if anything was not JSON, else 0.
 */
int jsonread_tolerate(char *text, size_t len, struct jsonread_tolerated *);

/*
 * jsonread_text: read it; rows, ops, arg and braces are set, the rest is
 * zero.  0, or -1 with error and place.
 */
int jsonread_text(struct jsonread *, const char *text, size_t len);

/* jsonread_fail: the text is wrong where it was read last.  Returns -1. */
int jsonread_fail(struct jsonread *, const char *, ...)
    __attribute__((format(printf, 2, 3)));

/* jsonread_here: where the key or value that was read last begins. */
struct jsonread_place jsonread_here(struct jsonread *);

/*
 * jsonread_strdup: a copy of the value's string, to be freed; ends the
 * process when there is no memory.
 */
char *jsonread_strdup(const struct jsonread_value *);

#endif
