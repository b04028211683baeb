/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Another QMP client, another monitor, another engine: what the core makes of
 * it; and after how long a child is started again.
 */

#include "core_bed.h"
#include "restart.h"

#define LOST "may have it still: its connection is lost\n"

static void
qmpclient_dies(void)
{
	struct core_event ev = { .type = EV_QMPCLIENT_LOST };

	bed.nasks = 0; /* nobody answers */
	memset(bed.connected, 0, sizeof(bed.connected));
	happens(&ev);
}

static void
monitor_dies(void)
{
	struct core_event ev = { .type = EV_SCAN };

	happens(&ev);
	did("");
}

/* A mouse in 3:9, in machine a, as request 1; a and b are up. */
static void
attached(const char *rule)
{
	policy("a b", rule);
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	is("3:9", "attached a: t:1");
}

static void
device_stays_when_the_qmpclient_dies(void **state)
{
	(void)state;
	attached("pass 046d:c077 a");
	qmpclient_dies();
	did("hold 3:9/5: machine \"a\" " LOST);
	vm_is("a", VM_GREETING);
	did("");
	vm_has("a", "3:9", 5, 1);
	vm_up("a");
	did("");
	is("3:9", "attached a: t:1");
	/* And the numbers go on. */
	plug("3:10", 6, MOUSE);
	did("attach a 3:10/6: t:1\n");
	assert_int_equal(bed.last_request, 2);
	answer("3:10", RESULT_OK);
}

static void
machine_that_ended_meanwhile_has_nothing(void **state)
{
	(void)state;
	attached("pass 046d:c077 a b");
	qmpclient_dies();
	vm_socket("b", ENOENT);
	did("");
	vm_socket("a", ECONNREFUSED);
	did("hold 3:9/5: no machine of its list is up\n");
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
}

/* The parent's word was read before the QMP client's, which never comes. */
static void
machine_that_ended_before(void **state)
{
	(void)state;
	attached("pass 046d:c077 a b");
	vm_socket("a", ECONNREFUSED);
	did("");
	qmpclient_dies();
	did("hold 3:9/5: machine \"b\" has not answered yet whether it has "
	    "it\n");
	vm_up("b");
	did("attach b 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
}

static void
attach_on_its_way(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a", "pass 3:10 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	plug("3:10", 6, MOUSE);
	qmpclient_dies();
	did("hold 3:9/5: machine \"a\" " LOST
	    "hold 3:10/6: machine \"a\" " LOST);
	/* One was carried out. */
	vm_has("a", "3:9", 5, 1);
	vm_up("a");
	did("attach a 3:10/6: t:2\n");
	is("3:9", "attached a: t:1");
	answer("3:10", RESULT_OK);
	is("3:10", "attached a: t:2");
}

static void
detach_on_its_way(void **state)
{
	(void)state;
	attached("pass 046d:c077 a");
	unplug("3:9", 5);
	did("detach a 3:9/5: device removed\n");
	qmpclient_dies();
	did("");
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 1);
	vm_up("a");
	did("detach a 3:9/5: device removed\n");
	answer("3:9", RESULT_OK);
	/* And one that was carried out. */
	plug("3:9", 6, MOUSE);
	answer("3:9", RESULT_OK);
	unplug("3:9", 6);
	qmpclient_dies();
	vm_up("a");
	did("");
	plug("3:9", 7, MOUSE);
	did("attach a 3:9/7: t:1\n");
}

static void
replugged_while_the_qmpclient_is_dead(void **state)
{
	(void)state;
	attached("pass 046d:c077 a");
	qmpclient_dies();
	unplug("3:9", 5);
	did("");
	plug("3:9", 6, MOUSE);
	did("hold 3:9/6: machine \"a\" is down\n");
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 1);
	did("");
	vm_up("a");
	did("detach a 3:9/5: device removed\nattach a 3:9/6: t:1\n");
	answer_all(RESULT_OK);
	is("3:9", "attached a: t:1");
}

/* In whatever order they connect, the first of the list gets it. */
static void
a_list_waits_until_all_were_heard_of(void **state)
{
	(void)state;
	attached("pass 046d:c077 a b");
	qmpclient_dies();
	plug("3:10", 6, MOUSE);
	vm_up("b");
	did("");
	is("3:10", "held: machine \"a\" has not answered yet whether it has "
		   "it");
	vm_has("a", "3:9", 5, 1);
	vm_up("a");
	did("attach a 3:10/6: t:1\n");
}

static void
failure_is_forgotten(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OTHER);
	qmpclient_dies();
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
}

static void
second_scan_changes_nothing(void **state)
{
	(void)state;
	attached("pass 046d:c077 a");
	monitor_dies();
	plug("3:9", 5, MOUSE);
	did("");
	scanned();
	did("");
	is("3:9", "attached a: t:1");
	unplug("3:9", 5);
	did("detach a 3:9/5: device removed\n");
}

static void
second_scan_misses_a_device(void **state)
{
	(void)state;
	attached("pass 046d:c077 a");
	plug("3:10", 6, KEYBOARD);
	monitor_dies();
	did("");
	scanned();
	did("detach a 3:9/5: device removed\n");
	is("3:9", "");
	is("3:10", "");
}

static void
second_scan_finds_another_device(void **state)
{
	(void)state;
	attached("pass 046d:c077 a");
	monitor_dies();
	plug("3:10", 7, MOUSE);
	did("attach a 3:10/7: t:1\n");
	plug("3:9", 6, MOUSE);
	did("detach a 3:9/5: device removed\nattach a 3:9/6: t:1\n");
	scanned();
	did("");
	answer_all(RESULT_OK);
	is("3:9", "attached a: t:1");
}

