/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef LEX_H
#define LEX_H

#include <stddef.h>
#include "conf.h"

/*
 * The input of the policy parser: files that include others, macros, lines
 * and the errors in them.
 */

#define LEX_WORD_MAX 1024

/* What yylex returns besides the tokens of the grammar. */
struct lex_keyword {
	const char *word;
	int token;
};

/*
 * lex_tell: call tell for each error and warning, a line without a newline,
 * instead of printing it to stderr; NULL: print.
 */
void lex_tell(void (*tell)(const char *line));

/*
 * lex_start: open the file; keywords, n of them, must be sorted by word.  0,
 * or -1 after a message.
 */
int lex_start(const char *path, enum conf_owner,
    const struct lex_keyword *keywords, size_t n);

/*
 * lex_token: the next token: that of a keyword, string for any other word or
 * a quoted text (*value, to be freed), '\n', another character, 0 at the
 * end.
 */
int lex_token(int string, char **value);

/* lex_include: read that file next; name is relative to the file read now. */
void lex_include(const char *name);

/* lex_define: a macro; an error if it is there already. */
void lex_define(const char *name, const char *value);

/* lex_here: where the token that was returned last stands. */
struct lex_place lex_here(void);

/* lex_word: that token as it was written, for messages. */
const char *lex_word(void);

/* lex_at_end_of_line: 1 if that token was the end of a line. */
int lex_at_end_of_line(void);

/*
 * lex_error: an error at a place; the first of each line is kept.
 * lex_warn: a warning.
 * lex_has_errors: 1 if there was an error so far.
 */
void lex_error(struct lex_place, const char *, ...)
    __attribute__((format(printf, 2, 3)));
void lex_warn(struct lex_place, const char *, ...)
    __attribute__((format(printf, 2, 3)));
int lex_has_errors(void);

/*
 * lex_finish: print errors and warnings in the order of the lines, close and
 * free everything.  The number of errors.
 */
int lex_finish(void);

#endif
