/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * A child that breaks one rule: to be put in the place of usbmgrd-monitor or
 * usbmgrd-qmpclient.  Which rule, the file "fault" beside it says; the table
 * at the end has them all.  It starts as a child should, and ends when its
 * channel is closed, unless that is the fault.
 */

#include <sys/prctl.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "imsg.h"
#include "msg.h"

enum when {
	AT_ONCE,
	STARTED, /* before it says that it is ready */
	READY
};

static struct imsgbuf parent, sibling;

static struct imsgbuf *
open_channel(struct imsgbuf *channel, int fd)
{
	if (imsgbuf_init(channel, fd) == -1)
		err(1, "imsgbuf_init");
	imsgbuf_allow_fdpass(channel);
	return channel;
}

/* Whatever the message table says. */
static void
send_any(struct imsgbuf *to, uint32_t type, size_t size, const void *data,
    const char *file)
{
	static const char zeros[4096];
	int fd = file == NULL ? -1 : open(file, O_RDONLY);

	if (imsg_compose(
		to, type, 0, -1, fd, data == NULL ? zeros : data, size) == -1 ||
	    (imsgbuf_flush(to) == -1 && errno != EPIPE && errno != ECONNRESET))
		err(1, "cannot send");
}

static void
send_well(struct imsgbuf *to, uint32_t type, const void *data)
{
	send_any(to, type, msg_info(type)->size, data, NULL);
}

/* Faults of any child */

static void
die(void)
{
	exit(7);
}

static void
hang(void)
{
	for (;;)
		poll(NULL, 0, -1);
}

static void
close_channel(void)
{
	close(parent.fd);
	hang();
}

static void
trap_by_filter(void)
{
	raise(SIGSYS);
}

static void
garbage(struct imsgbuf *to)
{
	unsigned char noise[200];

	memset(noise, 0xa5, sizeof(noise));
	if (write(to->fd, noise, sizeof(noise)) != sizeof(noise))
		err(1, "write");
}

static void
parent_garbage(void)
{
	garbage(&parent);
}

static void
parent_unknown(void)
{
	send_any(&parent, 4711, 4, NULL, NULL);
}

static void
parent_direction(void)
{
	send_well(&parent, MSG_START, NULL);
}

static void
parent_size(void)
{
	send_any(&parent, MSG_READY, 8, NULL, NULL);
}

static void
parent_descriptor(void)
{
	send_any(&parent, MSG_READY, sizeof(struct msg_none), NULL, "/");
}

static void
parent_ready_twice(void)
{
	send_well(&parent, MSG_READY, NULL);
}

static void
parent_not_mine(void)
{
	send_well(&parent, MSG_OPEN_DEVICE, NULL);
}

static void
sibling_garbage(void)
{
	garbage(&sibling);
}

static void
sibling_direction(void)
{
	send_well(&sibling, MSG_ATTACH, NULL);
}

/* Faults of the monitor */

static void
monitor_not_mine(void)
{
	send_well(&sibling, MSG_RESULT, NULL);
}

static void
monitor_size(void)
{
	send_any(&sibling, MSG_DEVICE, sizeof(struct usbdev) - 1, NULL, NULL);
}

static void
monitor_descriptor(void)
{
	send_any(&sibling, MSG_DEVICE, sizeof(struct usbdev), NULL, "/");
}

static struct usbdev
good_device(void)
{
	struct usbdev d;

	memset(&d, 0, sizeof(d));
	d.port.busnum = 3;
	d.port.depth = 1;
	d.port.chain[0] = 9;
	d.devnum = 22;
	return d;
}

static void
monitor_good(void)
{
	struct usbdev d = good_device();

	send_well(&sibling, MSG_DEVICE, &d);
}

/* No fault at all: tells each engine the same. */
static void
monitor_keeps(void)
{
	monitor_good();
	send_well(&sibling, MSG_SCAN_DONE, NULL);
}

static void
interrupt(int signo)
{
	(void)signo;
}

/* No fault at all: each SIGUSR1 unplugs the device, or plugs a new one. */
static void
monitor_plugs(void)
{
	static unsigned int calls;
	struct msg_device_gone gone;
	struct usbdev d = good_device();

	d.devnum = (uint16_t)(22 + calls / 2);
	memset(&gone, 0, sizeof(gone));
	gone.port = d.port;
	gone.devnum = d.devnum;
	if (calls % 2 == 0)
		send_well(&sibling, MSG_DEVICE, &d);
	else
		send_well(&sibling, MSG_DEVICE_GONE, &gone);
	if (calls++ > 0)
		return;
	signal(SIGUSR1, interrupt);
	send_well(&sibling, MSG_SCAN_DONE, NULL);
}

static void
monitor_port(void)
{
	struct usbdev d = good_device();

	d.port.chain[3] = 1;
	send_well(&sibling, MSG_DEVICE, &d);
}

static void
monitor_string(void)
{
	struct usbdev d = good_device();

	memset(d.serial, 'x', sizeof(d.serial));
	send_well(&sibling, MSG_DEVICE, &d);
}

static void
monitor_devnum(void)
{
	struct usbdev d = good_device();

	d.devnum = 0;
	send_well(&sibling, MSG_DEVICE, &d);
}

static void
monitor_gone(void)
{
	send_well(&sibling, MSG_DEVICE_GONE, NULL);
}

