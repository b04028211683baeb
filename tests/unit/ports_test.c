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
#include <unistd.h>

#include <cmocka.h>

#include "ports.h"

#define USB2 (1U << USB_SPEED_LOW | 1U << USB_SPEED_FULL | 1U << USB_SPEED_HIGH)
#define SUPER_OR_HIGH (1U << USB_SPEED_SUPER | 1U << USB_SPEED_HIGH)

static const struct port_range all = { 0, 0 };

/* For a device that runs at that speed only. */
static unsigned int
choose(
    const struct ports *p, const struct port_range *range, enum usbspeed speed)
{
	return ports_choose(p, range, speed, 1U << speed);
}

static void
lowest_free_port(void **state)
{
	struct ports p = { .usb2 = 4, .usb3 = 2, .speeds = USB2, .taken = 0 };
	unsigned int i;

	(void)state;
	for (i = 1; i <= 4; i++) {
		assert_int_equal(choose(&p, &all, USB_SPEED_HIGH), i);
		p.taken |= ports_bit(i);
	}
	assert_int_equal(choose(&p, &all, USB_SPEED_HIGH), 0);
	p.taken &= ~ports_bit(3);
	assert_int_equal(choose(&p, &all, USB_SPEED_LOW), 3);
	assert_int_equal(choose(&p, &all, USB_SPEED_SUPER), 0);
	p.taken = ports_bit(1);
	assert_int_equal(choose(&p, &all, USB_SPEED_SUPER), 2);
	/* No super speed ports: it runs slower, if it can. */
	p.usb3 = 0;
	assert_int_equal(choose(&p, &all, USB_SPEED_SUPER), 0);
	assert_int_equal(
	    ports_choose(&p, &all, USB_SPEED_SUPER, SUPER_OR_HIGH), 2);
	/* More than QEMU has are never chosen. */
	p.usb2 = 99;
	p.taken = ~0U;
	assert_int_equal(choose(&p, &all, USB_SPEED_FULL), 0);
	assert_int_equal(ports_bit(0), 0);
	assert_int_equal(ports_bit(16), 0);
	assert_int_equal(ports_bit(15), 0x8000);
}

static void
port_of_the_range(void **state)
{
	struct ports p = { .usb2 = 8, .usb3 = 6, .speeds = USB2, .taken = 0 };
	const struct port_range r = { 5, 7 }, one = { 3, 3 }, far = { 7, 15 };

	(void)state;
	assert_int_equal(choose(&p, &r, USB_SPEED_HIGH), 5);
	p.taken = ports_bit(5) | ports_bit(6);
	assert_int_equal(choose(&p, &r, USB_SPEED_HIGH), 7);
	/* Port 7 has no super speed, and port 8 is not in the range. */
	assert_int_equal(choose(&p, &r, USB_SPEED_SUPER), 0);
	p.taken |= ports_bit(7);
	assert_int_equal(choose(&p, &r, USB_SPEED_HIGH), 0);
	assert_int_equal(choose(&p, &one, USB_SPEED_LOW), 3);
	p.taken |= ports_bit(3);
	assert_int_equal(choose(&p, &one, USB_SPEED_LOW), 0);
	/* A bus with fewer ports than the policy thinks. */
	assert_int_equal(choose(&p, &far, USB_SPEED_FULL), 8);
	p.usb2 = 4;
	assert_int_equal(choose(&p, &far, USB_SPEED_FULL), 0);
}

static void
reason_names_the_range(void **state)
{
	const struct ports p = {
		.usb2 = 8, .usb3 = 2, .speeds = USB2, .taken = 0
	};
	const struct port_range r = { 5, 7 }, one = { 3, 3 };
	char buf[128];

	(void)state;
	ports_why_none(&p, &all, 1U << USB_SPEED_HIGH, "b", buf, sizeof(buf));
	assert_string_equal(buf, "no free port on bus b");
	ports_why_none(&p, &r, 1U << USB_SPEED_HIGH, "b", buf, sizeof(buf));
	assert_string_equal(
	    buf, "no free port on bus b, the policy allows ports 5-7 only");
	ports_why_none(&p, &one, 1U << USB_SPEED_HIGH, "b", buf, sizeof(buf));
	assert_string_equal(
	    buf, "no free port on bus b, the policy allows port 3 only");
	ports_why_none(&p, &one, 1U << USB_SPEED_SUPER, "b", buf, sizeof(buf));
	assert_string_equal(
	    buf, "bus b has 2 ports, the policy allows port 3 only");
}

