/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Bundles against a second reading of the rules of docs/EVE.md, which looks
 * at all of them and has no index.
 */

#include <strings.h>
#include <time.h>

#include "bundles_world.h"

#define ROUNDS 20000
#define MACHINES 4

struct world {
	struct bundle_list *list;
	const char *names[MACHINES][3];
	size_t nnames[MACHINES];
	int up[MACHINES];
	int owns[MACHINES];
};

static struct bundles *
random_world(struct world *w)
{
	struct bundles *set = bundles_new("t");
	char *adapters[3], name[16];
	uint32_t i;
	size_t k;

	w->list = random_list();
	/* The empty list is what there was. */
	if (!bundles_replace(set, w->list))
		w->list = NULL;
	for (i = 0; i < MACHINES; i++) {
		w->nnames[i] = pick(4);
		for (k = 0; k < w->nnames[i]; k++) {
			w->names[i][k] = PICK(names);
			adapters[k] = copy(w->names[i][k]);
		}
		snprintf(name, sizeof(name), "m%u", i);
		bundles_machine(set, i + 1, name, adapters, w->nnames[i]);
		for (k = 0; k < w->nnames[i]; k++)
			free(adapters[k]);
		w->up[i] = pick(4) > 0;
		w->owns[i] = pick(4) == 0;
		bundles_machine_is(set, i + 1, w->up[i], w->owns[i]);
	}
	return set;
}

/* The second reading */

struct reading {
	const struct world *w;
	const struct usbdev *d;
	int refused[N];
};

static const char *
text(const struct reading *r, size_t i, enum bundle_text which)
{
	return r->w->list->bundles[i].text[which];
}

static size_t
count(const struct reading *r)
{
	return r->w->list == NULL ? 0 : r->w->list->n;
}

/* Of those up to and with the last one. */
static const char *
parent_of_group(const struct reading *r, const char *group, size_t last)
{
	size_t i;

	for (i = 0; i <= last && i < count(r); i++)
		if (!r->refused[i] &&
		    strcmp(text(r, i, BUNDLE_GROUP), group) == 0 &&
		    text(r, i, BUNDLE_PARENT)[0] != '\0')
			return text(r, i, BUNDLE_PARENT);
	return "";
}

static void
refuse(struct reading *r)
{
	const char *group, *up;
	size_t i;

	for (i = 0; i < count(r); i++) {
		r->refused[i] = 1; /* it counts for nothing meanwhile */
		group = text(r, i, BUNDLE_GROUP);
		up = text(r, i, BUNDLE_PARENT);
		while (up[0] != '\0' && strcmp(up, group) != 0)
			up = parent_of_group(r, up, i);
		r->refused[i] = up[0] != '\0';
	}
}

static int
says_yes(const struct reading *r, size_t i, unsigned int priority[2])
{
	const struct bundle *b = &r->w->list->bundles[i];
	const char *usbaddr = text(r, i, BUNDLE_USBADDR);
	char port[USBPORT_STRLEN];
	size_t len = strlen(usbaddr);

	priority[0] = priority[1] = 0;
	if (b->wrong != NULL || b->has == 0)
		return 0;
	usbport_string(&r->d->port, port);
	if (len > 0 && usbaddr[len - 1] == '*') {
		if (strncmp(usbaddr, port, len - 1) != 0)
			return 0;
		priority[0] = strcmp(usbaddr, "1:*") == 0 ? 1 : 2;
	} else if (len > 0) {
		if (strcmp(usbaddr, port) != 0)
			return 0;
		priority[0] = 10;
	}
	if (text(r, i, BUNDLE_USBPRODUCT)[0] != '\0') {
		if (r->d->product != text(r, i, BUNDLE_USBPRODUCT)[2] - '0')
			return 0;
		priority[1] = 1;
	}
	return text(r, i, BUNDLE_PCI)[0] == '\0' ||
	       strcmp(text(r, i, BUNDLE_PCI), r->d->controller) == 0;
}

static int
group_says_yes(
    const struct reading *r, const char *group, unsigned int priority[2])
{
	unsigned int p[2];
	size_t i;
	int members = 0, conditions = 0, yes = 0;

	priority[0] = priority[1] = 0;
	for (i = 0; i < count(r); i++) {
		if (r->refused[i] ||
		    strcmp(text(r, i, BUNDLE_GROUP), group) != 0)
			continue;
		members++;
		conditions += r->w->list->bundles[i].has != 0;
		if (!says_yes(r, i, p))
			continue;
		yes = 1;
		if (p[0] > priority[0] ||
		    (p[0] == priority[0] && p[1] > priority[1]))
			memcpy(priority, p, sizeof(p));
	}
	return members > 0 && (conditions == 0 || yes);
}

static int
all_say_yes(const struct reading *r, size_t i, unsigned int priority[2])
{
	const char *up = text(r, i, BUNDLE_PARENT);
	unsigned int p[2];

	if (r->refused[i] || !says_yes(r, i, priority))
		return 0;
	if (up[0] == '\0' && text(r, i, BUNDLE_GROUP)[0] != '\0')
		up = parent_of_group(r, text(r, i, BUNDLE_GROUP), count(r) - 1);
	for (; up[0] != '\0'; up = parent_of_group(r, up, count(r) - 1)) {
		if (!group_says_yes(r, up, p))
			return 0;
		priority[0] += p[0];
		priority[1] += p[1];
	}
	return 1;
}

