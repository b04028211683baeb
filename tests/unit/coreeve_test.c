/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * The engine's core with EVE's files: bundles, domains and devices come and
 * go by chance, machines take their time, and answers are under way.  When
 * all has come to rest each device must be where its bundles want it, and no
 * machine may be left that should not be there.
 */

#include <errno.h>
#include "bundles_world.h"
#include "core.h"

#define ROUNDS 3000
#define STEPS 60
#define DOMAINS 4
#define PLACES (sizeof(ports) / sizeof(ports[0]))
#define RUNNING 115
#define ASKS_MAX 256

struct ask {
	int detach;
	uint32_t vm;
	uint32_t request;
};

static struct {
	struct core *core;
	uint64_t now;
	struct bundle_list *bundles; /* as published, ours */
	struct {
		int there;
		int64_t state;
		const char *adapters[2];
		size_t n;
		uint32_t vm; /* that the core asked for, 0: none */
		int ready;
	} domains[DOMAINS];
	struct {
		int there;
		struct usbdev d;
	} devices[PLACES];
	uint16_t devnum;
	uint32_t last_vm;
	struct ask asks[ASKS_MAX];
	size_t nasks;
} w;

static void event(struct core_event *);

static struct bundle_list *
copy_list(const struct bundle_list *list)
{
	struct bundle_list *out = calloc(1, sizeof(*out));
	size_t i;
	int k;

	assert_non_null(out);
	for (i = 0; i < list->n; i++) {
		bundle_add(out);
		for (k = 0; k < BUNDLE_TEXTS; k++)
			bundle_set(&out->bundles[i], (enum bundle_text)k,
			    copy(list->bundles[i].text[k]));
		bundle_read(&out->bundles[i]);
	}
	return out;
}

/* What the core asks for */

static void
act(const struct core_action *a)
{
	unsigned int i;

	switch (a->type) {
	case ACT_ATTACH:
	case ACT_DETACH:
		assert_true(w.nasks < ASKS_MAX);
		w.asks[w.nasks++] =
		    (struct ask){ a->type == ACT_DETACH, a->vm, a->request };
		break;
	case ACT_VM_NEW:
		i = (unsigned int)(a->vmname[1] - '0');
		assert_true(i < DOMAINS);
		/* The parent insists on it. */
		assert_true(a->vm > w.last_vm);
		w.last_vm = a->vm;
		w.domains[i].vm = a->vm;
		w.domains[i].ready = 0;
		break;
	case ACT_VM_GONE:
		for (i = 0; i < DOMAINS; i++)
			if (w.domains[i].vm == a->vm)
				w.domains[i].vm = 0;
		break;
	case ACT_HOLD:
	case ACT_RELEASE:
		break;
	}
}

static void
event(struct core_event *ev)
{
	const struct core_action *actions;
	size_t i, n;

	ev->now = ++w.now;
	actions = core_event(w.core, ev, &n);
	for (i = 0; i < n; i++)
		act(&actions[i]);
}

/* What happens */

static void
publish_bundles(void)
{
	struct core_event ev = { .type = EV_EVE_ADAPTERS };

	bundle_list_free(w.bundles);
	w.bundles = random_list();
	ev.u.adapters = copy_list(w.bundles);
	event(&ev);
}

static void
publish_domain(unsigned int i)
{
	struct core_domain d = { .status = NULL };
	struct core_event ev = { .type = EV_EVE_DOMAIN, .u.domain = &d };
	size_t k;

	snprintf(d.key, sizeof(d.key), "key%u", i);
	w.domains[i].there = pick(5) > 0;
	if (!w.domains[i].there) {
		ev.type = EV_EVE_DOMAIN_GONE;
		event(&ev);
		return;
	}
	assert_non_null(d.status = calloc(1, sizeof(*d.status)));
	snprintf(d.status->name, sizeof(d.status->name), "m%u", i);
	d.status->state = w.domains[i].state = pick(3) ? RUNNING : RUNNING + 3;
	w.domains[i].n = pick(3);
	d.status->nadapters = w.domains[i].n;
	d.status->adapters = calloc(2, sizeof(char *));
	for (k = 0; k < w.domains[i].n; k++) {
		w.domains[i].adapters[k] = PICK(names);
		d.status->adapters[k] = copy(w.domains[i].adapters[k]);
	}
	event(&ev);
}

