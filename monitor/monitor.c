/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "child.h"
#include "log.h"
#include "mounts.h"
#include "report.h"
#include "sysfs.h"
#include "table.h"
#include "uevent.h"

/* Messages that may wait for the engine before the monitor waits for it. */
#define QUEUE_MAX 200

static struct {
	struct chan parent;
	struct chan engine;
	struct table table;
	int sysfs; /* root of sysfs */
	int started;
} monitor = { .sysfs = -1 };

static void
monitor_send_engine(enum msg_type type, const void *payload)
{
	struct chan *engine = &monitor.engine;

	if (!chan_is_open(engine))
		return;
	chan_send(engine, type, payload, -1);
	/* uevents can wait, and if they are too many, all is read again. */
	if (!engine->dead && imsgbuf_queuelen(&engine->ibuf) > QUEUE_MAX &&
	    chan_flush(engine) == -1)
		fatal("engine does not read");
}

static void
device_plugged(const struct usbdev *dev)
{
	report_device(dev);
	monitor_send_engine(MSG_DEVICE, dev);
}

static void
device_gone(const struct usbdev *dev, uint64_t uevent)
{
	struct msg_device_gone gone = {
		.uevent = uevent, .port = dev->port, .devnum = dev->devnum
	};

	report_gone(dev, uevent);
	monitor_send_engine(MSG_DEVICE_GONE, &gone);
}

/* Reads a port and tells what is new; devnum 0: whatever is there. */
static void
read_port(const struct usbport *port, int devnum, uint64_t uevent)
{
	struct device d;

	if (device_read(monitor.sysfs, port, &d) == -1)
		return;
	/* A uevent of a device that has been replaced: another one follows. */
	if (devnum != 0 && d.dev.devnum != devnum)
		return;
	d.dev.uevent = uevent;
	table_put(&monitor.table, &d);
}

static void
read_use_of(const struct known *k, uint64_t uevent)
{
	struct device d = k->d;

	if (device_read_use(monitor.sysfs, &d) == -1)
		return;
	d.dev.uevent = uevent;
	table_put(&monitor.table, &d);
}

static int
hangs_on(const struct usbport *port, const struct usbport *hub)
{
	return port->busnum == hub->busnum && port->depth == hub->depth + 1 &&
	       memcmp(port->chain, hub->chain, hub->depth) == 0;
}

/*
 * The two halves of a USB 3 hub come one after the other.  What hangs on the
 * first has ports without a peer until the second is there.
 */
static void
read_peers_below(const struct usbport *peer)
{
	struct known *k, *next;

	for (k = table_next(&monitor.table, NULL); k != NULL; k = next) {
		next = table_next(&monitor.table, k);
		if (hangs_on(&k->d.dev.port, peer))
			read_port(&k->d.dev.port, 0, 0);
	}
}

/* A device that came or went may be the other half of a hub. */
static void
hub_changed(const struct usbdev *dev)
{
	struct usbport peer = dev->peer;

	if (peer.busnum != 0 && usbdev_is_hub(dev))
		read_peers_below(&peer);
}

static void
usb_bind(const struct usbport *port, const struct uevent *u)
{
	struct known *k;

	read_port(port, u->devnum, u->seqnum);
	k = table_find(&monitor.table, port);
	if (k != NULL && k->d.dev.uevent == u->seqnum)
		hub_changed(&k->d.dev);
}

static void
usb_gone(const struct usbport *port, const struct uevent *u)
{
	struct usbdev dev;
	struct known *k;

	k = table_find(&monitor.table, port);
	if (k == NULL || k->d.dev.devnum != u->devnum)
		return;
	dev = k->d.dev;
	table_remove(&monitor.table, port, dev.devnum, u->seqnum);
	hub_changed(&dev);
}

/*
 * A device counts from "bind" on: at "add" it has no configuration yet, and
 * its node may not have its owner, so an attach would fail.  It counts until
 * the first of "unbind" and "remove".
 */
static void
usb_event(const struct usbport *port, const struct uevent *u)
{
	struct known *k;

	if (u->busnum != port->busnum || u->devnum == 0)
		return;
	switch (u->action) {
	case UEVENT_BIND:
		usb_bind(port, u);
		break;
	case UEVENT_UNBIND:
	case UEVENT_REMOVE:
		usb_gone(port, u);
		break;
	case UEVENT_OTHER:
		k = table_find(&monitor.table, port);
		if (k != NULL)
			read_port(port, k->d.dev.devnum, u->seqnum);
		break;
	}
}

static void
read_use_of_disks(uint64_t uevent)
{
	struct known *k, *next;

	for (k = table_next(&monitor.table, NULL); k != NULL; k = next) {
		next = table_next(&monitor.table, k);
		if (k->d.disks)
			read_use_of(k, uevent);
	}
}

static void
mounts_changed(void)
{
	if (monitor.started)
		read_use_of_disks(0);
}

