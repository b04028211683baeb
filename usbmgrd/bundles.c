/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include "bundles_int.h"
#include "xalloc.h"

/* More groups above one another than any host has. */
#define GROUPS_DEEP 64

struct bundles *
bundles_new(const char *name)
{
	struct bundles *set = xcalloc(1, sizeof(*set));

	set->name = xstrdup(name);
	set->list = xcalloc(1, sizeof(*set->list));
	TAILQ_INIT(&set->machines);
	bundles_build(set);
	return set;
}

/* Groups */

static int
group_name_cmp(const void *va, const void *vb)
{
	const struct group *a = va, *b = vb;

	return strcmp(a->name, b->name);
}

struct group *
bundles_group(const struct bundles *set, const char *name)
{
	struct group key = { .name = name };

	if (name[0] == '\0')
		return NULL;
	return bsearch(&key, set->groups, set->ngroups, sizeof(*set->groups),
	    group_name_cmp);
}

static void
make_groups(struct bundles *set)
{
	const struct bundle_list *list = set->list;
	size_t i, n = 0;

	set->groups = xcalloc(2 * list->n, sizeof(*set->groups));
	for (i = 0; i < list->n; i++) {
		set->groups[n++].name = list->bundles[i].text[BUNDLE_GROUP];
		set->groups[n++].name = list->bundles[i].text[BUNDLE_PARENT];
	}
	if (n > 0)
		qsort(set->groups, n, sizeof(*set->groups), group_name_cmp);
	for (i = 0; i < n; i++)
		if (set->groups[i].name[0] != '\0' &&
		    (set->ngroups == 0 ||
			strcmp(set->groups[set->ngroups - 1].name,
			    set->groups[i].name) != 0))
			set->groups[set->ngroups++].name = set->groups[i].name;
	for (i = 0; i < set->ngroups; i++)
		STAILQ_INIT(&set->groups[i].claims);
}

/* Does that group have the other one above it, or too many? */
static const char *
check_above(const struct group *from, const struct group *group)
{
	unsigned int n = 0;

	for (; from != NULL; from = from->parent) {
		if (from == group)
			return "its parentassigngrp is below itself";
		if (++n > GROUPS_DEEP)
			return "more than 64 groups are above it";
	}
	return NULL;
}

/* In the order of the list: the one that closes a circle is refused. */
static void
join_group(struct bundles *set, size_t i)
{
	const struct bundle *b = &set->list->bundles[i];
	struct node *node = &set->nodes[i];
	struct group *parent;

	node->group = bundles_group(set, b->text[BUNDLE_GROUP]);
	parent = bundles_group(set, b->text[BUNDLE_PARENT]);
	if (parent != NULL && parent == node->group)
		node->refused = "it is its own parentassigngrp";
	else if (parent != NULL)
		node->refused = check_above(parent, node->group);
	if (node->refused != NULL)
		return;
	node->parent = parent;
	if (node->group == NULL)
		return;
	node->group->members++;
	node->group->conditions += b->has != 0;
	if (node->group->parent == NULL)
		node->group->parent = parent;
}

/* A controller: what is on it is not for USB while a machine has it. */
static int
is_controller(const struct bundle *b)
{
	return b->has == BUNDLE_HAS_PCI && b->text[BUNDLE_PARENT][0] == '\0';
}

/* Keys */

#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

static uint64_t
hash(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (; len > 0; len--)
		h = (h ^ *p++) * HASH_PRIME;
	return h;
}

uint64_t
bundles_key_port(unsigned int kind, const struct usbport *port)
{
	uint8_t byte = (uint8_t)kind;

	return hash(hash(HASH_START, &byte, 1), port, sizeof(*port));
}

uint64_t
bundles_key_product(uint16_t vendor, uint16_t product)
{
	uint16_t id[3] = { BUNDLE_HAS_PRODUCT, vendor, product };

	return hash(HASH_START, id, sizeof(id));
}

uint64_t
bundles_key_pci(const char *pci)
{
	uint64_t h = HASH_START ^ BUNDLE_HAS_PCI;
	char c;

	for (; *pci != '\0'; pci++) {
		c = (char)(*pci >= 'A' && *pci <= 'Z' ? *pci + 32 : *pci);
		h = hash(h, &c, 1);
	}
	return h;
}

