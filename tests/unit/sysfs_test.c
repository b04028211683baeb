/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* What paths in sysfs say, and reading attributes. */

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "sysfs.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PCI "/devices/pci0000:00"

static const struct {
	const char *path;
	const char *controller;
} controllers[] = {
	{ PCI "/0000:00:14.0/usb3/3-9", "0000:00:14.0" },
	/* behind a bridge: the nearest, not the first */
	{ PCI "/0000:00:1c.0/0000:02:00.0/usb3/3-9", "0000:02:00.0" },
	{ PCI "/0000:00:14.0/usb3/3-1/3-1.2/3-1.2.4", "0000:00:14.0" },
	{ "/devices/pci10000:e0/10000:e0:1d.7/usb5/5-1", "10000:e0:1d.7" },
	{ "../../../devices/pci0000:00/0000:00:14.0/usb3/3-9", "0000:00:14.0" },
	{ "/devices/platform/3610000.xhci/usb1/1-2", "" },
	{ "/devices/platform/dummy_hcd.0/usb5/5-1", "" },
	{ "/devices/0000:00:14.8/usb5/5-1", "" },
	{ "/devices/000:00:14.0/usb5/5-1", "" },
	{ "/devices/0000:00:14.0x/usb5/5-1", "" },
	{ "/devices/0000:00:14./usb5/5-1", "" },
	{ "/devices/0000:0g:14.0/usb5/5-1", "" },
	{ "/devices/123456789:00:14.0/usb5/5-1", "" },
	{ "", "" },
};

static void
controller_is_the_nearest(void **state)
{
	char buf[USBDEV_CONTROLLER_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(controllers); i++) {
		memset(buf, 'x', sizeof(buf));
		sysfs_path_controller(controllers[i].path, buf);
		assert_string_equal(buf, controllers[i].controller);
		/* Records are compared byte by byte. */
		assert_int_equal(buf[USBDEV_CONTROLLER_MAX - 1], 0);
	}
}

static const struct {
	const char *path;
	const char *port;
	int where;
} ports[] = {
	{ PCI "/0000:00:14.0/usb3/3-9", "3:9", 1 },
	{ PCI "/0000:00:14.0/usb3/3-1/3-1.2", "3:1.2", 1 },
	{ PCI "/0000:00:14.0/usb3/3-9/3-9:1.0", "3:9", 0 },
	{ PCI "/0000:00:14.0/usb3/3-1/3-1.2/3-1.2:1.0/net/eth1", "3:1.2", 0 },
	{ PCI "/0000:00:14.0/usb3/3-9/3-9:1.0/host2/target2:0:0/2:0:0:0/block/"
	      "sdb/sdb1",
	    "3:9", 0 },
	{ PCI "/0000:00:14.0/usb3", "", -1 },
	{ PCI "/0000:00:14.0/usb3/3-0:1.0/usb3-port9", "", -1 },
	{ "/devices/virtual/net/lo", "", -1 },
	{ "3-9", "3:9", 1 },
	{ "/3-9", "3:9", 1 },
	{ "/", "", -1 },
	{ "", "", -1 },
};

static void
port_is_the_nearest(void **state)
{
	char buf[USBPORT_STRLEN];
	struct usbport port;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(ports); i++) {
		assert_int_equal(
		    sysfs_path_port(ports[i].path, &port), ports[i].where);
		if (ports[i].where != -1)
			assert_string_equal(
			    usbport_string(&port, buf), ports[i].port);
	}
}

static const struct {
	const char *name;
	const char *port;
} hub_ports[] = {
	{ "usb4-port9", "4:9" },
	{ "usb12-port15", "12:15" },
	{ "3-1-port2", "3:1.2" },
	{ "3-1.4.2-port7", "3:1.4.2.7" },
	{ "usb-port9", NULL },
	{ "usb4-port", NULL },
	{ "usb4-port0", NULL },
	{ "usb4-port9x", NULL },
	{ "usb4-port1234567", NULL },
	{ "-port2", NULL },
	{ "4-port9", NULL },
	{ "usb4", NULL },
	{ "3-1.1.1.1.1.1-port1", NULL },
	{ "", NULL },
};