static void
plug(unsigned int i)
{
	struct core_event ev = { .type = EV_DEVICE,
		.u.device = &w.devices[i].d };
	struct msg_device_gone gone;
	const char *errstr;

	if (!w.devices[i].there) {
		w.devices[i].d = random_device();
		assert_int_equal(
		    usbport_parse(&w.devices[i].d.port, ports[i], &errstr), 0);
		w.devices[i].d.devnum = (uint16_t)(++w.devnum % 127 + 1);
	} else {
		memset(&gone, 0, sizeof(gone));
		gone.port = w.devices[i].d.port;
		gone.devnum = w.devices[i].d.devnum;
		ev.type = EV_DEVICE_GONE;
		ev.u.gone = &gone;
	}
	w.devices[i].there = !w.devices[i].there;
	event(&ev);
}

static void
answer(void)
{
	struct msg_result m;
	struct core_event ev = { .type = EV_RESULT, .u.result = &m };
	size_t i = pick((unsigned int)w.nasks);

	memset(&m, 0, sizeof(m));
	m.vm = w.asks[i].vm;
	m.request = w.asks[i].request;
	w.asks[i] = w.asks[--w.nasks];
	assert_int_equal(core_check_result(w.core, &m), 1);
	event(&ev);
}

static void
get_ready(unsigned int i)
{
	struct msg_vm_state m;
	struct core_event ev = { .type = EV_VM_STATE, .u.vm_state = &m };

	if (w.domains[i].vm == 0 || w.domains[i].ready)
		return;
	w.domains[i].ready = 1;
	memset(&m, 0, sizeof(m));
	m.vm = w.domains[i].vm;
	m.state = VM_READY;
	event(&ev);
}

/* All again, as after a directory was replaced. */
static void
publish_all(void)
{
	struct core_event ev = { .type = EV_EVE_BEGIN };
	unsigned int i;

	event(&ev);
	for (i = 0; i < DOMAINS; i++)
		if (pick(2))
			publish_domain(i);
		else
			w.domains[i].there = 0;
	publish_bundles();
	ev.type = EV_EVE_END;
	event(&ev);
}

static void
step(void)
{
	switch (pick(8)) {
	case 0:
		publish_bundles();
		break;
	case 1:
		publish_domain(pick(DOMAINS));
		break;
	case 2:
	case 3:
		plug(pick(PLACES));
		break;
	case 4:
		get_ready(pick(DOMAINS));
		break;
	case 5:
		if (pick(4) == 0)
			publish_all();
		break;
	default:
		if (w.nasks > 0)
			answer();
		break;
	}
}

static void
rest(void)
{
	unsigned int i, again;

	do {
		again = 0;
		while (w.nasks > 0) {
			answer();
			again = 1;
		}
		for (i = 0; i < DOMAINS; i++)
			if (w.domains[i].vm != 0 && !w.domains[i].ready) {
				get_ready(i);
				again = 1;
			}
	} while (again);
}

/* What must be so then */

static int
runs(unsigned int i)
{
	return w.domains[i].there && w.domains[i].state == RUNNING;
}

static void
check_device(const struct ctl_device *d, void *arg)
{
	struct bundles_answer a;
	struct bundles *set = arg;
	unsigned int i, number = 0;
	int entitled = 0;

	bundles_decide(set, &d->dev, &a);
	if (d->vm[0] != '\0')
		number = (unsigned int)(d->vm[1] - '0') + 1;
	for (i = 0; i < a.nvms; i++)
		entitled |= a.vms[i] == number;
	if (a.nvms > 0 && (d->state != DEV_ATTACHED || !entitled))
		fail_msg("a device is not where it should be: \"%s\" %s", d->vm,
		    d->reason);
	if (a.nvms == 0 && (number != 0 || d->state == DEV_ATTACHED))
		fail_msg("a device is in %s: %s", d->vm, d->reason);
	if (a.nvms == 0 && d->reason[0] == '\0')
		fail_msg("a device is held without a reason");
}

static void
check_vm(const struct ctl_vm *vm, void *arg)
{
	(void)arg;
	if (!runs((unsigned int)(vm->name[1] - '0')))
		fail_msg("machine %s is left", vm->name);
}

