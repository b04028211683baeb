/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Machines that come and go, and what they have already. */

#include "core_bed.h"

/* Order. */

static void
device_waits_for_its_machine(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: machine \"a\" is down\n");
	vm_socket("a", ENOENT);
	did("");
	vm_is("a", VM_GREETING);
	did("hold 3:9/5: machine \"a\" is connecting\n");
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached a: t:1");
	/* What the parent says of the past is late. */
	bed.conn[vm_number("a")]--;
	vm_socket("a", ENOENT);
	did("");
	bed.conn[vm_number("a")]++;
	vm_is("a", VM_LOST);
	did("hold 3:9/5: machine \"a\" may have it still: its connection is "
	    "lost\n");
	vm_socket("a", ENOENT);
	did("hold 3:9/5: machine \"a\" is down\n");
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached a: t:1");
}

/* Device, machine, policy and the end of the scan, in every order. */
static void
every_order_ends_the_same(void **state)
{
	static const char *const orders[] = { "dmps", "dmsp", "dpms", "dpsm",
		"dsmp", "dspm", "pdms", "pdsm", "pmds", "pmsd", "psdm", "psmd",
		"sdmp", "sdpm", "spdm", "spmd" };
	size_t i;
	const char *s;

	for (i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		bed_teardown(state);
		bed_setup(state);
		for (s = orders[i]; *s != '\0'; s++)
			if (*s == 'd')
				plug("3:9", 5, MOUSE);
			else if (*s == 'm' && strchr(s, 'p') != NULL)
				vm_is("a", VM_GREETING); /* of no policy's */
			else if (*s == 'm')
				vm_up("a");
			else if (*s == 'p')
				policy("a", "block", "pass 3:9 a");
			else
				scanned();
		if (strchr(orders[i], 'm') < strchr(orders[i], 'p'))
			vm_up("a");
		answer("3:9", RESULT_OK);
		did("");
		is("3:9", "attached a: t:2");
	}
}

static void
machine_lost_and_back(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	vm_down("a");
	did("hold 3:9/5: machine \"a\" is down\n");
	is("3:9", "held: machine \"a\" is down");
	vm_socket("a", ENOENT);
	did("");
	vm_is("a", VM_GREETING);
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached a: t:1");
}

static void
machine_lost_while_attaching(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_VM_LOST);
	did("hold 3:9/5: machine \"a\" may have it still: its connection is "
	    "lost\n");
	vm_down("a");
	did("hold 3:9/5: machine \"a\" is down\n");
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
	/* Also when the state is told before the result. */
	vm_down("a");
	did("hold 3:9/5: machine \"a\" is down\n");
	result_is(1, bed.last_request, RESULT_VM_LOST);
	did("");
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached a: t:1");
}

static void
machine_lost_while_detaching(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	policy("a b", "pass 3:9 b");
	vm_up("b");
	did("");
	is("3:9", "detaching a: t:1");
	vm_down("a");
	did("attach b 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	vm_up("a");
	did("");
}

static void
unplugged_while_the_machine_is_down(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	vm_is("a", VM_LOST);
	unplug("3:9", 5);
	did("");
	plug("3:9", 6, KEYBOARD);
	did("hold 3:9/6: no rule matches\n");
	/* It is a QEMU that kept running, with the first device. */
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 1);
	did("");
	vm_up("a");
	did("detach a 3:9/5: device removed\n");
	answer("3:9", RESULT_OK);
	did("");
	is("3:9", "unassigned: no rule matches");
}

/* It may have its devices still, though it left the policy. */
static void
lost_when_it_has_left(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	vm_up("b");
	vm_is("a", VM_LOST);
	policy("b", "pass 3:9 b");
	vm_is("a", VM_GREETING);
	vm_is("a", VM_LOST);
	did("");
	is("3:9", "held a: machine \"a\" may have it still: its connection is "
		  "lost");
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 1);
	vm_up("a");
	did("detach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	did("attach b 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
}

