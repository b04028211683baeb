/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Machines that migrate, die, or were given devices by somebody else. */

#include "core_bed.h"

static void
vm_ready(const char *vm, int migrating, int told)
{
	struct msg_vm_state m = { .vm = vm_number(vm),
		.state = VM_READY,
		.migrating = (uint32_t)migrating,
		.told = (uint32_t)told,
		.conn = vm_conn(vm_number(vm), VM_READY) };
	struct core_event ev = { .type = EV_VM_STATE, .u.vm_state = &m };

	happens(&ev);
}

static void
vm_port(const char *vm)
{
	struct msg_vm_number m = { vm_number(vm) };
	struct core_event ev = { .type = EV_VM_PORT, .u.vm_number = &m };

	happens(&ev);
}

static struct msg_vm_foreign
mkforeign(const char *vm, const char *id)
{
	struct msg_vm_foreign m;

	memset(&m, 0, sizeof(m));
	m.vm = vm_number(vm);
	strlcpy(m.id, id, sizeof(m.id));
	return m;
}

static void
vm_foreign(const struct msg_vm_foreign *m)
{
	struct core_event ev = { .type = EV_VM_FOREIGN, .u.foreign = m };

	happens(&ev);
}

/* Migration. */

static void
nothing_is_asked_of_a_machine_that_migrates(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a", "pass 3:8 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	vm_ready("a", 1, 0);
	did("");
	/* Neither what comes nor what goes, nor what policy moves. */
	plug("3:8", 6, KEYBOARD);
	did("hold 3:8/6: machine \"a\" is migrating\n");
	unplug("3:9", 5);
	did("");
	plug("3:9", 7, MOUSE);
	did("hold 3:9/7: machine \"a\" is migrating\n");
	vm_ready("a", 0, 0);
	did("detach a 3:9/5: device removed\n"
	    "attach a 3:8/6: t:2\nattach a 3:9/7: t:1\n");
}

static void
policy_that_moves_a_device_waits_for_the_migration(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	vm_ready("a", 1, 0);
	policy("a b", "pass 3:9 b");
	did("");
	is("3:9", "attached a: t:1");
	vm_ready("a", 0, 0);
	did("detach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
	did("attach b 3:9/5: t:1\n");
}

/* What was on its way when it began is refused, and tried when it is over. */
static void
refused_by_a_migration(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a", "pass 3:8 a");
	vm_up("a");
	scanned();
	plug("3:8", 4, MOUSE);
	answer("3:8", RESULT_OK);
	plug("3:9", 5, MOUSE);
	unplug("3:8", 4);
	answer("3:9", RESULT_MIGRATING);
	did("hold 3:9/5: machine is migrating: why\n");
	answer("3:8", RESULT_MIGRATING);
	did("");
	vm_ready("a", 1, 0);
	did("hold 3:9/5: machine \"a\" is migrating\n");
	passes(60000);
	did("");
	vm_ready("a", 0, 0);
	did("detach a 3:8/4: device removed\nattach a 3:9/5: t:1\n");
}

/* Numbers of devices come around: the machine has the one before. */
static void
another_device_of_that_number(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	vm_ready("a", 1, 0);
	unplug("3:9", 5);
	plug("3:9", 5, KEYBOARD);
	did("hold 3:9/5: machine \"a\" is migrating\n");
	vm_ready("a", 0, 0);
	did("detach a 3:9/5: device removed\n");
	answer("3:9", RESULT_OK);
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
}

/* A machine that dies on the way is not one that migrates for ever. */
static void
migration_ends_with_the_machine(void **state)
{
	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	vm_ready("a", 1, 0);
	vm_down("a");
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: machine \"a\" is down\n");
	vm_up("a");
	did("attach a 3:9/5: t:1\n");
}

/* Death. */

static void
device_of_a_dead_machine_goes_back_to_the_host(void **state)
{
	(void)state;
	bed.release = RELEASE_HOST;
	policy("a b", "pass 3:9 a", "pass 3:8 a b", "pass 3:7 a");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	plug("3:8", 6, MOUSE);
	answer("3:8", RESULT_OK);
	plug("3:7", 7, MOUSE);
	answer("3:7", RESULT_OK);
	unplug("3:7", 7);
	vm_is("a", VM_LOST);
	did("hold 3:8/6: machine \"a\" may have it still: its connection is "
	    "lost\n"
	    "hold 3:9/5: machine \"a\" may have it still: its connection is "
	    "lost\n");
	/* Not what another machine gets, nor what is not there. */
	vm_socket("a", ECONNREFUSED);
	did("attach b 3:8/6: t:2\n"
	    "hold 3:9/5: machine \"a\" is down\n"
	    "release 3:9/5: its machine died\n");
	/* Once. */
	vm_socket("a", ENOENT);
	did("");
}