static uint64_t
key_of(const struct bundle *b)
{
	if (b->has & BUNDLE_HAS_PORT)
		return bundles_key_port(BUNDLE_HAS_PORT, &b->port);
	if (b->has & BUNDLE_HAS_WILDCARD)
		return bundles_key_port(BUNDLE_HAS_WILDCARD, &b->port);
	if (b->has & BUNDLE_HAS_PRODUCT)
		return bundles_key_product(b->vendor, b->product);
	return bundles_key_pci(b->text[BUNDLE_PCI]);
}

static int
key_cmp(const void *va, const void *vb)
{
	const struct key *a = va, *b = vb;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->bundle < b->bundle ? -1 : a->bundle > b->bundle;
}

static void
make_keys(struct bundles *set)
{
	size_t i;

	set->keys = xcalloc(set->list->n, sizeof(*set->keys));
	for (i = 0; i < set->list->n; i++) {
		if (set->nodes[i].refused != NULL ||
		    set->list->bundles[i].has == 0 ||
		    set->list->bundles[i].wrong != NULL)
			continue;
		set->keys[set->nkeys].key = key_of(&set->list->bundles[i]);
		set->keys[set->nkeys++].bundle = (uint32_t)i;
	}
	if (set->nkeys > 0)
		qsort(set->keys, set->nkeys, sizeof(*set->keys), key_cmp);
}

/* Names */

static int
name_cmp(const void *va, const void *vb)
{
	const struct name *a = va, *b = vb;
	int c = strcasecmp(a->name, b->name);

	if (c != 0)
		return c;
	return a->bundle < b->bundle ? -1 : a->bundle > b->bundle;
}

static void
make_names(struct bundles *set)
{
	static const enum bundle_text which[] = { BUNDLE_LABEL, BUNDLE_LOGICAL,
		BUNDLE_GROUP };
	const char *text;
	size_t i, k;

	set->names = xcalloc(3 * set->list->n, sizeof(*set->names));
	for (i = 0; i < set->list->n; i++)
		for (k = 0; k < 3; k++) {
			text = set->list->bundles[i].text[which[k]];
			if (text[0] == '\0' || set->nodes[i].refused != NULL)
				continue;
			set->names[set->nnames].name = text;
			set->names[set->nnames++].bundle = (uint32_t)i;
		}
	if (set->nnames > 0)
		qsort(set->names, set->nnames, sizeof(*set->names), name_cmp);
}