static void
speeds_of_the_bus(void **state)
{
	/* An EHCI without companions, and a UHCI. */
	const struct ports ehci = { .usb2 = 6, .speeds = 1U << USB_SPEED_HIGH },
			   uhci = { .usb2 = 2,
				   .speeds = 1U << USB_SPEED_LOW |
					     1U << USB_SPEED_FULL };
	char buf[128];

	(void)state;
	assert_int_equal(choose(&ehci, &all, USB_SPEED_HIGH), 1);
	assert_int_equal(choose(&ehci, &all, USB_SPEED_FULL), 0);
	assert_int_equal(
	    ports_choose(&ehci, &all, USB_SPEED_SUPER, SUPER_OR_HIGH), 1);
	assert_int_equal(choose(&uhci, &all, USB_SPEED_LOW), 1);
	assert_int_equal(ports_why_none(&ehci, &all, 1U << USB_SPEED_FULL,
			     "e.0", buf, sizeof(buf)),
	    RESULT_SPEED);
	assert_string_equal(buf,
	    "bus e.0 takes high speed only, the device runs at full speed");
	assert_int_equal(
	    ports_why_none(&uhci, &all, SUPER_OR_HIGH, "u.0", buf, sizeof(buf)),
	    RESULT_SPEED);
	assert_string_equal(buf, "bus u.0 takes low or full speed only, the "
				 "device runs at high or super speed");
}

/* Each has its own kind of port, and the one of its own speed is better. */
static void
own_speed_first(void **state)
{
	struct ports p = { .usb2 = 4, .usb3 = 2, .speeds = USB2 };

	(void)state;
	p.taken = ports_bit(1);
	assert_int_equal(
	    ports_choose(&p, &all, USB_SPEED_SUPER, SUPER_OR_HIGH), 2);
	p.taken |= ports_bit(2);
	assert_int_equal(
	    ports_choose(&p, &all, USB_SPEED_SUPER, SUPER_OR_HIGH), 3);
}

static void
range_of_a_message(void **state)
{
	static const struct {
		struct port_range range;
		int ok;
	} rows[] = { { { 0, 0 }, 1 }, { { 1, 15 }, 1 }, { { 4, 4 }, 1 },
		{ { 0, 1 }, 0 }, { { 5, 4 }, 0 }, { { 1, 16 }, 0 } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(ports_range_ok(&rows[i].range), rows[i].ok);
}

static void
path_of_a_port(void **state)
{
	(void)state;
	assert_int_equal(ports_parse("4"), 4);
	assert_int_equal(ports_parse("15"), 15);
	assert_int_equal(ports_parse("4.1"), 4);
	assert_int_equal(ports_parse("3.1.2"), 3);
	assert_int_equal(ports_parse(""), 0);
	assert_int_equal(ports_parse("0"), 0);
	assert_int_equal(ports_parse("-1"), 0);
	assert_int_equal(ports_parse(" 1"), 0);
	assert_int_equal(ports_parse("1x"), 0);
	assert_int_equal(ports_parse("4294967297"), 0);
}

static void
list_of_query_usb(void **state)
{
	static const char list[] =
	    "  Device 0.0, Port 4, Speed 1.5 Mb/s, Product USB Host Device, "
	    "ID: t16\n"
	    "  Device 0.0, Port 1, Speed 1.5 Mb/s, Product USB Host Device\n"
	    "  Device 1.0, Port 3, Speed 12 Mb/s, Product QEMU USB Hub\n"
	    "  Device 1.0, Port 3.3, Speed 1.5 Mb/s, Product x\r\n";

	(void)state;
	assert_int_equal(
	    ports_parse_list(list), ports_bit(1) | ports_bit(3) | ports_bit(4));
	assert_int_equal(ports_parse_list(""), 0);
	assert_int_equal(ports_parse_list("\n\nPort 3\n"), 0);
}

static void
product_name_hides_no_port(void **state)
{
	static const char list[] =
	    "  Device 0.1, Port 2, Speed 12 Mb/s, Product a\n, Port 7, b\n"
	    "  Device 0.2, Port 5, Speed 12 Mb/s, Product , Port 6, c\n"
	    "  Device 0.3, Port 11111111111111111111111111111111111111111111"
	    "1111111111111111111111111111111111, Speed\n"
	    "  Device 0.4, Port \n  Device 0.4, Port";

	(void)state;
	assert_int_equal(ports_parse_list(list), ports_bit(2) | ports_bit(5));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lowest_free_port),
		cmocka_unit_test(port_of_the_range),
		cmocka_unit_test(reason_names_the_range),
		cmocka_unit_test(speeds_of_the_bus),
		cmocka_unit_test(own_speed_first),
		cmocka_unit_test(range_of_a_message),
		cmocka_unit_test(path_of_a_port),
		cmocka_unit_test(list_of_query_usb),
		cmocka_unit_test(product_name_hides_no_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
