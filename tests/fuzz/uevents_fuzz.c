/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any bytes from any sender on the uevent socket, as libudev and the monitor
 * take them apart.  What the kernel's calls return is made up here, so that
 * neither rights nor a real device are needed: only what root's udevd or the
 * kernel sent is told of, and nothing of it without a port and numbers that
 * are in their bounds.  The filter in the kernel, which is tried in a real
 * socket, drops nothing that is wanted.
 *
 * An input is a byte that tells whose uevents are received, and a list of
 * messages: who sends it, its length, its text.
 */

#include <sys/epoll.h>
#include <sys/socket.h>
#include <linux/netlink.h>
#include <endian.h>
#include <libudev.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "input.h"
#include "loop.h"
#include "sysfs.h"

int LLVMFuzzerInitialize(int *, char ***);
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static int udevd_runs;
static int again_is_set;
static void timer_set(struct loop_timer *, void (*)(void *));

#define access(path, mode) (udevd_runs ? 0 : -1)
#define udev_monitor_set_receive_buffer_size(m, n) ((void)(m), 0)
#define loop_timer_set(t, ms, cb, arg) timer_set(t, cb)
#define loop_add(w, fd, events, cb, arg) ((void)(cb))
#include "uevent.c"

/* Bits of the byte that tells who sends a message. */
#define BY_GROUP 0x03 /* the group it goes to: 0 is to us alone */
#define BY_USER 0x04 /* not by root */
#define BY_PORT 0x08 /* by a process, whatever the group */
#define BY_NOBODY 0x10 /* without credentials */
#define AS_LOST 0x20 /* no message: some were lost */
#define AS_UDEV 0x40 /* with a head as udevd puts it before */

#define MESSAGES_MAX 80 /* more than a batch */
#define TEXT_MAX 2048
#define UDEV_MAGIC 0xfeedcafe

/* As libudev and udevd agree upon (systemd, sd-device: monitor_netlink_header).
 */
struct head {
	char prefix[8];
	uint32_t magic;
	uint32_t size;
	uint32_t properties_at;
	uint32_t properties_len;
	uint32_t hashes[4];
};

static struct message {
	uint8_t by;
	size_t len;
	uint8_t text[TEXT_MAX];
} queue[MESSAGES_MAX];
static size_t nqueue, at;
static const struct message *taken;

static struct {
	struct udev_monitor *monitor;
	int fd;
} monitors[2];
static int filtered[2]; /* a socket with the filter at its other end */

static void
timer_set(struct loop_timer *t, void (*cb)(void *))
{
	if (cb == uevents_again)
		again_is_set = 1;
	else
		t->at = 1;
}

static void
fill_sender(const struct message *m, struct msghdr *msg)
{
	struct sockaddr_nl from = { .nl_family = AF_NETLINK,
		.nl_groups = m->by & BY_GROUP,
		.nl_pid = m->by & BY_PORT ? 1234 : 0 };
	struct ucred by = { .pid = 1, .uid = m->by & BY_USER ? 1000 : 0 };
	struct cmsghdr *cmsg;

	if (msg->msg_name != NULL && msg->msg_namelen >= sizeof(from)) {
		memcpy(msg->msg_name, &from, sizeof(from));
		msg->msg_namelen = sizeof(from);
	}
	if (m->by & BY_NOBODY || msg->msg_controllen < CMSG_SPACE(sizeof(by))) {
		msg->msg_controllen = 0;
		return;
	}
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_CREDENTIALS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(by));
	memcpy(CMSG_DATA(cmsg), &by, sizeof(by));
	msg->msg_controllen = CMSG_SPACE(sizeof(by));
}

/* -1 with errno when there is nothing to receive. */
static int
none_waits(void)
{
	if (at == nqueue) {
		errno = EAGAIN;
		return -1;
	}
	if (queue[at].by & AS_LOST) {
		at++;
		errno = ENOBUFS;
		return -1;
	}
	return 0;
}

static ssize_t
give(void *buf, size_t size, int flags)
{
	const struct message *m = &queue[at];
	size_t n = m->len < size ? m->len : size;

	if (n > 0)
		memcpy(buf, m->text, n);
	if (!(flags & MSG_PEEK)) {
		taken = m;
		at++;
	}
	return (ssize_t)(flags & MSG_TRUNC ? m->len : n);
}

ssize_t
recvmsg(int fd, struct msghdr *msg, int flags)
{
	(void)fd;
	if (none_waits() == -1)
		return -1;
	msg->msg_flags = 0;
	fill_sender(&queue[at], msg);
	if (queue[at].len > msg->msg_iov[0].iov_len)
		msg->msg_flags |= MSG_TRUNC;
	return give(msg->msg_iov[0].iov_base, msg->msg_iov[0].iov_len, flags);
}

ssize_t
recv(int fd, void *buf, size_t size, int flags)
{
	(void)fd;
	return none_waits() == -1 ? -1 : give(buf, size, flags);
}

static int
from_whom_it_should(const struct message *m)
{
	if (m->by & (BY_USER | BY_NOBODY) ||
	    (m->by & BY_GROUP) != (udevd_runs ? GROUP_UDEV : GROUP_KERNEL))
		return 0;
	return udevd_runs || !(m->by & BY_PORT);
}

