/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"
#include "usbdev.h"

static void
ports_are_parsed(void **state)
{
	static const struct {
		const char *text;
		const char *again;
		unsigned int depth;
	} good[] = {
		{ "3:9", "3:9", 1 },
		{ "003:9", "3:9", 1 },
		{ "3:009", "3:9", 1 },
		{ "3:1.2", "3:1.2", 2 },
		{ "1:1", "1:1", 1 },
		{ "999:255", "999:255", 1 },
		{ "0000000000000000001:1", "1:1", 1 },
		{ "3:1.2.3.4.5.6", "3:1.2.3.4.5.6", 6 },
		{ "12:255.255.255.255.255.255", "12:255.255.255.255.255.255",
		    6 },
	};
	char buf[USBPORT_STRLEN];
	struct usbport port;
	const char *errstr;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		memset(&port, 0xff, sizeof(port));
		assert_int_equal(
		    usbport_parse(&port, good[i].text, &errstr), 0);
		assert_int_equal(port.depth, good[i].depth);
		assert_int_equal(usbport_valid(&port), 1);
		assert_string_equal(usbport_string(&port, buf), good[i].again);
	}
}

static void
bad_ports_are_refused(void **state)
{
	static const char *const bad[] = { "", ":", "3", "3:", ":9", "0:9",
		"3:0", "1000:1", "3:256", "3:1.", "3:.1", "3:1..2", "3:1.0",
		"3:1.2.3.4.5.6.7", "3:9 ", " 3:9", "3 :9", "3: 9", "-3:9",
		"3:-9", "+3:9", "3:+9", "3:9x", "x3:9", "3:9\n", "0x3:9",
		"3:0x9", "3-9", "3:1,2", "3:1:2", "3.1", "4294967299:9",
		"18446744073709551619:9", "3:4294967305", "\xd9\xa3:9" };
	struct usbport port;
	const char *errstr;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errstr = NULL;
		if (usbport_parse(&port, bad[i], &errstr) != -1)
			fail_msg("\"%s\" was parsed", bad[i]);
		assert_non_null(errstr);
	}
}

static void
chains_are_parsed(void **state)
{
	struct usbport port;
	const char *errstr;

	(void)state;
	memset(&port, 0, sizeof(port));
	port.busnum = 7;
	assert_int_equal(usbport_parse_chain(&port, "4.3", &errstr), 0);
	assert_int_equal(port.busnum, 7);
	assert_int_equal(port.depth, 2);
	assert_int_equal(port.chain[0], 4);
	assert_int_equal(port.chain[1], 3);
	/* Nothing of what was there before stays. */
	assert_int_equal(usbport_parse_chain(&port, "5", &errstr), 0);
	assert_int_equal(port.depth, 1);
	assert_int_equal(usbport_valid(&port), 1);
	assert_int_equal(usbport_parse_chain(&port, "", &errstr), -1);
}

static void
names_of_the_kernel_are_parsed(void **state)
{
	static const char *const bad[] = { "usb3", "3-0", "3-1.2:1.0", "3-",
		"-1", "3", "", "3:1", "3-1-2", "3-0:1.0", "3-1.2/port" };
	char buf[USBPORT_STRLEN];
	struct usbport port;
	size_t i;

	(void)state;
	assert_int_equal(usbport_parse_sysfs(&port, "3-1.2"), 0);
	assert_string_equal(usbport_string(&port, buf), "3:1.2");
	assert_int_equal(usbport_parse_sysfs(&port, "10-4"), 0);
	assert_string_equal(usbport_string(&port, buf), "10:4");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(usbport_parse_sysfs(&port, bad[i]), -1);
}

static struct usbport
mkport(const char *text)
{
	struct usbport port;
	const char *errstr;

	assert_int_equal(usbport_parse(&port, text, &errstr), 0);
	return port;
}

static void
ports_have_an_order(void **state)
{
	static const char *const sorted[] = { "1:1", "1:1.1", "1:1.1.1",
		"1:1.2", "1:1.10", "1:2", "1:10", "1:10.1", "1:255", "2:1",
		"10:1", "255:1", "256:1", "999:1" };
	const size_t n = sizeof(sorted) / sizeof(sorted[0]);
	struct usbport a, b;
	size_t i, j;
	int cmp;

	(void)state;
	for (i = 0; i < n; i++)
		for (j = 0; j < n; j++) {
			a = mkport(sorted[i]);
			b = mkport(sorted[j]);
			cmp = usbport_cmp(&a, &b);
			assert_int_equal(
			    (cmp > 0) - (cmp < 0), (i > j) - (i < j));
		}
}