static void
check(void)
{
	struct bundles *set = bundles_new("eve");
	char *adapters[2], name[16];
	unsigned int i;
	size_t k;

	bundles_replace(set, copy_list(w.bundles));
	for (i = 0; i < DOMAINS; i++) {
		if (!w.domains[i].there)
			continue;
		for (k = 0; k < w.domains[i].n; k++)
			adapters[k] = copy(w.domains[i].adapters[k]);
		snprintf(name, sizeof(name), "m%u", i);
		bundles_machine(set, i + 1, name, adapters, w.domains[i].n);
		bundles_machine_is(set, i + 1, runs(i), runs(i));
		for (k = 0; k < w.domains[i].n; k++)
			free(adapters[k]);
	}
	core_devices(w.core, check_device, set);
	core_vms(w.core, check_vm, NULL);
	bundles_free(set);
}

static void
begin(void)
{
	struct core_event ev = { .type = EV_POLICY };
	struct msg_rule rule;
	struct msg_eve eve;

	memset(&w, 0, sizeof(w));
	memset(&eve, 0, sizeof(eve));
	eve.nstates = 1;
	eve.states[0] = RUNNING;
	memset(&rule, 0, sizeof(rule));
	rule.action = RULE_SOURCE;
	strlcpy(rule.where, "t:1", sizeof(rule.where));
	assert_non_null(w.core = core_new());
	assert_non_null(ev.u.policy = policy_new(0, 1));
	assert_null(policy_add_eve(ev.u.policy, &eve));
	assert_null(policy_add_rule(ev.u.policy, &rule));
	event(&ev);
	ev.type = EV_SCAN_DONE;
	event(&ev);
}

static void
end(void)
{
	core_free(w.core);
	bundle_list_free(w.bundles);
}

static void
devices_end_where_their_bundles_want_them(void **state)
{
	unsigned int round, i;

	(void)state;
	for (round = 0; round < ROUNDS; round++) {
		seed = round * 7919;
		begin();
		publish_all();
		for (i = 0; i < STEPS; i++) {
			step();
			if (pick(10) == 0) {
				rest();
				check();
			}
		}
		rest();
		check();
		end();
	}
}

/* Nothing is decided before all files were read once. */
static void
held(const struct ctl_device *d, void *arg)
{
	int *n = arg;

	++*n;
	assert_int_equal(d->state, DEV_HELD);
	assert_string_equal(d->reason, "the files of EVE were not read yet");
}

static void
devices_wait_for_the_files(void **state)
{
	struct core_event ev = { .type = EV_EVE_BEGIN };
	int n = 0;

	(void)state;
	begin();
	plug(0);
	core_devices(w.core, held, &n);
	event(&ev);
	publish_bundles();
	core_devices(w.core, held, &n);
	assert_int_equal(n, 2);
	end();
}

/* A device that no bundle speaks of, attached by hand to m0. */
static void
attach_by_hand(void)
{
	struct core_override o = { .command = OVERRIDE_ATTACH, .vm = "m0" };
	struct core_event ev = { .type = EV_OVERRIDE, .u.override = &o };

	begin();
	w.bundles = calloc(1, sizeof(*w.bundles));
	ev.type = EV_EVE_END;
	event(&ev);
	do
		publish_domain(0);
	while (!runs(0));
	get_ready(0);
	plug(0);
	o.port = w.devices[0].d.port;
	ev.type = EV_OVERRIDE;
	event(&ev);
	assert_int_equal(w.nasks, 1);
	answer();
}

static void
by_hand_only_while_the_domain_runs(void **state)
{
	(void)state;
	seed = 1;
	attach_by_hand();
	do
		publish_domain(0);
	while (runs(0));
	assert_int_equal(w.nasks, 1);
	assert_true(w.asks[0].detach);
	rest();
	check();
	plug(0);
	end();
}

/* Its machine has ended when the device goes. */
static void
by_hand_when_the_machine_ends(void **state)
{
	struct msg_vm_socket m = { .error = ECONNREFUSED, .ended = 1 };
	struct msg_vm_state lost = { .state = VM_LOST };
	struct core_event ev = { .type = EV_VM_STATE, .u.vm_state = &lost };

	(void)state;
	seed = 1;
	attach_by_hand();
	m.vm = lost.vm = w.domains[0].vm;
	event(&ev);
	ev.type = EV_VM_SOCKET;
	ev.u.vm_socket = &m;
	event(&ev);
	do
		publish_domain(0);
	while (runs(0));
	check();
	plug(0);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_hand_only_while_the_domain_runs),
		cmocka_unit_test(by_hand_when_the_machine_ends),
		cmocka_unit_test(devices_end_where_their_bundles_want_them),
		cmocka_unit_test(devices_wait_for_the_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
