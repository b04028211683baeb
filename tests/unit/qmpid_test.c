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

#include "msg.h"
#include "qmpid.h"

#define ONES "11111111111111111111111111111111111111111111111111"

static void
both_directions(void **state)
{
	static const char *const ids[] = { "usbmgrd-3-9-22-1",
		"usbmgrd-3-1.2-22-7", "usbmgrd-1-1-1-1",
		"usbmgrd-999-255.255.255.255.255.255-127-4294967295" };
	char text[MSG_ID_MAX];
	struct qmpid id;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		assert_int_equal(qmpid_parse(&id, ids[i]), 0);
		qmpid_format(&id, text, sizeof(text));
		assert_string_equal(text, ids[i]);
	}
	assert_int_equal(qmpid_parse(&id, "usbmgrd-3-1.2-22-7"), 0);
	assert_int_equal(id.port.busnum, 3);
	assert_int_equal(id.port.depth, 2);
	assert_int_equal(id.port.chain[0], 1);
	assert_int_equal(id.port.chain[1], 2);
	assert_true(usbport_valid(&id.port));
	assert_int_equal(id.devnum, 22);
	assert_int_equal(id.request, 7);
}

static void
not_ours(void **state)
{
	static const char *const ids[] = { "", "usbmgrd", "usbmgrd-",
		"usbmgrd-3-9-22", "usbmgrd-3-9-22-", "usbmgrd-3-9-22-0",
		"usbmgrd-3-9-0-1", "usbmgrd-3-9-128-1", "usbmgrd-0-9-22-1",
		"usbmgrd-1000-9-22-1", "usbmgrd-3-0-22-1", "usbmgrd-3-256-22-1",
		"usbmgrd-3-1.2.3.4.5.6.7-22-1", "usbmgrd-03-9-22-1",
		"usbmgrd-3-09-22-1", "usbmgrd-3-9-022-1", "usbmgrd-3-9-22-01",
		"usbmgrd-3-9-22-+1", "usbmgrd-3-9-22- 1", "usbmgrd-3-9-22-1 ",
		"usbmgrd-3-9-22-4294967296", "usbmgrd-3-9-22-1-1",
		"usbmgrd-3-9:1.0-22-1", "usbmgrd-usb3-22-1", "usbmgrd-3:9-22-1",
		"usbmgrd--22-1", "usbmgrd-3-9--22-1", "Usbmgrd-3-9-22-1",
		" usbmgrd-3-9-22-1", "usbmgrd-3-9.-22-1",
		/* longer than any id */
		("usbmgrd-3-" ONES ONES "-22-1") };
	struct qmpid id;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (qmpid_parse(&id, ids[i]) == 0)
			fail_msg("\"%s\" was taken for ours", ids[i]);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_directions),
		cmocka_unit_test(not_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
