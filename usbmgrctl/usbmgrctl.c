/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "command.h"
#include "log.h"

#define WORDS_MAX 2

static void
option(struct arguments *a, int ch)
{
	switch (ch) {
	case 'd':
		a->directory = optarg;
		break;
	case 'f':
		if (optarg == NULL)
			a->force = 1;
		else if (a->npolicies == POLICIES_MAX)
			command_usage(
			    a->command, "-f more than %d times", POLICIES_MAX);
		else
			a->policies[a->npolicies++] = optarg;
		break;
	case 'j':
		a->json = 1;
		break;
	case 'o':
		a->openmetrics = 1;
		break;
	case 's':
		a->socket = optarg;
		break;
	case ':':
		command_usage(a->command, "-%c without its argument", optopt);
	default:
		command_usage(a->command, "it has no -%c", optopt);
	}
}

/* How many arguments an option before the words of the command takes up. */
static int
skip_option(const char *word)
{
	const char *p = word + 1;

	while (*p == 'j')
		p++;
	return p[0] == 's' && p[1] == '\0';
}

/*
 * Options may stand anywhere, but what -f means depends on the command: so
 * its words are looked for first, with none of its options but -j and -s
 * before them, then all is read again.
 */
static const struct command *
find_command(int argc, char *argv[], int words[WORDS_MAX], int *nwords)
{
	static char *found[WORDS_MAX];
	const struct command *c = NULL;
	char error[1024];
	int i, n = 0, used;

	for (i = 1; i < argc && n < WORDS_MAX; i++) {
		if (strcmp(argv[i], "--") == 0)
			break;
		if (argv[i][0] == '-' && argv[i][1] != '\0') {
			i += skip_option(argv[i]);
			continue;
		}
		words[n] = i;
		found[n++] = argv[i];
		c = command_find(n, found, &used, error, sizeof(error));
		if (c != NULL)
			break;
	}
	if (n == 0)
		command_list();
	if (c == NULL)
		c = command_find(n, found, &used, error, sizeof(error));
	if (c == NULL) {
		log_warnx("%s", error);
		exit(EXIT_USAGE);
	}
	*nwords = used;
	return c;
}

static void
take_words(int *argc, char *argv[], const int words[], int nwords)
{
	int i, k, n = 1;

	for (i = 1; i < *argc; i++) {
		for (k = 0; k < nwords; k++)
			if (words[k] == i)
				break;
		if (k == nwords)
			argv[n++] = argv[i];
	}
	argv[n] = NULL;
	*argc = n;
}

static void
check_number(const struct command *c, const struct arguments *a)
{
	if (a->argc < c->min)
		command_usage(c, "%s", "");
	if (c->max != -1 && a->argc > c->max)
		command_usage(c, "\"%s\" is too much", a->argv[c->max]);
}

int
main(int argc, char *argv[])
{
	struct arguments a = { .json = 0 };
	const struct command *c;
	char options[32];
	int ch, words[WORDS_MAX] = { 0 }, nwords, status;

	log_init(PROC_CLIENT, 1);
	if (argc == 2 && strcmp(argv[1], "-V") == 0) {
		puts("usbmgrctl " VERSION);
		return 0;
	}
	c = find_command(argc, argv, words, &nwords);
	take_words(&argc, argv, words, nwords);
	snprintf(options, sizeof(options), ":%s", c->options);
	a.command = c;
	while ((ch = getopt(argc, argv, options)) != -1)
		option(&a, ch);
	a.argc = argc - optind;
	a.argv = argv + optind;
	check_number(c, &a);
	status = c->run(&a);
	if (fflush(stdout) == EOF)
		fatal("standard output");
	return status;
}
