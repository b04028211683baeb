/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* The table of known devices: what of a change is told, and what is not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "table.h"

static struct table table;
static char told[512];

static void
tell(char sign, const struct usbdev *dev)
{
	char port[USBPORT_STRLEN];
	size_t len = strlen(told);

	snprintf(told + len, sizeof(told) - len, "%s%c%s/%d",
	    len == 0 ? "" : " ", sign, usbport_string(&dev->port, port),
	    dev->devnum);
}

static void
plugged(const struct usbdev *dev)
{
	tell('+', dev);
}

static void
gone(const struct usbdev *dev, uint64_t uevent)
{
	char text[32];

	tell('-', dev);
	snprintf(text, sizeof(text), "@%llu", (unsigned long long)uevent);
	strlcat(told, text, sizeof(told));
}

static int
fresh(void **state)
{
	(void)state;
	table_scan_begin(&table);
	table_scan_end(&table);
	told[0] = '\0';
	return 0;
}

static int
first(void **state)
{
	(void)state;
	table_init(&table, plugged, gone);
	return 0;
}

static struct device
device(const char *port, uint16_t devnum, uint64_t ino)
{
	struct device d;
	const char *errstr;

	memset(&d, 0, sizeof(d));
	assert_int_equal(usbport_parse(&d.dev.port, port, &errstr), 0);
	d.dev.devnum = devnum;
	d.ino = ino;
	return d;
}

static void
put(const char *port, uint16_t devnum, uint64_t ino)
{
	struct device d = device(port, devnum, ino);

	d.dev.uevent = 7;
	table_put(&table, &d);
}

static void
take(const char *port, uint16_t devnum)
{
	struct device d = device(port, devnum, 0);

	table_remove(&table, &d.dev.port, devnum, 8);
}

/* Checks what was told since the last time. */
static void
expect(const char *text)
{
	assert_string_equal(told, text);
	told[0] = '\0';
}

static void
plug_and_unplug(void **state)
{
	(void)state;
	put("3:9", 22, 1);
	expect("+3:9/22");
	take("3:9", 22);
	expect("-3:9/22@8");
	take("3:9", 22);
	expect("");
}

static void
the_same_again_is_not_told(void **state)
{
	struct device d = device("3:9", 22, 1);

	(void)state;
	put("3:9", 22, 1);
	expect("+3:9/22");
	d.dev.uevent = 99;
	table_put(&table, &d);
	expect("");
}

static void
a_change_is_told(void **state)
{
	struct device d = device("3:9", 22, 1);

	(void)state;
	put("3:9", 22, 1);
	expect("+3:9/22");
	strcpy(d.dev.busy, "sda1");
	table_put(&table, &d);
	expect("+3:9/22");
	table_put(&table, &d);
	expect("");
	d.dev.busy[0] = '\0';
	memset(d.dev.busy, 0, sizeof(d.dev.busy));
	table_put(&table, &d);
	expect("+3:9/22");
}

static void
replug_with_another_devnum(void **state)
{
	(void)state;
	put("3:9", 22, 1);
	put("3:9", 23, 2);
	expect("+3:9/22 -3:9/22@7 +3:9/23");
	/* The end of the first one, told late. */
	take("3:9", 22);
	expect("");
	take("3:9", 23);
	expect("-3:9/23@8");
}

/* A bus that was made anew counts its devices from 1 again. */
static void
replug_with_the_same_devnum(void **state)
{
	(void)state;
	put("3:9", 2, 1);
	put("3:9", 2, 5);
	expect("+3:9/2 -3:9/2@7 +3:9/2");
}

static void
ports_do_not_mix(void **state)
{
	(void)state;
	put("3:1", 2, 1);
	put("3:1.1", 3, 2);
	put("4:1", 2, 3);
	put("3:11", 4, 4);
	expect("+3:1/2 +3:1.1/3 +4:1/2 +3:11/4");
	take("3:1", 2);
	expect("-3:1/2@8");
	take("3:11", 4);
	take("3:1.1", 3);
	take("4:1", 2);
	expect("-3:11/4@8 -3:1.1/3@8 -4:1/2@8");
}

static void
scan_finds_the_difference(void **state)
{
	(void)state;
	put("3:1", 2, 1);
	put("3:2", 3, 2);
	put("3:3", 4, 3);
	put("3:4", 5, 4);
	told[0] = '\0';
	table_scan_begin(&table);
	put("3:2", 3, 2);
	put("3:3", 9, 8);
	put("3:5", 10, 9);
	expect("-3:3/4@7 +3:3/9 +3:5/10");
	table_scan_end(&table);
	expect("-3:1/2@0 -3:4/5@0");
	/* And nothing more the next time. */
	table_scan_begin(&table);
	put("3:5", 10, 9);
	put("3:3", 9, 8);
	put("3:2", 3, 2);
	table_scan_end(&table);
	expect("");
}

static void
walk_is_in_order(void **state)
{
	static const char *const order[] = { "1:2", "3:1", "3:1.1", "3:2",
		"10:1" };
	char port[USBPORT_STRLEN];
	struct known *k = NULL;
	size_t i;

	(void)state;
	put("10:1", 2, 1);
	put("3:2", 3, 2);
	put("3:1.1", 4, 3);
	put("1:2", 5, 4);
	put("3:1", 6, 5);
	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		k = table_next(&table, k);
		assert_non_null(k);
		assert_string_equal(
		    usbport_string(&k->d.dev.port, port), order[i]);
		assert_ptr_equal(table_find(&table, &k->d.dev.port), k);
	}
	assert_null(table_next(&table, k));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(plug_and_unplug, fresh),
		cmocka_unit_test_setup(the_same_again_is_not_told, fresh),
		cmocka_unit_test_setup(a_change_is_told, fresh),
		cmocka_unit_test_setup(replug_with_another_devnum, fresh),
		cmocka_unit_test_setup(replug_with_the_same_devnum, fresh),
		cmocka_unit_test_setup(ports_do_not_mix, fresh),
		cmocka_unit_test_setup(scan_finds_the_difference, fresh),
		cmocka_unit_test_setup(walk_is_in_order, fresh),
	};

	return cmocka_run_group_tests(tests, first, fresh);
}
