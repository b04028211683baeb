/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * The uevent socket with uevents of the real kernel: what is sent to port 0
 * in a network namespace of one's own the kernel takes for its own and sends
 * on to all who listen there (lib/kobject_uevent.c, uevent_net_rcv).
 */

#include <sys/mman.h>
#include <sys/socket.h>
#include <linux/netlink.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "audit.h"
#include "log.h"
#include "loop.h"
#include "uevent.h"

#define MOUSE "/devices/pci0000:00/0000:00:14.0/usb3/3-9"
#define STORM_MAX 50000
#define RUNS_MAX 50

static int sender = -1;
static int log_fd = -1;
static char heard[256];
static int losses;
static int after_loss; /* send something from within lost() */

static void
event(const struct uevent *u)
{
	static const char *const actions[] = { "bind", "unbind", "remove",
		"other" };
	static const char *const subsystems[] = { "usb", "net", "block" };
	const char *name = strrchr(u->path, '/');
	size_t len = strlen(heard);

	assert_int_not_equal(u->seqnum, 0);
	snprintf(heard + len, sizeof(heard) - len, "[%s %s %s %d %d]",
	    actions[u->action], subsystems[u->subsystem],
	    name == NULL ? "" : name + 1, u->busnum, u->devnum);
}

/* One uevent; its text has spaces where NULs are sent. */
static void
compose(char *message, size_t *len, const char *text)
{
	struct nlmsghdr header = { .nlmsg_type = 16,
		.nlmsg_flags = NLM_F_REQUEST };
	size_t i, size = strlen(text) + 1;

	header.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + size);
	memcpy(message, &header, NLMSG_HDRLEN);
	for (i = 0; i < size; i++)
		message[NLMSG_HDRLEN + i] =
		    (char)(text[i] == ' ' ? '\0' : text[i]);
	*len = NLMSG_HDRLEN + size;
}

static void
from_kernel(const char *text)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	char message[512];
	size_t len;

	compose(message, &len, text);
	assert_int_equal(sendto(sender, message, len, 0,
			     (struct sockaddr *)&kernel, sizeof(kernel)),
	    (ssize_t)len);
}

/* To a group, or to a port. */
static void
from_us(unsigned int group, unsigned int port, const char *text)
{
	struct sockaddr_nl to = {
		.nl_family = AF_NETLINK, .nl_groups = group, .nl_pid = port
	};
	char message[512];
	size_t len;

	compose(message, &len, text);
	assert_int_equal(
	    sendto(sender, message + NLMSG_HDRLEN, len - NLMSG_HDRLEN, 0,
		(struct sockaddr *)&to, sizeof(to)),
	    (ssize_t)(len - NLMSG_HDRLEN));
}

static void
lost(void)
{
	losses++;
	if (after_loss)
		from_kernel("bind@" MOUSE " ACTION=bind DEVPATH=" MOUSE
			    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=003"
			    " DEVNUM=023");
}

static void
stop(void *arg)
{
	(void)arg;
	loop_end(0);
}

static void
run(void)
{
	struct loop_timer timer = { .at = 0 };

	loop_timer_set(&timer, 20, stop, NULL);
	loop_run();
}

/* Checks what was heard since the last time. */
static void
expect(const char *text)
{
	char copy[sizeof(heard)];
	int i;

	for (i = 0; i < RUNS_MAX; i++) {
		run();
		if (strcmp(heard, text) == 0)
			break;
	}
	strcpy(copy, heard);
	heard[0] = '\0';
	assert_string_equal(copy, text);
}

