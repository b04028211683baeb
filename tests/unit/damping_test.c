/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* What tests/policy/damping.cases cannot show: reloads, hands, scans. */

#include "core_bed.h"
#include "damping.h"

#define WAITS(plugs, hold)                                                   \
	"plugged in more than " plugs " in 10 s: waits until it has stayed " \
	"for " hold " s"

static void
policy_damped(const struct damping *damping)
{
	static const char *const rules[] = { "pass 3:9 a", "pass 3:8 a", NULL };
	struct core_event ev = { .type = EV_POLICY };

	ev.u.policy = mkpolicy("a", rules);
	assert_null(policy_set_damping(ev.u.policy, damping));
	happens(&ev);
	vm_heard_of(1);
}

/* Two plugs, the second of which is damped at the time 1000. */
static void
flap(void)
{
	static const struct damping once = { 1, 10000, 3000 };

	bed.now = 1000;
	policy_damped(&once);
	scanned();
	vm_up("a");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	unplug("3:9", 5);
	answer("3:9", RESULT_OK);
	plug("3:9", 6, MOUSE);
	did("hold 3:9/6: " WAITS("once", "3") "\n");
	assert_int_equal(core_next(bed.core), 4000);
}

static void
the_next_event_is_known(void **state)
{
	(void)state;
	flap();
	passes(2999);
	did("");
	is("3:9", "held: " WAITS("once", "3"));
	passes(1);
	did("attach a 3:9/6: t:1\n");
	answer("3:9", RESULT_OK);
	assert_int_equal(core_next(bed.core), 0);
}

static void
a_reload_may_end_it(void **state)
{
	static const struct damping off = { 0, 0, 0 };

	(void)state;
	flap();
	policy_damped(&off);
	did("attach a 3:9/6: t:1\n");
}

static void
a_reload_may_shorten_it(void **state)
{
	static const struct damping shorter = { 1, 10000, 1000 };
	static const struct damping longer = { 1, 10000, 60000 };

	(void)state;
	flap();
	policy_damped(&longer);
	assert_int_equal(core_next(bed.core), 4000);
	policy_damped(&shorter);
	assert_int_equal(core_next(bed.core), 2000);
	passes(1000);
	did("attach a 3:9/6: t:1\n");
}

static void
each_in_its_turn(void **state)
{
	static const struct damping shorter = { 1, 10000, 1000 };

	(void)state;
	flap();
	plug("3:8", 7, MOUSE);
	unplug("3:8", 7);
	passes(500);
	policy_damped(&shorter);
	passes(1);
	plug("3:8", 8, MOUSE);
	passes(999);
	did("attach a 3:9/6: t:1\n");
	passes(1);
	did("attach a 3:8/8: t:2\n");
}

static void
a_hand_does_not_wait(void **state)
{
	struct core_override o = { .command = OVERRIDE_ATTACH };
	struct core_event ev = { .type = EV_OVERRIDE, .u.override = &o };

	(void)state;
	flap();
	o.port = mkport("3:9");
	strlcpy(o.vm, "a", sizeof(o.vm));
	happens(&ev);
	did("attach a 3:9/6: attached by hand (uid 0)\n");
	answer("3:9", RESULT_OK);
	passes(3000);
	did("");
}

static void
a_machine_that_comes_changes_nothing(void **state)
{
	(void)state;
	flap();
	vm_down("a");
	vm_up("a");
	is("3:9", "held: " WAITS("once", "3"));
	passes(3000);
	did("attach a 3:9/6: t:1\n");
}

/* Where it is it stays, though it would have to wait to get there. */
static void
what_a_machine_has_stays(void **state)
{
	static const struct damping once = { 1, 10000, 3000 };

	(void)state;
	policy_damped(&once);
	scanned();
	plug("3:9", 5, MOUSE);
	unplug("3:9", 5);
	vm_has_event(EV_VM_HAS, "a", "3:9", 6, 7);
	plug("3:9", 6, MOUSE);
	vm_up("a");
	did("");
	is("3:9", "attached a: t:1");
}

static void
out_of_range(void **state)
{
	static const struct damping bad[] = {
		{ 0, 1000, 0 },
		{ 0, 0, 1000 },
		{ DAMPING_PLUGS_MAX + 1, 1000, 1000 },
		{ 1, 0, 1000 },
		{ 1, 1000, 0 },
		{ 1, 3600001, 1000 },
		{ 1, 1000, 3600001 },
	};
	struct policy *p = policy_new(0, 0);
	size_t i;

	(void)state;
	assert_non_null(p);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(policy_set_damping(p, &bad[i]));
	policy_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BED_TEST(the_next_event_is_known),
		BED_TEST(a_reload_may_end_it),
		BED_TEST(a_reload_may_shorten_it),
		BED_TEST(each_in_its_turn),
		BED_TEST(a_hand_does_not_wait),
		BED_TEST(a_machine_that_comes_changes_nothing),
		BED_TEST(what_a_machine_has_stays),
		BED_TEST(out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