/* What it has is told by a machine that is not in the policy any more. */
static void
left_before_it_was_heard_of(void **state)
{
	static const char *const rules[] = { "pass 3:9 b", NULL };
	struct core_event ev = { .type = EV_POLICY };

	(void)state;
	ev.u.policy = mkpolicy("a b", rules);
	happens(&ev);
	vm_is("a", VM_GREETING);
	policy("b", "pass 3:9 b");
	scanned();
	vm_up("b");
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: machine \"a\" has not answered yet whether it has "
	    "it\n");
	vm_has("a", "3:9", 5, 7);
	vm_up("a");
	did("detach a 3:9/5: t:1\n");
	assert_int_equal(core_vm_left(bed.core, 1), 1);
	answer("3:9", RESULT_OK);
	did("attach b 3:9/5: t:1\n");
	assert_string_equal(core_vm_name(bed.core, 1), "");
	answer("3:9", RESULT_OK);
}

/* Lists. */

static void
first_that_is_up_gets_it(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a b");
	scanned();
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: no machine of its list is up\n");
	vm_up("b");
	did("attach b 3:9/5: t:1\n");
	vm_up("a");
	did("");
	answer("3:9", RESULT_OK);
	did("");
	is("3:9", "attached b: t:1");
	vm_down("b");
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	vm_up("b");
	did("");
	is("3:9", "attached a: t:1");
	plug("3:9", 6, MOUSE);
	answer("3:9", RESULT_OK);
	answer("3:9", RESULT_OK);
	is("3:9", "attached a: t:1");
}

/* A failure in a machine is no reason to stay out of another one. */
static void
failure_does_not_keep_it_from_the_next(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a b");
	vm_up("a");
	vm_up("b");
	plug("3:9", 5, MOUSE);
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_SPEED);
	did("hold 3:9/5: speed mismatch: why\n");
	vm_down("a");
	did("attach b 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);

	plug("3:9", 6, MOUSE);
	vm_up("a");
	scanned();
	answer_all(RESULT_OK);
	vm_down("b");
	did("attach a 3:9/6: t:1\n");
	vm_up("b");
	answer("3:9", RESULT_VM_LOST);
	vm_down("a");
	did("attach b 3:9/6: t:1\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached b: t:1");
}

static void
failure_when_a_better_one_is_up(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a b");
	vm_up("b");
	plug("3:9", 5, MOUSE);
	vm_up("a");
	did("");
	answer("3:9", RESULT_SPEED);
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached a: t:1");
}

/* Adoption. */

static void
adopts_a_device_known_before(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a", "pass 3:8 a");
	plug("3:9", 5, MOUSE);
	plug("3:8", 6, MOUSE);
	scanned();
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 41);
	did("");
	vm_up("a");
	did("attach a 3:8/6: t:2\n");
	assert_int_equal(bed.last_request, 42);
	is("3:9", "attached a: t:1");
	assert_int_equal(look("3:9").device.request, 41);
	assert_int_equal(look("3:9").device.guest_port, 2);
	unplug("3:9", 5);
	did("detach a 3:9/5: device removed\n");
}

static void
adopts_a_device_known_after(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 41);
	did("");
	vm_up("a");
	did("");
	plug("3:9", 5, MOUSE);
	did("");
	is("3:9", "attached a: t:1");
	scanned();
	did("");
	assert_int_equal(look("3:9").device.request, 41);
}

static void
takes_nothing_out_before_all_is_known(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 41);
	vm_has("a", "3:8", 6, 40);
	vm_up("a");
	did("");
	passes(100000);
	did("");
	plug("3:9", 7, MOUSE);
	did("attach a 3:9/7: t:1\n");
	assert_int_equal(bed.last_request, 42);
	scanned();
	did("detach a 3:8/6: device removed\n"
	    "detach a 3:9/5: device removed\n");
}

static void
adopted_device_of_another_machine_moves(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 b");
	vm_up("b");
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 7);
	plug("3:9", 5, MOUSE);
	did("");
	vm_up("a");
	did("detach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	did("attach b 3:9/5: t:1\n");
}