/* 2: names it; 1: has it with its group; 0: has it not. */
static int
has(const struct reading *r, unsigned int m, size_t i)
{
	const char *group = text(r, i, BUNDLE_GROUP);
	size_t k, j;
	int with_group = 0;

	for (k = 0; k < r->w->nnames[m]; k++)
		for (j = 0; j < count(r); j++) {
			if (r->refused[j] ||
			    (strcasecmp(text(r, j, BUNDLE_LABEL),
				 r->w->names[m][k]) != 0 &&
				strcasecmp(text(r, j, BUNDLE_GROUP),
				    r->w->names[m][k]) != 0))
				continue;
			if (j == i)
				return 2;
			with_group |=
			    group[0] != '\0' &&
			    strcmp(text(r, j, BUNDLE_GROUP), group) == 0;
		}
	return with_group;
}

static int
is_controller(const struct reading *r, size_t i)
{
	return text(r, i, BUNDLE_PCI)[0] != '\0' &&
	       text(r, i, BUNDLE_USBADDR)[0] == '\0' &&
	       text(r, i, BUNDLE_USBPRODUCT)[0] == '\0' &&
	       text(r, i, BUNDLE_PARENT)[0] == '\0';
}

static int
is_forbidden(const struct reading *r)
{
	unsigned int m;
	size_t i;

	for (i = 0; i < count(r); i++)
		for (m = 0; m < MACHINES; m++)
			if (!r->refused[i] && is_controller(r, i) &&
			    strcmp(text(r, i, BUNDLE_PCI), r->d->controller) ==
				0 &&
			    r->w->owns[m] && has(r, m, i))
				return 1;
	return 0;
}

static void
entitle(unsigned int m, uint32_t vms[], unsigned int *n)
{
	unsigned int i;

	for (i = 0; i < *n; i++)
		if (vms[i] == m + 1)
			return;
	vms[(*n)++] = m + 1;
}

static unsigned int
entitled(const struct reading *r, uint32_t vms[MACHINES])
{
	unsigned int best[2] = { 0, 0 }, p[2], m, n = 0;
	int how, c;
	size_t i;

	for (i = 0; i < count(r); i++) {
		if (is_controller(r, i) || !all_say_yes(r, i, p) ||
		    (p[0] == 0 && p[1] == 0))
			continue;
		how = 0;
		for (m = 0; m < MACHINES; m++)
			if (r->w->up[m] && has(r, m, i) > how)
				how = has(r, m, i);
		c = p[0] != best[0]   ? (p[0] > best[0] ? 1 : -1)
		    : p[1] != best[1] ? (p[1] > best[1] ? 1 : -1)
				      : 0;
		if (how == 0 || c < 0)
			continue;
		if (c > 0)
			n = 0;
		memcpy(best, p, sizeof(p));
		for (m = 0; m < MACHINES; m++)
			if (r->w->up[m] && has(r, m, i) == how)
				entitle(m, vms, &n);
	}
	return n;
}

/* Tests */

static void
index_finds_what_a_walk_finds(void **state)
{
	unsigned int round, n, i, verdicts[3] = { 0, 0, 0 };
	struct bundles_answer a;
	uint32_t vms[MACHINES];
	struct bundles *set;
	struct reading r;
	struct usbdev d;
	struct world w;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		seed = round;
		memset(&w, 0, sizeof(w));
		set = random_world(&w);
		d = random_device();
		memset(&r, 0, sizeof(r));
		r.w = &w;
		r.d = &d;
		refuse(&r);
		bundles_decide(set, &d, &a);
		verdicts[a.verdict]++;
		n = entitled(&r, vms);
		if (is_forbidden(&r) != (a.verdict == BUNDLES_FORBID))
			fail_msg("round %u: forbidden or not", round);
		if (a.verdict != BUNDLES_FORBID && n != a.nvms)
			fail_msg(
			    "round %u: %u machines, not %u", round, a.nvms, n);
		for (i = 0; i < a.nvms; i++)
			if (a.vms[i] != vms[i])
				fail_msg("round %u: machine %u, not %u", round,
				    a.vms[i], vms[i]);
		bundles_free(set);
	}
	print_message("nothing %u, pass %u, forbid %u\n", verdicts[0],
	    verdicts[1], verdicts[2]);
	/* Each happens often enough to be worth something. */
	for (i = 0; i < 3; i++)
		assert_true(verdicts[i] > ROUNDS / 200);
}

