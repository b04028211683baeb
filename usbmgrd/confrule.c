/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "confint.h"
#include "xalloc.h"

/* A rule with lists stands for one rule for each choice from all of them. */
#ifndef RULES_MAX
#define RULES_MAX 1000000
#endif

struct value {
	TAILQ_ENTRY(value) entry;
	char *word;
};

TAILQ_HEAD(values, value);

/* The rule being read. */
static struct {
	int wrong; /* a match has an error */
	enum rule_action action;
	uint32_t flags;
	uint64_t pledge;
	struct lex_place place;
	struct values values[MATCH_MAX];
	int has[MATCH_MAX];
	enum match_kind kind; /* being read */
	struct vm_refs refs;
	struct conf_rule *first;
	struct conf_rule *last;
} draft;

void
build_rule_init(void)
{
	unsigned int i;

	memset(&draft, 0, sizeof(draft));
	TAILQ_INIT(&draft.refs);
	for (i = 0; i < MATCH_MAX; i++)
		TAILQ_INIT(&draft.values[i]);
}

void
build_rule(enum rule_action action)
{
	build_rule_drop();
	draft.action = action;
	draft.place = lex_here();
}

void
build_rule_flag(uint32_t flag)
{
	draft.flags |= flag;
}

void
build_rule_pledge(char *words)
{
	draft.pledge = build_pledge_bits(words);
	free(words);
}

void
build_match(int kind)
{
	draft.kind = (enum match_kind)kind;
	if (draft.has[kind])
		lex_error(lex_here(), "second %s in one rule",
		    match_name(draft.kind));
	draft.has[kind] = 1;
}

static void
add_value(char *word)
{
	struct value *v = xcalloc(1, sizeof(*v));

	v->word = word;
	TAILQ_INSERT_TAIL(&draft.values[draft.kind], v, entry);
}

/* A word that means several classes is a list of them. */
static int
add_class_word(const char *word)
{
	const struct class_word *w;
	char numbers[sizeof("xx:xx:xx")];
	int found = 0;

	for (w = class_words; w->word != NULL; w++) {
		if (strcmp(w->word, word) != 0)
			continue;
		snprintf(numbers, sizeof(numbers), "%02x:%02x:%02x",
		    w->class.class, w->class.subclass, w->class.protocol);
		numbers[w->parts * 3 - 1] = '\0';
		add_value(xstrdup(numbers));
		found = 1;
	}
	return found;
}

void
build_match_value(char *word)
{
	struct conf_rule scratch;
	const char *expected;

	if (draft.kind == MATCH_CLASS && add_class_word(word)) {
		free(word);
		return;
	}
	memset(&scratch, 0, sizeof(scratch));
	expected = match_apply(draft.kind, word, &scratch);
	if (expected == NULL) {
		add_value(word);
		return;
	}
	lex_error(lex_here(), "%s \"%s\": %s", match_name(draft.kind), word,
	    expected);
	draft.wrong = 1;
	free(word);
}

void
build_list_empty(void)
{
	lex_error(lex_here(), "the list is empty");
	draft.wrong = 1;
}

void
build_rule_vm(char *name)
{
	struct vm_ref *ref = xcalloc(1, sizeof(*ref));

	ref->name = name;
	ref->place = lex_here();
	TAILQ_INSERT_TAIL(&draft.refs, ref, entry);
}

static void
append(const struct conf_rule *rule)
{
	struct conf_rule *copy = xcalloc(1, sizeof(*copy));
	unsigned int i;

	*copy = *rule;
	copy->source = build.source;
	for (i = 0; i < TEXT_MAX; i++)
		if (rule->text[i] != NULL)
			copy->text[i] = xstrdup(rule->text[i]);
	TAILQ_INSERT_TAIL(&build.conf->rules, copy, entry);
	if (++build.conf->nrules == RULES_MAX + 1)
		lex_error(draft.place, "more than %d rules", RULES_MAX);
	if (draft.first == NULL)
		draft.first = copy;
	draft.last = copy;
}

static void
expand(unsigned int kind, const struct conf_rule *rule)
{
	struct conf_rule next;
	struct value *v;

	if (build.conf->nrules > RULES_MAX)
		return;
	if (kind == MATCH_MAX) {
		append(rule);
		return;
	}
	if (TAILQ_EMPTY(&draft.values[kind])) {
		expand(kind + 1, rule);
		return;
	}
	TAILQ_FOREACH(v, &draft.values[kind], entry) {
		next = *rule;
		match_apply((enum match_kind)kind, v->word, &next);
		expand(kind + 1, &next);
	}
}

static void
check_draft(void)
{
	const struct value *v;

	if (draft.has[MATCH_CONTROLLER])
		return;
	TAILQ_FOREACH(v, &draft.values[MATCH_PORT], entry)
		if (strchr(v->word, ':') == NULL)
			lex_error(draft.place,
			    "port \"%s\" without a bus: expected one, as in "
			    "3:%s, or a controller",
			    v->word, v->word);
}

void
build_rule_end(void)
{
	struct conf_rule rule;
	struct vm_ref *ref;

	memset(&rule, 0, sizeof(rule));
	rule.place = draft.place;
	rule.msg.action = draft.action;
	rule.msg.flags = draft.flags;
	rule.msg.pledge = draft.pledge;
	snprintf(rule.msg.where, sizeof(rule.msg.where), "%.40s:%d",
	    draft.place.base, draft.place.line);
	check_draft();
	if (!draft.wrong)
		expand(0, &rule);
	while ((ref = TAILQ_FIRST(&draft.refs)) != NULL) {
		TAILQ_REMOVE(&draft.refs, ref, entry);
		ref->first = draft.first;
		ref->last = draft.last;
		TAILQ_INSERT_TAIL(&build.refs, ref, entry);
	}
	build_rule_drop();
}

void
build_rule_drop(void)
{
	struct vm_ref *ref;
	struct value *v;
	unsigned int i;

	for (i = 0; i < MATCH_MAX; i++)
		while ((v = TAILQ_FIRST(&draft.values[i])) != NULL) {
			TAILQ_REMOVE(&draft.values[i], v, entry);
			free(v->word);
			free(v);
		}
	while ((ref = TAILQ_FIRST(&draft.refs)) != NULL) {
		TAILQ_REMOVE(&draft.refs, ref, entry);
		free(ref->name);
		free(ref);
	}
	build.source = NULL;
	build_rule_init();
}
