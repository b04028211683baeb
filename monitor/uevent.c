/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/socket.h>
#include <linux/netlink.h>
#include <errno.h>
#include <libudev.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "audit.h"
#include "log.h"
#include "loop.h"
#include "uevent.h"
#include "ueventfilter.h"

/* Some thousand uevents. */
#define RECEIVE_BUFFER (8 * 1024 * 1024)
#define BATCH_MAX 64
#define DROPPED_PAUSE_MS 10000
#define UDEV_CONTROL "/run/udev/control"

/* Multicast groups of NETLINK_KOBJECT_UEVENT as bits. */
#define GROUP_KERNEL 1
#define GROUP_UDEV 2

enum next {
	NEXT_NONE,
	NEXT_LOST,
	NEXT_TRUSTED,
	NEXT_UNTRUSTED
};

static const struct {
	const char *subsystem;
	const char *devtype; /* NULL: any */
} wanted[] = {
	[UEVENT_USB] = { "usb", "usb_device" },
	[UEVENT_NET] = { "net", NULL },
	[UEVENT_BLOCK] = { "block", NULL },
};
#define NWANTED (sizeof(wanted) / sizeof(wanted[0]))

static const char *const actions[] = {
	[UEVENT_BIND] = "bind",
	[UEVENT_UNBIND] = "unbind",
	[UEVENT_REMOVE] = "remove",
};

static struct {
	struct udev_monitor *monitor;
	int fd;
	unsigned int group;
	struct loop_fd watch;
	struct loop_timer again;
	int lost;
	void (*event_cb)(const struct uevent *);
	void (*lost_cb)(void);
	/* Messages of others that were dropped and not yet told of. */
	struct loop_timer pause;
	int64_t dropped;
	struct sockaddr_nl dropped_from;
	struct ucred dropped_by;
} uevents = { .fd = -1, .watch.fd = -1 };

/*
 * udevd's messages libudev has filtered in the kernel.  Of the kernel's own it
 * would skip unwanted ones by itself, and take the one behind them before its
 * sender was looked at here.
 */
static int
add_filter(void)
{
	size_t i;

	if (uevents.group != GROUP_UDEV)
		return 0;
	for (i = 0; i < NWANTED; i++)
		if (udev_monitor_filter_add_match_subsystem_devtype(
			uevents.monitor, wanted[i].subsystem,
			wanted[i].devtype) < 0)
			return -1;
	return 0;
}

/* All works without, but each uevent of the host wakes this process. */
static void
add_kernel_filter(void)
{
	const char *names[NWANTED];
	unsigned int i;

	if (uevents.group == GROUP_UDEV)
		return;
	for (i = 0; i < NWANTED; i++)
		names[i] = wanted[i].subsystem;
	if (ueventfilter_attach(uevents.fd, names, NWANTED) == -1)
		log_warn("filter of uevents");
}

void
uevent_open(enum events_source source)
{
	struct udev *udev;
	int running = access(UDEV_CONTROL, F_OK) == 0;

	if (source == EVENTS_UDEV && !running)
		fatalx("events udev: udevd does not run, there is no %s; "
		       "start it or say \"events kernel\"",
		    UDEV_CONTROL);
	uevents.group =
	    source == EVENTS_KERNEL || !running ? GROUP_KERNEL : GROUP_UDEV;
	if ((udev = udev_new()) == NULL)
		fatal("udev_new");
	uevents.monitor = udev_monitor_new_from_netlink(udev, uevent_source());
	if (uevents.monitor == NULL || add_filter() == -1 ||
	    udev_monitor_set_receive_buffer_size(
		uevents.monitor, RECEIVE_BUFFER) < 0 ||
	    udev_monitor_enable_receiving(uevents.monitor) < 0)
		fatal("uevent socket");
	uevents.fd = udev_monitor_get_fd(uevents.monitor);
	add_kernel_filter();
	udev_unref(udev);
}

const char *
uevent_source(void)
{
	return uevents.group == GROUP_UDEV ? "udev" : "kernel";
}

static const char *
property(struct udev_device *device, const char *name)
{
	const char *value = udev_device_get_property_value(device, name);

	return value == NULL ? "" : value;
}

static int
number(struct udev_device *device, const char *name)
{
	const char *errstr;

	return (int)strtonum(property(device, name), 1, 65535, &errstr);
}

static int
find_subsystem(struct udev_device *device, struct uevent *u)
{
	const char *devtype = property(device, "DEVTYPE");
	const char *subsystem = property(device, "SUBSYSTEM");
	size_t i;

	for (i = 0; i < NWANTED; i++) {
		if (strcmp(subsystem, wanted[i].subsystem) == 0 &&
		    (wanted[i].devtype == NULL ||
			strcmp(devtype, wanted[i].devtype) == 0)) {
			u->subsystem = (enum uevent_subsystem)i;
			return 1;
		}
	}
	return 0;
}

