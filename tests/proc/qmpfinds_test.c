/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * What the QMP client finds out of a machine: what it is able to, what others
 * do with it.
 */

#include <sys/socket.h>
#include <sys/un.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

/* What QEMU is able to. */

static void
ready_by(struct rig *r, uint32_t number, const char *name,
    enum handover handover, const char *text)
{
	struct msg_vm_state m;

	rig_vm(r, number, "", HANDOVER_AUTO);
	rig_connect(r, number, name);
	rig_state(r, number, VM_GREETING, NULL);
	rig_expect(r, MSG_VM_STATE, number, &m);
	assert_int_equal(m.state, VM_READY);
	assert_int_equal(m.handover, handover);
	assert_int_equal(m.told, 1);
	assert_int_equal(m.migrating, 0);
	if (strstr(m.text, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", m.text, text);
}

static void
handover_is_found_out(void **state)
{
	struct rig *r = *state;
	struct msg_result result;

	rig_qemu(r, "real", RIG_XHCI);
	rig_peer(r, "no-add-fd", "query-commands", "old");
	rig_peer(r, "no-hostdevice", "device-list-properties", "old");
	rig_peer(r, "no-usb-host", "device-list-properties", "error");
	ready_by(r, 1, "real", HANDOVER_FD, ", handover fd");
	ready_by(r, 2, "no-add-fd", HANDOVER_ADDRESS, ", handover address");
	ready_by(r, 3, "no-hostdevice", HANDOVER_ADDRESS, ", handover address");
	ready_by(r, 4, "no-usb-host", HANDOVER_ADDRESS,
	    "; it has no device usb-host");
	rig_attach(r, 7, 4, 9);
	rig_result(r, 7, RESULT_UNABLE, &result, RIG_SOON_MS);
	assert_string_equal(result.text, "it has no device usb-host");
	rig_attach(r, 8, 2, 9);
	rig_result(r, 8, RESULT_OK, NULL, RIG_SOON_MS);
}

static void
speed_that_the_bus_cannot_take(void **state)
{
	struct rig *r = *state;
	struct msg_result result;

	rig_qemu(r, "alone", "-device usb-ehci,id=ehci");
	rig_qemu(r, "companion",
	    "-device ich9-usb-ehci1,id=ehci"
	    " -device ich9-usb-uhci1,masterbus=ehci.0,firstport=0");
	rig_ready(r, 1, "alone", "ehci.0", HANDOVER_ADDRESS, NULL);
	rig_ready(r, 2, "companion", "ehci.0", HANDOVER_ADDRESS, NULL);
	rig_attach(r, 1, 1, 9);
	rig_result(r, 1, RESULT_SPEED, &result, RIG_SOON_MS);
	assert_string_equal(result.text,
	    "bus ehci.0 takes high speed only, the device runs at full speed");
	/* This one is asked, and has no such device. */
	rig_attach(r, 2, 2, 9);
	rig_result(r, 2, RESULT_GONE, NULL, RIG_SOON_MS);
}

/* Others at work in the same machine. */

static void
what_others_gave_is_told(void **state)
{
	struct rig *r = *state;
	struct msg_vm_foreign m;
	struct msg_vm_state s;

	rig_two_monitors(r, "a",
	    RIG_XHCI " -device usb-host,hostbus=3,hostport=1.2,id=his"
		     " -device usb-host,vendorid=0x46d,productid=0xc077");
	rig_ready(r, 1, "a", "", HANDOVER_AUTO, NULL);
	rig_expect(r, MSG_VM_FOREIGN, 1, &m);
	assert_string_equal(m.id, "his");
	assert_int_equal(m.busnum, 3);
	assert_int_equal(m.devnum, 0);
	assert_int_equal(m.port.busnum, 0);
	assert_int_equal(m.port.depth, 2);
	assert_int_equal(m.port.chain[1], 2);
	rig_expect(r, MSG_VM_FOREIGN, 1, &m);
	assert_string_equal(m.id, "/machine/peripheral-anon/device[0]");
	assert_int_equal(m.vendor, 0x46d);
	assert_int_equal(m.product, 0xc077);
	assert_int_equal(m.port.depth, 0);
	/* He takes one out: the whole list is told anew. */
	rig_command(r, "a2",
	    "{\"execute\": \"device_del\", \"arguments\": {\"id\": "
	    "\"his\"}}",
	    "DEVICE_DELETED");
	rig_expect(r, MSG_VM_FOREIGN, 1, &m);
	assert_int_equal(m.vendor, 0x46d);
	rig_expect(r, MSG_VM_STATE, 1, &s);
	assert_int_equal(s.state, VM_READY);
	assert_int_equal(s.told, 1);
	assert_false(rig_get(r, MSG_VM_FOREIGN, 1, NULL, 200));
}

static void
long_id_of_others(void **state)
{
	struct rig *r = *state;
	struct msg_vm_foreign m;
	char args[512], id[201];

	memset(id, 'x', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	snprintf(args, sizeof(args),
	    RIG_XHCI " -device usb-host,vendorid=0x46d,id=%s", id);
	rig_qemu(r, "a", args);
	rig_ready(r, 1, "a", "", HANDOVER_AUTO, NULL);
	rig_expect(r, MSG_VM_FOREIGN, 1, &m);
	assert_int_equal(m.vendor, 0x46d);
	assert_int_equal(strspn(m.id, "x"), sizeof(m.id) - 1);
}

static void
port_that_others_free_is_told(void **state)
{
	struct rig *r = *state;

	rig_two_monitors(r, "a",
	    "-device qemu-xhci,id=xhci,p2=1,p3=1"
	    " -device usb-mouse,port=1,id=m");
	rig_ready(r, 1, "a", "", HANDOVER_ADDRESS, NULL);
	rig_attach(r, 1, 1, 9);
	rig_result(r, 1, RESULT_BUS_FULL, NULL, RIG_SOON_MS);
	assert_false(rig_get(r, MSG_VM_PORT, 1, NULL, 0));
	rig_command(r, "a2",
	    "{\"execute\": \"device_del\", \"arguments\": {\"id\": "
	    "\"m\"}}",
	    "DEVICE_DELETED");
	rig_expect(r, MSG_VM_PORT, 1, NULL);
	rig_attach(r, 2, 1, 9);
	rig_result(r, 2, RESULT_GONE, NULL, RIG_SOON_MS);
}

static void
id_that_others_took(void **state)
{
	struct rig *r = *state;
	struct msg_result result;

	rig_two_monitors(r, "a", RIG_XHCI);
	rig_ready(r, 1, "a", "", HANDOVER_ADDRESS, NULL);
	rig_command(r, "a2",
	    "{\"execute\": \"device_add\", \"arguments\": {\"driver\": "
	    "\"usb-mouse\", \"id\": \"usbmgrd-3-9-9-1\", \"port\": \"7\"}}",
	    "return");
	rig_attach(r, 1, 1, 9);
	rig_result(r, 1, RESULT_DUPLICATE, &result, RIG_SOON_MS);
	assert_string_equal(
	    result.text, "Duplicate device ID 'usbmgrd-3-9-9-1'");
}

/* A migration to where nobody reads. */
static void
migrate(struct rig *r, const char *name)
{
	char json[256];

	rig_command(r, "a2",
	    "{\"execute\": \"migrate-set-parameters\", \"arguments\": "
	    "{\"max-bandwidth\": 1000}}",
	    "return");
	snprintf(json, sizeof(json),
	    "{\"execute\": \"migrate\", \"arguments\": {\"uri\": "
	    "\"unix:%s/%s\"}}",
	    r->dir, name);
	rig_command(r, "a2", json, "return");
}

static int
listen_at(struct rig *r, const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/%s", r->dir, name);
	assert_int_equal(
	    bind(fd, (const struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void
machine_that_migrates_is_left_alone(void **state)
{
	struct rig *r = *state;
	struct msg_vm_state m;
	int fd;

	rig_two_monitors(
	    r, "a", RIG_XHCI RIG_NO_DEVICE ",id=" RIG_OURS ",port=4");
	fd = listen_at(r, "sink");
	rig_ready(r, 1, "a", "", HANDOVER_ADDRESS, NULL);
	migrate(r, "sink");
	rig_expect(r, MSG_VM_STATE, 1, &m);
	assert_int_equal(m.migrating, 1);
	assert_non_null(strstr(m.text, "; migrating"));
	rig_attach(r, 1, 1, 9);
	rig_result(r, 1, RESULT_MIGRATING, NULL, RIG_SOON_MS);
	rig_detach(r, 2, 1, RIG_OURS);
	rig_result(r, 2, RESULT_MIGRATING, NULL, RIG_SOON_MS);
	rig_command(r, "a2", "{\"execute\": \"migrate_cancel\"}", "return");
	rig_expect(r, MSG_VM_STATE, 1, &m);
	assert_int_equal(m.migrating, 0);
	assert_null(strstr(m.text, "; migrating"));
	rig_detach(r, 3, 1, RIG_OURS);
	rig_result(r, 3, RESULT_OK, NULL, RIG_SOON_MS);
	close(fd);
}

/* One that is connected to when it migrates already. */
static void
migration_that_was_there_before(void **state)
{
	struct rig *r = *state;
	struct msg_vm_state m;
	int fd;

	rig_two_monitors(r, "a", RIG_XHCI);
	fd = listen_at(r, "sink");
	migrate(r, "sink");
	rig_vm(r, 1, "", HANDOVER_ADDRESS);
	rig_connect(r, 1, "a");
	rig_state(r, 1, VM_GREETING, NULL);
	rig_expect(r, MSG_VM_STATE, 1, &m);
	assert_int_equal(m.state, VM_READY);
	assert_int_equal(m.migrating, 1);
	close(fd);
}

static void
is_migrating(struct rig *r, uint32_t number, uint32_t migrating)
{
	struct msg_vm_state m;

	rig_expect(r, MSG_VM_STATE, number, &m);
	assert_int_equal(m.state, VM_READY);
	assert_int_equal(m.migrating, migrating);
}

/* It ends before the answers to something else that was asked. */
static void
migration_that_fails_at_once(void **state)
{
	struct rig *r = *state;

	rig_peer(r, "a", "idle", "migrates");
	rig_ready(r, 1, "a", "", HANDOVER_ADDRESS, NULL);
	is_migrating(r, 1, 1);
	is_migrating(r, 1, 0);
}

/* A machine that connects, migrates, and does not any more. */
static void
seen_migrating(struct rig *r, const char *when, const char *fault)
{
	rig_peer(r, "a", when, fault);
	rig_vm(r, 1, "", HANDOVER_ADDRESS);
	rig_connect(r, 1, "a");
	rig_state(r, 1, VM_GREETING, NULL);
	is_migrating(r, 1, 1);
	is_migrating(r, 1, 0);
}

static void
migration_that_ends_while_it_is_asked(void **state)
{
	seen_migrating(*state, "query-status", "incoming");
}

/* It was already asked whether it does. */
static void
migration_that_begins_while_it_is_asked(void **state)
{
	seen_migrating(*state, "query-commands", "moving");
}

static unsigned int
count_inventories(const struct rig *r)
{
	FILE *f = fopen(r->log, "r");
	unsigned int n = 0;
	char line[4096];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, "\"command\":\"query-status\"") != NULL;
	fclose(f);
	return n;
}

/* What one has is asked once a second, however often it says what it does. */
static void
machine_without_rest(void **state)
{
	struct rig *r = *state;
	unsigned int n;

	rig_peer(r, "a", "query-status", "restless");
	rig_ready(r, 1, "a", "", HANDOVER_ADDRESS, NULL);
	usleep(2500000);
	n = count_inventories(r);
	assert_in_range(n, 2, 4);
}

/* Its end is not told where there is no connection: it is asked again. */
static void
migration_of_a_shared_machine(void **state)
{
	struct rig *r = *state;
	struct msg_vm m;

	rig_qemu(r, "a", RIG_XHCI " -incoming defer");
	rig_vm_fill(&m, 1, "", HANDOVER_ADDRESS);
	m.monitor = MONITOR_SHARED;
	rig_send(r, RIG_PARENT, MSG_QMP_VM, &m, -1);
	rig_connect(r, 1, "a");
	rig_state(r, 1, VM_GREETING, NULL);
	is_migrating(r, 1, 1);
	rig_expect(r, MSG_QMP_RELEASE, 1, NULL);
	rig_expect(r, MSG_QMP_WANT, 1, NULL);
	rig_connect(r, 1, "a");
	rig_expect(r, MSG_QMP_RELEASE, 1, NULL);
	rig_expect(r, MSG_QMP_WANT, 1, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		T(handover_is_found_out),
		T(speed_that_the_bus_cannot_take),
		T(what_others_gave_is_told),
		T(long_id_of_others),
		T(port_that_others_free_is_told),
		T(id_that_others_took),
		T(machine_that_migrates_is_left_alone),
		T(migration_that_was_there_before),
		T(migration_that_fails_at_once),
		T(migration_that_ends_while_it_is_asked),
		T(migration_that_begins_while_it_is_asked),
		T(machine_without_rest),
		T(migration_of_a_shared_machine),
	};

	rig_account();
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
