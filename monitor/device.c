/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "descriptors.h"
#include "device.h"
#include "log.h"
#include "sysfs.h"
#include "use.h"

#define DEVICE_PATH_MAX (sizeof(SYSFS_USB_DEVICES) + USBPORT_STRLEN)

static void
device_path(const struct usbport *port, char path[static DEVICE_PATH_MAX])
{
	char name[USBPORT_STRLEN];

	snprintf(path, DEVICE_PATH_MAX, "%s/%s", SYSFS_USB_DEVICES,
	    sysfs_device_name(port, name));
}

static int
device_open(int sysfs, const struct usbport *port, uint64_t *ino)
{
	char path[DEVICE_PATH_MAX];
	struct stat st;
	int fd;

	device_path(port, path);
	fd = openat(sysfs, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1) {
		close(fd);
		return -1;
	}
	*ino = st.st_ino;
	return fd;
}

/*
 * The other half of the connector hangs on the hub's port, not on the
 * device; "3-1.2" is in "../3-1:1.0/3-1-port2", "3-9" in
 * "../3-0:1.0/usb3-port9".  The device's own link to it, "port", is made
 * after the kernel has said that the device is there.
 */
static void
read_peer(int dirfd, struct usbdev *dev)
{
	struct usbport hub = dev->port;
	char path[128], hubname[USBPORT_STRLEN], peer[64];
	unsigned int number;

	number = hub.chain[--hub.depth];
	hub.chain[hub.depth] = 0;
	if (hub.depth == 0)
		snprintf(path, sizeof(path), "../%u-0:1.0/usb%u-port%u/peer",
		    hub.busnum, hub.busnum, number);
	else {
		sysfs_device_name(&hub, hubname);
		snprintf(path, sizeof(path), "../%s:1.0/%s-port%u/peer",
		    hubname, hubname, number);
	}
	if (sysfs_link_name(dirfd, path, peer, sizeof(peer)) == -1 ||
	    sysfs_hub_port(peer, &dev->peer) == -1)
		memset(&dev->peer, 0, sizeof(dev->peer));
}

static int
read_controller(int sysfs, struct usbdev *dev)
{
	char path[DEVICE_PATH_MAX], target[SYSFS_PATH_MAX];

	device_path(&dev->port, path);
	if (sysfs_link(sysfs, path, target, sizeof(target)) == -1)
		return -1;
	sysfs_path_controller(target, dev->controller);
	return 0;
}

/* Strings that a device does not have are no files. */
static void
read_strings(int dirfd, struct usbdev *dev)
{
	char speed[16];

	sysfs_string(dirfd, "serial", dev->serial, sizeof(dev->serial));
	sysfs_string(dirfd, "product", dev->name, sizeof(dev->name));
	sysfs_string(dirfd, "manufacturer", dev->manufacturer,
	    sizeof(dev->manufacturer));
	if (sysfs_string(dirfd, "speed", speed, sizeof(speed)) == 0)
		dev->speed = (uint8_t)usbspeed_parse(speed);
}

static void
read_use(int sysfs, int dirfd, struct device *d)
{
	struct use use;
	unsigned int i;

	use_find(sysfs, dirfd, &use);
	memcpy(d->dev.netif, use.netif, sizeof(d->dev.netif));
	memcpy(d->dev.busy, use.busy, sizeof(d->dev.busy));
	memcpy(d->dev.busy_why, use.busy_why, sizeof(d->dev.busy_why));
	d->disks = use.disks > 0;
	for (i = 0; i < d->dev.ninterfaces; i++)
		if (d->dev.interfaces[i].class == USB_CLASS_MASS_STORAGE)
			d->disks = 1;
}

static int
read_descriptors(int dirfd, struct usbdev *dev)
{
	static uint8_t buf[DESCRIPTORS_MAX + 1];
	ssize_t len;

	len = sysfs_read(dirfd, "descriptors", buf, sizeof(buf));
	if (len == -1)
		return -1;
	return descriptors_parse(dev, buf, (size_t)len);
}

/*
 * NULL, or what is wrong.  Not "busnum", which the directory is named after
 * (drivers/usb/core/usb.c, usb_alloc_dev).
 */
static const char *
read_all(int sysfs, int dirfd, struct device *d)
{
	char driver[64];
	int devnum;

	if (sysfs_link_name(dirfd, "driver", driver, sizeof(driver)) == -1)
		return "no driver";
	if (read_descriptors(dirfd, &d->dev) == -1)
		return "descriptors";
	read_strings(dirfd, &d->dev);
	if (read_controller(sysfs, &d->dev) == -1)
		return "path";
	read_peer(dirfd, &d->dev);
	read_use(sysfs, dirfd, d);
	/* Only a device that still is there can have been read as a whole. */
	devnum = sysfs_number(dirfd, "devnum", USB_DEVNUM_MAX);
	if (devnum == -1)
		return "devnum";
	d->dev.devnum = (uint16_t)devnum;
	return usbdev_check(&d->dev);
}

/* A device that is unplugged while it is read is nothing to worry about. */
static void
log_unread(const struct usbport *port, int dirfd, const char *why)
{
	char driver[64], name[USBPORT_STRLEN];

	usbport_string(port, name);
	if (dirfd == -1 ||
	    sysfs_link_name(dirfd, "driver", driver, sizeof(driver)) == -1 ||
	    sysfs_number(dirfd, "devnum", USB_DEVNUM_MAX) == -1)
		log_debug("%s is not there: %s", name, why);
	else
		log_warnx("%s is left out: %s cannot be read or makes no sense",
		    name, why);
}

int
device_read(int sysfs, const struct usbport *port, struct device *d)
{
	const char *why;
	int fd;

	memset(d, 0, sizeof(*d));
	d->dev.port = *port;
	fd = device_open(sysfs, port, &d->ino);
	why = fd == -1 ? "no directory" : read_all(sysfs, fd, d);
	if (why != NULL)
		log_unread(port, fd, why);
	if (fd != -1)
		close(fd);
	return why == NULL ? 0 : -1;
}

int
device_read_use(int sysfs, struct device *d)
{
	const char *why = NULL;
	uint64_t ino = 0;
	int fd;

	fd = device_open(sysfs, &d->dev.port, &ino);
	if (fd == -1)
		why = "no directory";
	else if (ino != d->ino)
		why = "another device has its port";
	else {
		read_use(sysfs, fd, d);
		if (sysfs_number(fd, "devnum", USB_DEVNUM_MAX) != d->dev.devnum)
			why = "devnum";
	}
	if (why != NULL)
		log_unread(&d->dev.port, fd, why);
	if (fd != -1)
		close(fd);
	return why == NULL ? 0 : -1;
}
