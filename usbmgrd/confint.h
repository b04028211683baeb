/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CONFINT_H
#define CONFINT_H

#include "classes.h"
#include "conf.h"
#include "confbuild.h"
#include "lex.h"

/* What the files that build a conf share, and nobody else includes. */

/* A machine named by a rule that may stand before the machine's own line. */
struct vm_ref {
	TAILQ_ENTRY(vm_ref) entry;
	struct conf_rule *first; /* all rules that its line stands for, */
	struct conf_rule *last; /* from this one to that one */
	char *name;
	struct lex_place place;
};

TAILQ_HEAD(vm_refs, vm_ref);

struct build {
	struct conf *conf;
	int has_events;
	struct { /* being read */
		char *path; /* NULL after an error */
		char *group;
		int readonly;
	} control;
	struct conf_process *process; /* being read, NULL after an error */
	enum proc_id process_id;
	struct conf_vm *vm; /* being read */
	int vm_has_handover;
	int vm_has_monitor;
	int vm_has_release;
	struct conf_source *source; /* of the rule being read */
	struct lex_place eve_place;
	struct lex_place adapter_place; /* the first one; path NULL: none */
	struct vm_refs refs;
};

extern struct build build;

/* build_pledge_bits: class words to bits; 0 after an error was noted. */
uint64_t build_pledge_bits(const char *words);

/* build_rule_init: no rule is being read. */
void build_rule_init(void);

/*
 * match_apply: let the rule compare with word.  NULL, or what was expected
 * instead.  A text of the rule points to word then.
 */
const char *match_apply(enum match_kind, char *word, struct conf_rule *);

/* match_name: the keyword. */
const char *match_name(enum match_kind);

/* build_set_path: value, which it takes, to to, once; an absolute path. */
void build_set_path(char *to, size_t size, char *value, const char *what);

/* build_sources_finish: what there is of sources, as a whole. */
void build_sources_finish(void);

/* Sources of rules: for conf.c, and conf_free_sources for conf_free. */
void conf_free_sources(struct conf *);
void conf_print_source(const struct conf *, const struct conf_source *, FILE *);
void conf_print_adapters(const struct conf *, uint32_t vm, FILE *);
void conf_print_vm_options(
    const struct msg_vm *, enum monitor_use usual, FILE *);
const char *conf_add_source(
    const struct conf *, struct conf_source *, struct policy *);
const char *conf_add_adapters(const struct conf *, struct policy *);

/*
 * conf_check_shadows: warn of rules that never decide, because an earlier
 * quick rule or a later one matches all that they match.
 */
void conf_check_shadows(const struct conf *);

#endif
