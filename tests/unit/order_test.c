/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Random devices, machines and policies.  The same things told to the core
 * in different orders must end in the same state, and in that of a core that
 * was only told how all ended.  And what the index finds must be what a walk
 * over all rules finds, with its own idea of what matches.
 *
 * A round depends on its seed alone: USBMGRD_SEED runs the one that failed.
 */

#include <sys/random.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "classes.h"
#include "core.h"

#define ROUNDS 10000
#define RULES_MAX 12
#define DECISIONS 8 /* devices that are judged in a round */
#define NVMS 3
#define NPORTS 7
#define NEWS_MAX 64
#define REST_MAX 1000 /* answers until all is at rest */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Few values, so that rules and devices meet. */
static const char *const ports[NPORTS] = { "1:1", "1:1.2", "1:1.2.3", "1:2",
	"2:1", "2:1.2", "2:4" };
static const char *const peers[] = { "2:1", "2:1.2", "2:4", "1:1", "1:1.2",
	"1:2" };
static const char *const hubs[] = { "1:1", "1:1.2", "2:1" };
static const uint16_t vendors[] = { 0x046d, 0x0781 };
static const uint16_t products[] = { 0xc077, 0x5567 };
static const char *const texts[] = { "", "A1", "B1" };
static const char *const patterns[] = { "", "A1", "B1", "A*", "?1", "[!A]*",
	"*" };
static const char *const controllers[] = { "", "0000:00:14.0", "0000:00:1d.0" };
static const struct usbclass classes[] = { { 3, 1, 1 }, { 3, 1, 2 },
	{ 8, 6, 80 }, { 255, 0, 0 } };

static uint64_t seed, random_state;

static uint32_t
chance(uint32_t n)
{
	/* xorshift64* (G. Marsaglia, S. Vigna) */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 32) % n;
}

#define PICK(a) ((a)[chance(COUNT(a))])

static struct usbport
mkport(const char *s)
{
	struct usbport port;
	const char *errstr;

	assert_int_equal(usbport_parse(&port, s, &errstr), 0);
	return port;
}

/* Things of chance */

static struct usbdev
random_device(const char *port)
{
	struct usbdev d;
	uint32_t n;

	memset(&d, 0, sizeof(d));
	d.port = mkport(port);
	if (chance(2) == 0)
		d.peer = mkport(PICK(peers));
	d.devnum = (uint16_t)(1 + chance(127));
	d.vendor = PICK(vendors);
	d.product = PICK(products);
	d.speed = (uint8_t)(chance(4) == 0 ? USB_SPEED_SUPER : USB_SPEED_FULL);
	for (n = chance(3); n > 0; n--)
		usbdev_add_interface(&d, &PICK(classes));
	if (chance(20) == 0)
		d.class.class = USB_CLASS_HUB;
	strlcpy(d.serial, PICK(texts), sizeof(d.serial));
	strlcpy(d.name, PICK(texts), sizeof(d.name));
	strlcpy(d.manufacturer, PICK(texts), sizeof(d.manufacturer));
	strlcpy(d.controller, PICK(controllers), sizeof(d.controller));
	strlcpy(d.busy, chance(8) == 0 ? "sda" : "", sizeof(d.busy));
	strlcpy(d.netif, chance(10) == 0 ? "eth0" : "", sizeof(d.netif));
	assert_null(usbdev_check(&d));
	return d;
}

static void
random_place(struct msg_rule *r)
{
	if (chance(3) == 0) {
		r->has |= RULE_HAS_PORT;
		r->port = mkport(ports[chance(NPORTS)]);
	}
	if (chance(6) == 0) {
		r->has |= RULE_HAS_BELOW;
		r->below = mkport(PICK(hubs));
	}
	if (chance(6) == 0) {
		r->has |= RULE_HAS_CONTROLLER;
		strlcpy(r->controller, controllers[1 + chance(2)],
		    sizeof(r->controller));
		if (chance(2) == 0)
			r->port.busnum = 0;
	}
	if ((r->has & RULE_HAS_PORT) == 0)
		memset(&r->port, 0, sizeof(r->port));
}

static void
random_identity(struct msg_rule *r)
{
	if (chance(3) == 0) {
		r->has |= RULE_HAS_VENDOR;
		r->vendor = PICK(vendors);
	}
	if (chance(3) == 0) {
		r->has |= RULE_HAS_PRODUCT;
		r->product = PICK(products);
	}
	if (chance(6) == 0) {
		r->has |= RULE_HAS_CLASS;
		r->class = PICK(classes);
		r->class_parts = (uint8_t)(1 + chance(3));
	}
	if (chance(8) == 0) {
		r->has |= RULE_HAS_SPEED;
		r->speed = USB_SPEED_SUPER;
	}
}

