/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * What a decision costs with few and with many rules, and what an event costs
 * with few and with many devices plugged: both should be the same.
 */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "core.h"

#define SECONDS 0.5
#define DEVICES 1000
#define PORTS 250 /* of a hub */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct usbdev devices[DEVICES];
static struct core *core;
static uint64_t now;

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct usbport
mkport(size_t n)
{
	struct usbport port;

	memset(&port, 0, sizeof(port));
	port.busnum = (uint16_t)(1 + n / PORTS / PORTS % USB_BUSNUM_MAX);
	port.depth = 2;
	port.chain[0] = (uint8_t)(1 + n / PORTS % PORTS);
	port.chain[1] = (uint8_t)(1 + n % PORTS);
	return port;
}

static void
make_devices(void)
{
	static const struct usbclass storage = { 8, 6, 80 };
	struct usbdev *d;
	size_t i;

	for (i = 0; i < DEVICES; i++) {
		d = &devices[i];
		d->port = mkport(i);
		d->devnum = (uint16_t)(1 + i % USB_DEVNUM_MAX);
		d->vendor = (uint16_t)i;
		d->product = 0x5567;
		d->speed = USB_SPEED_HIGH;
		usbdev_add_interface(d, &storage);
		snprintf(d->serial, sizeof(d->serial), "S%zu", i);
		if (usbdev_check(d) != NULL)
			errx(1, "a device is wrong");
	}
}

static void
must(const char *wrong)
{
	if (wrong != NULL)
		errx(1, "policy: %s", wrong);
}

/* Ports, products, and products with a serial number; the last one for all. */
static void
add_rule(struct policy *p, size_t i, int last)
{
	struct msg_rule_text text;
	struct msg_rule r;

	memset(&r, 0, sizeof(r));
	memset(&text, 0, sizeof(text));
	r.action = RULE_PASS;
	r.nvms = 1;
	r.vms[0] = 1;
	snprintf(r.where, sizeof(r.where), "bench:%zu", i + 1);
	if (last) {
		r.has = RULE_HAS_PRODUCT;
		r.product = 0x5567;
	} else if (i % 3 == 0) {
		r.has = RULE_HAS_PORT;
		r.port = mkport(i);
	} else {
		r.has = RULE_HAS_VENDOR | RULE_HAS_PRODUCT;
		r.vendor = (uint16_t)i;
		r.product = (uint16_t)(0x5567 + i / 65536);
	}
	if (!last && i % 3 == 2) {
		r.has |= RULE_HAS_SERIAL;
		text.what = RULE_HAS_SERIAL;
		snprintf(text.text, sizeof(text.text), "S%zu", i);
		must(policy_add_text(p, &text));
	}
	must(policy_add_rule(p, &r));
}

static struct policy *
make_policy(size_t rules)
{
	struct policy *p = policy_new(1, rules);
	struct msg_vm vm = { .vm = 1, .name = "a" };
	const struct damping off = { .plugs = 0 };
	size_t i;

	if (p == NULL)
		err(1, "policy_new");
	must(policy_add_vm(p, &vm));
	/* The same device comes and goes all the time. */
	must(policy_set_damping(p, &off));
	/* Whatever matches besides, the first one decides last. */
	for (i = 0; i < rules; i++)
		add_rule(p, i, i == 0);
	return p;
}

static double
decisions_a_second(size_t rules)
{
	struct policy *p = make_policy(rules);
	double start, spent;
	long n = 0;
	int i;

	if (policy_finish(p) == -1)
		err(1, "policy_finish");
	start = seconds();
	do {
		for (i = 0; i < DEVICES; i++)
			if (policy_decide(p, &devices[i]).rule == NULL)
				errx(1, "no rule for a device");
		n += DEVICES;
		spent = seconds() - start;
	} while (spent < SECONDS);
	policy_free(p);
	return (double)n / spent;
}

/* Events */

static void
give(struct core_event *ev)
{
	const struct core_action *actions;
	struct core_action action;
	struct msg_result m;
	struct core_event answer = { .type = EV_RESULT, .u.result = &m };
	size_t n;

	ev->now = ++now;
	actions = core_event(core, ev, &n);
	if (n == 0)
		return;
	action = actions[0];
	if (n > 1 || action.type == ACT_HOLD)
		errx(1, "unexpected action: %s", action.reason);
	memset(&m, 0, sizeof(m));
	m.vm = action.vm;
	m.request = action.request;
	give(&answer);
}

static void
plug(int i)
{
	struct core_event ev = { .type = EV_DEVICE, .u.device = &devices[i] };

	give(&ev);
}

static void
unplug(int i)
{
	struct msg_device_gone gone;
	struct core_event ev = { .type = EV_DEVICE_GONE, .u.gone = &gone };

	memset(&gone, 0, sizeof(gone));
	gone.port = devices[i].port;
	gone.devnum = devices[i].devnum;
	give(&ev);
}

static void
core_start(size_t rules)
{
	struct msg_vm_state state = { .vm = 1, .state = VM_READY };
	struct core_event policy = { .type = EV_POLICY };
	struct core_event scan = { .type = EV_SCAN_DONE };
	struct core_event up = { .type = EV_VM_STATE, .u.vm_state = &state };

	if ((core = core_new()) == NULL)
		err(1, "core_new");
	policy.u.policy = make_policy(rules);
	give(&policy);
	give(&scan);
	give(&up);
}

/* Plugged, attached, unplugged, detached: four events, one after another. */
static double
events_a_second(size_t rules, int plugged)
{
	double start, spent;
	long n = 0;
	int i;

	core_start(rules);
	for (i = 0; i < plugged; i++)
		plug(i);
	start = seconds();
	do {
		for (i = 0; i < DEVICES; i++) {
			unplug(i % plugged);
			plug(i % plugged);
		}
		n += 4 * DEVICES;
		spent = seconds() - start;
	} while (spent < SECONDS);
	core_free(core);
	return (double)n / spent;
}

int
main(void)
{
	static const size_t rules[] = { 10, 1000, 100000 };
	size_t i;

	make_devices();
	printf("%8s %14s %26s %26s\n", "", "decisions/s", "events/s, 1 device",
	    "events/s, 1000 devices");
	for (i = 0; i < COUNT(rules); i++)
		printf("%8zu %14.0f %26.0f %26.0f\n", rules[i],
		    decisions_a_second(rules[i]), events_a_second(rules[i], 1),
		    events_a_second(rules[i], DEVICES));
	return 0;
}