static enum uevent_action
find_action(const char *name)
{
	unsigned int i;

	for (i = 0; i < UEVENT_OTHER; i++)
		if (strcmp(name, actions[i]) == 0)
			return (enum uevent_action)i;
	return UEVENT_OTHER;
}

/* What makes no sense, or what memory did not suffice for, is lost, too. */
static void
take(void)
{
	struct udev_device *device;
	struct uevent u = { 0 };

	errno = 0;
	device = udev_monitor_receive_device(uevents.monitor);
	if (device == NULL) {
		if (errno != EAGAIN && errno != EINTR)
			uevents.lost = 1;
		return;
	}
	u.path = property(device, "DEVPATH");
	if (find_subsystem(device, &u)) {
		u.action = find_action(property(device, "ACTION"));
		u.seqnum = udev_device_get_seqnum(device);
		u.busnum = number(device, "BUSNUM");
		u.devnum = number(device, "DEVNUM");
		uevents.event_cb(&u);
	}
	udev_device_unref(device);
}

static void
discard(void)
{
	char byte;

	/* An error shows again when the next message is looked for. */
	(void)!recv(uevents.fd, &byte, sizeof(byte), MSG_DONTWAIT);
}

/*
 * Who is root in the user namespace that owns the network namespace may send
 * to this socket, or to a group (netlink(7)).  libudev would drop such
 * messages, too, but without a word.
 */
static int
is_trusted(const struct sockaddr_nl *from, const struct ucred *by)
{
	if (from->nl_groups != uevents.group || by->uid != 0)
		return 0;
	return uevents.group == GROUP_UDEV || from->nl_pid == 0;
}

static void
get_credentials(struct msghdr *msg, struct ucred *by)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);

	if (cmsg != NULL && cmsg->cmsg_level == SOL_SOCKET &&
	    cmsg->cmsg_type == SCM_CREDENTIALS &&
	    cmsg->cmsg_len == CMSG_LEN(sizeof(*by)))
		memcpy(by, CMSG_DATA(cmsg), sizeof(*by));
}

/* Who sent the next message? It stays where it is. */
static enum next
look(void)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct sockaddr_nl from = { 0 };
	struct ucred by = { .pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	char byte;
	struct iovec iov = { &byte, sizeof(byte) };
	struct msghdr msg = { .msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };

	while (recvmsg(uevents.fd, &msg, MSG_PEEK | MSG_DONTWAIT) == -1) {
		if (errno == EAGAIN)
			return NEXT_NONE;
		if (errno == ENOBUFS)
			return NEXT_LOST;
		if (errno != EINTR)
			fatal("uevent socket");
	}
	get_credentials(&msg, &by);
	if (is_trusted(&from, &by))
		return NEXT_TRUSTED;
	uevents.dropped_from = from;
	uevents.dropped_by = by;
	return NEXT_UNTRUSTED;
}

static void
tell_dropped(void *arg)
{
	struct json *j;

	(void)arg;
	if (uevents.dropped == 0)
		return;
	j = audit_begin("uevent-dropped");
	json_num(j, "count", uevents.dropped);
	json_num(j, "last_port", uevents.dropped_from.nl_pid);
	json_num(j, "last_group", uevents.dropped_from.nl_groups);
	json_num(j, "last_uid", uevents.dropped_by.uid);
	json_num(j, "last_pid", uevents.dropped_by.pid);
	audit_end();
	uevents.dropped = 0;
	loop_timer_set(&uevents.pause, DROPPED_PAUSE_MS, tell_dropped, NULL);
}

/* Told of at once, but not more often than once in a while. */
static void
drop(void)
{
	discard();
	uevents.dropped++;
	if (uevents.pause.at == 0)
		tell_dropped(NULL);
}

static void uevents_again(void *);

static void
uevents_ready(uint32_t events, void *arg)
{
	int i;

	(void)events;
	(void)arg;
	for (i = 0; i < BATCH_MAX; i++) {
		switch (look()) {
		case NEXT_NONE:
			/*
			 * After an overflow the kernel drops all that comes
			 * until the buffer was emptied, without saying so
			 * again (net/netlink/af_netlink.c,
			 * NETLINK_S_CONGESTED): a look at the devices before
			 * that would miss some.
			 */
			if (uevents.lost) {
				uevents.lost = 0;
				uevents.lost_cb();
			}
			return;
		case NEXT_LOST:
			uevents.lost = 1;
			break;
		case NEXT_UNTRUSTED:
			drop();
			break;
		case NEXT_TRUSTED:
			if (uevents.lost)
				discard();
			else
				take();
			break;
		}
	}
	/* An empty buffer would not call again. */
	if (uevents.lost)
		loop_timer_set(&uevents.again, 0, uevents_again, NULL);
}

static void
uevents_again(void *arg)
{
	uevents_ready(0, arg);
}

void
uevent_start(void (*event)(const struct uevent *), void (*lost)(void))
{
	uevents.event_cb = event;
	uevents.lost_cb = lost;
	loop_add(&uevents.watch, uevents.fd, EPOLLIN, uevents_ready, NULL);
}
