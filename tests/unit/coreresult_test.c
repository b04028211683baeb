/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* What machines answer, and what is tried again when. */

#include "core_bed.h"

static const struct {
	enum result result;
	const char *text;
	uint64_t delay; /* ms to the first retry; 0: none */
	unsigned int tries;
} classes[] = {
	{ RESULT_GONE, "device gone", 1000, 3 },
	{ RESULT_CHANGED, "not the device that was judged", 0, 0 },
	{ RESULT_PERMISSION, "permission denied", 5000, 3 },
	{ RESULT_BUS_FULL, "no free guest port", 0, 0 },
	{ RESULT_PORT_TAKEN, "guest port taken", 500, 5 },
	{ RESULT_SPEED, "speed mismatch", 0, 0 },
	{ RESULT_DUPLICATE, "duplicate id", 100, 5 },
	{ RESULT_NO_CONTROLLER, "no USB controller", 5000, 5 },
	{ RESULT_MIGRATING, "machine is migrating", 2000, 100 },
	{ RESULT_BUSY, "machine's QMP socket in use", 1000, 1000 },
	{ RESULT_OTHER, "refused by QEMU", 2000, 5 },
	{ RESULT_UNOPENED, "QEMU cannot open it", 2000, 3 },
	{ RESULT_UNABLE, "QEMU cannot take USB devices", 0, 0 },
};
#define NCLASSES (sizeof(classes) / sizeof(classes[0]))
_Static_assert(NCLASSES == RESULT_MAX - 2, "a class is missing");
#define DELAY_MAX 60000

/* After how long an attach that failed is tried again, and how often. */
static void
failed_attach_is_tried_again(void **state)
{
	char hold[128], failed[128];
	uint64_t delay;
	unsigned int i;
	size_t c;

	for (c = 0; c < NCLASSES; c++) {
		bed_teardown(state);
		bed_setup(state);
		policy("a", "pass 3:9 a");
		vm_up("a");
		plug("3:9", 5, MOUSE);
		snprintf(hold, sizeof(hold), "hold 3:9/5: %s: why\n",
		    classes[c].text);
		snprintf(
		    failed, sizeof(failed), "failed: %s: why", classes[c].text);
		delay = classes[c].delay;
		for (i = 0; i < classes[c].tries; i++) {
			answer("3:9", classes[c].result);
			did(hold);
			assert_int_equal(core_next(bed.core), bed.now + delay);
			passes(delay - 1);
			did("");
			passes(1);
			did("attach a 3:9/5: t:1\n");
			if ((delay *= 2) > DELAY_MAX)
				delay = DELAY_MAX;
		}
		answer("3:9", classes[c].result);
		did(hold);
		assert_int_equal(core_next(bed.core), 0);
		passes(1000000);
		did("");
		is("3:9", failed);
		vm_down("a");
		vm_up("a");
		did("attach a 3:9/5: t:1\n");
	}
}

static void
success_forgets_failures(void **state)
{
	unsigned int i;

	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	for (i = 0; i < 3; i++) {
		answer("3:9", RESULT_OTHER);
		passes(core_next(bed.core) - bed.now);
	}
	answer("3:9", RESULT_OK);
	assert_int_equal(core_next(bed.core), 0);
	policy("a", "block");
	answer("3:9", RESULT_OK);
	policy("a", "pass 3:9 a");
	answer("3:9", RESULT_OTHER);
	assert_int_equal(core_next(bed.core), bed.now + 2000);
}

/* Where the device belongs was decided anew: tried again at once. */
static void
new_decision_forgets_failures(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OTHER);
	policy("a", "pass 3:9 a");
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_SPEED);
	plug("3:9", 5, MOUSE);
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OTHER);
	plug("3:9", 6, MOUSE);
	did("attach a 3:9/6: t:1\n");
	answer("3:9", RESULT_OTHER);
	unplug("3:9", 6);
	assert_int_equal(core_next(bed.core), 0);
}

static void
retry_of_a_device_that_may_not_go(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OTHER);
	vm_down("a");
	did("hold 3:9/5: machine \"a\" is down\n");
	passes(2000);
	did("");
	assert_int_equal(core_next(bed.core), 0);
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
}