static void
random_text(struct policy *p, struct msg_rule *r, uint32_t bit)
{
	struct msg_rule_text m;

	if (chance(8) != 0)
		return;
	memset(&m, 0, sizeof(m));
	m.what = bit;
	strlcpy(m.text, PICK(patterns), sizeof(m.text));
	r->has |= bit;
	assert_null(policy_add_text(p, &m));
}

static uint64_t
random_pledge(void)
{
	if (chance(4) != 0)
		return 0;
	return class_word_bit("hid") |
	       (chance(2) == 0 ? class_word_bit("storage") : 0);
}

static void
random_rule(struct policy *p, int lists)
{
	struct msg_rule r;
	uint32_t first = chance(NVMS);

	memset(&r, 0, sizeof(r));
	r.action = chance(4) == 0 ? RULE_BLOCK : RULE_PASS;
	r.flags = (chance(6) == 0 ? RULE_QUICK : 0) |
		  (chance(4) == 0 ? RULE_EVEN_IF_BUSY : 0);
	if (r.action == RULE_PASS) {
		r.nvms = (uint16_t)(lists ? 1 + chance(NVMS) : 1);
		for (uint32_t i = 0; i < r.nvms; i++)
			r.vms[i] = 1 + (first + i) % NVMS;
		r.pledge = random_pledge();
	}
	random_place(&r);
	random_identity(&r);
	random_text(p, &r, RULE_HAS_SERIAL);
	random_text(p, &r, RULE_HAS_NAME);
	random_text(p, &r, RULE_HAS_MANUFACTURER);
	snprintf(r.where, sizeof(r.where), "t:%zu", p->nrules + 1);
	assert_null(policy_add_rule(p, &r));
}

static struct policy *
random_policy(int lists)
{
	uint32_t i, n = chance(RULES_MAX + 1);
	struct policy *p = policy_new(NVMS, n);
	struct msg_vm vm;

	assert_non_null(p);
	for (i = 0; i < NVMS; i++) {
		memset(&vm, 0, sizeof(vm));
		vm.vm = i + 1;
		vm.name[0] = (char)('a' + i);
		vm.pledge = random_pledge();
		assert_null(policy_add_vm(p, &vm));
	}
	while (n-- > 0)
		random_rule(p, lists);
	return p;
}

/* A walk over all rules */

static int
same_chain(const struct usbport *a, const struct usbport *b)
{
	return a->depth == b->depth &&
	       memcmp(a->chain, b->chain, a->depth) == 0;
}

static int
at_port(const struct msg_rule *r, const struct usbport *port)
{
	return same_chain(&r->port, port) &&
	       (r->port.busnum == 0 || r->port.busnum == port->busnum);
}

static int
below(const struct msg_rule *r, const struct usbport *port)
{
	unsigned int i;

	if (r->below.busnum != port->busnum || r->below.depth >= port->depth)
		return 0;
	for (i = 0; i < r->below.depth; i++)
		if (r->below.chain[i] != port->chain[i])
			return 0;
	return 1;
}

static int
texts_match(const struct rule *rule, const struct usbdev *d)
{
	const char *values[TEXT_MAX] = { [TEXT_SERIAL] = d->serial,
		[TEXT_NAME] = d->name,
		[TEXT_MANUFACTURER] = d->manufacturer };
	unsigned int i;

	for (i = 0; i < TEXT_MAX; i++)
		if (rule->text[i] != NULL &&
		    fnmatch(rule->text[i], values[i], 0) != 0)
			return 0;
	return 1;
}

static int
class_matches(const struct msg_rule *r, const struct usbdev *d)
{
	unsigned int i;

	for (i = 0; i < d->ninterfaces; i++)
		if (memcmp(&r->class, &d->interfaces[i], r->class_parts) == 0)
			return 1;
	return 0;
}

static int
is_it(const struct rule *rule, const struct usbdev *d)
{
	const struct msg_rule *r = &rule->msg;

	return (!(r->has & RULE_HAS_VENDOR) || r->vendor == d->vendor) &&
	       (!(r->has & RULE_HAS_PRODUCT) || r->product == d->product) &&
	       (!(r->has & RULE_HAS_SPEED) || r->speed == d->speed) &&
	       (!(r->has & RULE_HAS_CLASS) || class_matches(r, d)) &&
	       (!(r->has & RULE_HAS_CONTROLLER) ||
		   strcmp(r->controller, d->controller) == 0) &&
	       texts_match(rule, d);
}