static void
adopted_device_that_no_rule_passes_leaves(void **state)
{
	(void)state;
	policy("a", "block");
	plug("3:9", 5, MOUSE);
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 7);
	vm_up("a");
	did("detach a 3:9/5: blocked by t:1\n");
	answer("3:9", RESULT_OK);
	did("hold 3:9/5: blocked by t:1\n");
}

/* It could not be given to b because a had it. */
static void
adopted_device_that_failed_elsewhere(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 b");
	vm_up("b");
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_SPEED);
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 9);
	vm_up("a");
	did("detach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	did("attach b 3:9/5: t:1\n");
	answer("3:9", RESULT_SPEED);
	is("3:9", "failed: speed mismatch: why");
}

/* A machine says that it has what another one was given meanwhile. */
/* Whichever machine answers first after a restart. */
static void
list_waits_for_all_machines_at_the_start(void **state)
{
	static const char *const rules[] = { "pass 3:9 a b", NULL };
	struct core_event ev = { .type = EV_POLICY };

	(void)state;
	ev.u.policy = mkpolicy("a b", rules);
	happens(&ev);
	plug("3:9", 5, MOUSE);
	vm_up("a");
	is("3:9", "held: machine \"b\" has not answered yet whether it has it");
	vm_is("b", VM_GREETING);
	vm_has("b", "3:9", 5, 7);
	vm_up("b");
	did("");
	is("3:9", "attached b: t:1");
}

static void
two_machines_have_it(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a b");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	vm_up("b");
	vm_down("a");
	did("attach b 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 1);
	vm_up("a");
	did("detach a 3:9/5: device removed\n");
	is("3:9", "attached b: t:1");
	/* It is not given to a before that is answered. */
	vm_down("b");
	did("");
	answer("3:9", RESULT_OK);
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached a: t:1");
}

/* What the parent says late is no reason to forget what the machine has. */
static void
socket_told_late_forgets_nothing(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	plug("3:9", 5, MOUSE);
	scanned();
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 7);
	vm_socket("a", ENOENT);
	vm_is("a", VM_GREETING);
	vm_up("a");
	is("3:9", "attached a: t:1");
}

/* Somebody else. */

static void
dropped_device_stays_out(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	vm_dropped("a", "3:9", 5, 1);
	did("hold 3:9/5: taken out of its machine by somebody else\n");
	is("3:9", "held: taken out of its machine by somebody else");
	plug("3:9", 5, MOUSE);
	did("");
	vm_down("a");
	vm_up("a");
	did("");
	policy("a b", "pass 3:9 a");
	did("");
	plug("3:9", 6, MOUSE);
	did("attach a 3:9/6: t:1\n");
	/* A machine that was not asked has nothing to drop. */
	vm_dropped("a", "3:9", 6, 99);
	vm_dropped("b", "3:9", 6, 2);
	vm_dropped("c", "3:9", 6, 2);
	did("");
	is("3:9", "attaching a: t:1");
}

/* The detach that crossed it on the way is answered all the same. */
static void
dropped_while_detaching(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	unplug("3:9", 5);
	did("detach a 3:9/5: device removed\n");
	vm_dropped("a", "3:9", 5, 1);
	did("");
	answer("3:9", RESULT_OK);
	did("");

	plug("3:9", 6, MOUSE);
	answer("3:9", RESULT_OK);
	policy("a b", "pass 3:9 b");
	vm_up("b");
	vm_dropped("a", "3:9", 6, 2);
	answer("3:9", RESULT_OK);
	did("attach b 3:9/6: t:1\n");
}

/* And if it is refused, the device is out all the same. */
static void
dropped_while_detaching_is_refused(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	policy("a b", "pass 3:9 b");
	vm_up("b");
	vm_dropped("a", "3:9", 5, 1);
	did("");
	answer("3:9", RESULT_MIGRATING);
	did("attach b 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	is("3:9", "attached b: t:1");
}

static void
dropped_device_without_a_place(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 41);
	vm_up("a");
	vm_dropped("a", "3:9", 5, 41);
	did("");
	plug("3:9", 5, MOUSE);
	did("attach a 3:9/5: t:1\n");
}

