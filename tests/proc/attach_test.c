/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "attach.h"
#include "log.h"
#include "qmpclient.h"
#include "rig.h"
#include "usbfs.h"
#include "vm.h"

/*
 * The way of a descriptor into a real QEMU.  Here /dev/null goes it instead
 * of a device, so QEMU takes the descriptor and then finds that it is none.
 * That a device goes the same way the end-to-end scenarios show.
 */

#define FDSET "/dev/fdset/"
#define NOT_USBFS "failed to open host usb device " FDSET
#define REQUESTS_MAX 256

static struct rig rig;
static enum vm_state vm_is;
static struct msg_result results[REQUESTS_MAX];
static unsigned int nresults;

/* In place of qmpclient.c. */

void
tell_parent(enum msg_type type, const void *payload)
{
	(void)type;
	(void)payload;
}

void
tell_engine(enum msg_type type, const void *payload)
{
	const struct msg_vm_state *state = payload;

	if (type == MSG_VM_STATE)
		vm_is = (enum vm_state)state->state;
	if (type == MSG_RESULT) {
		assert_true(nresults < REQUESTS_MAX);
		memcpy(&results[nresults++], payload, sizeof(results[0]));
	}
	loop_end(0);
}

/* In place of usbfs.c. */

enum result
usbfs_verify(int fd, unsigned int busnum, unsigned int devnum,
    const uint8_t digest[USBDEV_DIGEST_LEN], char *text, size_t size)
{
	(void)fd;
	(void)busnum;
	(void)devnum;
	(void)digest;
	(void)text;
	(void)size;
	return RESULT_OK;
}

enum result
usbfs_errno_result(int error)
{
	(void)error;
	return RESULT_OTHER;
}

static void
end_step(void *arg)
{
	(void)arg;
	loop_end(1);
}

/* Until something was told, or so long. */
static int
step(uint64_t ms)
{
	struct loop_timer timer = { .at = 0 };
	int told;

	loop_timer_set(&timer, ms, end_step, NULL);
	told = loop_run() == 0;
	loop_timer_del(&timer);
	return told;
}

static int
setup(void **state)
{
	struct msg_vm conf = { .vm = 1,
		.handover = HANDOVER_FD,
		.greeting_ms = QMP_TIMEOUT_DEFAULT,
		.reply_ms = QMP_TIMEOUT_DEFAULT };
	char args[256];

	(void)state;
	rig_bare(&rig);
	strlcpy(conf.name, "vm1", sizeof(conf.name));
	vm_add(&conf);
	nresults = 0;
	snprintf(args, sizeof(args),
	    "-qmp unix:%s/a2,server=on,wait=off -m 64"
	    " -device qemu-xhci,id=xhci,p2=15,p3=15",
	    rig.dir);
	rig_qemu(&rig, "a", args);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	vm_remove(1);
	rig_stop(&rig);
	return 0;
}

static void
connect_vm(void)
{
	struct msg_qmp_socket m = { .vm = 1, .pid = 1, .conn = 1 };
	int fd = rig_dial(&rig, "a");

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	vm_socket(&m, fd);
	while (vm_is != VM_READY)
		assert_true(step(RIG_SOON_MS));
}

static void
attach(uint32_t request)
{
	struct msg_open_device device = { request, 3, 9 };
	struct msg_attach m;
	struct qmpid id;

	memset(&m, 0, sizeof(m));
	memset(&id, 0, sizeof(id));
	id.port.busnum = 3;
	id.port.depth = 1;
	id.port.chain[0] = 9;
	id.devnum = 9;
	id.request = request;
	m.request = request;
	m.vm = 1;
	m.conn = 1;
	m.port = id.port;
	m.devnum = id.devnum;
	m.speed = USB_SPEED_HIGH;
	m.speeds = 1U << USB_SPEED_HIGH;
	qmpid_format(&id, m.id, sizeof(m.id));
	attach_request(&m);
	attach_device(&device, open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void
no_descriptor_is_lost(void **state)
{
	unsigned int fds = 0;
	char want[64];
	uint32_t i, n;

	(void)state;
	connect_vm();
	rig.pid = getpid();
	fds = rig_fds(&rig);
	for (i = 1; i <= 45; i += 15) {
		/* As many bursts as there are ports, back to back. */
		for (n = 0; n < 15; n++)
			attach(i + n);
		while (nresults < i + 14)
			assert_true(step(RIG_SOON_MS));
	}
	assert_int_equal(rig_fds(&rig), fds);
	rig.pid = 0;
	for (i = 0; i < 45; i++) {
		assert_int_equal(results[i].request, i + 1);
		snprintf(
		    want, sizeof(want), NOT_USBFS "%u", 0x40000000U + i + 1);
		assert_string_equal(results[i].text, want);
		assert_int_equal(results[i].result, RESULT_UNOPENED);
	}
}

static void
query_fdsets(const char *text)
{
	rig_command(&rig, "a2", "{\"execute\": \"query-fdsets\"}", text);
}

/*
 * QEMU 7.2 closes nothing while the machine is paused; one day it runs, and
 * then the device must not stay open there.
 */
static void
set_of_a_paused_machine_is_closed_later(void **state)
{
	char set[64];

	(void)state;
	connect_vm();
	attach(77);
	assert_true(step(RIG_SOON_MS));
	assert_int_equal(nresults, 1);
	snprintf(set, sizeof(set), "\"fdset-id\": %u", 0x40000000U + 77);
	query_fdsets(set);
	query_fdsets("\"opaque\": \"usbmgrd-3-9-9-77\"");
	rig_command(&rig, "a2", "{\"execute\": \"cont\"}", "RESUME");
	step(300);
	query_fdsets("\"fds\": []");
}

static void
set_of_a_running_machine_is_closed(void **state)
{
	(void)state;
	rig_command(&rig, "a2", "{\"execute\": \"cont\"}", "RESUME");
	connect_vm();
	attach(78);
	assert_true(step(RIG_SOON_MS));
	step(50);
	query_fdsets("\"fds\": []");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		T(no_descriptor_is_lost),
		T(set_of_a_paused_machine_is_closed_later),
		T(set_of_a_running_machine_is_closed),
	};

	signal(SIGPIPE, SIG_IGN);
	log_init(PROC_QMPCLIENT, 0);
	loop_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
