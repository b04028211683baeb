/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * usage: plug directory machines
 *
 * Plugs devices and is the machines that get them.  It listens on
 * directory/vm0.qmp and so on, and on directory/direct.qmp and
 * directory/four.qmp.  Requests come
 * on standard input, one a line; the answer to each is a line of numbers.
 *
 *	device BUSNUM DEVNUM DEVPATH	one more that can be plugged
 *	rounds N MS PID ...		plug and unplug each N times
 *	unplug PID ...			the first device, without a measure
 *	noise N PID ...			N uevents that do not matter
 *	storm N SUBSYSTEM PID ...	N uevents at once, most of them of that
 *					subsystem; each hundredth plugs a
 *					device or unplugs it, in turn
 *	flap N MS PID ...		plug the first device N times, for MS
 *					each, then once more
 *	serve MS			let the machines answer
 *
 * A device is plugged by a uevent that the kernel sends: it relays what root
 * sends to it (lib/kobject_uevent.c, uevent_net_rcv_skb), in the network
 * namespace of the first PID.  MS is how long all is left alone after each.
 * The answer to rounds has three numbers for each round: nanoseconds from
 * the uevent to device_add, from the uevent to device_del, and the time on a
 * processor that all PIDs together needed for the plug; the answer to noise
 * that of each uevent.
 */

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "peer.h"

#define DEVICES_MAX 200
#define PIDS_MAX 8
#define SOON_MS 5000
#define NOISE_PACE 1 /* ms between two, so that each wakes whom it will */

static struct device {
	unsigned int busnum;
	unsigned int devnum;
	char devpath[256];
} devices[DEVICES_MAX];
static unsigned int ndevices;

static struct {
	pid_t pid[PIDS_MAX];
	clockid_t clock[PIDS_MAX];
	unsigned int n;
} watched;

static int uevents = -1;

/* A socket is of the namespace in which it was made. */
static void
open_uevents(pid_t pid)
{
	char path[64];
	int there, here;

	if (uevents != -1)
		close(uevents);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	there = open(path, O_RDONLY | O_CLOEXEC);
	here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (there == -1 || here == -1 || setns(there, CLONE_NEWNET) == -1)
		err(1, "%s", path);
	uevents =
	    socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	if (uevents == -1 || setns(here, CLONE_NEWNET) == -1)
		err(1, "uevent socket");
	close(there);
	close(here);
}

static void
send_uevent(const char *text, size_t len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr head = { .nlmsg_len = (uint32_t)(NLMSG_HDRLEN + len),
		.nlmsg_type = NLMSG_MIN_TYPE,
		.nlmsg_flags = NLM_F_REQUEST };
	char copy[2048];
	struct iovec iov[] = { { &head, NLMSG_HDRLEN }, { copy, len } };
	struct msghdr msg = { .msg_name = &kernel,
		.msg_namelen = sizeof(kernel),
		.msg_iov = iov,
		.msg_iovlen = 2 };

	memcpy(copy, text, len);
	if (sendmsg(uevents, &msg, 0) == -1)
		err(1, "uevent");
}

/* In the order of lib/kobject_uevent.c and drivers/usb/core/usb.c. */
static size_t
make_uevent(char *buf, size_t size, const char *action, const struct device *d)
{
	int n;

	n = snprintf(buf, size,
	    "%s@%s%cACTION=%s%cDEVPATH=%s%cSUBSYSTEM=usb%cMAJOR=189%c"
	    "MINOR=%u%cDEVNAME=bus/usb/%03u/%03u%cDEVTYPE=usb_device%c"
	    "DRIVER=usb%cPRODUCT=45e/823/100%cTYPE=0/0/0%cBUSNUM=%03u%c"
	    "DEVNUM=%03u",
	    action, d->devpath, 0, action, 0, d->devpath, 0, 0, 0,
	    (d->busnum - 1) * 128 + d->devnum - 1, 0, d->busnum, d->devnum, 0,
	    0, 0, 0, 0, d->busnum, 0, d->devnum);
	return (size_t)n + 1;
}

static void
watch(char *pids)
{
	char *word;

	watched.n = 0;
	while ((word = strtok(pids, " \n")) != NULL) {
		pids = NULL;
		if (watched.n == PIDS_MAX)
			errx(1, "too many processes");
		watched.pid[watched.n] = atoi(word);
		if (clock_getcpuclockid(
			watched.pid[watched.n], &watched.clock[watched.n]) != 0)
			errx(1, "process %s", word);
		watched.n++;
	}
	if (watched.n == 0)
		errx(1, "no process");
	open_uevents(watched.pid[0]);
}

static uint64_t
cpu(void)
{
	struct timespec ts;
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < watched.n; i++) {
		if (clock_gettime(watched.clock[i], &ts) == -1)
			err(1, "process %d", watched.pid[i]);
		sum += (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	}
	return sum;
}

/* Nanoseconds from the uevent until a machine was told. */
static uint64_t
event(const char *action, const struct device *d, enum heard what)
{
	char buf[2048];
	size_t len = make_uevent(buf, sizeof(buf), action, d);
	uint64_t start, end;

	peer_forget();
	start = peer_now();
	send_uevent(buf, len);
	if ((end = peer_wait(what, SOON_MS)) == 0)
		errx(1, "%s of %s: nobody was told", action, d->devpath);
	return end - start;
}