/* Another machine has it still, since before. */
static void
device_of_two_machines_of_which_one_dies(void **state)
{
	(void)state;
	bed.release = RELEASE_HOST;
	policy("a b", "pass 3:9 a b");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	vm_down("a");
	answer("3:9", RESULT_OK);
	vm_is("a", VM_GREETING);
	vm_has_event(EV_VM_HAS, "a", "3:9", 5, 1);
	vm_up("a");
	did("detach a 3:9/5: device removed\n");
	vm_down("b");
	did("");
	answer("3:9", RESULT_OK);
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
}

static void
device_that_shall_stay_with_nobody(void **state)
{
	(void)state;
	bed.release = RELEASE_NOBODY;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	vm_down("a");
	did("hold 3:9/5: machine \"a\" is down\n");
}

/* That its socket has gone says nothing as long as its process lives. */
static void
socket_that_goes_before_its_machine(void **state)
{
	struct msg_vm_socket m = { .vm = 1, .error = ENOENT, .conn = 1 };
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = &m };

	(void)state;
	bed.release = RELEASE_HOST;
	policy("a b", "pass 3:9 a b");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_OK);
	vm_is("a", VM_LOST);
	did("hold 3:9/5: machine \"a\" may have it still: its connection is "
	    "lost\n");
	happens(&ev);
	did("");
	m.error = EAGAIN;
	happens(&ev);
	did("");
	is("3:9", "held a: machine \"a\" may have it still: its connection is "
		  "lost");
	m.error = ECONNREFUSED;
	m.ended = 1;
	happens(&ev);
	did("attach b 3:9/5: t:1\n");
}

/* Others. */

static void
device_of_somebody_else_is_left_to_him(void **state)
{
	struct msg_vm_foreign m = mkforeign("a", "stick");

	(void)state;
	policy("a b", "pass 3:9 b", "pass 3:8 b");
	vm_up("b");
	scanned();
	m.busnum = 3;
	m.devnum = 5;
	vm_foreign(&m);
	vm_ready("a", 0, 1);
	did("");
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: machine \"a\" was given it by somebody else, as "
	    "stick\n");
	plug("3:8", 6, MOUSE);
	did("attach b 3:8/6: t:2\n");
	answer("3:8", RESULT_OK);
	/* It is still in the next list, and then no more. */
	vm_foreign(&m);
	vm_ready("a", 0, 1);
	did("");
	vm_ready("a", 0, 0);
	did("");
	vm_ready("a", 0, 1);
	did("attach b 3:9/5: t:1\n");
}

/* Nor as long as the machine lives, though it lets nobody connect. */
static void
device_of_somebody_else_in_a_machine_that_ends(void **state)
{
	struct msg_vm_socket gone = { .vm = 1, .error = ENOENT, .conn = 1 };
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = &gone };
	struct msg_vm_foreign m = mkforeign("a", "stick");

	(void)state;
	policy("a b", "pass 3:9 b");
	vm_up("b");
	scanned();
	m.busnum = 3;
	m.devnum = 5;
	vm_foreign(&m);
	vm_ready("a", 0, 1);
	plug("3:9", 5, MOUSE);
	vm_is("a", VM_LOST);
	happens(&ev);
	did("");
	gone.ended = 1;
	happens(&ev);
	did("attach b 3:9/5: t:1\n");
}

static void
what_others_look_for(void **state)
{
	struct msg_vm_foreign m;
	size_t i;

	for (i = 0; i < 6; i++) {
		bed_teardown(state);
		bed_setup(state);
		policy("a", "pass 3:1.9 a");
		vm_up("a");
		scanned();
		m = mkforeign("a", "x");
		switch (i) {
		case 0:
			m.vendor = 0x46d;
			break;
		case 1:
			m.product = 0xc077;
			break;
		case 2:
			m.busnum = 3;
			break;
		case 3:
			m.port = mkport("1:1.9");
			m.port.busnum = 0;
			break;
		case 4:
			m.devnum = 5;
			m.vendor = 0x46d;
			m.product = 0xc077;
			break;
		case 5:
			m.busnum = 3;
			m.port = mkport("1:1.9");
			m.port.busnum = 0;
			break;
		}
		vm_foreign(&m);
		plug("3:1.9", 5, MOUSE);
		did("hold 3:1.9/5: machine \"a\" was given it by somebody "
		    "else, as x\n");
		/* What is known to be dead has nothing. */
		vm_down("a");
		vm_up("a");
		did("attach a 3:1.9/5: t:1\n");
	}
}

static void
what_others_do_not_look_for(void **state)
{
	struct msg_vm_foreign m = mkforeign("a", "nothing");

	(void)state;
	policy("a", "pass 3:9 a");
	vm_up("a");
	scanned();
	vm_foreign(&m); /* a set of descriptors: nobody knows */
	strlcpy(m.id, "vendor", sizeof(m.id));
	m.vendor = 0x46d;
	m.product = 1;
	vm_foreign(&m);
	strlcpy(m.id, "port", sizeof(m.id));
	m.vendor = m.product = 0;
	m.port = mkport("3:9.1");
	m.port.busnum = 0;
	vm_foreign(&m);
	strlcpy(m.id, "bus", sizeof(m.id));
	m.port = mkport("3:9");
	m.busnum = 4;
	vm_foreign(&m);
	plug("3:9", 5, MOUSE);
	did("attach a 3:9/5: t:1\n");
}