/* The first of that name; they follow each other. */
static const struct name *
find_name(const struct bundles *set, const char *text)
{
	struct name key = { .name = text };
	size_t low = 0, high = set->nnames, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (name_cmp(&set->names[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->nnames ? &set->names[low] : NULL;
}

static int
is_name(const struct bundles *set, const struct name *at, const char *text)
{
	return at != NULL && at < set->names + set->nnames &&
	       strcasecmp(at->name, text) == 0;
}

/* Claims */

static void
claim(struct claims *claims, struct machine *machine)
{
	struct claim *last = STAILQ_LAST(claims, claim, entry), *c;

	if (last != NULL && last->machine == machine)
		return;
	c = xcalloc(1, sizeof(*c));
	c->machine = machine;
	STAILQ_INSERT_TAIL(claims, c, entry);
}

static void
unclaim(struct claims *claims)
{
	struct claim *c;

	while ((c = STAILQ_FIRST(claims)) != NULL) {
		STAILQ_REMOVE_HEAD(claims, entry);
		free(c);
	}
}

static void
drop_claims(struct bundles *set)
{
	size_t i;

	for (i = 0; i < set->list->n; i++)
		unclaim(&set->nodes[i].claims);
	for (i = 0; i < set->ngroups; i++)
		unclaim(&set->groups[i].claims);
}

/* Machine by machine, so that each list is in their order. */
static void
make_claims(struct bundles *set)
{
	struct machine *machine;
	const struct name *at;
	struct node *node;
	size_t i;

	drop_claims(set);
	TAILQ_FOREACH(machine, &set->machines, entry)
		for (i = 0; i < machine->nadapters; i++) {
			at = find_name(set, machine->adapters[i]);
			for (; is_name(set, at, machine->adapters[i]); at++) {
				node = &set->nodes[at->bundle];
				claim(&node->claims, machine);
				if (node->group != NULL)
					claim(&node->group->claims, machine);
			}
		}
}

/* The whole */

void
bundles_build(struct bundles *set)
{
	size_t i;

	set->nodes = xcalloc(set->list->n, sizeof(*set->nodes));
	make_groups(set);
	for (i = 0; i < set->list->n; i++) {
		STAILQ_INIT(&set->nodes[i].claims);
		set->nodes[i].controller =
		    is_controller(&set->list->bundles[i]);
		join_group(set, i);
	}
	make_keys(set);
	make_names(set);
	make_claims(set);
}

static void
drop_all(struct bundles *set)
{
	drop_claims(set);
	free(set->nodes);
	free(set->groups);
	free(set->keys);
	free(set->names);
	set->ngroups = set->nkeys = set->nnames = 0;
	bundle_list_free(set->list);
}

int
bundles_replace(struct bundles *set, struct bundle_list *list)
{
	if (bundle_list_same(set->list, list)) {
		bundle_list_free(list);
		return 0;
	}
	drop_all(set);
	set->list = list;
	bundles_build(set);
	return 1;
}

static void
machine_free(struct machine *machine)
{
	size_t i;

	for (i = 0; i < machine->nadapters; i++)
		free(machine->adapters[i]);
	free(machine->adapters);
	free(machine->name);
	free(machine);
}

void
bundles_free(struct bundles *set)
{
	struct machine *machine;

	if (set == NULL)
		return;
	drop_all(set);
	while ((machine = TAILQ_FIRST(&set->machines)) != NULL) {
		TAILQ_REMOVE(&set->machines, machine, entry);
		machine_free(machine);
	}
	free(set->matches);
	free(set->name);
	free(set);
}

/* What a bundle can lack that it looks as if it had it. */
static const char *
why_refused(const struct bundles *set, size_t i, char *buf, size_t size)
{
	const struct node *node = &set->nodes[i];
	const struct bundle *b = &set->list->bundles[i];

	if (node->refused != NULL)
		return node->refused;
	if (b->wrong != NULL) {
		snprintf(buf, size, "its address makes no sense: %s", b->wrong);
		return buf;
	}
	if (node->parent != NULL && node->parent->members == 0) {
		snprintf(buf, size,
		    "no bundle is in its parentassigngrp \"%.100s\"",
		    node->parent->name);
		return buf;
	}
	return NULL;
}

void
bundles_refused(const struct bundles *set,
    void (*cb)(const struct bundle *, const char *, void *), void *arg)
{
	const char *why;
	char buf[256];
	size_t i;

	for (i = 0; i < set->list->n; i++)
		if ((why = why_refused(set, i, buf, sizeof(buf))) != NULL)
			cb(&set->list->bundles[i], why, arg);
}

/* Machines */

static struct machine *
machine_find(const struct bundles *set, uint32_t vm)
{
	struct machine *machine;

	TAILQ_FOREACH(machine, &set->machines, entry)
		if (machine->vm == vm)
			return machine;
	return NULL;
}

static int
same_adapters(const struct machine *machine, char *const *adapters, size_t n)
{
	size_t i;

	if (machine->nadapters != n)
		return 0;
	for (i = 0; i < n; i++)
		if (strcmp(machine->adapters[i], adapters[i]) != 0)
			return 0;
	return 1;
}

/* By their names, so that nothing depends on who came first. */
static void
insert_machine(struct bundles *set, struct machine *machine)
{
	struct machine *at;

	TAILQ_FOREACH(at, &set->machines, entry)
		if (strcmp(machine->name, at->name) < 0) {
			TAILQ_INSERT_BEFORE(at, machine, entry);
			return;
		}
	TAILQ_INSERT_TAIL(&set->machines, machine, entry);
}

int
bundles_machine(struct bundles *set, uint32_t vm, const char *name,
    char *const *adapters, size_t n)
{
	struct machine *old = machine_find(set, vm), *machine;
	size_t i;

	if (old != NULL && strcmp(old->name, name) == 0 &&
	    same_adapters(old, adapters, n))
		return 0;
	machine = xcalloc(1, sizeof(*machine));
	machine->vm = vm;
	machine->name = xstrdup(name);
	machine->adapters = xcalloc(n, sizeof(*machine->adapters));
	for (i = 0; i < n; i++)
		machine->adapters[machine->nadapters++] = xstrdup(adapters[i]);
	if (old != NULL) {
		machine->up = old->up;
		machine->owns = old->owns;
		TAILQ_REMOVE(&set->machines, old, entry);
	}
	insert_machine(set, machine);
	make_claims(set);
	if (old != NULL)
		machine_free(old);
	return 1;
}

int
bundles_machine_gone(struct bundles *set, uint32_t vm)
{
	struct machine *machine = machine_find(set, vm);

	if (machine == NULL)
		return 0;
	TAILQ_REMOVE(&set->machines, machine, entry);
	make_claims(set);
	machine_free(machine);
	return 1;
}

int
bundles_machine_is(struct bundles *set, uint32_t vm, int up, int owns)
{
	struct machine *machine = machine_find(set, vm);

	if (machine == NULL || (machine->up == up && machine->owns == owns))
		return 0;
	machine->up = up;
	machine->owns = owns;
	return 1;
}

/* Names that people wrote */

/* How many letters to change; beyond limit any number above it. */
static unsigned int
distance(const char *a, const char *b)
{
	unsigned int row[65], up, left, i, k;
	size_t la = strlen(a), lb = strlen(b);

	if (la >= 64 || lb >= 64)
		return 64;
	for (k = 0; k <= lb; k++)
		row[k] = k;
	for (i = 1; i <= la; i++) {
		up = row[0];
		row[0] = i;
		for (k = 1; k <= lb; k++) {
			left = up + (strncasecmp(&a[i - 1], &b[k - 1], 1) != 0);
			up = row[k];
			if (row[k - 1] + 1 < left)
				left = row[k - 1] + 1;
			row[k] = up + 1 < left ? up + 1 : left;
		}
	}
	return row[lb];
}

static void
find_similar(
    const struct bundles *set, const char *text, struct bundles_named *named)
{
	unsigned int d, limit = (unsigned int)strlen(text) / 3 + 1;
	size_t i;

	for (i = 0; i < set->nnames; i++) {
		d = distance(text, set->names[i].name);
		if (d > limit ||
		    (named->similar[0] != '\0' && d >= named->distance))
			continue;
		named->distance = d;
		strlcpy(
		    named->similar, set->names[i].name, sizeof(named->similar));
	}
}

static int
same_group(const struct bundle *a, const struct bundle *b)
{
	return a == b ||
	       (a->text[BUNDLE_GROUP][0] != '\0' &&
		   strcmp(a->text[BUNDLE_GROUP], b->text[BUNDLE_GROUP]) == 0);
}

enum bundles_found
bundles_find(
    const struct bundles *set, const char *text, struct bundles_named *named)
{
	const struct name *at = find_name(set, text);
	const struct bundle *b;

	for (; is_name(set, at, text); at++) {
		b = &set->list->bundles[at->bundle];
		if (named->bundles++ == 0)
			named->first = b;
		else if (!same_group(named->first, b))
			named->other = b;
	}
	if (named->bundles == 0) {
		find_similar(set, text, named);
		return BUNDLES_NO_SUCH;
	}
	return named->other == NULL ? BUNDLES_ONE : BUNDLES_SEVERAL;
}

static void
describe(const struct bundle *b, char *buf, size_t n)
{
	snprintf(buf, n, "\"%.100s\" of assigngrp \"%.100s\"", bundle_name(b),
	    b->text[BUNDLE_GROUP]);
}

void
bundles_not_one(const char *vm, const char *adapter, enum bundles_found found,
    const struct bundles_named *named, char *buf, size_t n)
{
	char first[256], other[256];

	if (found == BUNDLES_SEVERAL) {
		describe(named->first, first, sizeof(first));
		describe(named->other, other, sizeof(other));
		snprintf(buf, n,
		    "vm \"%s\": adapter \"%s\" may be %s or %s: name one by "
		    "its phylabel",
		    vm, adapter, first, other);
	} else if (named->similar[0] != '\0')
		snprintf(buf, n,
		    "vm \"%s\": no phylabel, assigngrp or logicallabel is "
		    "\"%s\"; did you mean \"%s\"?",
		    vm, adapter, named->similar);
	else
		snprintf(buf, n,
		    "vm \"%s\": no phylabel, assigngrp or logicallabel is "
		    "\"%s\"",
		    vm, adapter);
}
