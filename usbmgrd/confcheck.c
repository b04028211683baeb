/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "confint.h"

/* So many comparisons take a second; beyond, no warnings are given. */
#define COMPARISONS_MAX 50000000

static int
within(const struct usbport *hub, const struct usbport *port)
{
	return hub->busnum == port->busnum && port->depth > hub->depth &&
	       memcmp(hub->chain, port->chain, hub->depth) == 0;
}

static int
covers_place(const struct msg_rule *q, const struct msg_rule *r)
{
	if ((q->has & RULE_HAS_PORT) && usbport_cmp(&q->port, &r->port) != 0)
		return 0;
	if ((q->has & RULE_HAS_BELOW) == 0)
		return 1;
	if ((r->has & RULE_HAS_PORT) && within(&q->below, &r->port))
		return 1;
	return (r->has & RULE_HAS_BELOW) &&
	       (usbport_cmp(&q->below, &r->below) == 0 ||
		   within(&q->below, &r->below));
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

static void
warn(const struct conf_rule *r, const struct conf_rule *by)
{
	lex_warn(r->place,
	    "this rule never decides: the quick one in %s matches all that "
	    "it does",
	    by->msg.where);
}

void
conf_check_shadows(const struct conf *conf)
{
	const struct conf_rule *quick[1024], *r;
	unsigned int nquick = 0, i;
	long comparisons = 0;

	TAILQ_FOREACH(r, &conf->rules, entry) {
		for (i = 0; i < nquick; i++) {
			if (++comparisons > COMPARISONS_MAX)
				return;
			if (strcmp(quick[i]->msg.where, r->msg.where) != 0 &&
			    covers(quick[i], r)) {
				warn(r, quick[i]);
				break;
			}
		}
		if ((r->msg.flags & RULE_QUICK) &&
		    nquick < sizeof(quick) / sizeof(quick[0]))
			quick[nquick++] = r;
	}
}