/* Start. */

/* A policy whose machines were not heard of, with a device of the first. */
static void
start(void)
{
	static const char *const rules[] = { "pass 3:9 a", NULL };
	struct core_event ev = { .type = EV_POLICY };

	ev.u.policy = mkpolicy("a b", rules);
	happens(&ev);
	scanned();
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: machine \"a\" has not answered yet whether it has "
	    "it\n");
	vm_up("a");
	did("hold 3:9/5: machine \"b\" has not answered yet whether it has "
	    "it\n");
}

static void
no_device_before_all_machines_were_heard_of(void **state)
{
	(void)state;
	start();
	vm_up("b");
	did("attach a 3:9/5: t:1\n");
}

/* What another machine has since before we started is not given twice. */
static void
other_machine_has_it_at_the_start(void **state)
{
	struct msg_vm_foreign m = mkforeign("b", "his");

	(void)state;
	start();
	m.busnum = 3;
	m.devnum = 5;
	vm_foreign(&m);
	vm_ready("b", 0, 1);
	did("hold 3:9/5: machine \"b\" was given it by somebody else, as "
	    "his\n");
}

/* One that hangs is waited for once. */
static void
machine_that_hangs_at_the_start(void **state)
{
	uint64_t until;

	(void)state;
	start();
	until = core_next(bed.core);
	assert_int_equal(until, bed.now + 5000);
	passes(until - bed.now - 1);
	did("");
	passes(1);
	did("attach a 3:9/5: t:1\n");
	assert_int_equal(core_next(bed.core), 0);
	answer("3:9", RESULT_OK);
	plug("3:8", 6, MOUSE);
	policy("a b", "pass 3:9 a", "pass 3:8 a");
	did("attach a 3:8/6: t:2\n");
}

/* It lives, says the parent, and lets nobody connect. */
static void
machine_that_cannot_be_asked_at_the_start(void **state)
{
	struct msg_vm_socket m = { .vm = 2, .error = ECONNREFUSED, .conn = 3 };
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = &m };

	(void)state;
	start();
	happens(&ev);
	did("");
	m.ended = 1;
	happens(&ev);
	did("attach a 3:9/5: t:1\n");
	answer("3:9", RESULT_OK);
}

/* Ports. */

static void
port_that_somebody_else_frees(void **state)
{
	(void)state;
	policy("a b", "pass 3:9 a", "pass 3:8 a", "pass 3:7 b");
	vm_up("a");
	vm_up("b");
	scanned();
	plug("3:9", 5, MOUSE);
	answer("3:9", RESULT_BUS_FULL);
	plug("3:8", 6, MOUSE);
	answer("3:8", RESULT_NO_CONTROLLER);
	plug("3:7", 7, MOUSE);
	answer("3:7", RESULT_BUS_FULL);
	did("hold 3:7/7: no free guest port: why\n");
	vm_port("a");
	did("attach a 3:8/6: t:2\nattach a 3:9/5: t:1\n");
	vm_port("a");
	did("");
}

/* What was told over a connection that ended before it was all. */
static void
foreign_device_of_a_connection_that_was_lost(void **state)
{
	struct msg_vm_foreign m = mkforeign("a", "stick");

	(void)state;
	policy("a b", "pass 3:9 b");
	vm_up("b");
	m.vendor = 0x046d;
	vm_is("a", VM_GREETING);
	vm_foreign(&m);
	vm_is("a", VM_LOST);
	plug("3:9", 5, MOUSE);
	did("hold 3:9/5: machine \"a\" was given it by somebody else, as "
	    "stick\n");
	vm_is("a", VM_GREETING);
	did("");
	vm_ready("a", 0, 1);
	did("attach b 3:9/5: t:1\n");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		BED_TEST(nothing_is_asked_of_a_machine_that_migrates),
		BED_TEST(policy_that_moves_a_device_waits_for_the_migration),
		BED_TEST(refused_by_a_migration),
		BED_TEST(another_device_of_that_number),
		BED_TEST(migration_ends_with_the_machine),
		BED_TEST(device_of_a_dead_machine_goes_back_to_the_host),
		BED_TEST(device_of_two_machines_of_which_one_dies),
		BED_TEST(device_that_shall_stay_with_nobody),
		BED_TEST(socket_that_goes_before_its_machine),
		BED_TEST(device_of_somebody_else_is_left_to_him),
		BED_TEST(device_of_somebody_else_in_a_machine_that_ends),
		BED_TEST(what_others_look_for),
		BED_TEST(what_others_do_not_look_for),
		BED_TEST(no_device_before_all_machines_were_heard_of),
		BED_TEST(other_machine_has_it_at_the_start),
		BED_TEST(machine_that_hangs_at_the_start),
		BED_TEST(machine_that_cannot_be_asked_at_the_start),
		BED_TEST(port_that_somebody_else_frees),
		BED_TEST(foreign_device_of_a_connection_that_was_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
