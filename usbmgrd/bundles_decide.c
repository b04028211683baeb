/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "bundles_int.h"
#include "log.h"

/*
 * EVE's precedence: the port counts before the product, a port by itself
 * before a wildcard, a long wildcard before a short one.
 */
#define PRIORITY_PORT 10
#define PRIORITY_WILDCARD 1 /* and one more for each port in it */
#define PRIORITY_PRODUCT 1

static void because(struct bundles_answer *, const char *, ...)
    __attribute__((format(printf, 2, 3)));

/* The first reason stays. */
static void
because(struct bundles_answer *a, const char *fmt, ...)
{
	va_list ap;

	if (a->reason[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(a->reason, sizeof(a->reason), fmt, ap);
	va_end(ap);
}

static int
priority_cmp(const struct priority *a, const struct priority *b)
{
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return a->product < b->product ? -1 : a->product > b->product;
}

static struct priority
own_priority(const struct bundle *b)
{
	struct priority p = { 0, 0 };

	if (b->has & BUNDLE_HAS_PORT)
		p.port = PRIORITY_PORT;
	if (b->has & BUNDLE_HAS_WILDCARD)
		p.port = PRIORITY_WILDCARD + b->port.depth;
	if (b->has & BUNDLE_HAS_PRODUCT)
		p.product = PRIORITY_PRODUCT;
	return p;
}

/* Which bundles say of themselves that they match */

static int
is_below(const struct usbport *port, const struct usbport *hub)
{
	return port->busnum == hub->busnum && port->depth > hub->depth &&
	       memcmp(port->chain, hub->chain, hub->depth) == 0;
}

static int
matches(const struct bundle *b, const struct usbdev *d)
{
	if ((b->has & BUNDLE_HAS_PORT) && usbport_cmp(&b->port, &d->port) != 0)
		return 0;
	if ((b->has & BUNDLE_HAS_WILDCARD) && !is_below(&d->port, &b->port))
		return 0;
	if ((b->has & BUNDLE_HAS_PRODUCT) &&
	    (b->vendor != d->vendor || b->product != d->product))
		return 0;
	return (b->has & BUNDLE_HAS_PCI) == 0 ||
	       strcasecmp(b->text[BUNDLE_PCI], d->controller) == 0;
}

static void
note_match(struct bundles *set, uint32_t bundle)
{
	struct group *group = set->nodes[bundle].group;
	struct priority p = own_priority(&set->list->bundles[bundle]);
	size_t max;

	if (set->nmatches == set->maxmatches) {
		max = set->maxmatches * 2 + 16;
		set->matches =
		    reallocarray(set->matches, max, sizeof(*set->matches));
		if (set->matches == NULL)
			fatal("reallocarray");
		set->maxmatches = max;
	}
	set->matches[set->nmatches++] = bundle;
	if (group == NULL)
		return;
	if (group->round != set->round || priority_cmp(&p, &group->best) > 0)
		group->best = p;
	group->round = set->round;
}

static void
look_up(struct bundles *set, uint64_t key, const struct usbdev *d)
{
	size_t low = 0, high = set->nkeys, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (set->keys[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < set->nkeys && set->keys[low].key == key; low++)
		if (matches(&set->list->bundles[set->keys[low].bundle], d))
			note_match(set, set->keys[low].bundle);
}

static int
match_cmp(const void *va, const void *vb)
{
	const uint32_t *a = va, *b = vb;

	return *a < *b ? -1 : *a > *b;
}

/* All of them, in the order of the list. */
static void
find_matches(struct bundles *set, const struct usbdev *d)
{
	struct usbport hub = d->port;

	set->round++;
	set->nmatches = 0;
	look_up(set, bundles_key_port(BUNDLE_HAS_PORT, &d->port), d);
	while (hub.depth > 0) {
		hub.chain[--hub.depth] = 0;
		look_up(set, bundles_key_port(BUNDLE_HAS_WILDCARD, &hub), d);
	}
	look_up(set, bundles_key_product(d->vendor, d->product), d);
	if (d->controller[0] != '\0')
		look_up(set, bundles_key_pci(d->controller), d);
	if (set->nmatches > 1)
		qsort(set->matches, set->nmatches, sizeof(*set->matches),
		    match_cmp);
}

/* And whether the groups above them do */

static int
holds_above(const struct bundles *set, uint32_t bundle, const struct usbdev *d,
    struct priority *p, struct bundles_answer *a)
{
	const struct node *node = &set->nodes[bundle];
	const struct group *group = node->parent;

	if (group == NULL && node->group != NULL)
		group = node->group->parent;
	for (; group != NULL; group = group->parent) {
		if (group->members > 0 && group->conditions == 0)
			continue;
		if (group->members > 0 && group->round == set->round) {
			p->port += group->best.port;
			p->product += group->best.product;
			continue;
		}
		because(a,
		    "%.60s: bundle \"%.60s\" needs parentassigngrp \"%.60s\", "
		    "%s%s",
		    set->name, bundle_name(&set->list->bundles[bundle]),
		    group->name,
		    group->members == 0 ? "which has no bundle"
					: "which does not match controller ",
		    group->members == 0        ? ""
		    : d->controller[0] == '\0' ? "(none)"
					       : d->controller);
		return 0;
	}
	return 1;
}

/* Who has a bundle: machines that name it before those of its group. */

static const struct machine *
first_up(const struct claims *claims)
{
	const struct claim *c;

	STAILQ_FOREACH(c, claims, entry)
		if (c->machine->up)
			return c->machine;
	return NULL;
}

static const struct claims *
claims_in_force(const struct node *node)
{
	if (first_up(&node->claims) != NULL)
		return &node->claims;
	if (node->group != NULL && first_up(&node->group->claims) != NULL)
		return &node->group->claims;
	return NULL;
}

static const struct machine *
first_claim(const struct node *node)
{
	const struct claim *c = STAILQ_FIRST(&node->claims);

	if (c == NULL && node->group != NULL)
		c = STAILQ_FIRST(&node->group->claims);
	return c == NULL ? NULL : c->machine;
}

static const struct machine *
first_owner(const struct claims *claims)
{
	const struct claim *c;

	STAILQ_FOREACH(c, claims, entry)
		if (c->machine->owns)
			return c->machine;
	return NULL;
}

/* A machine that has the controller. */
static int
forbids(const struct bundles *set, uint32_t bundle, const struct usbdev *d,
    struct bundles_answer *a)
{
	const struct node *node = &set->nodes[bundle];
	const struct machine *owner = first_owner(&node->claims);

	if (owner == NULL && node->group != NULL)
		owner = first_owner(&node->group->claims);
	if (owner == NULL)
		return 0;
	memset(a, 0, sizeof(*a));
	a->verdict = BUNDLES_FORBID;
	a->concerned = 1;
	because(a,
	    "%.60s: controller %s belongs to machine \"%s\" by bundle "
	    "\"%.60s\"",
	    set->name, d->controller, owner->name,
	    bundle_name(&set->list->bundles[bundle]));
	return 1;
}

static void
entitle(const struct bundles *set, uint32_t bundle, struct bundles_answer *a,
    const struct machine *machine)
{
	const char *name = bundle_name(&set->list->bundles[bundle]);
	char *where;
	unsigned int i;
	int n;

	for (i = 0; i < a->nvms; i++)
		if (a->vms[i] == machine->vm)
			return;
	if (a->nvms == MSG_RULE_VMS_MAX)
		return;
	where = a->where[a->nvms];
	n = snprintf(where, MSG_WHERE_MAX, "%.24s: bundle \"", set->name);
	/* Whole characters only. */
	snprintf(where + n, MSG_WHERE_MAX - (size_t)n, "%.*s\"",
	    (int)bundle_prefix(name, MSG_WHERE_MAX - 2 - (size_t)n), name);
	a->vms[a->nvms++] = machine->vm;
}

/* A bundle that matches, its groups included, with this priority. */
static void
consider(const struct bundles *set, uint32_t bundle, const struct priority *p,
    struct priority *best, struct bundles_answer *a)
{
	const struct node *node = &set->nodes[bundle];
	const struct claims *claims = claims_in_force(node);
	const struct machine *machine;
	const struct claim *c;

	if (claims == NULL) {
		if ((machine = first_claim(node)) == NULL)
			because(a, "%.60s: no machine has bundle \"%.100s\"",
			    set->name,
			    bundle_name(&set->list->bundles[bundle]));
		else if (!a->down) {
			a->down = 1;
			a->reason[0] = '\0';
			because(a, "machine \"%s\" is down", machine->name);
		}
		return;
	}
	if (priority_cmp(p, best) < 0)
		return;
	if (priority_cmp(p, best) > 0)
		a->nvms = 0;
	*best = *p;
	STAILQ_FOREACH(c, claims, entry)
		if (c->machine->up)
			entitle(set, bundle, a, c->machine);
}

void
bundles_decide(
    struct bundles *set, const struct usbdev *d, struct bundles_answer *a)
{
	struct priority p, best = { 0, 1 };
	uint32_t bundle;
	size_t i;

	memset(a, 0, sizeof(*a));
	find_matches(set, d);
	a->concerned = set->nmatches > 0;
	for (i = 0; i < set->nmatches; i++)
		if (set->nodes[set->matches[i]].controller &&
		    forbids(set, set->matches[i], d, a))
			return;
	for (i = 0; i < set->nmatches; i++) {
		bundle = set->matches[i];
		p = own_priority(&set->list->bundles[bundle]);
		if (!set->nodes[bundle].controller &&
		    holds_above(set, bundle, d, &p, a) &&
		    priority_cmp(&p, &best) >= 0)
			consider(set, bundle, &p, &best, a);
	}
	if (a->nvms > 0) {
		a->verdict = BUNDLES_PASS;
		a->reason[0] = '\0';
	}
}