static void
hub_port_is_where_a_device_goes(void **state)
{
	char buf[USBPORT_STRLEN];
	struct usbport port;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(hub_ports); i++) {
		if (hub_ports[i].port == NULL) {
			assert_int_equal(
			    sysfs_hub_port(hub_ports[i].name, &port), -1);
			continue;
		}
		assert_int_equal(sysfs_hub_port(hub_ports[i].name, &port), 0);
		assert_string_equal(
		    usbport_string(&port, buf), hub_ports[i].port);
	}
}

static void
device_name_is_the_kernels(void **state)
{
	char buf[USBPORT_STRLEN];
	const char *errstr;
	struct usbport port;

	(void)state;
	assert_int_equal(usbport_parse(&port, "003:1.2.14", &errstr), 0);
	assert_string_equal(sysfs_device_name(&port, buf), "3-1.2.14");
}

/* A directory, open, and gone by name as soon as it is left. */
static int
make_dir(char *path)
{
	int fd;

	strcpy(path, "/tmp/usbmgrd-sysfs.XXXXXX");
	assert_non_null(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_not_equal(fd, -1);
	return fd;
}

static void
put(int dirfd, const char *name, const char *text)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void
attributes_are_read(void **state)
{
	char path[64], buf[8];
	int fd = make_dir(path);

	(void)state;
	put(fd, "a", "abc\n");
	assert_int_equal(sysfs_string(fd, "a", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "abc");
	assert_int_equal(buf[7], 0);
	/* Only the kernel's own newline goes. */
	put(fd, "a", "a\n\n");
	assert_int_equal(sysfs_string(fd, "a", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "a\n");
	put(fd, "a", "123456789\n");
	assert_int_equal(sysfs_string(fd, "a", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "1234567");
	put(fd, "a", "");
	assert_int_equal(sysfs_string(fd, "a", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
	assert_int_equal(sysfs_string(fd, "none", buf, sizeof(buf)), -1);
	assert_int_equal(errno, ENOENT);
	assert_string_equal(buf, "");

	put(fd, "a", "1234567");
	assert_int_equal(sysfs_read(fd, "a", buf, sizeof(buf)), 7);
	put(fd, "a", "12345678");
	assert_int_equal(sysfs_read(fd, "a", buf, sizeof(buf)), -1);
	assert_int_equal(errno, EFBIG);

	assert_int_equal(unlinkat(fd, "a", 0), 0);
	assert_int_equal(rmdir(path), 0);
	close(fd);
}

static void
numbers_are_read(void **state)
{
	static const char *const bad[] = { "", "\n", "0\n", "128\n", "-1\n",
		"1x\n", "99999999999999999999\n" };
	char path[64];
	int fd = make_dir(path);
	size_t i;

	(void)state;
	put(fd, "n", "127\n");
	assert_int_equal(sysfs_number(fd, "n", 127), 127);
	for (i = 0; i < COUNT(bad); i++) {
		put(fd, "n", bad[i]);
		assert_int_equal(sysfs_number(fd, "n", 127), -1);
	}
	assert_int_equal(unlinkat(fd, "n", 0), 0);
	assert_int_equal(rmdir(path), 0);
	close(fd);
}

static void
links_are_read(void **state)
{
	char path[64], buf[8];
	int fd = make_dir(path);

	(void)state;
	assert_int_equal(symlinkat("../../bus/usb", fd, "l"), 0);
	assert_int_equal(sysfs_link_name(fd, "l", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "usb");
	assert_int_equal(sysfs_link(fd, "l", buf, sizeof(buf)), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	assert_int_equal(unlinkat(fd, "l", 0), 0);
	assert_int_equal(symlinkat("usb/12345678", fd, "l"), 0);
	assert_int_equal(sysfs_link_name(fd, "l", buf, sizeof(buf)), -1);
	assert_int_equal(unlinkat(fd, "l", 0), 0);
	assert_int_equal(sysfs_link_name(fd, "l", buf, sizeof(buf)), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(rmdir(path), 0);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(controller_is_the_nearest),
		cmocka_unit_test(port_is_the_nearest),
		cmocka_unit_test(hub_port_is_where_a_device_goes),
		cmocka_unit_test(device_name_is_the_kernels),
		cmocka_unit_test(attributes_are_read),
		cmocka_unit_test(numbers_are_read),
		cmocka_unit_test(links_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
