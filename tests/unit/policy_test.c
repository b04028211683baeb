/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RULES_MAX 64
#define ROUNDS 3000

static struct policy *policy;

static int
setup(void **state)
{
	struct msg_vm vm = { .vm = 1, .name = "a" };

	(void)state;
	policy = policy_new(1, RULES_MAX);
	return policy == NULL || policy_add_vm(policy, &vm) != NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	policy_free(policy);
	policy = NULL;
	return 0;
}

static struct usbport
mkport(const char *text)
{
	struct usbport port;
	const char *errstr;

	assert_int_equal(usbport_parse(&port, text, &errstr), 0);
	return port;
}

static struct msg_rule
mkrule(uint32_t has)
{
	struct msg_rule r;

	memset(&r, 0, sizeof(r));
	r.has = has;
	r.action = RULE_PASS;
	r.nvms = 1;
	r.vms[0] = 1;
	return r;
}

/* Its place among the rules, from 1, is the line that it is told by. */
static void
add(struct msg_rule r)
{
	snprintf(r.where, sizeof(r.where), "%zu", policy->nrules + 1);
	assert_null(policy_add_rule(policy, &r));
}

static void
add_text(uint32_t what, const char *text)
{
	struct msg_rule_text m = { .what = what };

	strlcpy(m.text, text, sizeof(m.text));
	assert_null(policy_add_text(policy, &m));
}

static void
add_port(const char *port)
{
	struct msg_rule r = mkrule(RULE_HAS_PORT);

	r.port = mkport(port);
	add(r);
}

static void
add_below(const char *hub)
{
	struct msg_rule r = mkrule(RULE_HAS_BELOW);

	r.below = mkport(hub);
	add(r);
}

static void
add_quick(struct msg_rule r)
{
	r.flags |= RULE_QUICK;
	add(r);
}

static struct usbdev
mkdev(const char *port)
{
	static const struct usbclass mouse = { 3, 1, 2 };
	struct usbdev d;

	memset(&d, 0, sizeof(d));
	d.port = mkport(port);
	d.devnum = 5;
	d.vendor = 0x046d;
	d.product = 0xc077;
	d.speed = USB_SPEED_LOW;
	usbdev_add_interface(&d, &mouse);
	return d;
}

static void
finish(void)
{
	assert_int_equal(policy_finish(policy), 0);
}

/* The number of the rule that decides, 0 if none matches. */
static int
decides(const struct usbdev *d)
{
	struct policy_match match = policy_decide(policy, d);

	return match.rule == NULL ? 0 : atoi(match.rule->where);
}

static int
decides_at(const char *port)
{
	struct usbdev d = mkdev(port);

	return decides(&d);
}

/* What decides. */

static void
no_rules(void **state)
{
	(void)state;
	finish();
	assert_int_equal(decides_at("3:9"), 0);
}

static void
last_match(void **state)
{
	(void)state;
	add(mkrule(0));
	add_port("3:9");
	add_port("3:9");
	add_port("3:8");
	finish();
	assert_int_equal(decides_at("3:9"), 3);
	assert_int_equal(decides_at("3:8"), 4);
	assert_int_equal(decides_at("3:7"), 1);
}

static void
first_quick_match(void **state)
{
	struct msg_rule r = mkrule(RULE_HAS_VENDOR);

	(void)state;
	r.vendor = 0x046d;
	add_port("3:9");
	add_quick(r);
	add_port("3:8");
	add_quick(mkrule(0));
	add_port("3:9");
	finish();
	assert_int_equal(decides_at("3:9"), 2);
	assert_int_equal(decides_at("3:8"), 2);
}

static void
quick_that_does_not_match(void **state)
{
	struct msg_rule r = mkrule(RULE_HAS_PORT);

	(void)state;
	r.port = mkport("3:1");
	add_quick(r);
	add(mkrule(0));
	finish();
	assert_int_equal(decides_at("3:9"), 2);
	assert_int_equal(decides_at("3:1"), 1);
}

/* What matches. */