/* The monitor dies in the middle of its scan. */
static void
third_scan(void **state)
{
	(void)state;
	attached("pass 046d:c077 a");
	monitor_dies();
	plug("3:9", 5, MOUSE);
	monitor_dies();
	scanned();
	did("detach a 3:9/5: device removed\n");
}

/* A new engine hears what a machine has before it hears of a connection. */
static void
machine_is_asked_over_the_connection_that_is(void **state)
{
	(void)state;
	policy("a", "block");
	plug("3:9", 5, MOUSE);
	scanned();
	vm_has("a", "3:9", 5, 7);
	plug("3:9", 5, KEYBOARD);
	did("");
	vm_up("a");
	did("detach a 3:9/5: blocked by t:1\n");
	assert_int_equal(bed.asks[0].conn, bed.conn[1]);
	answer("3:9", RESULT_OK);
}

/* And the QMP client dies before it can say that the machine is ready. */
static void
qmpclient_dies_while_it_tells(void **state)
{
	static const char *const rules[] = { "pass 3:9 a", NULL };
	struct core_event ev = { .type = EV_POLICY };

	(void)state;
	ev.u.policy = mkpolicy("a", rules);
	happens(&ev);
	plug("3:9", 5, MOUSE);
	scanned();
	vm_has("a", "3:9", 5, 7);
	qmpclient_dies();
	plug("3:9", 5, MOUSE);
	did("");
	is("3:9", "held a: machine \"a\" may have it still: its connection is "
		  "lost");
	/* Meanwhile it was taken out. */
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
}

/* Both at once: what is in the machine was plugged when last heard of. */
static void
monitor_and_qmpclient_die(void **state)
{
	(void)state;
	attached("pass 046d:c077 a");
	qmpclient_dies();
	monitor_dies();
	vm_has("a", "3:9", 5, 1);
	vm_up("a");
	did("");
	is("3:9", "attached a: t:1");
	scanned();
	did("detach a 3:9/5: device removed\n");
}

static void
new_engine_goes_on_counting(void **state)
{
	(void)state;
	core_requests_from(bed.core, 41);
	core_requests_from(bed.core, 7);
	core_requests_from(bed.core, REQUEST_MAX);
	core_requests_from(bed.core, REQUEST_MAX - 1); /* none would be left */
	policy("a", "pass 3:9 a");
	vm_up("a");
	plug("3:9", 5, MOUSE);
	did("attach a 3:9/5: t:1\n");
	assert_int_equal(bed.asks[0].request, 42);
}

/* When children are started again. */

/* Nobody has said yet whether its machines are there. */
static void
new_policy(const char *vms, const char *rule)
{
	struct core_event ev = { .type = EV_POLICY };

	ev.u.policy = mkpolicy(vms, (const char *const[]){ rule, NULL });
	happens(&ev);
}

/* It has left before a new engine heard of it, and has its device still. */
static void
machine_leaves_unheard_of(void **state)
{
	(void)state;
	new_policy("a b", "pass 3:9 a");
	scanned();
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: machine \"a\" has not answered yet whether it has "
	    "it\n");
	new_policy("b", "pass 3:9 b");
	did("");
	vm_up("b");
	did("");
	vm_is("a", VM_GREETING);
	vm_has("a", "3:9", 5, 7);
	vm_up("a");
	did("detach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	did("attach b 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
}

static void
later_each_time(void **state)
{
	static const int delays[] = { 0, 100, 500, 1000, 2000, 2000, 2000, 2000,
		2000, -1 };
	struct restart r;
	uint64_t now = 1;
	size_t i;

	(void)state;
	memset(&r, 0, sizeof(r));
	for (i = 0; i < RESTART_DEATHS; i++)
		assert_int_equal(restart_after(&r, now++), delays[i]);
	/* Also the next one, and as long as the window lasts. */
	assert_int_equal(restart_after(&r, RESTART_WINDOW - 1), -1);
}

static void
what_is_long_ago_does_not_count(void **state)
{
	struct restart r;
	uint64_t now = 1;
	size_t i;

	(void)state;
	memset(&r, 0, sizeof(r));
	for (i = 0; i < 3 * RESTART_DEATHS; i++, now += RESTART_WINDOW)
		assert_int_equal(restart_after(&r, now), 0);
	/* As many in a window as may be, for ever. */
	for (i = 0; i < 3 * RESTART_DEATHS; i++) {
		assert_int_not_equal(restart_after(&r, now), -1);
		now += RESTART_WINDOW / (RESTART_DEATHS - 1) + 1;
	}
	assert_int_equal(restart_after(&r, now), 2000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BED_TEST(device_stays_when_the_qmpclient_dies),
		BED_TEST(machine_that_ended_meanwhile_has_nothing),
		BED_TEST(machine_that_ended_before),
		BED_TEST(attach_on_its_way),
		BED_TEST(detach_on_its_way),
		BED_TEST(replugged_while_the_qmpclient_is_dead),
		BED_TEST(a_list_waits_until_all_were_heard_of),
		BED_TEST(failure_is_forgotten),
		BED_TEST(second_scan_changes_nothing),
		BED_TEST(second_scan_misses_a_device),
		BED_TEST(second_scan_finds_another_device),
		BED_TEST(third_scan),
		BED_TEST(machine_is_asked_over_the_connection_that_is),
		BED_TEST(qmpclient_dies_while_it_tells),
		BED_TEST(monitor_and_qmpclient_die),
		BED_TEST(new_engine_goes_on_counting),
		BED_TEST(machine_leaves_unheard_of),
		cmocka_unit_test(later_each_time),
		cmocka_unit_test(what_is_long_ago_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
