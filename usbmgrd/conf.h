/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CONF_H
#define CONF_H

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/un.h>
#include "msg.h"

/* The policy file as the parent read it: usbmgrd.conf(5). */

#define CONF_GROUP_MAX 64

struct conf_vm {
	TAILQ_ENTRY(conf_vm) entry;
	struct msg_vm msg;
	char qmp[PATH_MAX];
};

struct conf_rule {
	TAILQ_ENTRY(conf_rule) entry;
	struct msg_rule msg;
};

struct conf {
	char log_directory[PATH_MAX];
	char control[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char control_group[CONF_GROUP_MAX]; /* "": that of root */
	enum events_source events;
	uint32_t nvms;
	uint32_t nrules;
	TAILQ_HEAD(, conf_vm) vms;
	TAILQ_HEAD(, conf_rule) rules;
};

/*
 * conf_parse: read the policy file.  It must be owned by root and writable
 * by nobody else.  Returns a conf that conf_free frees, or NULL after each
 * error was printed as "file:line: message" to stderr.
 */
struct conf *conf_parse(const char *path);

/* conf_free: no effect on NULL. */
void conf_free(struct conf *);

/* conf_print: the policy, so that it parses again to the same. */
void conf_print(const struct conf *, FILE *);

#endif
