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

#include "retry.h"

static struct retry_list list;

static int
setup(void **state)
{
	(void)state;
	retry_init(&list);
	return 0;
}

static void
nothing_is_due(void **state)
{
	(void)state;
	assert_int_equal(retry_next(&list), 0);
	assert_null(retry_due(&list, UINT64_MAX));
}

static void
due_at_its_time_and_once(void **state)
{
	struct retry r = { 0 };

	(void)state;
	assert_int_equal(retry_blocks(&r), 0);
	retry_failed(&list, &r, 10000, RESULT_GONE);
	assert_int_equal(retry_blocks(&r), 1);
	assert_int_equal(retry_next(&list), 11000);
	assert_null(retry_due(&list, 10999));
	assert_int_equal(retry_blocks(&r), 1);
	assert_ptr_equal(retry_due(&list, 11000), &r);
	assert_int_equal(retry_blocks(&r), 0);
	assert_null(retry_due(&list, UINT64_MAX));
	assert_int_equal(retry_next(&list), 0);
}

/* Each class of failure ends, is bounded, and may or may not be timed. */
static void
every_class_comes_to_an_end(void **state)
{
	struct retry r;
	uint64_t now, wait, before;
	unsigned int tries;
	int result;

	(void)state;
	for (result = RESULT_OK + 1; result < RESULT_MAX; result++) {
		memset(&r, 0, sizeof(r));
		now = 1000;
		before = tries = 0;
		for (;;) {
			retry_failed(&list, &r, now, (enum result)result);
			assert_int_equal(retry_blocks(&r), 1);
			if (retry_next(&list) == 0)
				break;
			wait = retry_next(&list) - now;
			assert_true(wait >= 100 && wait <= 60000);
			assert_true(
			    wait == 2 * before || before == 0 || wait == 60000);
			before = wait;
			now += wait;
			assert_ptr_equal(retry_due(&list, now), &r);
			assert_true(++tries <= 1000);
		}
		assert_null(retry_due(&list, UINT64_MAX));
	}
}

static void
reset_is_as_if_never_tried(void **state)
{
	struct retry r = { 0 };

	(void)state;
	retry_failed(&list, &r, 0, RESULT_OTHER);
	assert_ptr_equal(retry_due(&list, 2000), &r);
	retry_failed(&list, &r, 2000, RESULT_OTHER);
	assert_int_equal(retry_next(&list), 6000);
	retry_reset(&list, &r);
	assert_int_equal(retry_blocks(&r), 0);
	assert_int_equal(retry_next(&list), 0);
	retry_failed(&list, &r, 2000, RESULT_OTHER);
	assert_int_equal(retry_next(&list), 4000);
	retry_reset(&list, &r);
}

/* Failing again replaces what was planned; giving up takes it away. */
static void
failing_again_replaces_the_plan(void **state)
{
	struct retry r = { 0 };

	(void)state;
	retry_failed(&list, &r, 0, RESULT_GONE);
	retry_failed(&list, &r, 0, RESULT_GONE);
	assert_int_equal(retry_next(&list), 2000);
	assert_ptr_equal(retry_due(&list, 2000), &r);
	assert_null(retry_due(&list, 2000));
	retry_failed(&list, &r, 0, RESULT_GONE);
	assert_int_equal(retry_next(&list), 4000);
	retry_failed(&list, &r, 0, RESULT_SPEED);
	assert_int_equal(retry_next(&list), 0);
	assert_int_equal(retry_blocks(&r), 1);
}

/* Tries of one class do not use up those of another; delays still grow. */
static void
classes_are_counted_apart(void **state)
{
	struct retry r = { 0 };
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		retry_failed(&list, &r, 0, RESULT_OTHER);
	assert_int_equal(retry_next(&list), 8000);
	for (i = 0; i < 3; i++)
		retry_failed(&list, &r, 0, RESULT_GONE);
	assert_int_equal(retry_next(&list), 32000);
	retry_failed(&list, &r, 0, RESULT_GONE);
	assert_int_equal(retry_next(&list), 0);
	retry_failed(&list, &r, 0, RESULT_OTHER);
	assert_int_equal(retry_next(&list), 60000);
	retry_reset(&list, &r);
}

static void
several_by_time(void **state)
{
	struct retry a = { 0 }, b = { 0 }, c = { 0 };

	(void)state;
	retry_failed(&list, &a, 0, RESULT_PERMISSION);
	retry_failed(&list, &b, 0, RESULT_DUPLICATE);
	retry_failed(&list, &c, 0, RESULT_GONE);
	assert_int_equal(retry_next(&list), 100);
	assert_ptr_equal(retry_due(&list, 999), &b);
	assert_null(retry_due(&list, 999));
	assert_int_equal(retry_next(&list), 1000);
	retry_cancel(&list, &c);
	assert_int_equal(retry_next(&list), 5000);
	retry_cancel(&list, &c);
	assert_ptr_equal(retry_due(&list, 5000), &a);
	assert_null(retry_due(&list, UINT64_MAX));
}

static void
waiting_for_a_port(void **state)
{
	struct retry r = { 0 };

	(void)state;
	assert_int_equal(retry_waits_for_port(&r), 0);
	retry_failed(&list, &r, 0, RESULT_BUS_FULL);
	assert_int_equal(retry_waits_for_port(&r), 1);
	assert_int_equal(retry_next(&list), 0);
	retry_reset(&list, &r);
	assert_int_equal(retry_waits_for_port(&r), 0);
	retry_failed(&list, &r, 0, RESULT_OTHER);
	assert_int_equal(retry_waits_for_port(&r), 0);
	retry_reset(&list, &r);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_due),
		TEST(due_at_its_time_and_once),
		TEST(every_class_comes_to_an_end),
		TEST(reset_is_as_if_never_tried),
		TEST(failing_again_replaces_the_plan),
		TEST(classes_are_counted_apart),
		TEST(several_by_time),
		TEST(waiting_for_a_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