static void
by_port(void **state)
{
	(void)state;
	add_port("3:1");
	add_port("3:1.2");
	finish();
	assert_int_equal(decides_at("3:1"), 1);
	assert_int_equal(decides_at("3:1.2"), 2);
	assert_int_equal(decides_at("3:1.2.3"), 0);
	assert_int_equal(decides_at("3:2"), 0);
	assert_int_equal(decides_at("4:1"), 0);
}

static void
below_a_hub(void **state)
{
	(void)state;
	add_below("3:1");
	finish();
	assert_int_equal(decides_at("3:1"), 0);
	assert_int_equal(decides_at("3:1.1"), 1);
	assert_int_equal(decides_at("3:1.4.2.7"), 1);
	assert_int_equal(decides_at("3:11"), 0);
	assert_int_equal(decides_at("3:2.1"), 0);
	assert_int_equal(decides_at("4:1.1"), 0);
}

static void
by_vendor_and_product(void **state)
{
	struct msg_rule r = mkrule(RULE_HAS_VENDOR);
	struct usbdev d = mkdev("3:9");

	(void)state;
	r.vendor = 0x046d;
	add(r);
	r = mkrule(RULE_HAS_PRODUCT);
	r.product = 0x0001;
	add(r);
	r = mkrule(RULE_HAS_VENDOR | RULE_HAS_PRODUCT);
	r.vendor = 0x1234;
	r.product = 0x5678;
	add(r);
	finish();
	assert_int_equal(decides(&d), 1);
	d.product = 1;
	assert_int_equal(decides(&d), 2);
	d.vendor = 0x1234;
	assert_int_equal(decides(&d), 2);
	d.product = 0x5678;
	assert_int_equal(decides(&d), 3);
	d.vendor = 0x4321;
	assert_int_equal(decides(&d), 0);
}

static void
by_speed_and_controller(void **state)
{
	struct msg_rule r = mkrule(RULE_HAS_SPEED);
	struct usbdev d = mkdev("3:9");

	(void)state;
	r.speed = USB_SPEED_HIGH;
	add(r);
	r = mkrule(RULE_HAS_CONTROLLER);
	strlcpy(r.controller, "0000:00:14.0", sizeof(r.controller));
	add(r);
	finish();
	assert_int_equal(decides(&d), 0);
	d.speed = USB_SPEED_HIGH;
	assert_int_equal(decides(&d), 1);
	strlcpy(d.controller, "0000:00:14.0", sizeof(d.controller));
	assert_int_equal(decides(&d), 2);
	d.controller[11] = '1';
	assert_int_equal(decides(&d), 1);
}

static void
port_of_a_controller(void **state)
{
	struct msg_rule r = mkrule(RULE_HAS_CONTROLLER | RULE_HAS_PORT);
	struct usbdev d = mkdev("3:2");

	(void)state;
	strlcpy(r.controller, "0000:00:14.0", sizeof(r.controller));
	r.port = mkport("1:2");
	r.port.busnum = 0;
	add(r);
	finish();
	assert_int_equal(decides(&d), 0);
	strlcpy(d.controller, "0000:00:14.0", sizeof(d.controller));
	assert_int_equal(decides(&d), 1);
	d.port.busnum = 7;
	assert_int_equal(decides(&d), 1);
	d.port = mkport("3:2.1");
	assert_int_equal(decides(&d), 0);
}

/* Any interface counts, and as many numbers as the rule has. */
static void
by_class(void **state)
{
	static const struct usbclass storage = { 8, 6, 0x50 };
	struct msg_rule r = mkrule(RULE_HAS_CLASS);
	struct usbdev d = mkdev("3:9");

	(void)state;
	r.class = (struct usbclass){ 3, 1, 1 };
	r.class_parts = 3;
	add(r);
	r.class = (struct usbclass){ 8, 6, 0 };
	r.class_parts = 2;
	add(r);
	r.class = (struct usbclass){ 9, 0, 0 };
	r.class_parts = 1;
	add(r);
	finish();
	assert_int_equal(decides(&d), 0);
	usbdev_add_interface(&d, &storage);
	assert_int_equal(decides(&d), 2);
	d.interfaces[0].protocol = 1;
	d.interfaces[1].subclass = 5;
	assert_int_equal(decides(&d), 1);
	d.interfaces[0] = (struct usbclass){ 9, 8, 7 };
	assert_int_equal(decides(&d), 3);
}

