/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef TERM_H
#define TERM_H

#include <stddef.h>

#define TERM_WIDTH 80

/* Meanings that are shown in colour where that is wanted. */
enum term_colour {
	TERM_PLAIN,
	TERM_GOOD,
	TERM_BAD,
	TERM_WAITS,
	TERM_DIM
};

/*
 * term_colour: begin that colour on standard output, TERM_PLAIN: end it.  No
 * effect unless that is a terminal, and if NO_COLOR is set (no-color.org).
 */
void term_colour(enum term_colour);

/* term_state: the colour for a state of a device or a machine. */
enum term_colour term_state(const char *state);

/*
 * term_visible: what a device or a guest has written, made harmless for a
 * terminal, into buf, which is returned.
 */
const char *term_visible(const char *, char *buf, size_t size);

/*
 * term_wrap: print text, which is made harmless, in lines of up to
 * TERM_WIDTH columns; the first one begins at column at, all others with
 * indent blanks.  Ends the line.
 */
void term_wrap(const char *text, int at, int indent);

#endif