static void
event(const struct uevent *u)
{
	struct usbport port;
	struct known *k;
	int where;

	where = sysfs_path_port(u->path, &port);
	if (u->subsystem == UEVENT_USB) {
		if (where == 1)
			usb_event(&port, u);
		return;
	}
	if (where == -1) {
		/* dm and md hold disks that are elsewhere. */
		if (u->subsystem == UEVENT_BLOCK)
			read_use_of_disks(u->seqnum);
		return;
	}
	if ((k = table_find(&monitor.table, &port)) != NULL)
		read_use_of(k, u->seqnum);
}

static void
scan(const char *why)
{
	uint64_t start = loop_now();
	struct usbport port;
	struct dirent *entry;
	struct known *k;
	unsigned int n = 0;
	DIR *dir = NULL;
	int fd;

	fd = openat(monitor.sysfs, SYSFS_USB_DEVICES,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 ? errno != ENOENT : (dir = fdopendir(fd)) == NULL)
		fatal("/sys/" SYSFS_USB_DEVICES);
	table_scan_begin(&monitor.table);
	while (dir != NULL && (errno = 0, entry = readdir(dir)) != NULL)
		if (usbport_parse_sysfs(&port, entry->d_name) == 0)
			read_port(&port, 0, 0);
	if (dir == NULL)
		log_info("this kernel has no USB yet");
	else if (errno != 0)
		fatal("/sys/" SYSFS_USB_DEVICES);
	else
		closedir(dir);
	table_scan_end(&monitor.table);
	for (k = table_next(&monitor.table, NULL); k != NULL;
	     k = table_next(&monitor.table, k))
		n++;
	report_scan(why, n, loop_now() - start);
}

static void
lost(void)
{
	report_overflow();
	scan("overflow");
}

static void
monitor_dispatch_engine(
    struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)c;
	(void)payload;
	(void)fd;
	fatalx("%s from engine", msg_name(type));
}

/* A new engine knows nothing yet. */
static void
monitor_tell_all(void)
{
	static const struct msg_none none;
	struct known *k;

	for (k = table_next(&monitor.table, NULL); k != NULL;
	     k = table_next(&monitor.table, k))
		monitor_send_engine(MSG_DEVICE, &k->d.dev);
	monitor_send_engine(MSG_SCAN_DONE, &none);
}

static void
monitor_peer(const struct msg_peer *peer, int fd)
{
	if (peer->proc != PROC_ENGINE)
		fatalx("PEER %u is not for me", peer->proc);
	chan_close(&monitor.engine);
	chan_open(&monitor.engine, fd, PROC_MONITOR, PROC_ENGINE,
	    monitor_dispatch_engine, chan_lost_fatal, NULL);
	if (monitor.started)
		monitor_tell_all();
}

static void
monitor_start(void)
{
	static const struct msg_none none;

	if (monitor.started || !mounts_ready() ||
	    !chan_is_open(&monitor.engine))
		fatalx("START came too early or again");
	chan_send(&monitor.parent, MSG_READY, &none, -1);
	scan("start");
	monitor.started = 1;
	monitor_send_engine(MSG_SCAN_DONE, &none);
	uevent_start(event, lost);
}

static void
monitor_dispatch_parent(
    struct chan *c, enum msg_type type, const void *payload, int fd)
{
	const struct msg_start *start = payload;

	(void)c;
	if (child_dispatch(type, payload, fd))
		return;
	switch (type) {
	case MSG_MOUNTINFO:
		mounts_watch_mountinfo(fd);
		break;
	case MSG_SWAPS:
		mounts_watch_swaps(fd);
		break;
	case MSG_PEER:
		monitor_peer(payload, fd);
		break;
	case MSG_START:
		log_set_verbose(start->verbose != 0);
		monitor_start();
		break;
	default:
		fatalx("%s from parent", msg_name(type));
	}
}

static enum events_source
parse_source(const char *s)
{
	if (s == NULL || strcmp(s, "auto") == 0)
		return EVENTS_AUTO;
	if (strcmp(s, "udev") == 0)
		return EVENTS_UDEV;
	if (strcmp(s, "kernel") == 0)
		return EVENTS_KERNEL;
	fatalx("events %s: not auto, udev or kernel", s);
}

static void
prepare(void)
{
	uevent_open(parse_source(child_option()));
}

int
main(int argc, char *argv[])
{
	static const char *const roots[] = { "/sys", "/run/udev", NULL };

	child_init(PROC_MONITOR, argc, argv, roots, prepare, &monitor.parent,
	    monitor_dispatch_parent);
	mounts_init(mounts_changed);
	table_init(&monitor.table, device_plugged, device_gone);
	monitor.sysfs = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (monitor.sysfs == -1)
		fatal("/sys");
	log_info("listening to uevents of %s", uevent_source());
	return loop_run();
}
