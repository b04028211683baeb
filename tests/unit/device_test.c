/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Reading a device from sysfs, on a tree made here that has what the kernel
 * shows of a device, and of what its drivers make below it.
 */

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "device.h"
#include "log.h"

#define HOST "devices/pci0000:00/0000:00:1c.0/0000:02:00.0/"
#define MOUSE HOST "usb3/3-9"
#define HUB HOST "usb3/3-1"
#define STICK HUB "/3-1.2"
#define DISK STICK "/3-1.2:1.0/host2/target2:0:0/2:0:0:0/block/sdb"
#define CLASS_AT 4
#define INTERFACE_CLASS_AT 32

static const uint8_t descriptors[] = { 18, 1, 0x00, 0x02, 0, 0, 0, 8, 0x5e,
	0x04, 0x23, 0x08, 0x00, 0x01, 1, 2, 0, 1, 9, 2, 25, 0, 1, 1, 0, 0xa0,
	50, 9, 4, 0, 0, 1, 3, 1, 2, 0, 7, 5, 0x81, 3, 8, 0, 10 };

static char root[64];
static int sysfs = -1;

/* Makes the directories on the way to it, too. */
static void
make_dir(const char *path)
{
	char part[PATH_MAX];
	const char *slash = path;

	do {
		slash = strchrnul(slash + 1, '/');
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdirat(sysfs, part, 0700) == -1)
			assert_int_equal(errno, EEXIST);
	} while (*slash != '\0');
}

