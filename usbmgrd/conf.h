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
#include "policy.h"

/* The policy file as it was read: usbmgrd.conf(5). */

#define CONF_GROUP_MAX 64
#define CONF_USER_MAX 64
#define CONF_PROMISES_MAX 256

struct conf_vm {
	TAILQ_ENTRY(conf_vm) entry;
	struct msg_vm msg;
	char qmp[PATH_MAX];
};

/* A place in the input. */
struct lex_place {
	const char *path; /* stays until lex_finish */
	const char *base; /* path without directories */
	int file; /* order in which files were opened */
	int line;
};

/* A manifest, or EVE, where it stands among the rules. */
struct conf_source {
	TAILQ_ENTRY(conf_source) entry;
	int is_eve;
	char path[PATH_MAX]; /* of a manifest */
	char *where; /* "dir/usbmgrd.conf:12" */
	int fd; /* of a manifest that was opened, or -1 */
	struct bundles *bundles; /* of one that was loaded, or NULL */
};

/* What a machine is to have of the manifests. */
struct conf_adapter {
	TAILQ_ENTRY(conf_adapter) entry;
	struct msg_adapter msg;
	char *where; /* "dir/usbmgrd.conf:12" */
};

/* Where EVE's files and sockets are, and what its machines are like. */
struct conf_eve {
	int is_set;
	char adapters[PATH_MAX];
	char domains[PATH_MAX];
	struct conf_vm vm; /* qmp has "%s" for the name */
	uint32_t nstates;
	uint32_t states[EVE_STATES_MAX];
};

/* A rule with lists is several of these, with the same msg.where. */
struct conf_rule {
	TAILQ_ENTRY(conf_rule) entry;
	struct msg_rule msg;
	char *text[TEXT_MAX]; /* as in struct rule */
	int has_product; /* also "*:*" */
	struct lex_place place;
	struct conf_source *source; /* of a RULE_SOURCE */
};

/* What the file says of a process. */
struct conf_process {
	char user[CONF_USER_MAX]; /* "": the one that is built in */
	char promises[CONF_PROMISES_MAX]; /* "" may be all that it has */
	int has_promises; /* else all that are built in */
};

struct conf {
	char log_directory[PATH_MAX];
	char control[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char control_group[CONF_GROUP_MAX]; /* "": that of root */
	char readonly[sizeof(
	    ((struct sockaddr_un *)0)->sun_path)]; /* "": none */
	char readonly_group[CONF_GROUP_MAX]; /* "": everybody */
	int log_required;
	enum events_source events;
	struct damping damping;
	int has_damping;
	struct conf_process processes[PROC_MAX];
	uint32_t
	    greeting_ms; /* of machines that say nothing else; 0: not set */
	uint32_t reply_ms;
	uint32_t nvms;
	uint32_t nrules;
	TAILQ_HEAD(, conf_vm) vms;
	TAILQ_HEAD(conf_rules, conf_rule) rules;
	TAILQ_HEAD(, conf_source) sources;
	TAILQ_HEAD(, conf_adapter) adapters;
	struct conf_eve eve;
	int root_only; /* files must be root's */
};

/* Whose the file may be. */
enum conf_owner {
	CONF_ROOT_ONLY,
	CONF_ANYBODY
};

/*
 * conf_parse: read the policy file and what it includes.  With
 * CONF_ROOT_ONLY they must be owned by root and writable by nobody else.
 * Returns a conf that conf_free frees, or NULL after each error was printed
 * as "file:line: message" to stderr, in the order of the lines.  Warnings
 * look the same, but with "warning: ", and are no error.
 */
struct conf *conf_parse(const char *path, enum conf_owner);

/* conf_free: no effect on NULL. */
void conf_free(struct conf *);

/* conf_print: the policy, so that it parses again to the same. */
void conf_print(const struct conf *, FILE *);

/*
 * conf_renumber: let the machines that were in old (NULL: none) keep their
 * numbers, and give new ones to the others; *last is the highest that there
 * ever was.
 */
void conf_renumber(const struct conf *old, struct conf *, uint32_t *last);

/* conf_hash: SHA-256 of what conf_print prints. */
void conf_hash(const struct conf *, uint8_t[AUDIT_HASH_LEN]);

/*
 * conf_print_rule: one rule, with its newline; name gives the names of
 * machines.  Only a rule with a source needs the conf.
 */
void conf_print_rule(const struct conf *, const struct conf_rule *, FILE *,
    const char *(*name)(const void *arg, uint32_t vm), const void *arg);

/* conf_rule_text: the message for a text that the rule has. */
void conf_rule_text(
    const struct conf_rule *, unsigned int which, struct msg_rule_text *);

/*
 * conf_open: open the manifests, which must be regular files of a bounded
 * size, reached without a symbolic link, and root's if the policy file must.
 * 0, or -1 after messages.  conf_close closes what is open.
 */
int conf_open(struct conf *);
void conf_close(struct conf *);

/*
 * conf_open_manifest: the same for one; a descriptor that is the caller's,
 * or -1 with the reason in why.
 */
int conf_open_manifest(
    const struct conf *, const struct conf_source *, char *why, size_t n);

/*
 * conf_load: read the manifests that conf_open opened, and look up what
 * machines are to have of them.  Prints errors and warnings as conf_parse
 * does, with the column for those in manifests.  0, or -1 after errors.  Not
 * for a process with privileges.
 */
int conf_load(struct conf *);

/* conf_eve_msg: the message for the machines of EVE. */
void conf_eve_msg(const struct conf *, struct msg_eve *);

/*
 * conf_policy: what the engine decides by, with the manifests that were loaded,
 * which it takes; the others are empty.  The caller's; or NULL with *why, which
 * is for memory only when the conf comes from conf_parse.
 */
struct policy *conf_policy(const struct conf *, const char **why);

#endif
