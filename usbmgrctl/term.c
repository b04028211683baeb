/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define LIBBSD_OPENBSD_VIS
#include <vis.h>
#include "msg.h"
#include "term.h"

static int
wants_colour(void)
{
	static int wants = -1;
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if (wants == -1)
		wants = isatty(STDOUT_FILENO) &&
			(no == NULL || no[0] == '\0') && term != NULL &&
			strcmp(term, "dumb") != 0;
	return wants;
}

void
term_colour(enum term_colour colour)
{
	static const char *const codes[] = { [TERM_PLAIN] = "\033[0m",
		[TERM_GOOD] = "\033[32m",
		[TERM_BAD] = "\033[31m",
		[TERM_WAITS] = "\033[33m",
		[TERM_DIM] = "\033[2m" };

	if (wants_colour())
		fputs(codes[colour], stdout);
}

enum term_colour
term_state(const char *state)
{
	static const struct {
		const char *state;
		enum term_colour colour;
	} states[] = {
		{ "attached", TERM_GOOD },
		{ "ready", TERM_GOOD },
		{ "failed", TERM_BAD },
		{ "lost", TERM_BAD },
		{ "held", TERM_WAITS },
		{ "attaching", TERM_WAITS },
		{ "detaching", TERM_WAITS },
		{ "connecting", TERM_WAITS },
		{ "greeting", TERM_WAITS },
	};
	size_t i;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(states[i].state, state) == 0)
			return states[i].colour;
	return TERM_PLAIN;
}

const char *
term_visible(const char *s, char *buf, size_t size)
{
	strnvis(buf, s, size, VIS_NOSLASH | VIS_TAB | VIS_NL);
	return buf;
}

void
term_wrap(const char *raw, int at, int indent)
{
	char text[4 * MSG_LINE_MAX];
	const char *p = term_visible(raw, text, sizeof(text));
	int len, first = 1;

	while (*p != '\0') {
		len = (int)strcspn(p, " ");
		if (!first && at + 1 + len > TERM_WIDTH) {
			printf("\n%*s", indent, "");
			at = indent;
		} else if (!first) {
			putchar(' ');
			at++;
		}
		printf("%.*s", len, p);
		at += len;
		first = 0;
		p += len;
		p += strspn(p, " ");
	}
	putchar('\n');
}