static void
by_text(void **state)
{
	struct usbdev d = mkdev("3:9");

	(void)state;
	add_text(RULE_HAS_SERIAL, "A9");
	add(mkrule(RULE_HAS_SERIAL));
	add_text(RULE_HAS_SERIAL, "B*");
	add(mkrule(RULE_HAS_SERIAL));
	add_text(RULE_HAS_NAME, "Intelli[MN]ouse");
	add_text(RULE_HAS_MANUFACTURER, "Micro?oft");
	add(mkrule(RULE_HAS_NAME | RULE_HAS_MANUFACTURER));
	finish();
	assert_int_equal(decides(&d), 0);
	strlcpy(d.serial, "A9", sizeof(d.serial));
	assert_int_equal(decides(&d), 1);
	strlcpy(d.serial, "A99", sizeof(d.serial));
	assert_int_equal(decides(&d), 0);
	strlcpy(d.serial, "B", sizeof(d.serial));
	assert_int_equal(decides(&d), 2);
	strlcpy(d.name, "IntelliMouse", sizeof(d.name));
	assert_int_equal(decides(&d), 2);
	strlcpy(d.manufacturer, "Microsoft", sizeof(d.manufacturer));
	assert_int_equal(decides(&d), 3);
}

/* What a device says of itself is no pattern. */
static void
device_is_no_pattern(void **state)
{
	struct usbdev d = mkdev("3:9");

	(void)state;
	add_text(RULE_HAS_SERIAL, "A9");
	add(mkrule(RULE_HAS_SERIAL));
	finish();
	strlcpy(d.serial, "*", sizeof(d.serial));
	assert_int_equal(decides(&d), 0);
}

static void
all_given_must_hold(void **state)
{
	struct msg_rule r =
	    mkrule(RULE_HAS_PORT | RULE_HAS_VENDOR | RULE_HAS_SPEED);
	struct usbdev d = mkdev("3:9");

	(void)state;
	r.port = mkport("3:9");
	r.vendor = 0x046d;
	r.speed = USB_SPEED_LOW;
	add(r);
	finish();
	assert_int_equal(decides(&d), 1);
	d.port = mkport("3:8");
	assert_int_equal(decides(&d), 0);
	d = mkdev("3:9");
	d.vendor++;
	assert_int_equal(decides(&d), 0);
	d = mkdev("3:9");
	d.speed = USB_SPEED_FULL;
	assert_int_equal(decides(&d), 0);
}

/* The two halves of a connector. */

static void
rule_holds_for_the_other_half(void **state)
{
	struct usbdev d = mkdev("4:9");

	(void)state;
	add_port("3:9");
	add_below("3:1");
	finish();
	assert_int_equal(decides(&d), 0);
	d.peer = mkport("3:9");
	assert_int_equal(decides(&d), 1);
	assert_int_equal(policy_decide(policy, &d).companion, 1);
	d.port = mkport("4:1.2");
	d.peer = mkport("3:1.2");
	assert_int_equal(decides(&d), 2);
	d = mkdev("3:9");
	d.peer = mkport("4:9");
	assert_int_equal(decides(&d), 1);
	assert_int_equal(policy_decide(policy, &d).companion, 0);
}

static void
half_with_a_rule_of_its_own(void **state)
{
	struct msg_rule r = mkrule(RULE_HAS_PORT | RULE_HAS_VENDOR);
	struct usbdev d = mkdev("4:9");

	(void)state;
	/* It need not match to be its own. */
	r.port = mkport("4:9");
	r.vendor = 0x1234;
	add(r);
	add_port("3:9");
	finish();
	d.peer = mkport("3:9");
	assert_int_equal(decides(&d), 0);
	d.vendor = 0x1234;
	assert_int_equal(decides(&d), 1);
}

/* What is not accepted. */

static const char *
refused(struct msg_rule r)
{
	size_t n = policy->nrules;
	const char *wrong = policy_add_rule(policy, &r);

	assert_int_equal(policy->nrules, n);
	return wrong == NULL ? "" : wrong;
}