static void
no_port_has_no_text(void **state)
{
	struct usbport port;
	char buf[USBPORT_STRLEN] = "x";

	(void)state;
	memset(&port, 0, sizeof(port));
	assert_string_equal(usbport_string(&port, buf), "");
	/* From a peer, before it was checked. */
	memset(&port, 0xff, sizeof(port));
	assert_string_equal(
	    usbport_string(&port, buf), "65535:255.255.255.255.255.255");
}

static struct usbdev
mkdev(void)
{
	static const struct usbclass mouse = { 3, 1, 2 };
	struct usbdev d;

	memset(&d, 0, sizeof(d));
	d.port = mkport("3:1.2");
	d.devnum = 5;
	usbdev_add_interface(&d, &mouse);
	return d;
}

static void
good_devices_pass(void **state)
{
	struct usbdev d = mkdev();

	(void)state;
	assert_null(usbdev_check(&d));
	d.devnum = USB_DEVNUM_MAX;
	d.peer = mkport("4:9");
	d.speed = USB_SPEED_MAX - 1;
	d.ninterfaces = USBDEV_INTERFACES_MAX;
	d.odd_descriptors = 1;
	memset(d.serial, 0xff, sizeof(d.serial) - 1);
	memset(d.name, 'x', sizeof(d.name) - 1);
	memset(d.manufacturer, '\n', sizeof(d.manufacturer) - 1);
	assert_null(usbdev_check(&d));
}

/* Breaks one byte or number, sees which member is named, and mends it. */
static void
assert_names(struct usbdev *d, const char *member)
{
	const char *wrong = usbdev_check(d);

	assert_non_null(wrong);
	assert_string_equal(wrong, member);
	*d = mkdev();
	assert_null(usbdev_check(d));
}

static void
bad_ports_of_devices(void **state)
{
	struct usbdev d = mkdev();

	(void)state;
	d.port.busnum = 0;
	assert_names(&d, "port");
	d.port.busnum = USB_BUSNUM_MAX + 1;
	assert_names(&d, "port");
	d.port.depth = 0;
	assert_names(&d, "port");
	d.port.depth = 1; /* but two are used */
	assert_names(&d, "port");
	d.port.depth = 3;
	assert_names(&d, "port");
	d.port.depth = USB_CHAIN_MAX + 1;
	assert_names(&d, "port");
	d.port.depth = 255;
	assert_names(&d, "port");
	d.port.chain[0] = 0;
	assert_names(&d, "port");
	d.port.chain[5] = 1;
	assert_names(&d, "port");
	d.port.zero = 1;
	assert_names(&d, "port");
	d.peer.depth = 1;
	assert_names(&d, "peer");
	d.peer.busnum = 3;
	assert_names(&d, "peer");
}

static void
bad_numbers_of_devices(void **state)
{
	struct usbdev d = mkdev();

	(void)state;
	d.devnum = 0;
	assert_names(&d, "devnum");
	d.devnum = USB_DEVNUM_MAX + 1;
	assert_names(&d, "devnum");
	d.speed = USB_SPEED_MAX;
	assert_names(&d, "speed");
	d.ninterfaces = USBDEV_INTERFACES_MAX + 1;
	assert_names(&d, "ninterfaces");
	d.ninterfaces = UINT16_MAX;
	assert_names(&d, "ninterfaces");
	d.odd_descriptors = 2;
	assert_names(&d, "odd_descriptors");
}

static void
strings_of_devices_end(void **state)
{
	struct usbdev d = mkdev();

	(void)state;
	memset(d.serial, 'x', sizeof(d.serial));
	assert_names(&d, "serial");
	memset(d.name, 'x', sizeof(d.name));
	assert_names(&d, "name");
	memset(d.manufacturer, 'x', sizeof(d.manufacturer));
	assert_names(&d, "manufacturer");
	memset(d.controller, 'x', sizeof(d.controller));
	assert_names(&d, "controller");
	memset(d.netif, 'x', sizeof(d.netif));
	assert_names(&d, "netif");
	memset(d.busy, 'x', sizeof(d.busy));
	assert_names(&d, "busy");
	memset(d.busy_why, 'x', sizeof(d.busy_why));
	assert_names(&d, "busy");
}

static void
hubs_are_known(void **state)
{
	static const struct usbclass hub = { 9, 0, 1 }, none = { 0, 9, 9 };
	struct usbdev d = mkdev();

	(void)state;
	assert_int_equal(usbdev_is_hub(&d), 0);
	usbdev_add_interface(&d, &none);
	assert_int_equal(usbdev_is_hub(&d), 0);
	usbdev_add_interface(&d, &hub);
	assert_int_equal(usbdev_is_hub(&d), 1);
	/* Beyond the count there is nothing. */
	d.ninterfaces--;
	assert_int_equal(usbdev_is_hub(&d), 0);
	d.interfaces[0] = hub;
	assert_int_equal(usbdev_is_hub(&d), 1);
	d.interfaces[0] = none;
	d.class = hub;
	assert_int_equal(usbdev_is_hub(&d), 1);
}