/* Machines that are none of ours. */

static void
unknown_machines_change_nothing(void **state)
{
	(void)state;
	mouse_attached("3:9", 5);
	vm_up("c");
	vm_down("c");
	vm_is("c", VM_GREETING);
	vm_has("c", "3:9", 5, 9);
	did("");
	is("3:9", "attached a: t:1");
	/* But its numbers are used, unless that would use up all there are. */
	plug("3:8", 6, MOUSE);
	assert_int_equal(look("3:8").device.request, 10);
	vm_has_event(EV_VM_HAS, "b", "3:7", 9, UINT32_MAX);
	plug("3:7", 7, MOUSE);
	assert_int_equal(look("3:7").device.request, 11);
}

/* Who has taken a QEMU over may give devices there what ids he likes. */
static void
machine_uses_up_no_numbers(void **state)
{
	const uint32_t half = REQUEST_MAX / 2;

	(void)state;
	policy("a b", "pass 046d:c077 a");
	vm_is("b", VM_GREETING);
	vm_has_event(EV_VM_HAS, "b", "3:1", 1, REQUEST_MAX - 1);
	vm_has_event(EV_VM_HAS, "b", "3:2", 2, half);
	vm_has_event(EV_VM_HAS, "b", "3:3", 3, half + 1);
	vm_up("b");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	assert_int_equal(look("3:9").device.request, 1);
	vm_is("b", VM_GREETING);
	vm_has_event(EV_VM_HAS, "b", "3:2", 2, half);
	vm_has_event(EV_VM_HAS, "b", "3:3", 3, half + 1);
	vm_has("b", "3:4", 4, half - 1);
	vm_up("b");
	/* Numbers that something has are passed over. */
	plug("3:8", 6, MOUSE);
	assert_int_equal(look("3:8").device.request, half + 2);
}

/* What is shown of machines. */

static void
show_vm(const struct ctl_vm *vm, void *arg)
{
	char *text = arg;
	size_t len = strlen(text);

	snprintf(text + len, 256 - len, "%s %s %u %s\n", vm->name,
	    vm_state_string(vm->state), vm->devices, vm->reason);
}

static void
machines_are_shown(void **state)
{
	char text[256] = "";

	(void)state;
	mouse_attached("3:9", 5);
	plug("3:8", 6, MOUSE);
	vm_socket("b", EACCES);
	core_vms(bed.core, show_vm, text);
	assert_string_equal(
	    text, "a ready 1 why\nb absent 0 Permission denied\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BED_TEST(device_waits_for_its_machine),
		BED_TEST(every_order_ends_the_same),
		BED_TEST(machine_lost_and_back),
		BED_TEST(machine_lost_while_attaching),
		BED_TEST(machine_lost_while_detaching),
		BED_TEST(unplugged_while_the_machine_is_down),
		BED_TEST(lost_when_it_has_left),
		BED_TEST(left_before_it_was_heard_of),
		BED_TEST(first_that_is_up_gets_it),
		BED_TEST(failure_does_not_keep_it_from_the_next),
		BED_TEST(failure_when_a_better_one_is_up),
		BED_TEST(adopts_a_device_known_before),
		BED_TEST(adopts_a_device_known_after),
		BED_TEST(takes_nothing_out_before_all_is_known),
		BED_TEST(adopted_device_of_another_machine_moves),
		BED_TEST(adopted_device_that_no_rule_passes_leaves),
		BED_TEST(adopted_device_that_failed_elsewhere),
		BED_TEST(list_waits_for_all_machines_at_the_start),
		BED_TEST(two_machines_have_it),
		BED_TEST(socket_told_late_forgets_nothing),
		BED_TEST(dropped_device_stays_out),
		BED_TEST(dropped_while_detaching),
		BED_TEST(dropped_while_detaching_is_refused),
		BED_TEST(dropped_device_without_a_place),
		BED_TEST(unknown_machines_change_nothing),
		BED_TEST(machine_uses_up_no_numbers),
		BED_TEST(machines_are_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