static void
bad_rules_are_refused(void **state)
{
	struct msg_rule r;

	(void)state;
	r = mkrule(0);
	r.action = RULE_SOURCE + 1;
	assert_string_equal(refused(r), "rule with bad bits");
	r = mkrule(RULE_HAS_ALL + 1);
	assert_string_equal(refused(r), "rule with bad bits");
	r = mkrule(0);
	r.flags = RULE_FLAGS_ALL + 1;
	assert_string_equal(refused(r), "rule with bad bits");
	r = mkrule(RULE_HAS_PORT);
	assert_string_equal(refused(r), "rule with a bad port");
	r.port = mkport("3:9");
	r.port.busnum = 0; /* of which controller? */
	assert_string_equal(refused(r), "rule with a bad port");
	r = mkrule(RULE_HAS_BELOW);
	assert_string_equal(refused(r), "rule with a bad hub");
	r = mkrule(RULE_HAS_CLASS);
	assert_string_equal(refused(r), "rule with a bad class");
	r.class_parts = 4;
	assert_string_equal(refused(r), "rule with a bad class");
	r = mkrule(0);
	memset(r.controller, 'x', sizeof(r.controller));
	assert_string_equal(refused(r), "rule with a bad controller");
	r = mkrule(0);
	memset(r.where, 'x', sizeof(r.where));
	assert_string_equal(refused(r), "rule without its line");
	assert_string_equal(refused(mkrule(RULE_HAS_SERIAL)),
	    "rule whose texts are not what it says");
	add_text(RULE_HAS_NAME, "x");
	assert_string_equal(refused(mkrule(RULE_HAS_SERIAL)),
	    "rule whose texts are not what it says");
	assert_string_equal(
	    refused(mkrule(0)), "rule whose texts are not what it says");
}

static void
bad_machines_of_rules_are_refused(void **state)
{
	struct msg_rule r;

	(void)state;
	r = mkrule(0);
	r.nvms = 0;
	assert_string_equal(refused(r), "rule with a bad number of machines");
	r = mkrule(0);
	r.action = RULE_BLOCK;
	assert_string_equal(refused(r), "rule with a bad number of machines");
	r = mkrule(0);
	r.nvms = MSG_RULE_VMS_MAX + 1;
	assert_string_equal(refused(r), "rule with a bad number of machines");
	r = mkrule(0);
	r.vms[0] = 2;
	assert_string_equal(refused(r), "rule for a machine that is not there");
	r = mkrule(0);
	r.nvms = 2;
	assert_string_equal(refused(r), "rule for a machine that is not there");
}

static void
bad_machines_are_refused(void **state)
{
	struct policy *p = policy_new(1, 0);
	struct msg_vm good = { .vm = 1, .name = "a" }, vm;

	(void)state;
	assert_non_null(p);
	vm = good;
	vm.name[0] = '\0';
	assert_string_equal(policy_add_vm(p, &vm), "machine with a bad string");
	memset(vm.name, 'x', sizeof(vm.name));
	assert_string_equal(policy_add_vm(p, &vm), "machine with a bad string");
	vm = good;
	memset(vm.bus, 'x', sizeof(vm.bus));
	assert_string_equal(policy_add_vm(p, &vm), "machine with a bad string");
	vm = good;
	vm.vm = 0;
	assert_string_equal(policy_add_vm(p, &vm), "machine with a bad number");
	vm = good;
	vm.handover = HANDOVER_MAX;
	assert_string_equal(
	    policy_add_vm(p, &vm), "machine with a bad handover");
	assert_null(policy_add_vm(p, &good));
	assert_string_equal(
	    policy_add_vm(p, &good), "more machines than announced");
	policy_free(p);
	p = policy_new(2, 0);
	assert_null(policy_add_vm(p, &good));
	assert_string_equal(
	    policy_add_vm(p, &good), "machine with a bad number");
	policy_free(p);
}

static void
bad_texts_are_refused(void **state)
{
	struct msg_rule_text m = { .what = RULE_HAS_PORT };

	(void)state;
	assert_non_null(policy_add_text(policy, &m));
	m.what = 0;
	assert_non_null(policy_add_text(policy, &m));
	m.what = RULE_HAS_SERIAL | RULE_HAS_NAME;
	assert_non_null(policy_add_text(policy, &m));
	m.what = RULE_HAS_SERIAL;
	memset(m.text, 'x', sizeof(m.text));
	assert_non_null(policy_add_text(policy, &m));
	m.text[0] = '\0';
	assert_null(policy_add_text(policy, &m));
	/* It has one. */
	assert_non_null(policy_add_text(policy, &m));
}

