/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Which uevents of the real kernel wake a process, and which do not. */

#include <sys/socket.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "ueventfilter.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int sender, receiver;

static int
setup(void **state)
{
	static const char *const names[] = { "usb", "net", "block" };
	struct sockaddr_nl group = { .nl_family = AF_NETLINK, .nl_groups = 1 };

	(void)state;
	if (unshare(CLONE_NEWNET) == -1)
		return -1;
	sender = socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);
	receiver = socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);
	if (sender == -1 || receiver == -1 ||
	    bind(receiver, (struct sockaddr *)&group, sizeof(group)) == -1)
		return -1;
	return ueventfilter_attach(receiver, names, COUNT(names));
}

/* Of len bytes; 1 if it woke the receiver. */
static int
wakes(const char *text, size_t len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr header = { .nlmsg_type = NLMSG_MIN_TYPE,
		.nlmsg_flags = NLM_F_REQUEST,
		.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + len) };
	struct pollfd pfd = { .fd = receiver, .events = POLLIN };
	char message[4096], got[4096];

	memcpy(message, &header, NLMSG_HDRLEN);
	memcpy(message + NLMSG_HDRLEN, text, len);
	assert_int_equal(sendto(sender, message, header.nlmsg_len, 0,
			     (struct sockaddr *)&kernel, sizeof(kernel)),
	    (int)header.nlmsg_len);
	if (poll(&pfd, 1, 0) == 0)
		return 0;
	assert_true(recv(receiver, got, sizeof(got), 0) > (ssize_t)len);
	return 1;
}

static int
uevent_wakes(const char *action, const char *path, const char *subsystem)
{
	char text[2048];
	int n;

	n = snprintf(text, sizeof(text),
	    "%s@%s%cACTION=%s%cDEVPATH=%s%cSUBSYSTEM=%s%cMAJOR=189", action,
	    path, 0, action, 0, path, 0, subsystem, 0);
	return wakes(text, (size_t)n + 1);
}

static void
by_subsystem(void **state)
{
	static const struct {
		const char *subsystem;
		int wakes;
	} table[] = { { "usb", 1 }, { "net", 1 }, { "block", 1 },
		{ "power_supply", 0 }, { "usbmisc", 0 }, { "us", 0 },
		{ "usb2", 0 }, { "network", 0 }, { "input", 0 }, { "", 0 } };
	char path[] = "/devices/aaaaaaa";
	size_t i, len;

	(void)state;
	for (i = 0; i < COUNT(table); i++) {
		for (len = strlen(path); len > 1; len--)
			assert_int_equal(
			    uevent_wakes("bind", path + sizeof(path) - 1 - len,
				table[i].subsystem),
			    table[i].wakes);
		assert_int_equal(uevent_wakes("offline",
				     "/devices/pci0000:00/0000:00:14.0/"
				     "usb3/3-9/3-9:1.0/x/y/z",
				     table[i].subsystem),
		    table[i].wakes);
	}
}

/* Better woken for nothing than not told. */
static void
what_is_not_understood_passes(void **state)
{
	static const char other[] = "change@/x\0DEVPATH=/x\0ACTION=change\0"
				    "SEQ=1\0SUBSYSTEM=input\0LONG=enough";
	static const char cut[] = "change@/x\0ACTION=change\0DEVPATH=/x\0"
				  "SUBSYSTEM=";
	char path[600];

	(void)state;
	assert_int_equal(wakes(other, sizeof(other)), 1);
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(uevent_wakes("bind", path, "usb"), 1);
	assert_int_equal(uevent_wakes("bind", path, "input"), 1);
	path[290] = '\0';
	assert_int_equal(uevent_wakes("bind", path, "usb"), 1);
	assert_int_equal(uevent_wakes("bind", path, "input"), 0);
	/* Behind it the kernel puts SEQNUM, which is another one. */
	assert_int_equal(wakes(cut, sizeof(cut) - 1), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_subsystem),
		cmocka_unit_test(what_is_not_understood_passes),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
