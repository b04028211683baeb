/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef COMMAND_H
#define COMMAND_H

#include <stddef.h>
#include <stdnoreturn.h>

#define EXIT_USAGE 2
#define POLICIES_MAX 1024

struct command;

/* What stands on the command line besides the words of the command. */
struct arguments {
	const char *socket; /* NULL: the default */
	int json;
	int force;
	int openmetrics;
	const char *directory; /* of logs, NULL: the default */
	const char *policies[POLICIES_MAX];
	int npolicies;
	const struct command *command;
	int argc;
	char **argv;
};

/* One row of the table of commands: see usbmgrctl.8. */
struct command {
	const char *words; /* one or two, which may be cut short */
	const char *options; /* as of getopt(3) */
	const char *arguments; /* for people */
	int min; /* how many */
	int max; /* -1: any number */
	int (*run)(const struct arguments *); /* the exit status */
};

/* The table, which ends with a row without words. */
extern const struct command commands[];

/*
 * command_find: the row that the words mean, which are one at least and may
 * each be cut short as long as it is clear, and in *used how many of them
 * belong to it.  NULL, and what was expected in error (of size n).
 */
const struct command *command_find(
    int nwords, char *const words[], int *used, char *error, size_t n);

/* command_list: all commands, with what they expect; exit. */
noreturn void command_list(void);

/*
 * command_usage: one line that says what is wrong ("" if it is clear) and
 * what the command expects; exit.
 */
noreturn void command_usage(const struct command *, const char *, ...)
    __attribute__((format(printf, 2, 3)));

/* What the commands do, in files of their own. */
int show_devices(const struct arguments *);
int show_vms(const struct arguments *);
int show_rules(const struct arguments *);
int show_processes(const struct arguments *);
int show_counters(const struct arguments *);
int explain_command(const struct arguments *);
int monitor_command(const struct arguments *);
int attach_command(const struct arguments *);
int detach_command(const struct arguments *);
int policy_command(const struct arguments *);
int reload_command(const struct arguments *);
int log_verbose_command(const struct arguments *);
int log_brief_command(const struct arguments *);
int audit_verify_command(const struct arguments *);
int audit_trace_command(const struct arguments *);
int check_command(const struct arguments *);
int replay_command(const struct arguments *);
int generate_command(const struct arguments *);

#endif