static void
put_bytes(const char *dir, const char *name, const void *bytes, size_t len)
{
	char path[PATH_MAX];
	int fd;

	make_dir(dir);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = openat(sysfs, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void
put(const char *dir, const char *name, const char *text)
{
	put_bytes(dir, name, text, strlen(text));
}

static void
put_link(const char *dir, const char *name, const char *target)
{
	char path[PATH_MAX];

	make_dir(dir);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(symlinkat(target, sysfs, path), 0);
}

static void
take(const char *dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(unlinkat(sysfs, path, 0), 0);
}

static void
put_descriptors(const char *dir, size_t at, uint8_t value)
{
	uint8_t bytes[sizeof(descriptors)];

	memcpy(bytes, descriptors, sizeof(bytes));
	bytes[at] = value;
	put_bytes(dir, "descriptors", bytes, sizeof(bytes));
}

static void
put_device(const char *dir, const char *devnum)
{
	char target[PATH_MAX];

	put_descriptors(dir, 0, 18);
	put(dir, "devnum", devnum);
	put(dir, "speed", "480\n");
	put_link(dir, "driver", "../../../../bus/usb/drivers/usb");
	put_link(dir, "subsystem", "../../../../bus/usb");
	make_dir("bus/usb/devices");
	snprintf(target, sizeof(target), "../../../%s", dir);
	put_link("bus/usb/devices", strrchr(dir, '/') + 1, target);
}

/* As devices that are made of a class are. */
static void
put_class(const char *dir, const char *class)
{
	char target[PATH_MAX];

	snprintf(target, sizeof(target), "../../../../../class/%s", class);
	put_link(dir, "subsystem", target);
}

static int
setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/usbmgrd-device.XXXXXX");
	assert_non_null(mkdtemp(root));
	sysfs = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_not_equal(sysfs, -1);

	put_device(MOUSE, "22\n");
	put(MOUSE, "product", "Classic IntelliMouse\n");
	put(MOUSE, "manufacturer", "Microsoft\n");
	put_link(HOST "usb3/3-0:1.0/usb3-port9", "peer",
	    "../../../usb4/4-0:1.0/usb4-port7");
	put_class(MOUSE "/3-9:1.0", "usb");

	put_device(HUB, "20\n");
	put_descriptors(HUB, CLASS_AT, 9);
	put_device(STICK, "21\n");
	put(STICK, "serial", "0001\n");
	put_descriptors(STICK, INTERFACE_CLASS_AT, 8);
	put_link(
	    HUB "/3-1:1.0/3-1-port2", "peer", "../../../4-1/4-1:1.0/4-1-port3");
	put_class(DISK, "block");
	put(DISK, "dev", "8:16\n");
	put_class(DISK "/sdb1", "block");
	put(DISK "/sdb1", "dev", "8:17\n");
	make_dir(DISK "/holders");
	make_dir(DISK "/sdb1/holders");
	return 0;
}

static int
remove_entry(
    const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static int
teardown(void **state)
{
	(void)state;
	close(sysfs);
	return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int
read_device(const char *text, struct device *d)
{
	struct usbport port;
	const char *errstr;

	assert_int_equal(usbport_parse(&port, text, &errstr), 0);
	return device_read(sysfs, &port, d);
}

static void
assert_port(const struct usbport *port, const char *text)
{
	char buf[USBPORT_STRLEN];

	assert_string_equal(usbport_string(port, buf), text);
}

static void
all_members_are_read(void **state)
{
	struct device d;

	(void)state;
	assert_int_equal(read_device("3:9", &d), 0);
	assert_port(&d.dev.port, "3:9");
	assert_port(&d.dev.peer, "4:7");
	assert_int_equal(d.dev.devnum, 22);
	assert_int_equal(d.dev.vendor, 0x045e);
	assert_int_equal(d.dev.product, 0x0823);
	assert_int_equal(d.dev.ninterfaces, 1);
	assert_int_equal(d.dev.odd_descriptors, 0);
	assert_int_equal(d.dev.speed, USB_SPEED_HIGH);
	assert_string_equal(d.dev.serial, "");
	assert_string_equal(d.dev.name, "Classic IntelliMouse");
	assert_string_equal(d.dev.manufacturer, "Microsoft");
	assert_string_equal(d.dev.controller, "0000:02:00.0");
	assert_string_equal(d.dev.netif, "");
	assert_string_equal(d.dev.busy, "");
	assert_string_equal(d.dev.busy_why, "");
	assert_int_not_equal(d.ino, 0);
	assert_int_equal(d.disks, 0);
}

static void
behind_a_hub(void **state)
{
	struct device d;

	(void)state;
	assert_int_equal(read_device("3:1.2", &d), 0);
	assert_port(&d.dev.port, "3:1.2");
	assert_port(&d.dev.peer, "4:1.3");
	assert_string_equal(d.dev.serial, "0001");
	assert_string_equal(d.dev.busy, "");
	assert_int_equal(d.disks, 1);
}

static void
without_a_peer(void **state)
{
	struct device d;

	(void)state;
	take(HOST "usb3/3-0:1.0/usb3-port9", "peer");
	assert_int_equal(read_device("3:9", &d), 0);
	assert_int_equal(d.dev.peer.busnum, 0);
	put_link(HOST "usb3/3-0:1.0/usb3-port9", "peer", "../some/thing");
	assert_int_equal(read_device("3:9", &d), 0);
	assert_int_equal(d.dev.peer.busnum, 0);
	assert_int_equal(d.dev.peer.depth, 0);
}

/* Between "remove" and the end of the directory, and before "bind". */
static void
without_a_driver_it_is_not_there(void **state)
{
	struct device d;

	(void)state;
	take(MOUSE, "driver");
	assert_int_equal(read_device("3:9", &d), -1);
}

static void
what_is_not_there_is_skipped(void **state)
{
	struct device d;

	(void)state;
	assert_int_equal(read_device("3:8", &d), -1);
	take(MOUSE, "descriptors");
	assert_int_equal(read_device("3:9", &d), -1);
	take(STICK, "devnum");
	assert_int_equal(read_device("3:1.2", &d), -1);
}

static void
numbers_must_fit(void **state)
{
	struct device d;

	(void)state;
	put(MOUSE, "devnum", "128\n");
	assert_int_equal(read_device("3:9", &d), -1);
	put(MOUSE, "devnum", "0\n");
	assert_int_equal(read_device("3:9", &d), -1);
}

/* A directory made anew is another device, whatever it says. */
static void
replaced_device_is_another_one(void **state)
{
	struct device a, b;
	char path[PATH_MAX];

	(void)state;
	assert_int_equal(read_device("3:9", &a), 0);
	snprintf(path, sizeof(path), "%s/%s", root, MOUSE);
	assert_int_equal(renameat(sysfs, MOUSE, sysfs, MOUSE ".old"), 0);
	take("bus/usb/devices", "3-9");
	put_device(MOUSE, "22\n");
	assert_int_equal(read_device("3:9", &b), 0);
	assert_int_not_equal(a.ino, b.ino);
	assert_int_equal(device_read_use(sysfs, &a), -1);
	assert_int_equal(device_read_use(sysfs, &b), 0);
}

static void
network_interface_below_it(void **state)
{
	struct device d;

	(void)state;
	put_class(MOUSE "/3-9:1.1/net/eth9", "net");
	put_class(MOUSE "/3-9:1.1/net/eth10", "net");
	put_class(MOUSE "/3-9:1.1/net/eth9/queues", "queues");
	assert_int_equal(read_device("3:9", &d), 0);
	assert_string_equal(d.dev.netif, "eth10");
	/* What is going away has lost this link already. */
	take(MOUSE "/3-9:1.1/net/eth10", "subsystem");
	assert_int_equal(device_read_use(sysfs, &d), 0);
	assert_string_equal(d.dev.netif, "eth9");
	take(MOUSE "/3-9:1.1/net/eth9", "subsystem");
	assert_int_equal(device_read_use(sysfs, &d), 0);
	assert_string_equal(d.dev.netif, "");
}

/* Their name alone makes no interface one of these directories. */
static void
directories_that_are_passed_over(void **state)
{
	struct device d;

	(void)state;
	put_class(MOUSE "/3-9:1.1/net/power", "net");
	assert_int_equal(read_device("3:9", &d), 0);
	assert_string_equal(d.dev.netif, "power");
	put_link(MOUSE "/3-9:1.1", "driver", "../../../../../bus/usb/usbhid");
	assert_int_equal(device_read_use(sysfs, &d), 0);
	assert_string_equal(d.dev.netif, "");
	put_class(MOUSE "/3-9:1.0/net/ep_0", "net");
	assert_int_equal(device_read_use(sysfs, &d), 0);
	assert_string_equal(d.dev.netif, "ep_0");
}

static void
hub_does_not_answer_for_others(void **state)
{
	struct device d;

	(void)state;
	put_link(DISK "/sdb1/holders", "dm-0", "../../dm-0");
	put_class(STICK "/3-1.2:1.1/net/eth1", "net");
	assert_int_equal(read_device("3:1", &d), 0);
	assert_string_equal(d.dev.netif, "");
	assert_string_equal(d.dev.busy, "");
	/* Nor does a device that does not say that it is one. */
	put_descriptors(HUB, CLASS_AT, 0);
	assert_int_equal(read_device("3:1", &d), 0);
	assert_string_equal(d.dev.netif, "");
	assert_string_equal(d.dev.busy, "");
	assert_int_equal(read_device("3:1.2", &d), 0);
	assert_string_equal(d.dev.netif, "eth1");
	assert_string_equal(d.dev.busy, "sdb1");
}

static void
held_disk_is_busy(void **state)
{
	struct device d;

	(void)state;
	put_link(DISK "/sdb1/holders", "dm-3", "../../dm-3");
	put_link(DISK "/sdb1/holders", "dm-1", "../../dm-1");
	assert_int_equal(read_device("3:1.2", &d), 0);
	assert_string_equal(d.dev.busy, "sdb1");
	assert_string_equal(d.dev.busy_why, "held by dm-1");
	put_link(DISK "/holders", "md0", "../../md0");
	assert_int_equal(device_read_use(sysfs, &d), 0);
	assert_string_equal(d.dev.busy, "sdb");
	assert_string_equal(d.dev.busy_why, "held by md0");
	take(DISK "/sdb1/holders", "dm-3");
	take(DISK "/sdb1/holders", "dm-1");
	take(DISK "/holders", "md0");
	assert_int_equal(device_read_use(sysfs, &d), 0);
	assert_string_equal(d.dev.busy, "");
	assert_string_equal(d.dev.busy_why, "");
}

static void
disk_of_unknown_number_is_busy(void **state)
{
	struct device d;

	(void)state;
	put(DISK, "dev", "8\n");
	assert_int_equal(read_device("3:1.2", &d), 0);
	assert_string_equal(d.dev.busy, "sdb");
	assert_string_equal(d.dev.busy_why, "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    all_members_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(behind_a_hub, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    without_a_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    without_a_driver_it_is_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_not_there_is_skipped, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    numbers_must_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    replaced_device_is_another_one, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    network_interface_below_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    directories_that_are_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    hub_does_not_answer_for_others, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    held_disk_is_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    disk_of_unknown_number_is_busy, setup, teardown),
	};

	log_init(PROC_MONITOR, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