static void
interfaces_are_kept_once(void **state)
{
	struct usbclass class = { 3, 1, 0 };
	struct usbdev d;
	unsigned int i;

	(void)state;
	memset(&d, 0, sizeof(d));
	for (i = 0; i < USBDEV_INTERFACES_MAX; i++) {
		class.protocol = (uint8_t)i;
		usbdev_add_interface(&d, &class);
		usbdev_add_interface(&d, &class);
		assert_int_equal(d.ninterfaces, i + 1);
		assert_memory_equal(&d.interfaces[i], &class, sizeof(class));
	}
	assert_int_equal(d.odd_descriptors, 0);
	usbdev_add_interface(&d, &class);
	assert_int_equal(d.odd_descriptors, 0);
	class.protocol = USBDEV_INTERFACES_MAX;
	usbdev_add_interface(&d, &class);
	assert_int_equal(d.ninterfaces, USBDEV_INTERFACES_MAX);
	assert_int_equal(d.odd_descriptors, 1);
}

static void
speeds_are_named(void **state)
{
	static const char *const none[] = { "", "unknown", "1", "1.50", "12 ",
		"480\n", "5", "50000" };
	size_t i;
	int speed;

	(void)state;
	for (speed = USB_SPEED_LOW; speed < USB_SPEED_MAX; speed++)
		assert_int_equal(
		    usbspeed_parse(usbspeed_string((enum usbspeed)speed)),
		    speed);
	assert_int_equal(usbspeed_parse("1.5"), USB_SPEED_LOW);
	assert_int_equal(usbspeed_parse("10000"), USB_SPEED_SUPER);
	assert_int_equal(usbspeed_parse("20000"), USB_SPEED_SUPER);
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(usbspeed_parse(none[i]), USB_SPEED_UNKNOWN);
	assert_string_equal(usbspeed_string(USB_SPEED_UNKNOWN), "");
	assert_string_equal(usbspeed_string(USB_SPEED_MAX), "");
}

static void
below_a_hub(void **state)
{
	static const struct {
		const char *port;
		const char *hub;
		int below;
	} rows[] = {
		{ "3:4.1", "3:4", 1 },
		{ "3:4.1.2", "3:4", 1 },
		{ "3:4.1.2", "3:4.1", 1 },
		{ "3:4", "3:4", 0 },
		{ "3:5.1", "3:4", 0 },
		{ "4:4.1", "3:4", 0 },
		{ "3:4", "3:4.1", 0 },
		{ "3:40.1", "3:4", 0 },
	};
	struct usbport port, hub;
	const char *errstr;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
		    usbport_parse(&port, rows[i].port, &errstr), 0);
		assert_int_equal(usbport_parse(&hub, rows[i].hub, &errstr), 0);
		assert_int_equal(usbport_below(&port, &hub), rows[i].below);
	}
}

static void
classes_are_written(void **state)
{
	struct usbdev d = { .class = { 0xef, 2, 1 },
		.interfaces = { { 3, 1, 2 }, { 0xff, 0xff, 0 } } };
	char buf[128];
	struct json j;

	(void)state;
	for (d.ninterfaces = 0; d.ninterfaces <= 2; d.ninterfaces += 2) {
		json_init(&j, buf, sizeof(buf));
		json_object(&j, NULL);
		usbdev_json_classes(&j, &d);
		json_end(&j, '}');
		assert_true(json_finish(&j) > 0);
		assert_string_equal(
		    buf, d.ninterfaces == 0
			     ? "{\"class\":\"ef:02:01\",\"interfaces\":[]}"
			     : "{\"class\":\"ef:02:01\",\"interfaces\":"
			       "[\"03:01:02\",\"ff:ff:00\"]}");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(below_a_hub),
		cmocka_unit_test(ports_are_parsed),
		cmocka_unit_test(bad_ports_are_refused),
		cmocka_unit_test(chains_are_parsed),
		cmocka_unit_test(names_of_the_kernel_are_parsed),
		cmocka_unit_test(ports_have_an_order),
		cmocka_unit_test(no_port_has_no_text),
		cmocka_unit_test(good_devices_pass),
		cmocka_unit_test(bad_ports_of_devices),
		cmocka_unit_test(bad_numbers_of_devices),
		cmocka_unit_test(strings_of_devices_end),
		cmocka_unit_test(hubs_are_known),
		cmocka_unit_test(interfaces_are_kept_once),
		cmocka_unit_test(speeds_are_named),
		cmocka_unit_test(classes_are_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
