/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "log.h"

/* -j and -s everywhere; a file of -f is named, a force is not. */
#define COMMON "js:"

const struct command commands[] = {
	{ "show devices", COMMON, "", 0, 0, show_devices },
	{ "show vms", COMMON, "", 0, 0, show_vms },
	{ "show rules", COMMON, "", 0, 0, show_rules },
	{ "show processes", COMMON, "", 0, 0, show_processes },
	{ "show counters", COMMON "o", "[-o]", 0, 0, show_counters },
	{ "explain", COMMON "f:", "device | -f file events device", 1, 2,
	    explain_command },
	{ "monitor", COMMON, "", 0, 0, monitor_command },
	{ "attach", COMMON "f", "[-f] device vm", 2, 2, attach_command },
	{ "detach", COMMON "f", "[-f] device", 1, 1, detach_command },
	{ "policy", COMMON, "device", 1, 1, policy_command },
	{ "reload", COMMON, "", 0, 0, reload_command },
	{ "log verbose", COMMON, "", 0, 0, log_verbose_command },
	{ "log brief", COMMON, "", 0, 0, log_brief_command },
	{ "audit verify", COMMON, "file ...", 1, -1, audit_verify_command },
	{ "audit trace", COMMON "d:", "[-d directory] request [file ...]", 1,
	    -1, audit_trace_command },
	{ "check", COMMON, "file", 1, 1, check_command },
	{ "replay", COMMON "f:", "[-f file] events ...", 1, -1,
	    replay_command },
	{ "generate", COMMON, "", 0, 0, generate_command },
	{ NULL, NULL, NULL, 0, 0, NULL },
};

/* Of the words of a row the n-th, which is not ended by a NUL. */
static const char *
row_word(const struct command *c, int n, size_t *len)
{
	const char *word = c->words;

	if (n == 1)
		word = strchr(word, ' ') == NULL ? "" : strchr(word, ' ') + 1;
	*len = strcspn(word, " ");
	return word;
}

/* 2: the word itself, 1: the beginning of it, 0: another one. */
static int
agrees(const struct command *c, int n, const char *word)
{
	size_t len;
	const char *full = row_word(c, n, &len);

	if (len == 0 || word[0] == '\0' || strlen(word) > len ||
	    strncmp(full, word, strlen(word)) != 0)
		return 0;
	return strlen(word) == len ? 2 : 1;
}

/* Does the row begin with the word that was found first? */
static int
under(const struct command *c, const struct command *first)
{
	size_t len, firstlen;
	const char *word = row_word(c, 0, &len);

	return first == NULL ||
	       (memcmp(word, row_word(first, 0, &firstlen), len) == 0 &&
		   len == firstlen);
}

static int
same_word(const struct command *a, const struct command *b, int n)
{
	size_t la, lb;
	const char *wa = row_word(a, n, &la), *wb = row_word(b, n, &lb);

	return la == lb && memcmp(wa, wb, la) == 0;
}

/* "a, b or c" of those that agree with word, or of all if it is NULL. */
static void
list_words(const struct command *first, int n, const char *word, char *buf,
    size_t size)
{
	const struct command *c, *last = NULL, *before = NULL;
	const char *name;
	size_t at, len;

	buf[0] = '\0';
	for (c = commands; c->words != NULL; c++)
		if (under(c, first) && (word == NULL || agrees(c, n, word)))
			last = c;
	for (c = commands; last != NULL && c->words != NULL; c++) {
		if (!under(c, first) || (word != NULL && !agrees(c, n, word)) ||
		    (before != NULL && same_word(c, before, n)))
			continue;
		if (before != NULL)
			strlcat(
			    buf, same_word(c, last, n) ? " or " : ", ", size);
		before = c;
		at = strlen(buf);
		name = row_word(c, n, &len);
		snprintf(buf + at, size - at, "%.*s", (int)len, name);
	}
}

static const struct command *
find_word(const struct command *first, int n, const char *word, char *error,
    size_t size)
{
	const struct command *c, *found = NULL;
	int how, best = 0, clear = 1;
	char list[512];

	for (c = commands; c->words != NULL; c++) {
		if (!under(c, first) || (how = agrees(c, n, word)) == 0)
			continue;
		if (found == NULL || how > best) {
			found = c;
			best = how;
			clear = 1;
		} else if (how == best && !same_word(c, found, n))
			clear = 0;
	}
	if (found != NULL && clear)
		return found;
	list_words(first, n, found == NULL ? NULL : word, list, sizeof(list));
	snprintf(error, size, "%s \"%.64s\": %s %s",
	    found == NULL ? "unknown command" : "unclear command", word,
	    found == NULL ? "expected" : "it could be", list);
	return NULL;
}

const struct command *
command_find(int nwords, char *const words[], int *used, char *error, size_t n)
{
	const struct command *c;
	char list[512];

	*used = 0;
	if ((c = find_word(NULL, 0, words[0], error, n)) == NULL)
		return NULL;
	*used = 1;
	if (strchr(c->words, ' ') == NULL)
		return c;
	if (nwords == 1) {
		list_words(c, 1, NULL, list, sizeof(list));
		snprintf(error, n, "%.*s: expected %s",
		    (int)strcspn(c->words, " "), c->words, list);
		return NULL;
	}
	*used = 2;
	return find_word(c, 1, words[1], error, n);
}

void
command_list(void)
{
	const struct command *c;

	fputs("usage: usbmgrctl [-j] [-s socket] command [argument ...]\n",
	    stderr);
	for (c = commands; c->words != NULL; c++)
		fprintf(stderr, "       %s%s%s\n", c->words,
		    c->arguments[0] == '\0' ? "" : " ", c->arguments);
	exit(EXIT_USAGE);
}

void
command_usage(const struct command *c, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warnx("%s: %s%sexpected %s", c->words, text,
	    text[0] == '\0' ? "" : ": ",
	    c->arguments[0] == '\0' ? "no argument" : c->arguments);
	exit(EXIT_USAGE);
}