static void
order_of_machines_does_not_count(void **state)
{
	char a1[] = "P9", *adapters[] = { a1 };
	struct bundles_answer one, other;
	struct bundle_list *list;
	struct bundles *set;
	struct usbdev d;
	int i;

	(void)state;
	memset(&d, 0, sizeof(d));
	d.port.busnum = 3;
	d.port.depth = 1;
	d.port.chain[0] = 9;
	for (i = 0; i < 2; i++) {
		set = bundles_new("t");
		assert_non_null(list = calloc(1, sizeof(*list)));
		bundle_set(bundle_add(list), BUNDLE_LABEL, copy("P9"));
		bundle_set(&list->bundles[0], BUNDLE_USBADDR, copy("3:9"));
		bundle_read(&list->bundles[0]);
		if (i == 0)
			bundles_replace(set, list);
		bundles_machine(set, 1, i == 0 ? "a" : "b", adapters, 1);
		bundles_machine(set, 2, i == 0 ? "b" : "a", adapters, 1);
		if (i == 1)
			bundles_replace(set, list);
		bundles_machine_is(set, 1, 1, 0);
		bundles_machine_is(set, 2, 1, 0);
		bundles_decide(set, &d, i == 0 ? &one : &other);
		bundles_free(set);
	}
	assert_int_equal(one.nvms, 2);
	assert_int_equal(one.vms[0], 1);
	assert_int_equal(other.vms[0], 2);
}

static struct bundles *
many(unsigned int n)
{
	struct bundle_list *list = calloc(1, sizeof(*list));
	struct bundles *set = bundles_new("t");
	struct bundle *b;
	char buf[64];
	unsigned int i;

	assert_non_null(list);
	for (i = 0; i < n; i++) {
		b = bundle_add(list);
		snprintf(buf, sizeof(buf), "%u:%u.%u", i / 60000 + 1,
		    i % 250 + 1, i / 250 % 240 + 1);
		bundle_set(b, BUNDLE_LABEL, copy(buf));
		bundle_set(b, BUNDLE_USBADDR, copy(buf));
		bundle_set(b, BUNDLE_PARENT, copy("C"));
		bundle_read(b);
	}
	b = bundle_add(list);
	bundle_set(b, BUNDLE_GROUP, copy("C"));
	bundle_set(b, BUNDLE_PCI, copy("00:14.0"));
	bundle_read(b);
	bundles_replace(set, list);
	return set;
}

static double
seconds_of(struct bundles *set)
{
	struct bundles_answer a;
	struct timespec t[2];
	struct usbdev d;
	int i;

	memset(&d, 0, sizeof(d));
	d.port.busnum = 1;
	d.port.depth = 2;
	d.port.chain[0] = d.port.chain[1] = 1;
	strlcpy(d.controller, "00:14.0", sizeof(d.controller));
	clock_gettime(CLOCK_MONOTONIC, &t[0]);
	for (i = 0; i < 20000; i++)
		bundles_decide(set, &d, &a);
	clock_gettime(CLOCK_MONOTONIC, &t[1]);
	assert_int_equal(a.concerned, 1);
	return (double)(t[1].tv_sec - t[0].tv_sec) +
	       (double)(t[1].tv_nsec - t[0].tv_nsec) / 1e9;
}

/* A walk would take a thousand times as long. */
static void
many_bundles_cost_nothing(void **state)
{
	struct bundles *few = many(10), *lots = many(20000);
	double seconds_few = seconds_of(few), seconds_lots = seconds_of(lots);

	(void)state;
	print_message("decision: %.0f ns of 10, %.0f ns of 20000 bundles\n",
	    seconds_few / 20000 * 1e9, seconds_lots / 20000 * 1e9);
	assert_true(seconds_lots < 20 * seconds_few + 0.02);
	bundles_free(few);
	bundles_free(lots);
}

static void
deep_groups_end(void **state)
{
	struct bundle_list *list = calloc(1, sizeof(*list));
	struct bundles *set = bundles_new("t");
	struct bundles_answer a;
	struct bundle *b;
	struct usbdev d;
	char buf[16];
	int i;

	(void)state;
	assert_non_null(list);
	for (i = 0; i < 10000; i++) {
		b = bundle_add(list);
		snprintf(buf, sizeof(buf), "%d", i);
		bundle_set(b, BUNDLE_GROUP, copy(buf));
		snprintf(buf, sizeof(buf), "%d", (i + 1) % 10000);
		bundle_set(b, BUNDLE_PARENT, copy(buf));
		bundle_set(b, BUNDLE_USBPRODUCT, copy("1:1"));
		bundle_read(b);
	}
	bundles_replace(set, list);
	memset(&d, 0, sizeof(d));
	d.vendor = d.product = 1;
	bundles_decide(set, &d, &a);
	assert_int_equal(a.verdict, BUNDLES_NOTHING);
	bundles_free(set);
}

static void
too_many_bundles(void **state)
{
	struct bundle_list *list = calloc(1, sizeof(*list));
	int i;

	(void)state;
	assert_non_null(list);
	for (i = 0; i < BUNDLES_MAX; i++)
		assert_non_null(bundle_add(list));
	assert_null(bundle_add(list));
	bundle_list_free(list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index_finds_what_a_walk_finds),
		cmocka_unit_test(order_of_machines_does_not_count),
		cmocka_unit_test(many_bundles_cost_nothing),
		cmocka_unit_test(deep_groups_end),
		cmocka_unit_test(too_many_bundles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
