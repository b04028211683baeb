/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * usage: direct socket
 *
 * The least that handing a device over can cost: one process with all rights
 * reads the uevent, opens the node, and writes the bytes that usbmgrd would
 * write.  No policy, no look at what the device is, no log, and what QEMU
 * answers is thrown away.  It listens in a network namespace of its own and
 * says "ready" when it does.
 */

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KERNEL_GROUP 1

static int qmp;
static unsigned int request;

static int
open_uevents(void)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK,
		.nl_groups = KERNEL_GROUP };
	int fd;

	if (unshare(CLONE_NEWNET) == -1)
		err(1, "unshare");
	fd =
	    socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (fd == -1 || bind(fd, (struct sockaddr *)&nl, sizeof(nl)) == -1)
		err(1, "uevent socket");
	return fd;
}

static void
drain(int flags)
{
	char buf[4096];

	while (recv(qmp, buf, sizeof(buf), flags) > 0)
		flags = MSG_DONTWAIT;
}

static void
connect_qmp(const char *path)
{
	static const char negotiate[] =
	    "{\"execute\":\"qmp_capabilities\",\"arguments\":{},\"id\":0}\n";
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	qmp = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (qmp == -1 ||
	    connect(qmp, (struct sockaddr *)&sun, sizeof(sun)) == -1)
		err(1, "%s", path);
	drain(0);
	if (write(qmp, negotiate, sizeof(negotiate) - 1) == -1)
		err(1, "%s", path);
	drain(0);
}

/* One sendmsg, with a descriptor or without. */
static void
burst(const char *text, int n, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .buf = "" };
	char copy[1024];
	struct iovec iov = { copy, (size_t)n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	memcpy(copy, text, (size_t)n);
	if (fd != -1) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	if (sendmsg(qmp, &msg, MSG_NOSIGNAL) != n)
		err(1, "sendmsg");
}

static void
attach(unsigned int busnum, unsigned int devnum)
{
	char path[64], text[1024];
	unsigned int set = 0x40000000U + ++request;
	int fd, n;

	snprintf(path, sizeof(path), "/dev/bus/usb/%03u/%03u", busnum, devnum);
	if ((fd = open(path, O_RDWR | O_CLOEXEC)) == -1)
		err(1, "%s", path);
	n = snprintf(text, sizeof(text),
	    "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":%u,"
	    "\"opaque\":\"usbmgrd-3-9-%u-%u\"},\"id\":%u}\n"
	    "{\"execute\":\"device_add\",\"arguments\":{\"driver\":"
	    "\"usb-host\",\"id\":\"usbmgrd-3-9-%u-%u\",\"bus\":\"xhci.0\","
	    "\"port\":\"1\",\"hostdevice\":\"/dev/fdset/%u\"},\"id\":%u}\n"
	    "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":%u},"
	    "\"id\":%u}\n",
	    set, devnum, request, 3 * request, devnum, request, set,
	    3 * request + 1, set, 3 * request + 2);
	burst(text, n, fd);
	close(fd);
}

static void
detach(unsigned int devnum)
{
	char text[256];
	int n;

	n = snprintf(text, sizeof(text),
	    "{\"execute\":\"device_del\",\"arguments\":{\"id\":"
	    "\"usbmgrd-3-9-%u-%u\"},\"id\":%u}\n",
	    devnum, request, 3 * request);
	burst(text, n, -1);
}

static const char *
property(const char *buf, size_t len, const char *name)
{
	size_t n = strlen(name), i;

	for (i = 0; i < len; i += strlen(buf + i) + 1)
		if (strncmp(buf + i, name, n) == 0)
			return buf + i + n;
	return "";
}

static void
uevent(const char *buf, size_t len)
{
	const char *action = property(buf, len, "ACTION=");
	unsigned int busnum, devnum;

	if (strcmp(property(buf, len, "DEVTYPE="), "usb_device") != 0)
		return;
	busnum = (unsigned int)atoi(property(buf, len, "BUSNUM="));
	devnum = (unsigned int)atoi(property(buf, len, "DEVNUM="));
	if (strcmp(action, "bind") == 0)
		attach(busnum, devnum);
	else if (strcmp(action, "unbind") == 0)
		detach(devnum);
	drain(MSG_DONTWAIT);
}

int
main(int argc, char *argv[])
{
	char buf[8192];
	ssize_t n;
	int fd;

	if (argc != 2) {
		fprintf(stderr, "usage: direct socket\n");
		return 2;
	}
	connect_qmp(argv[1]);
	fd = open_uevents();
	printf("ready\n");
	fflush(stdout);
	while ((n = recv(fd, buf, sizeof(buf) - 1, 0)) > 0) {
		buf[n] = '\0';
		uevent(buf, (size_t)n);
	}
	err(1, "uevent socket");
}
