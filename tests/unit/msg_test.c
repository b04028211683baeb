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

#include "imsg.h"
#include "msg.h"

#define BIT(proc) (1U << (proc))
#define ALL_PROCS (BIT(PROC_MAX) - 1)

static void
each_row_makes_sense(void **state)
{
	const struct msg_info *info, *other;
	uint32_t type, t;

	(void)state;
	for (type = MSG_FIRST_UNUSED + 1; type < MSG_MAX; type++) {
		assert_non_null(info = msg_info(type));
		assert_non_null(info->name);
		assert_int_equal(strncmp(info->name, "MSG_", 4), 0);
		assert_ptr_equal(msg_name(type), info->name);
		assert_true(info->text[0] != '\0');
		assert_int_equal(strncmp(info->payload, "struct ", 7), 0);
		assert_true(info->size >= 4);
		assert_true(info->size <= MAX_IMSGSIZE - IMSG_HEADER_SIZE);
		assert_true(info->from != 0 && info->to != 0);
		assert_int_equal(info->from & ~ALL_PROCS, 0);
		assert_int_equal(info->to & ~ALL_PROCS, 0);
		/* Nobody writes to itself. */
		assert_int_equal(info->from & info->to, 0);
		assert_true(info->fd == 0 || info->fd == 1);
		for (t = type + 1; t < MSG_MAX; t++) {
			other = msg_info(t);
			assert_string_not_equal(info->name, other->name);
		}
	}
}

/* Only the parent opens things; a client is no process of ours. */
static void
descriptors_come_from_the_parent(void **state)
{
	const struct msg_info *info;
	uint32_t type;

	(void)state;
	for (type = MSG_FIRST_UNUSED + 1; type < MSG_MAX; type++) {
		info = msg_info(type);
		if (info->fd)
			assert_int_equal(info->from, BIT(PROC_PARENT));
		if (info->from & BIT(PROC_CLIENT))
			assert_int_equal(info->from, BIT(PROC_CLIENT));
		if (info->to & BIT(PROC_CLIENT))
			assert_int_equal(info->from, BIT(PROC_ENGINE));
		if ((info->from | info->to) & BIT(PROC_CLIENT))
			assert_int_equal(info->fd, 0);
	}
}

/* The monitor, which reads what devices say, and the QMP client never meet. */
static void
monitor_and_qmpclient_have_no_messages(void **state)
{
	const struct msg_info *info;
	uint32_t type;

	(void)state;
	for (type = MSG_FIRST_UNUSED + 1; type < MSG_MAX; type++) {
		info = msg_info(type);
		if (info->from & BIT(PROC_MONITOR))
			assert_int_equal(info->to & BIT(PROC_QMPCLIENT), 0);
		if (info->from & BIT(PROC_QMPCLIENT))
			assert_int_equal(info->to & BIT(PROC_MONITOR), 0);
	}
}

static void
every_sender_receiver_and_type(void **state)
{
	const struct msg_info *info;
	uint32_t type;
	int from, to, right;

	(void)state;
	for (type = MSG_FIRST_UNUSED + 1; type < MSG_MAX; type++)
		for (from = 0; from < PROC_MAX; from++)
			for (to = 0; to < PROC_MAX; to++) {
				info = msg_info(type);
				right = (info->from & BIT(from)) != 0 &&
					(info->to & BIT(to)) != 0;
				assert_int_equal(
				    msg_check((enum proc_id)from,
					(enum proc_id)to, type, info->size,
					info->fd) == NULL,
				    right);
			}
}

static void
size_and_descriptor_are_checked(void **state)
{
	const struct msg_info *info;
	enum proc_id from, to;
	uint32_t type;

	(void)state;
	for (type = MSG_FIRST_UNUSED + 1; type < MSG_MAX; type++) {
		info = msg_info(type);
		from = (enum proc_id)__builtin_ctz(info->from);
		to = (enum proc_id)__builtin_ctz(info->to);
		assert_string_equal(
		    msg_check(from, to, type, info->size - 1, info->fd),
		    "wrong size");
		assert_string_equal(
		    msg_check(from, to, type, info->size + 1, info->fd),
		    "wrong size");
		assert_string_equal(
		    msg_check(from, to, type, 0, info->fd), "wrong size");
		assert_string_equal(
		    msg_check(from, to, type, info->size, !info->fd),
		    info->fd ? "without its descriptor" : "with a descriptor");
	}
}

static void
unknown_types(void **state)
{
	static const uint32_t types[] = { MSG_FIRST_UNUSED, MSG_MAX,
		MSG_MAX + 1, 0x7fffffff, 0x80000000, UINT32_MAX };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_null(msg_info(types[i]));
		assert_string_equal(msg_name(types[i]), "unknown");
		assert_string_equal(
		    msg_check(PROC_PARENT, PROC_ENGINE, types[i], 4, 0),
		    "no such message");
	}
}

static void
strings_end_within_their_place(void **state)
{
	char s[4] = { 'a', 'b', 'c', '\0' };

	(void)state;
	assert_int_equal(msg_string_ok(s, 4), 1);
	assert_int_equal(msg_string_ok(s, 3), 0);
	assert_int_equal(msg_string_ok(s, 0), 0);
	s[0] = '\0';
	assert_int_equal(msg_string_ok(s, 1), 1);
}

static void
check_names(const char *(*name)(uint32_t), uint32_t max)
{
	uint32_t i, j;

	for (i = 0; i < max; i++) {
		assert_true(name(i) != NULL && name(i)[0] != '\0');
		assert_string_not_equal(name(i), "unknown");
		for (j = i + 1; j < max; j++)
			assert_string_not_equal(name(i), name(j));
	}
	assert_string_equal(name(max), "unknown");
	assert_string_equal(name(UINT32_MAX), "unknown");
}

static void
every_value_has_a_name(void **state)
{
	(void)state;
	check_names(result_string, RESULT_MAX);
	check_names(vm_state_string, VM_STATE_MAX);
	check_names(device_state_string, DEVICE_STATE_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_row_makes_sense),
		cmocka_unit_test(descriptors_come_from_the_parent),
		cmocka_unit_test(monitor_and_qmpclient_have_no_messages),
		cmocka_unit_test(every_sender_receiver_and_type),
		cmocka_unit_test(size_and_descriptor_are_checked),
		cmocka_unit_test(unknown_types),
		cmocka_unit_test(strings_end_within_their_place),
		cmocka_unit_test(every_value_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
