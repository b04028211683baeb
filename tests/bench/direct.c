/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * usage: direct [-4] socket
 *
 * The least that handing a device over can cost: one process with all rights
 * reads the uevent, opens the node, and writes the bytes that usbmgrd would
 * write.  No policy, no look at what the device is, no log, and what QEMU
 * answers is thrown away.  With -4 the same is done by four processes, which
 * tell each other what those of usbmgrd do, and nothing else.  It listens in a
 * network namespace of its own and says "ready" when it does.
 */

#include <linux/netlink.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KERNEL_GROUP 1

struct order {
	int attach; /* or detach */
	unsigned int busnum;
	unsigned int devnum;
};

static int qmp;
static unsigned int request;
static int engine = -1; /* if there are four */

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
burst(int to, const void *data, int n, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .buf = "" };
	char copy[1024];
	struct iovec iov = { copy, (size_t)n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	memcpy(copy, data, (size_t)n);
	if (fd != -1) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	if (sendmsg(to, &msg, MSG_NOSIGNAL) != n)
		err(1, "sendmsg");
}

static int
open_node(const struct order *o)
{
	char path[64];
	int fd;

	snprintf(
	    path, sizeof(path), "/dev/bus/usb/%03u/%03u", o->busnum, o->devnum);
	if ((fd = open(path, O_RDWR | O_CLOEXEC)) == -1)
		err(1, "%s", path);
	return fd;
}

/* Closes the descriptor. */
static void
attach(const struct order *o, int fd)
{
	char text[1024];
	unsigned int set = 0x40000000U + ++request;
	int n;

	n = snprintf(text, sizeof(text),
	    "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":%u,"
	    "\"opaque\":\"usbmgrd-3-9-%u-%u\"},\"id\":%u}\n"
	    "{\"execute\":\"device_add\",\"arguments\":{\"driver\":"
	    "\"usb-host\",\"id\":\"usbmgrd-3-9-%u-%u\",\"bus\":\"xhci.0\","
	    "\"port\":\"1\",\"hostdevice\":\"/dev/fdset/%u\"},\"id\":%u}\n"
	    "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":%u},"
	    "\"id\":%u}\n",
	    set, o->devnum, request, 3 * request, o->devnum, request, set,
	    3 * request + 1, set, 3 * request + 2);
	burst(qmp, text, n, fd);
	close(fd);
}

static void
detach(const struct order *o)
{
	char text[256];
	int n;

	n = snprintf(text, sizeof(text),
	    "{\"execute\":\"device_del\",\"arguments\":{\"id\":"
	    "\"usbmgrd-3-9-%u-%u\"},\"id\":%u}\n",
	    o->devnum, request, 3 * request);
	burst(qmp, text, n, -1);
}

/* An order, perhaps with a descriptor; the process ends with the first one. */
static int
receive(int from, struct order *o)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { o, sizeof(*o) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	int fd = -1;

	if (recvmsg(from, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*o))
		_exit(0);
	if (CMSG_FIRSTHDR(&msg) != NULL)
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void
run_engine(int from, int parent, int client)
{
	struct order o;

	for (;;) {
		receive(from, &o);
		if (o.attach)
			burst(parent, &o, sizeof(o), -1);
		burst(client, &o, sizeof(o), -1);
	}
}

static void
run_parent(int from, int client)
{
	struct order o;
	int fd;

	for (;;) {
		receive(from, &o);
		fd = open_node(&o);
		burst(client, &o, sizeof(o), fd);
		close(fd);
	}
}

static void
run_client(int from_engine, int from_parent)
{
	struct pollfd fds[] = { { from_engine, POLLIN, 0 },
		{ from_parent, POLLIN, 0 }, { qmp, POLLIN, 0 } };
	struct order o;
	int fd;

	while (poll(fds, 3, -1) > 0) {
		if (fds[0].revents != 0) {
			receive(from_engine, &o);
			if (!o.attach)
				detach(&o);
		}
		if (fds[1].revents != 0) {
			fd = receive(from_parent, &o);
			attach(&o, fd);
		}
		if (fds[2].revents != 0)
			drain(MSG_DONTWAIT);
	}
}

/* Is this the new process? */
static int
start(void)
{
	switch (fork()) {
	case -1:
		err(1, "fork");
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		return 1;
	default:
		return 0;
	}
}

static void
pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == -1)
		err(1, "socketpair");
}

static void
start_others(void)
{
	int to_engine[2], to_parent[2], orders[2], nodes[2];

	pair(to_engine);
	pair(to_parent);
	pair(orders);
	pair(nodes);
	if (start())
		run_engine(to_engine[1], to_parent[0], orders[0]);
	if (start())
		run_parent(to_parent[1], nodes[0]);
	if (start())
		run_client(orders[1], nodes[1]);
	engine = to_engine[0];
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
	struct order o = { .attach = strcmp(action, "bind") == 0 };

	if (strcmp(property(buf, len, "DEVTYPE="), "usb_device") != 0 ||
	    (!o.attach && strcmp(action, "unbind") != 0))
		return;
	o.busnum = (unsigned int)atoi(property(buf, len, "BUSNUM="));
	o.devnum = (unsigned int)atoi(property(buf, len, "DEVNUM="));
	if (engine != -1) {
		burst(engine, &o, sizeof(o), -1);
		return;
	}
	if (o.attach)
		attach(&o, open_node(&o));
	else
		detach(&o);
	drain(MSG_DONTWAIT);
}

int
main(int argc, char *argv[])
{
	int four = argc == 3 && strcmp(argv[1], "-4") == 0;
	char buf[8192];
	ssize_t n;
	int fd;

	if (argc != 2 + four) {
		fprintf(stderr, "usage: direct [-4] socket\n");
		return 2;
	}
	connect_qmp(argv[1 + four]);
	fd = open_uevents();
	if (four)
		start_others();
	printf("ready\n");
	fflush(stdout);
	while ((n = recv(fd, buf, sizeof(buf) - 1, 0)) > 0) {
		buf[n] = '\0';
		uevent(buf, (size_t)n);
	}
	err(1, "uevent socket");
}