static void
several_are_due_at_once(void **state)
{
	(void)state;
	policy("a", "pass 046d:c077 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	plug("3:8", 6, MOUSE);
	plug("3:7", 7, MOUSE);
	answer("3:9", RESULT_GONE);
	answer("3:8", RESULT_OTHER);
	answer("3:7", RESULT_PORT_TAKEN);
	assert_int_equal(core_next(bed.core), bed.now + 500);
	passes(2000);
	did("attach a 3:7/7: t:1\n"
	    "attach a 3:8/6: t:1\n"
	    "attach a 3:9/5: t:1\n");
	assert_int_equal(core_next(bed.core), 0);
}

static void
full_bus_waits_for_a_port(void **state)
{
	(void)state;
	policy("a b", "pass 046d:c077 a", "pass 045e:0823 b");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:1", 2, MOUSE);
	answer("3:1", RESULT_OK);
	plug("3:2", 3, MOUSE);
	answer("3:2", RESULT_BUS_FULL);
	did("hold 3:2/3: no free guest port: why\n");
	plug("3:3", 4, KEYBOARD);
	answer("3:3", RESULT_OK);
	unplug("3:3", 4);
	answer("3:3", RESULT_OK);
	did("");
	unplug("3:1", 2);
	did("detach a 3:1/2: device removed\n");
	answer("3:1", RESULT_OK);
	did("attach a 3:2/3: t:1\n");
	answer("3:2", RESULT_OK);
	/* Whoever frees it. */
	plug("3:4", 5, MOUSE);
	answer("3:4", RESULT_BUS_FULL);
	vm_dropped("a", "3:2", 3, look("3:2").device.request);
	did("attach a 3:4/5: t:1\n"
	    "hold 3:2/3: taken out of its machine by somebody else\n");
}

/* A port of b is none of a, which refused it. */
static void
full_bus_of_another_machine(void **state)
{
	(void)state;
	policy("a b", "pass 046d:c077 a b", "pass 045e:0823 b");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:1", 2, KEYBOARD);
	answer("3:1", RESULT_OK);
	plug("3:2", 3, MOUSE);
	answer("3:2", RESULT_BUS_FULL);
	unplug("3:1", 2);
	answer("3:1", RESULT_OK);
	did("");
	is("3:2", "failed: no free guest port: why");
}

static void
failed_detach_is_tried_again(void **state)
{
	unsigned int i;

	(void)state;
	mouse_attached("3:9", 5);
	policy("a b", "pass 3:9 b");
	vm_up("b");
	for (i = 0; i < 5; i++) {
		answer("3:9", RESULT_OTHER);
		did("");
		is("3:9", "attached a: t:1");
		assert_int_equal(core_next(bed.core), bed.now + (2000ULL << i));
		passes((2000ULL << i) - 1);
		did("");
		passes(1);
		did("detach a 3:9/5: t:1\n");
	}
	answer("3:9", RESULT_OTHER);
	assert_int_equal(core_next(bed.core), 0);
	passes(1000000);
	did("");
	/* It was decided anew, or it is unplugged: tried anew. */
	plug("3:9", 5, MOUSE);
	did("detach a 3:9/5: t:1\n");
	answer("3:9", RESULT_SPEED);
	did("");
	unplug("3:9", 5);
	did("detach a 3:9/5: device removed\n");
	answer("3:9", RESULT_OTHER);
	scanned();
	did("");
	passes(2000);
	did("detach a 3:9/5: device removed\n");
	answer("3:9", RESULT_OK);
	did("");
	assert_int_equal(core_next(bed.core), 0);
}

static void
failed_detach_that_is_wanted_no_more(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	policy("a b", "block");
	answer("3:9", RESULT_MIGRATING);
	policy("a b", "pass 3:9 a");
	did("");
	passes(100000);
	did("");
	is("3:9", "attached a: t:1");
}

/* Results that nobody waits for. */

static int
is_answer(const char *vm, uint32_t request, uint32_t result, char last)
{
	struct msg_result m = { .vm = vm_number(vm),
		.conn = bed.conn[vm_number(vm)],
		.request = request,
		.result = result };

	memset(m.text, last, sizeof(m.text));
	return core_check_result(bed.core, &m);
}

static void
results_are_checked(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	assert_int_equal(is_answer("a", 1, RESULT_OK, '\0'), 1);
	assert_int_equal(is_answer("a", 1, RESULT_OTHER, '\0'), 1);
	assert_int_equal(is_answer("a", 1, RESULT_MAX, '\0'), 0);
	assert_int_equal(is_answer("a", 1, RESULT_OK, 'x'), 0);
	assert_int_equal(is_answer("a", 2, RESULT_OK, '\0'), 0);
	assert_int_equal(is_answer("a", 0, RESULT_OK, '\0'), 0);
	assert_int_equal(is_answer("b", 1, RESULT_OK, '\0'), 0);
	assert_int_equal(is_answer("c", 1, RESULT_OK, '\0'), 0);
	/* It crossed the word that the machine is lost, or left. */
	assert_int_equal(is_answer("c", 1, RESULT_VM_LOST, '\0'), 1);
	assert_int_equal(is_answer("a", 2, RESULT_VM_LOST, '\0'), 1);
	/* What was asked of the connection before; there is none after it. */
	bed.conn[vm_number("a")]--;
	assert_int_equal(is_answer("a", 1, RESULT_OK, '\0'), 1);
	bed.conn[vm_number("a")] += 2;
	assert_int_equal(is_answer("a", 1, RESULT_OK, '\0'), 0);
	bed.conn[vm_number("a")]--;
	answer("3:9", RESULT_OK);
	/* Nothing is asked any more. */
	assert_int_equal(is_answer("a", 1, RESULT_OK, '\0'), 0);
	assert_int_equal(is_answer("a", 1, RESULT_OTHER, '\0'), 0);
}

static void
surplus_results_change_nothing(void **state)
{
	struct msg_result m = {
		.vm = 1, .conn = 1, .request = 1, .result = RESULT_OTHER
	};
	struct core_event ev = { .type = EV_RESULT, .u.result = &m };

	(void)state;
	mouse_attached("3:9", 5);
	happens(&ev);
	did("");
	m.request = 77;
	happens(&ev);
	did("");
	m.vm = 3;
	happens(&ev);
	did("");
	is("3:9", "attached a: t:1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BED_TEST(failed_attach_is_tried_again),
		BED_TEST(success_forgets_failures),
		BED_TEST(new_decision_forgets_failures),
		BED_TEST(retry_of_a_device_that_may_not_go),
		BED_TEST(several_are_due_at_once),
		BED_TEST(full_bus_waits_for_a_port),
		BED_TEST(full_bus_of_another_machine),
		BED_TEST(failed_detach_is_tried_again),
		BED_TEST(failed_detach_that_is_wanted_no_more),
		BED_TEST(results_are_checked),
		BED_TEST(surplus_results_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