static int
is_there(const struct msg_rule *r, const struct usbport *port)
{
	return (!(r->has & RULE_HAS_PORT) || at_port(r, port)) &&
	       (!(r->has & RULE_HAS_BELOW) || below(r, port));
}

/* Does any rule name the port of the device, or a hub above it? */
static void
named(const struct policy *p, const struct usbdev *d, int *port, int *hub)
{
	const struct msg_rule *r;
	size_t i;

	*port = *hub = 0;
	for (i = 0; i < p->nrules; i++) {
		r = &p->rules[i].msg;
		if ((r->has & RULE_HAS_PORT) && at_port(r, &d->port) &&
		    (r->port.busnum != 0 ||
			strcmp(r->controller, d->controller) == 0))
			*port = 1;
		if ((r->has & RULE_HAS_BELOW) && below(r, &d->port))
			*hub = 1;
	}
}

static int
by_companion(const struct msg_rule *r, const struct usbdev *d, int port_named,
    int hub_named)
{
	if (d->peer.busnum == 0 || !is_there(r, &d->peer) || port_named)
		return 0;
	return !((r->has & RULE_HAS_BELOW) && hub_named);
}

static struct policy_match
walk(const struct policy *p, const struct usbdev *d)
{
	struct policy_match match = { NULL, 0, 0 };
	const struct rule *rule;
	int here, port_named, hub_named;
	size_t i;

	named(p, d, &port_named, &hub_named);
	for (i = 0; i < p->nrules; i++) {
		rule = &p->rules[i];
		if (!is_it(rule, d))
			continue;
		here = is_there(&rule->msg, &d->port);
		if (!here &&
		    !by_companion(&rule->msg, d, port_named, hub_named))
			continue;
		match.rule = &rule->msg;
		match.companion = !here;
		if (rule->msg.flags & RULE_QUICK)
			break;
	}
	return match;
}

static void
decisions(void)
{
	struct policy *p = random_policy(1);
	struct policy_match want, got;
	struct usbdev d;
	int i;

	assert_int_equal(policy_finish(p), 0);
	for (i = 0; i < DECISIONS; i++) {
		d = random_device(ports[chance(NPORTS)]);
		want = walk(p, &d);
		got = policy_decide(p, &d);
		assert_string_equal(got.rule == NULL ? "none" : got.rule->where,
		    want.rule == NULL ? "none" : want.rule->where);
		assert_int_equal(got.companion, want.companion);
	}
	policy_free(p);
}

/* One story, told in different orders */

/* Where each of these has its own order of news. */
enum teller {
	TELL_POLICY = NPORTS + NVMS,
	TELLERS
};

struct news {
	enum core_event_type type;
	struct usbdev device; /* also of a device that goes */
	uint32_t vm;
	enum vm_state state;
	uint64_t policy; /* chance to make it from */
	int last; /* this teller says no more */
};

struct story {
	struct news news[TELLERS][NEWS_MAX];
	size_t n[TELLERS];
	int lists;
};

static struct news *
tell(struct story *s, unsigned int teller, enum core_event_type type)
{
	struct news *news;

	assert_true(s->n[teller] < NEWS_MAX);
	news = &s->news[teller][s->n[teller]++];
	memset(news, 0, sizeof(*news));
	news->type = type;
	return news;
}

/*
 * Plugged, unplugged, changed, replaced.  A number is not used twice; as long
 * as it stays the speed does, too.
 */
static void
make_port_story(struct story *s, unsigned int port)
{
	struct usbdev now = { 0 }, before;
	uint16_t devnum = (uint16_t)(1 + port);
	uint32_t steps = chance(5);
	int plugged = 0;

	for (; steps > 0; steps--) {
		if (plugged && chance(3) == 0) {
			tell(s, port, EV_DEVICE_GONE)->device = now;
			plugged = 0;
			continue;
		}
		before = now;
		now = random_device(ports[port]);
		if (plugged && chance(2) == 0)
			now.speed = before.speed;
		else
			devnum = (uint16_t)(devnum + NPORTS);
		now.devnum = devnum;
		tell(s, port, EV_DEVICE)->device = now;
		plugged = 1;
	}
}

