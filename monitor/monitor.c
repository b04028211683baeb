/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "child.h"
#include "devices.h"
#include "log.h"
#include "mounts.h"
#include "report.h"
#include "uevent.h"

/* Messages that may wait for the engine before the monitor waits for it. */
#define QUEUE_MAX 200

static struct {
	struct chan parent;
	struct chan engine;
	int started;
} monitor;

static void
monitor_send_engine(enum msg_type type, const void *payload)
{
	struct chan *engine = &monitor.engine;

	if (!chan_is_open(engine))
		return;
	chan_send(engine, type, payload, -1);
	/* uevents can wait, and if they are too many, all is read again. */
	if (!engine->dead && imsgbuf_queuelen(&engine->ibuf) > QUEUE_MAX &&
	    chan_flush(engine) == -1 && errno != EPIPE && errno != ECONNRESET)
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

static void
uevents_lost(void)
{
	report_overflow();
	devices_scan("overflow");
}

static void
mounts_changed(void)
{
	if (monitor.started)
		devices_mounts_changed();
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

static void
tell_device(const struct usbdev *dev)
{
	monitor_send_engine(MSG_DEVICE, dev);
}

/* A new engine knows nothing yet. */
static void
monitor_tell_all(void)
{
	static const struct msg_none none;

	devices_each(tell_device);
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

	if (monitor.started || !mounts_ready())
		fatalx("START came too early or again");
	log_info("listening to uevents of %s", uevent_source());
	chan_send(&monitor.parent, MSG_READY, &none, -1);
	devices_scan("start");
	monitor.started = 1;
	monitor_send_engine(MSG_SCAN_DONE, &none);
	uevent_start(devices_event, uevents_lost);
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
	int sysfs;

	child_init(PROC_MONITOR, argc, argv, roots, prepare, &monitor.parent,
	    monitor_dispatch_parent);
	mounts_init(mounts_changed);
	if ((sysfs = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		fatal("/sys");
	devices_init(sysfs, device_plugged, device_gone);
	return loop_run();
}
