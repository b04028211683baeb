/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * What the real QMP client, with real QEMUs, tells an engine that takes the
 * place of one that ended.
 */

#include <sys/types.h>
#include <sys/socket.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

/* A device of ours that waits for one that never comes. */
#define OURS "usbmgrd-3-9-22-1"
#define ARGS                                                             \
	"-machine q35 -nodefaults -display none -S -device "             \
	"qemu-xhci,id=xhci -device usb-host,vendorid=0xfff0,port=2,bus=" \
	"xhci.0,id=" OURS

static struct rig rig;
static pid_t qemu;

static void
new_engine(void)
{
	struct msg_peer peer = { PROC_ENGINE };
	unsigned int i, n = 0;
	int fds[2];

	imsgbuf_clear(&rig.link[RIG_ENGINE]);
	close(rig.fd[RIG_ENGINE]);
	for (i = 0; i < rig.nqueue; i++)
		if (rig.queue[i].link != RIG_ENGINE)
			rig.queue[n++] = rig.queue[i];
	rig.nqueue = n;
	assert_int_equal(
	    socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
	    0);
	rig.fd[RIG_ENGINE] = fds[0];
	assert_int_equal(imsgbuf_init(&rig.link[RIG_ENGINE], fds[0]), 0);
	imsgbuf_allow_fdpass(&rig.link[RIG_ENGINE]);
	rig_send(&rig, RIG_PARENT, MSG_PEER, &peer, fds[1]);
}

static void
has(uint32_t request)
{
	struct msg_vm_has m;

	rig_expect(&rig, MSG_VM_HAS, 1, &m);
	assert_int_equal(m.request, request);
}

static void
no(enum msg_type type, uint32_t key)
{
	assert_int_equal(rig_get(&rig, type, key, NULL, 100), 0);
}

static int
setup(void **state)
{
	(void)state;
	rig_start(&rig);
	qemu = rig_qemu(&rig, "a", ARGS);
	rig_vm(&rig, 1, "", HANDOVER_FD);
	rig_connect(&rig, 1, "a");
	rig_state(&rig, 1, VM_GREETING, NULL);
	has(1);
	rig_state(&rig, 1, VM_READY, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rig_stop(&rig);
	return 0;
}

static void
machines_and_devices_are_told(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		new_engine();
		has(1);
		rig_state(&rig, 1, VM_READY, NULL);
		no(MSG_VM_STATE, 1);
	}
	/* It can do with it what it likes. */
	rig_detach(&rig, 5, 1, OURS);
	rig_result(&rig, 5, RESULT_OK, NULL, RIG_SOON_MS);
	new_engine();
	rig_state(&rig, 1, VM_READY, NULL);
	no(MSG_VM_HAS, 1);
}

/* Until QEMU has answered nobody knows whether it has the device. */
static void
request_on_its_way_is_waited_for(void **state)
{
	(void)state;
	kill(qemu, SIGSTOP);
	rig_detach(&rig, 5, 1, OURS);
	usleep(50000);
	new_engine();
	rig_state(&rig, 1, VM_GREETING, NULL);
	no(MSG_VM_STATE, 1);
	new_engine();
	rig_state(&rig, 1, VM_GREETING, NULL);
	kill(qemu, SIGCONT);
	rig_state(&rig, 1, VM_READY, NULL);
	no(MSG_VM_HAS, 1);
	no(MSG_RESULT, 5);
}

static void
machine_that_ends_meanwhile_is_lost(void **state)
{
	(void)state;
	kill(qemu, SIGSTOP);
	rig_detach(&rig, 5, 1, OURS);
	usleep(50000);
	new_engine();
	rig_state(&rig, 1, VM_GREETING, NULL);
	rig_kill(&rig, qemu, SIGKILL);
	rig_state(&rig, 1, VM_LOST, NULL);
	no(MSG_VM_HAS, 1);
	no(MSG_RESULT, 5);
	new_engine();
	no(MSG_VM_STATE, 1);
}

/* The descriptor of a device that nobody will attach. */
static void
opened_device_is_closed(void **state)
{
	struct msg_open_device open = { 6, 3, 22 };
	unsigned int before = rig_fds(&rig);
	int i;

	(void)state;
	rig_send(&rig, RIG_PARENT, MSG_DEVICE_FD, &open, dup(STDIN_FILENO));
	for (i = 0; i < 100 && rig_fds(&rig) == before; i++)
		usleep(10000);
	assert_int_equal(rig_fds(&rig), before + 1);
	new_engine();
	has(1);
	rig_state(&rig, 1, VM_READY, NULL);
	assert_int_equal(rig_fds(&rig), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    machines_and_devices_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    request_on_its_way_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    machine_that_ends_meanwhile_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    opened_device_is_closed, setup, teardown),
	};

	rig_account();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