static void
make_vm_story(struct story *s, unsigned int i)
{
	static const enum vm_state states[] = { VM_READY, VM_ABSENT, VM_READY,
		VM_LOST, VM_CONNECTING, VM_GREETING };
	uint32_t steps = chance(5);
	struct news *news;

	for (; steps > 0; steps--) {
		news = tell(s, NPORTS + i, EV_VM_STATE);
		news->vm = i + 1;
		/* While it hangs, where its devices are depends on the past. */
		news->state = steps > 1        ? PICK(states)
			      : chance(2) == 0 ? VM_READY
					       : VM_ABSENT;
	}
}

static void
make_story(struct story *s)
{
	unsigned int i;

	memset(s->n, 0, sizeof(s->n));
	s->lists = chance(4) == 0;
	for (i = 0; i < NPORTS; i++)
		make_port_story(s, i);
	for (i = 0; i < NVMS; i++)
		make_vm_story(s, i);
	for (i = 1 + chance(3); i > 0; i--)
		tell(s, TELL_POLICY, EV_POLICY)->policy =
		    ((uint64_t)chance(UINT32_MAX) << 32) | 1;
}

static struct policy *
policy_of(const struct story *s, const struct news *news)
{
	uint64_t keep = random_state;
	struct policy *p;

	random_state = news->policy;
	p = random_policy(s->lists);
	random_state = keep;
	return p;
}

/* A core, and what it waits for. */
struct world {
	struct core *core;
	int lists;
	struct core_action asked[NEWS_MAX * 16];
	size_t nasked;
	uint64_t now;
};

static void
give(struct world *w, struct core_event *ev)
{
	const struct core_action *actions;
	size_t i, n;

	ev->now = ++w->now;
	actions = core_event(w->core, ev, &n);
	for (i = 0; i < n; i++)
		if (actions[i].type != ACT_HOLD) {
			assert_true(w->nasked < COUNT(w->asked));
			w->asked[w->nasked++] = actions[i];
		}
}

/*
 * One machine cannot have fast devices at all: the same in any order, but
 * for lists, where another one may have the device.
 */
static void
answer(struct world *w, size_t which)
{
	struct core_action a = w->asked[which];
	struct msg_result m;
	struct core_event ev = { .type = EV_RESULT, .u.result = &m };

	w->nasked--;
	memmove(&w->asked[which], &w->asked[which + 1],
	    (w->nasked - which) * sizeof(a));
	memset(&m, 0, sizeof(m));
	m.request = a.request;
	m.vm = a.vm;
	if (!w->lists && a.type == ACT_ATTACH && a.vm == 2 &&
	    a.speed == USB_SPEED_SUPER)
		m.result = RESULT_SPEED;
	give(w, &ev);
}

/* Who lost its connection answers nothing any more. */
static void
forget(struct world *w, uint32_t vm)
{
	size_t i, n = 0;

	for (i = 0; i < w->nasked; i++)
		if (w->asked[i].vm != vm)
			w->asked[n++] = w->asked[i];
	w->nasked = n;
}

static void
hear(struct world *w, const struct story *s, const struct news *news)
{
	struct msg_device_gone gone;
	struct msg_vm_state state;
	struct core_event ev = { .type = news->type };

	memset(&gone, 0, sizeof(gone));
	memset(&state, 0, sizeof(state));
	if (news->type == EV_DEVICE) {
		ev.u.device = &news->device;
	} else if (news->type == EV_DEVICE_GONE) {
		gone.port = news->device.port;
		gone.devnum = news->device.devnum;
		ev.u.gone = &gone;
	} else if (news->type == EV_VM_STATE) {
		state.vm = news->vm;
		state.state = news->state;
		ev.u.vm_state = &state;
		if (news->state != VM_READY)
			forget(w, news->vm);
	} else
		ev.u.policy = policy_of(s, news);
	give(w, &ev);
}

static void
rest(struct world *w)
{
	int i;

	for (i = 0; w->nasked > 0; i++) {
		assert_true(i < REST_MAX);
		answer(w, chance((uint32_t)w->nasked));
	}
}

static void
world_start(struct world *w, const struct story *s)
{
	struct msg_vm_state state = { 0 };
	struct core_event absent = { .type = EV_VM_STATE,
		.u.vm_state = &state };
	struct core_event scan = { .type = EV_SCAN_DONE };

	memset(w, 0, sizeof(*w));
	w->lists = s->lists;
	assert_non_null(w->core = core_new());
	/* Machines are known from the first policy on, and were heard of. */
	hear(w, s, &s->news[TELL_POLICY][0]);
	for (uint32_t i = 1; i <= NVMS; i++) {
		state.vm = i;
		state.state = VM_ABSENT;
		give(w, &absent);
	}
	give(w, &scan);
}

