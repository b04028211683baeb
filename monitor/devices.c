/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "device.h"
#include "devices.h"
#include "log.h"
#include "loop.h"
#include "report.h"
#include "sysfs.h"
#include "table.h"

static struct {
	int sysfs;
	struct table table;
} devices = { .sysfs = -1 };

/* Reads a port and tells what is new; devnum 0: whatever is there. */
static void
read_port(const struct usbport *port, int devnum, uint64_t uevent)
{
	struct device d;

	if (device_read(devices.sysfs, port, &d) == -1)
		return;
	/* A uevent of a device that has been replaced: another one follows. */
	if (devnum != 0 && d.dev.devnum != devnum)
		return;
	d.dev.uevent = uevent;
	table_put(&devices.table, &d);
}

static void
read_use_of(const struct known *k, uint64_t uevent)
{
	struct device d = k->d;

	if (device_read_use(devices.sysfs, &d) == -1)
		return;
	d.dev.uevent = uevent;
	table_put(&devices.table, &d);
}

static int
hangs_on(const struct usbport *port, const struct usbport *hub)
{
	return port->depth == hub->depth + 1 && usbport_below(port, hub);
}

/*
 * The two halves of a USB 3 hub come one after the other.  What hangs on the
 * first has ports without a peer until the second is there.
 */
static void
read_peers_below(const struct usbport *peer)
{
	struct known *k, *next;

	for (k = table_next(&devices.table, NULL); k != NULL; k = next) {
		next = table_next(&devices.table, k);
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
	k = table_find(&devices.table, port);
	if (k != NULL && k->d.dev.uevent == u->seqnum)
		hub_changed(&k->d.dev);
}

static void
usb_gone(const struct usbport *port, const struct uevent *u)
{
	struct usbdev dev;
	struct known *k;

	k = table_find(&devices.table, port);
	if (k == NULL || k->d.dev.devnum != u->devnum)
		return;
	dev = k->d.dev;
	table_remove(&devices.table, port, dev.devnum, u->seqnum);
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
		k = table_find(&devices.table, port);
		if (k != NULL)
			read_port(port, k->d.dev.devnum, u->seqnum);
		break;
	}
}

static void
read_use_of_disks(uint64_t uevent)
{
	struct known *k, *next;

	for (k = table_next(&devices.table, NULL); k != NULL; k = next) {
		next = table_next(&devices.table, k);
		if (k->d.disks)
			read_use_of(k, uevent);
	}
}

void
devices_mounts_changed(void)
{
	read_use_of_disks(0);
}

void
devices_event(const struct uevent *u)
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
	if ((k = table_find(&devices.table, &port)) != NULL)
		read_use_of(k, u->seqnum);
}

static void
read_all_ports(DIR *dir)
{
	struct usbport port;
	struct dirent *entry;

	while ((errno = 0, entry = readdir(dir)) != NULL)
		if (usbport_parse_sysfs(&port, entry->d_name) == 0)
			read_port(&port, 0, 0);
	if (errno != 0)
		fatal("/sys/" SYSFS_USB_DEVICES);
}

void
devices_scan(const char *why)
{
	uint64_t start = loop_now();
	struct known *k = NULL;
	unsigned int n = 0;
	DIR *dir;
	int fd;

	table_scan_begin(&devices.table);
	fd = openat(devices.sysfs, SYSFS_USB_DEVICES,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 && errno == ENOENT)
		log_info("this kernel has no USB yet");
	else if (fd == -1 || (dir = fdopendir(fd)) == NULL)
		fatal("/sys/" SYSFS_USB_DEVICES);
	else {
		read_all_ports(dir);
		closedir(dir);
	}
	table_scan_end(&devices.table);
	while ((k = table_next(&devices.table, k)) != NULL)
		n++;
	report_scan(why, n, loop_now() - start);
}

void
devices_each(void (*fn)(const struct usbdev *))
{
	struct known *k = NULL;

	while ((k = table_next(&devices.table, k)) != NULL)
		fn(&k->d.dev);
}

void
devices_init(int sysfs, void (*plugged)(const struct usbdev *),
    void (*gone)(const struct usbdev *, uint64_t))
{
	devices.sysfs = sysfs;
	table_init(&devices.table, plugged, gone);
}