static void
event(const struct uevent *u)
{
	char controller[USBDEV_CONTROLLER_MAX];
	struct usbport port;

	must(taken != NULL && from_whom_it_should(taken));
	must(u->path != NULL && u->busnum >= 0 && u->busnum <= 65535 &&
	     u->devnum >= 0 && u->devnum <= 65535);
	must(u->action <= UEVENT_OTHER && u->subsystem <= UEVENT_BLOCK);
	memset(&port, 0, sizeof(port));
	if (sysfs_path_port(u->path, &port) != -1)
		must(usbport_valid(&port));
	sysfs_path_controller(u->path, controller);
	must(memchr(controller, '\0', sizeof(controller)) != NULL);
}

static void
lost(void)
{
	must(at == nqueue);
}

/* The filter */

/* If it is s and a NUL, moves over it. */
static int
skip(const char **p, const char *end, const char *s, size_t len)
{
	if ((size_t)(end - *p) <= len || memcmp(*p, s, len) != 0)
		return 0;
	*p += len;
	return 1;
}

/* SUBSYSTEM of a message that is laid out as the kernel does, else NULL. */
static const char *
kernel_subsystem(const char *text, size_t len)
{
	const char *end = text + len, *p, *sep;
	size_t first = strnlen(text, len);

	if (len == 0 || text[len - 1] != '\0' ||
	    (sep = memchr(text, '@', first)) == NULL)
		return NULL;
	p = text + first + 1;
	if (!skip(&p, end, "ACTION=", 7) ||
	    !skip(&p, end, text, (size_t)(sep - text)) || *p++ != '\0' ||
	    !skip(&p, end, "DEVPATH=", 8) ||
	    !skip(&p, end, sep + 1, first - (size_t)(sep + 1 - text)) ||
	    *p++ != '\0' || !skip(&p, end, "SUBSYSTEM=", 10))
		return NULL;
	return p;
}

static int
is_wanted(const char *subsystem)
{
	unsigned int i;

	for (i = 0; i < NWANTED; i++)
		if (strcmp(subsystem, wanted[i].subsystem) == 0)
			return 1;
	return 0;
}

static void
check_filter(const struct message *m)
{
	const char *subsystem = kernel_subsystem((const void *)m->text, m->len);
	char got[TEXT_MAX];
	int passed;

	if (subsystem == NULL)
		return;
	passed = write(filtered[0], m->text, m->len) == (ssize_t)m->len &&
		 read(filtered[1], got, sizeof(got)) == (ssize_t)m->len;
	if (is_wanted(subsystem))
		must(passed);
}

static void
add_head(struct message *m)
{
	struct head head = { .prefix = "libudev",
		.magic = htobe32(UDEV_MAGIC),
		.size = sizeof(head),
		.properties_at = sizeof(head),
		.properties_len = (uint32_t)m->len };

	if (m->len > TEXT_MAX - sizeof(head))
		return;
	memmove(m->text + sizeof(head), m->text, m->len);
	memcpy(m->text, &head, sizeof(head));
	m->len += sizeof(head);
}

/*
 * What libudev 252 does not bear: where properties begin it adds to without a
 * look at the highest bits, and of tags that are all invalid it makes a copy
 * at NULL.  It takes a head from root's udevd alone, and the kernel makes no
 * tags.
 */
static void
spare_libudev(struct message *m)
{
	struct head head;
	uint8_t *tags;

	if (udevd_runs && m->len >= sizeof(head)) {
		memcpy(&head, m->text, sizeof(head));
		head.properties_at &= INT32_MAX;
		memcpy(m->text, &head, sizeof(head));
	}
	while ((tags = memmem(m->text, m->len, "TAGS=", 5)) != NULL)
		*tags = 't';
}

static void
fill_queue(struct input *in)
{
	struct message *m;
	size_t len;

	for (nqueue = at = 0; in->size > 0 && nqueue < MESSAGES_MAX; nqueue++) {
		m = &queue[nqueue];
		m->by = input_byte(in);
		len = input_byte(in);
		len |= (size_t)input_byte(in) << 8;
		m->len = input_bytes(in, m->text, len % TEXT_MAX);
		check_filter(m);
		if (m->by & AS_UDEV)
			add_head(m);
		spare_libudev(m);
	}
}

static void
open_monitor(int udev)
{
	udevd_runs = udev;
	uevent_open(EVENTS_AUTO);
	monitors[udev].monitor = uevents.monitor;
	monitors[udev].fd = uevents.fd;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *names[NWANTED];
	unsigned int i;

	(void)argc;
	(void)argv;
	for (i = 0; i < NWANTED; i++)
		names[i] = wanted[i].subsystem;
	open_monitor(0);
	open_monitor(1);
	must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		 filtered) == 0);
	must(ueventfilter_attach(filtered[1], names, NWANTED) == 0);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	udevd_runs = input_byte(&in) & 1;
	uevents.monitor = monitors[udevd_runs].monitor;
	uevents.fd = monitors[udevd_runs].fd;
	uevents.group = udevd_runs ? GROUP_UDEV : GROUP_KERNEL;
	uevents.lost = 0;
	uevents.pause.at = 0;
	uevents.dropped = 0;
	fill_queue(&in);
	uevent_start(event, lost);
	do {
		again_is_set = 0;
		uevents_ready(EPOLLIN, NULL);
		/* Else the loop calls again as long as something is there. */
	} while (again_is_set || at < nqueue);
	must(!uevents.lost);
	return 0;
}