/* All news in an order of chance, answers in between. */
static void
live(struct world *w, const struct story *s)
{
	size_t said[TELLERS] = { [TELL_POLICY] = 1 };
	unsigned int teller, left = 0, i;

	world_start(w, s);
	for (i = 0; i < TELLERS; i++)
		left += (unsigned int)(s->n[i] - said[i]);
	while (left > 0) {
		if (w->nasked > 0 && chance(2) == 0) {
			answer(w, chance((uint32_t)w->nasked));
			continue;
		}
		teller = chance(TELLERS);
		if (said[teller] == s->n[teller])
			continue;
		hear(w, s, &s->news[teller][said[teller]++]);
		left--;
	}
	rest(w);
}

/* Only how all ended. */
static void
live_shortly(struct world *w, const struct story *s)
{
	static const unsigned int order[] = { TELL_POLICY, 7, 8, 9, 0, 1, 2, 3,
		4, 5, 6 };
	const struct news *news;
	unsigned int i;

	world_start(w, s);
	for (i = 0; i < COUNT(order); i++) {
		if (s->n[order[i]] == 0)
			continue;
		news = &s->news[order[i]][s->n[order[i]] - 1];
		if (news->type != EV_DEVICE_GONE)
			hear(w, s, news);
	}
	rest(w);
}

/* How it ended */

struct end {
	char text[16384];
	int lists;
};

/* With lists: where it is depends on what was before, but not whether. */
static void
write_device(const struct ctl_device *d, void *arg)
{
	struct end *end = arg;
	char port[USBPORT_STRLEN];
	size_t len = strlen(end->text);
	int attached = d->vm[0] != '\0';

	snprintf(end->text + len, sizeof(end->text) - len,
	    "%s/%u: %u %s %s %s\n", usbport_string(&d->dev.port, port),
	    d->dev.devnum, end->lists && attached ? 0 : d->state,
	    end->lists && attached ? "in some machine" : d->vm, d->rule,
	    end->lists ? "" : d->reason);
}

static void
write_vm(const struct ctl_vm *vm, void *arg)
{
	struct end *end = arg;
	size_t len = strlen(end->text);

	snprintf(end->text + len, sizeof(end->text) - len, "%s: %u %u\n",
	    vm->name, vm->state, end->lists ? 0 : vm->devices);
}

static void
world_end(struct world *w, const struct story *s, struct end *end)
{
	memset(end, 0, sizeof(*end));
	end->lists = s->lists;
	core_devices(w->core, write_device, end);
	core_vms(w->core, write_vm, end);
	core_free(w->core);
}

static void
orders(void)
{
	static struct story s;
	static struct world w;
	static struct end ends[3];

	make_story(&s);
	live(&w, &s);
	world_end(&w, &s, &ends[0]);
	live(&w, &s);
	world_end(&w, &s, &ends[1]);
	live_shortly(&w, &s);
	world_end(&w, &s, &ends[2]);
	assert_string_equal(ends[0].text, ends[1].text);
	assert_string_equal(ends[0].text, ends[2].text);
}

static void
rounds(void (*round)(void))
{
	const char *fixed = getenv("USBMGRD_SEED");
	uint64_t first;
	int i;

	if (fixed != NULL)
		first = strtoull(fixed, NULL, 0);
	else if (getrandom(&first, sizeof(first), 0) != sizeof(first))
		fail_msg("getrandom");
	print_message("first USBMGRD_SEED=%" PRIu64 "\n", first);
	for (i = 0; i < (fixed != NULL ? 1 : ROUNDS); i++) {
		seed = first + (uint64_t)i;
		/* Neighbours have little in common, and none is 0. */
		random_state = (seed * 0x9e3779b97f4a7c15ULL) | 1;
		(void)chance(2);
		round();
	}
}

static void
test_decisions(void **state)
{
	(void)state;
	rounds(decisions);
}

static void
test_orders(void **state)
{
	(void)state;
	rounds(orders);
}

/* Also after an assertion that failed. */
static int
say_seed(void **state)
{
	(void)state;
	print_message("last USBMGRD_SEED=%" PRIu64 "\n", seed);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_decisions, say_seed),
		cmocka_unit_test_teardown(test_orders, say_seed),
	};

	return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
