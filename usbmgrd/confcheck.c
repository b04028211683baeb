/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "confint.h"

/* So many comparisons take a second; beyond, no warnings are given. */
#define COMPARISONS_MAX 50000000
#define BEHIND_COMPARISONS_MAX 2000000
#define BEHIND_MAX 1024

static int
covers_place(const struct msg_rule *q, const struct msg_rule *r)
{
	if ((q->has & RULE_HAS_PORT) && usbport_cmp(&q->port, &r->port) != 0)
		return 0;
	if ((q->has & RULE_HAS_BELOW) == 0)
		return 1;
	if ((r->has & RULE_HAS_PORT) && usbport_below(&r->port, &q->below))
		return 1;
	return (r->has & RULE_HAS_BELOW) &&
	       (usbport_cmp(&q->below, &r->below) == 0 ||
		   usbport_below(&r->below, &q->below));
}

static int
covers_texts(const struct conf_rule *q, const struct conf_rule *r)
{
	unsigned int i;

	for (i = 0; i < TEXT_MAX; i++)
		if (q->text[i] != NULL && strcmp(q->text[i], r->text[i]) != 0)
			return 0;
	return 1;
}

/* Does q match all that r matches? */
static int
covers(const struct conf_rule *qr, const struct conf_rule *rr)
{
	const struct msg_rule *q = &qr->msg, *r = &rr->msg;
	uint32_t has = q->has & ~(uint32_t)RULE_HAS_BELOW;

	if ((r->has & has) != has || !covers_place(q, r))
		return 0;
	if ((has & RULE_HAS_VENDOR) && q->vendor != r->vendor)
		return 0;
	if ((has & RULE_HAS_PRODUCT) && q->product != r->product)
		return 0;
	if ((has & RULE_HAS_SPEED) && q->speed != r->speed)
		return 0;
	if ((has & RULE_HAS_CONTROLLER) &&
	    strcmp(q->controller, r->controller) != 0)
		return 0;
	if ((has & RULE_HAS_CLASS) &&
	    (q->class_parts > r->class_parts ||
		!class_agree(&q->class, &r->class, q->class_parts)))
		return 0;
	return covers_texts(qr, rr);
}

static int
same_line(const struct conf_rule *a, const struct conf_rule *b)
{
	return a->place.file == b->place.file && a->place.line == b->place.line;
}

/* "block all", which is so without it: many begin a policy with that. */
static int
says_the_usual(const struct conf_rule *r)
{
	return r->msg.action == RULE_BLOCK && r->msg.has == 0;
}

static void
warn(const struct conf_rule *r, const struct conf_rule *by)
{
	if (by->msg.flags & RULE_QUICK)
		lex_warn(r->place,
		    "this rule never decides: the quick one in %s matches all "
		    "that it does",
		    by->msg.where);
	else
		lex_warn(r->place,
		    "this rule never decides: %s is behind it and matches all "
		    "that it does",
		    by->msg.where);
}

/* The quick rules up to now, and how long the search may still take. */
struct shadows {
	const struct conf_rule *quick[1024];
	unsigned int nquick;
	long comparisons;
	long behind_comparisons;
};

/* The last match decides: one of the last rules of the policy, from its end. */
static const struct conf_rule *
find_behind(
    struct shadows *s, const struct conf *conf, const struct conf_rule *r)
{
	const struct conf_rule *q = TAILQ_LAST(&conf->rules, conf_rules);
	unsigned int i;

	for (i = 0; q != r && i < BEHIND_MAX && s->behind_comparisons > 0;
	     i++) {
		s->behind_comparisons--;
		if (q->msg.action != RULE_SOURCE && !same_line(q, r) &&
		    covers(q, r))
			return q;
		q = TAILQ_PREV(q, conf_rules, entry);
	}
	return NULL;
}

static const struct conf_rule *
find_shadow(
    struct shadows *s, const struct conf *conf, const struct conf_rule *r)
{
	unsigned int i;

	for (i = 0; i < s->nquick && s->comparisons > 0; i++) {
		s->comparisons--;
		if (!same_line(s->quick[i], r) && covers(s->quick[i], r))
			return s->quick[i];
	}
	return r->msg.flags & RULE_QUICK || says_the_usual(r)
		   ? NULL
		   : find_behind(s, conf, r);
}

/* A line stands for several rules if it has lists: does none ever decide? */
void
conf_check_shadows(const struct conf *conf)
{
	struct shadows s = { .comparisons = COMPARISONS_MAX,
		.behind_comparisons = BEHIND_COMPARISONS_MAX };
	const struct conf_rule *r, *next, *by, *first = NULL;
	int all = 1;

	TAILQ_FOREACH(r, &conf->rules, entry) {
		by = find_shadow(&s, conf, r);
		all = all && by != NULL;
		first = first == NULL ? by : first;
		next = TAILQ_NEXT(r, entry);
		if ((r->msg.flags & RULE_QUICK) &&
		    s.nquick < sizeof(s.quick) / sizeof(s.quick[0]))
			s.quick[s.nquick++] = r;
		if (next != NULL && same_line(r, next))
			continue;
		if (all)
			warn(r, first);
		all = 1;
		first = NULL;
	}
}