static void
more_rules_than_announced(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < RULES_MAX; i++)
		add(mkrule(0));
	assert_string_equal(refused(mkrule(0)), "more rules than announced");
}

/* The index finds what a walk over all rules finds. */

static uint32_t
chance(uint32_t n)
{
	return (uint32_t)random() % n;
}

static struct usbport
chance_port(void)
{
	static const char *const ports[] = { "1:1", "1:2", "1:1.1", "1:1.2",
		"1:1.1.1", "2:1", "2:1.1", "2:1.1.1", "2:2" };

	return mkport(ports[chance(COUNT(ports))]);
}

static void
chance_rule(void)
{
	static const char *const serials[] = { "A", "B", "*", "[AB]", "?" };
	struct msg_rule r =
	    mkrule((uint32_t)random() & (uint32_t)random() & RULE_HAS_ALL);

	r.has &= ~(uint32_t)(RULE_HAS_NAME | RULE_HAS_MANUFACTURER);
	r.flags = chance(4) == 0 ? RULE_QUICK : 0;
	r.port = chance_port();
	r.below = chance_port();
	r.vendor = (uint16_t)chance(3);
	r.product = (uint16_t)chance(3);
	r.speed = (uint8_t)(1 + chance(2));
	r.class = (struct usbclass){ 3, 1, (uint8_t)chance(2) };
	r.class_parts = (uint8_t)(1 + chance(3));
	if (r.has & RULE_HAS_CONTROLLER) {
		r.controller[0] = (char)('a' + chance(2));
		if (chance(2) == 0)
			r.port.busnum = 0;
	}
	if (r.has & RULE_HAS_SERIAL)
		add_text(RULE_HAS_SERIAL, serials[chance(COUNT(serials))]);
	add(r);
}

static struct usbdev
chance_device(void)
{
	struct usbdev d = mkdev("1:1");

	d.port = chance_port();
	if (chance(2) == 0)
		d.peer = chance_port();
	d.vendor = (uint16_t)chance(3);
	d.product = (uint16_t)chance(3);
	d.speed = (uint8_t)(1 + chance(2));
	d.interfaces[0].protocol = (uint8_t)chance(2);
	d.controller[0] = (char)('a' + chance(2));
	d.serial[0] = (char)('A' + chance(3));
	return d;
}

static void
note_match(const struct policy_match *match, void *arg)
{
	*(struct policy_match *)arg = *match;
}

static void
index_finds_what_a_walk_finds(void **state)
{
	struct policy_match decided, walked;
	struct usbdev d;
	unsigned int i, n;

	srandom(4711);
	for (i = 0; i < ROUNDS; i++) {
		for (n = chance(12); n > 0; n--)
			chance_rule();
		finish();
		for (n = 0; n < 10; n++) {
			d = chance_device();
			memset(&walked, 0, sizeof(walked));
			policy_explain(policy, &d, note_match, &walked);
			decided = policy_decide(policy, &d);
			assert_ptr_equal(decided.rule, walked.rule);
			assert_int_equal(decided.companion, walked.companion);
		}
		teardown(state);
		assert_int_equal(setup(state), 0);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_rules),
		TEST(last_match),
		TEST(first_quick_match),
		TEST(quick_that_does_not_match),
		TEST(by_port),
		TEST(below_a_hub),
		TEST(by_vendor_and_product),
		TEST(by_speed_and_controller),
		TEST(port_of_a_controller),
		TEST(by_class),
		TEST(by_text),
		TEST(device_is_no_pattern),
		TEST(all_given_must_hold),
		TEST(rule_holds_for_the_other_half),
		TEST(half_with_a_rule_of_its_own),
		TEST(bad_rules_are_refused),
		TEST(bad_machines_of_rules_are_refused),
		TEST(bad_machines_are_refused),
		TEST(bad_texts_are_refused),
		TEST(more_rules_than_announced),
		TEST(index_finds_what_a_walk_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