static void
monitor_scan_twice(void)
{
	send_well(&sibling, MSG_SCAN_DONE, NULL);
	send_well(&sibling, MSG_SCAN_DONE, NULL);
}

/* Faults of the QMP client */

static void
qmp_lost(void)
{
	struct msg_qmp_lost m = { .vm = 1, .end = QMP_END_CLOSED };

	send_well(&parent, MSG_QMP_LOST, &m);
}

static void
qmp_release(void)
{
	struct msg_vm_number m = { .vm = 1 };

	send_well(&parent, MSG_QMP_RELEASE, &m);
}

static void
qmp_want(void)
{
	struct msg_vm_number m = { .vm = 1 };

	send_well(&parent, MSG_QMP_WANT, &m);
}

static void
qmp_result(void)
{
	struct msg_result m;

	memset(&m, 0, sizeof(m));
	m.request = 1;
	m.vm = 1;
	send_well(&sibling, MSG_RESULT, &m);
}

static void
qmp_state(void)
{
	struct msg_vm_state m;

	memset(&m, 0, sizeof(m));
	m.vm = 1;
	m.state = VM_STATE_MAX;
	send_well(&sibling, MSG_VM_STATE, &m);
}

static void
qmp_string(void)
{
	struct msg_vm_state m;

	memset(&m, 'x', sizeof(m));
	m.vm = 1;
	m.state = VM_READY;
	send_well(&sibling, MSG_VM_STATE, &m);
}

static void
qmp_has(void)
{
	struct msg_vm_has m;

	memset(&m, 0, sizeof(m));
	m.vm = 1;
	m.request = 1;
	m.port = good_device().port;
	send_well(&sibling, MSG_VM_HAS, &m);
}

static const struct fault {
	const char *name;
	enum when when;
	void (*commit)(void);
} faults[] = {
	{ "die", STARTED, die },
	{ "hang", AT_ONCE, hang },
	{ "close", READY, close_channel },
	{ "filter", READY, trap_by_filter },
	{ "parent-garbage", STARTED, parent_garbage },
	{ "parent-unknown", READY, parent_unknown },
	{ "parent-direction", READY, parent_direction },
	{ "parent-size", STARTED, parent_size },
	{ "parent-descriptor", STARTED, parent_descriptor },
	{ "parent-ready-twice", READY, parent_ready_twice },
	{ "parent-not-mine", READY, parent_not_mine },
	{ "sibling-garbage", READY, sibling_garbage },
	{ "sibling-direction", READY, sibling_direction },
	{ "monitor-not-mine", READY, monitor_not_mine },
	{ "monitor-size", READY, monitor_size },
	{ "monitor-descriptor", READY, monitor_descriptor },
	{ "monitor-good", READY, monitor_good },
	{ "monitor-keeps", READY, monitor_keeps },
	{ "monitor-plugs", READY, monitor_plugs },
	{ "monitor-port", READY, monitor_port },
	{ "monitor-string", READY, monitor_string },
	{ "monitor-devnum", READY, monitor_devnum },
	{ "monitor-gone", READY, monitor_gone },
	{ "monitor-scan-twice", READY, monitor_scan_twice },
	{ "qmp-lost", READY, qmp_lost },
	{ "qmp-release", READY, qmp_release },
	{ "qmp-want", READY, qmp_want },
	{ "qmp-result", READY, qmp_result },
	{ "qmp-state", READY, qmp_state },
	{ "qmp-string", READY, qmp_string },
	{ "qmp-has", READY, qmp_has },
};

static const struct fault *
chosen_fault(void)
{
	char path[PATH_MAX], name[64] = "";
	ssize_t n;
	FILE *stream;
	size_t i;

	if ((n = readlink("/proc/self/exe", path, sizeof(path) - 8)) == -1)
		err(1, "readlink");
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, "fault");
	if ((stream = fopen(path, "r")) == NULL ||
	    fscanf(stream, "%63s", name) != 1)
		err(1, "%s", path);
	fclose(stream);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (strcmp(faults[i].name, name) == 0)
			return &faults[i];
	errx(1, "no fault is called %s", name);
}

static void
start(const struct fault *fault)
{
	if (fault->when == STARTED)
		fault->commit();
	send_well(&parent, MSG_READY, NULL);
	if (fault->when == READY)
		fault->commit();
}

int
main(void)
{
	const struct fault *fault = chosen_fault();
	struct imsg imsg;
	int started = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* nothing is left */
	if (fault->when == AT_ONCE)
		fault->commit();
	open_channel(&parent, PROC_PARENT_FD);
	for (;;) {
		while (imsgbuf_get(&parent, &imsg) == 1) {
			if (imsg_get_type(&imsg) == MSG_PEER)
				open_channel(&sibling, imsg_get_fd(&imsg));
			if (imsg_get_type(&imsg) == MSG_PING)
				send_well(&parent, MSG_PONG, NULL);
			if (imsg_get_type(&imsg) == MSG_START) {
				start(fault);
				started = 1;
			} else if (imsg_get_type(&imsg) == MSG_PEER &&
				   started && fault->commit == monitor_keeps)
				fault->commit();
			imsg_free(&imsg);
		}
		if (poll(&(struct pollfd){ parent.fd, POLLIN, 0 }, 1, -1) == -1)
			fault->commit(); /* a signal for it */
		else if (imsgbuf_read(&parent) != 1)
			return 0;
	}
}