static void
one_round(const struct device *d, int ms)
{
	uint64_t before = cpu(), plug, unplug, used;

	plug = event("bind", d, HEARD_ADD);
	if (peer_wait(HEARD_DONE, SOON_MS) == 0)
		errx(1, "%s: no remove-fd", d->devpath);
	peer_wait(HEARD_MAX, ms);
	used = cpu() - before;
	unplug = event("unbind", d, HEARD_DEL);
	peer_wait(HEARD_MAX, ms);
	printf(" %llu %llu %llu", (unsigned long long)plug,
	    (unsigned long long)unplug, (unsigned long long)used);
}

static void
rounds(char *args)
{
	unsigned int i, n;
	int at = 0, ms;

	if (sscanf(args, "%u %d %n", &n, &ms, &at) != 2 || at == 0 ||
	    ndevices == 0)
		errx(1, "rounds: %s", args);
	watch(args + at);
	for (i = 0; i < n; i++)
		one_round(&devices[i % ndevices], ms);
}

static void
unplug(char *args)
{
	watch(args);
	event("unbind", &devices[0], HEARD_DEL);
	peer_wait(HEARD_MAX, 100);
}

static void
noise(char *args)
{
	static const char text[] =
	    "change@/devices/LNXSYSTM:00/PNP0C0A:00/power_supply/BAT0\0"
	    "ACTION=change\0"
	    "DEVPATH=/devices/LNXSYSTM:00/PNP0C0A:00/power_supply/BAT0\0"
	    "SUBSYSTEM=power_supply\0"
	    "POWER_SUPPLY_NAME=BAT0\0POWER_SUPPLY_STATUS=Discharging";
	uint64_t before;
	unsigned int i, n;
	int at = 0;

	if (sscanf(args, "%u %n", &n, &at) != 1 || at == 0 || n == 0)
		errx(1, "noise: %s", args);
	watch(args + at);
	before = cpu();
	for (i = 0; i < n; i++) {
		send_uevent(text, sizeof(text));
		peer_wait(HEARD_MAX, NOISE_PACE);
	}
	printf(" %llu", (unsigned long long)((cpu() - before) / n));
}

/* Of the machines nobody answers before it is over. */
static void
storm(char *args)
{
	char text[2048], subsystem[32];
	const struct device *d;
	unsigned int i, n;
	int at = 0, len;

	if (sscanf(args, "%u %31s %n", &n, subsystem, &at) != 2 || at == 0 ||
	    ndevices == 0)
		errx(1, "storm: %s", args);
	watch(args + at);
	for (i = 0; i < n; i++) {
		d = &devices[i / 200 % ndevices];
		if (i % 100 == 0)
			len = (int)make_uevent(text, sizeof(text),
			    i / 100 % 2 ? "unbind" : "bind", d);
		else
			len = snprintf(text, sizeof(text),
				  "change@/devices/virtual/x%cACTION=change%c"
				  "DEVPATH=/devices/virtual/x%cSUBSYSTEM=%s",
				  0, 0, 0, subsystem) +
			      1;
		send_uevent(text, (size_t)len);
	}
}

static void
flap(char *args)
{
	char text[2048];
	unsigned int i, n;
	int at = 0, ms;

	if (sscanf(args, "%u %d %n", &n, &ms, &at) != 2 || at == 0 ||
	    ndevices == 0)
		errx(1, "flap: %s", args);
	watch(args + at);
	for (i = 0; i < 2 * n + 1; i++) {
		send_uevent(text, make_uevent(text, sizeof(text),
				      i % 2 ? "unbind" : "bind", &devices[0]));
		peer_wait(HEARD_MAX, ms);
	}
}

static void
device(const char *args)
{
	struct device *d = &devices[ndevices];

	if (ndevices == DEVICES_MAX || sscanf(args, "%u %u %255s", &d->busnum,
					   &d->devnum, d->devpath) != 3)
		errx(1, "device: %s", args);
	ndevices++;
}

static void
serve(const char *args)
{
	peer_wait(HEARD_MAX, atoi(args));
}

static void
do_request(char *line)
{
	char *args = line + strcspn(line, " \n");

	if (*args != '\0')
		*args++ = '\0';
	if (strcmp(line, "device") == 0)
		device(args);
	else if (strcmp(line, "rounds") == 0)
		rounds(args);
	else if (strcmp(line, "unplug") == 0)
		unplug(args);
	else if (strcmp(line, "noise") == 0)
		noise(args);
	else if (strcmp(line, "storm") == 0)
		storm(args);
	else if (strcmp(line, "flap") == 0)
		flap(args);
	else if (strcmp(line, "serve") == 0)
		serve(args);
	else
		errx(1, "%s: unknown request", line);
	printf("\n");
	fflush(stdout);
}

int
main(int argc, char *argv[])
{
	char path[128], line[1024];
	int i;

	if (argc != 3) {
		fprintf(stderr, "usage: plug directory machines\n");
		return 2;
	}
	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s.qmp", argv[1],
		    i == 0 ? "direct" : "four");
		peer_listen(path);
	}
	for (i = 0; i < atoi(argv[2]); i++) {
		snprintf(path, sizeof(path), "%s/vm%d.qmp", argv[1], i);
		peer_listen(path);
	}
	while (fgets(line, sizeof(line), stdin) != NULL)
		do_request(line);
	return 0;
}