/* How many lines of the log have that text. */
static int
logged(const char *line)
{
	static char text[65536];
	const char *p;
	ssize_t n;
	int count = 0;

	n = pread(log_fd, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	for (p = text; (p = strstr(p, line)) != NULL; p++)
		count++;
	return count;
}

static void
devices_are_heard(void **state)
{
	(void)state;
	from_kernel("bind@" MOUSE " ACTION=bind DEVPATH=" MOUSE
		    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=003 DEVNUM=022");
	from_kernel("remove@" MOUSE " ACTION=remove DEVPATH=" MOUSE
		    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=003 DEVNUM=022");
	from_kernel("unbind@" MOUSE " ACTION=unbind DEVPATH=" MOUSE
		    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=003 DEVNUM=022");
	from_kernel("add@" MOUSE " ACTION=add DEVPATH=" MOUSE
		    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=003 DEVNUM=022");
	from_kernel("add@/devices/x/net/eth1 ACTION=add"
		    " DEVPATH=/devices/x/net/eth1 SUBSYSTEM=net INTERFACE=eth1"
		    " IFINDEX=7");
	from_kernel("change@/devices/x/block/sda ACTION=change"
		    " DEVPATH=/devices/x/block/sda SUBSYSTEM=block"
		    " DEVTYPE=disk MAJOR=8 MINOR=0");
	expect("[bind usb 3-9 3 22][remove usb 3-9 3 22][unbind usb 3-9 3 22]"
	       "[other usb 3-9 3 22][other net eth1 0 0]"
	       "[other block sda 0 0]");
}

static void
others_are_not(void **state)
{
	(void)state;
	from_kernel("bind@" MOUSE "/3-9:1.0 ACTION=bind DEVPATH=" MOUSE
		    "/3-9:1.0 SUBSYSTEM=usb DEVTYPE=usb_interface");
	from_kernel("add@/devices/x ACTION=add DEVPATH=/devices/x"
		    " SUBSYSTEM=input");
	expect("");
	assert_int_equal(losses, 0);
}

static void
what_makes_no_sense_counts_as_lost(void **state)
{
	(void)state;
	from_kernel("add@/devices/y ACTION=add DEVPATH=/devices/y");
	expect("");
	assert_int_equal(losses, 1);
	losses = 0;
}

static void
numbers_out_of_range_are_none(void **state)
{
	(void)state;
	from_kernel("bind@" MOUSE " ACTION=bind DEVPATH=" MOUSE
		    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=-3 DEVNUM=99999");
	expect("[bind usb 3-9 0 0]");
}

static void
senders_other_than_the_kernel_are_dropped(void **state)
{
	static const char text[] =
	    "bind@" MOUSE " ACTION=bind DEVPATH=" MOUSE
	    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=003"
	    " DEVNUM=022 SEQNUM=1";
	int i;

	(void)state;
	for (i = 0; i < 200; i++)
		from_us(1, 0, text);
	/* libudev's socket has the number of the process. */
	from_us(0, (unsigned int)getpid(), text);
	from_kernel("remove@" MOUSE " ACTION=remove DEVPATH=" MOUSE
		    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=003 DEVNUM=022");
	expect("[remove usb 3-9 3 22]");
	/* The first at once, the rest some time later in one. */
	assert_int_equal(logged("uevent-dropped"), 1);
	assert_int_equal(logged("\"count\":1,"), 1);
	assert_int_equal(logged("\"last_group\":1,"), 1);
}

/*
 * The kernel drops on until the buffer was emptied: what comes from within
 * lost() must get through.
 */
static void
overflow_is_told_when_the_buffer_is_empty(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < STORM_MAX; i++)
		from_kernel("change@/devices/virtual/net/lo ACTION=change"
			    " DEVPATH=/devices/virtual/net/lo SUBSYSTEM=net");
	/* Lost for sure. */
	from_kernel("bind@" MOUSE " ACTION=bind DEVPATH=" MOUSE
		    " SUBSYSTEM=usb DEVTYPE=usb_device BUSNUM=003 DEVNUM=022");
	after_loss = 1;
	for (i = 0; i < RUNS_MAX && losses == 0; i++)
		run();
	after_loss = 0;
	assert_int_equal(losses, 1);
	expect("[bind usb 3-9 3 23]");
	assert_int_equal(losses, 1);
}

static int
setup(void **state)
{
	(void)state;
	log_init(PROC_MONITOR, 0);
	log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_not_equal(log_fd, -1);
	audit_open(dup(log_fd));
	loop_init();
	uevent_open(EVENTS_KERNEL);
	assert_string_equal(uevent_source(), "kernel");
	uevent_start(event, lost);
	sender = socket(
	    AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	assert_int_not_equal(sender, -1);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_are_heard),
		cmocka_unit_test(others_are_not),
		cmocka_unit_test(what_makes_no_sense_counts_as_lost),
		cmocka_unit_test(numbers_out_of_range_are_none),
		cmocka_unit_test(senders_other_than_the_kernel_are_dropped),
		cmocka_unit_test(overflow_is_told_when_the_buffer_is_empty),
	};

	/* A user may have both, too, where the system lets him. */
	if (unshare(CLONE_NEWNET) == -1 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) == -1) {
		fprintf(stderr, "no network namespace: %s; run as root\n",
		    strerror(errno));
		return 1;
	}
	return cmocka_run_group_tests(tests, setup, NULL);
}
