/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "imsg.h"

#define assert_fails(call, error)               \
	do {                                    \
		errno = 0;                      \
		assert_int_equal((call), -1);   \
		assert_int_equal(errno, error); \
	} while (0)

static void
open_sizes(void **state)
{
	struct ibuf *buf;

	(void)state;
	assert_null(ibuf_open(0));
	assert_int_equal(errno, EINVAL);
	assert_null(ibuf_dynamic(0, 0));
	assert_int_equal(errno, EINVAL);
	assert_null(ibuf_dynamic(9, 8));
	assert_int_equal(errno, EINVAL);
	assert_non_null(buf = ibuf_open(8));
	assert_int_equal(ibuf_size(buf), 0);
	assert_int_equal(ibuf_left(buf), 8);
	assert_false(ibuf_fd_avail(buf));
	ibuf_free(buf);
	ibuf_free(NULL);
}

static void
fixed_buffer_does_not_grow(void **state)
{
	struct ibuf *buf = ibuf_open(4);

	(void)state;
	assert_int_equal(ibuf_add(buf, "abc", 3), 0);
	assert_fails(ibuf_add(buf, "de", 2), ERANGE);
	assert_int_equal(ibuf_size(buf), 3);
	assert_int_equal(ibuf_add(buf, "d", 1), 0);
	assert_memory_equal(ibuf_data(buf), "abcd", 4);
	assert_int_equal(ibuf_left(buf), 0);
	assert_fails(ibuf_add_zero(buf, SIZE_MAX), ERANGE);
	ibuf_free(buf);
}

static void
dynamic_buffer_grows_to_its_limit(void **state)
{
	struct ibuf *buf = ibuf_dynamic(0, 1000);
	unsigned char *p;
	size_t i;

	(void)state;
	assert_null(ibuf_data(buf));
	for (i = 0; i < 1000; i++)
		assert_int_equal(ibuf_add_n8(buf, i & 0xff), 0);
	assert_fails(ibuf_add_n8(buf, 0), ERANGE);
	p = ibuf_data(buf);
	for (i = 0; i < 1000; i++)
		assert_int_equal(p[i], i & 0xff);
	ibuf_free(buf);
}

static void
memory_not_written_is_zero(void **state)
{
	struct ibuf *buf = ibuf_dynamic(16, 4096);
	const unsigned char zero[4000] = { 0 };
	void *p;

	(void)state;
	assert_non_null(p = ibuf_reserve(buf, 16));
	assert_memory_equal(p, zero, 16);
	memset(p, 0xa5, 16);
	/* What was cut off does not come back. */
	assert_int_equal(ibuf_truncate(buf, 2), 0);
	assert_non_null(p = ibuf_reserve(buf, 4000));
	assert_memory_equal(p, zero, 4000);
	assert_int_equal(ibuf_truncate(buf, 1), 0);
	assert_int_equal(ibuf_truncate(buf, 4000), 0);
	assert_memory_equal((char *)ibuf_data(buf) + 1, zero, 3999);
	ibuf_free(buf);
}

static void
numbers_have_their_byte_order(void **state)
{
	struct ibuf *buf = ibuf_open(29);
	const unsigned char net[15] = { 0x12, 0x12, 0x34, 0x12, 0x34, 0x56,
		0x78, 1, 2, 3, 4, 5, 6, 7, 8 };
	uint64_t v64 = 0x0102030405060708;
	uint32_t v32 = 0x12345678;
	uint16_t v16 = 0x1234;
	uint8_t v8 = 0x12;
	unsigned char *p;

	(void)state;
	assert_int_equal(ibuf_add_n8(buf, v8), 0);
	assert_int_equal(ibuf_add_n16(buf, v16), 0);
	assert_int_equal(ibuf_add_n32(buf, v32), 0);
	assert_int_equal(ibuf_add_n64(buf, v64), 0);
	assert_int_equal(ibuf_add_h16(buf, v16), 0);
	assert_int_equal(ibuf_add_h32(buf, v32), 0);
	assert_int_equal(ibuf_add_h64(buf, v64), 0);
	p = ibuf_data(buf);
	assert_memory_equal(p, net, 15);
	assert_memory_equal(p + 15, &v16, 2);
	assert_memory_equal(p + 17, &v32, 4);
	assert_memory_equal(p + 21, &v64, 8);

	v8 = 0, v16 = 0, v32 = 0, v64 = 0;
	assert_int_equal(ibuf_get_n8(buf, &v8), 0);
	assert_int_equal(ibuf_get_n16(buf, &v16), 0);
	assert_int_equal(ibuf_get_n32(buf, &v32), 0);
	assert_int_equal(ibuf_get_n64(buf, &v64), 0);
	assert_int_equal(v8, 0x12);
	assert_int_equal(v16, 0x1234);
	assert_int_equal(v32, 0x12345678);
	assert_int_equal(v64, 0x0102030405060708);
	v16 = 0, v32 = 0, v64 = 0;
	assert_int_equal(ibuf_get_h16(buf, &v16), 0);
	assert_int_equal(ibuf_get_h32(buf, &v32), 0);
	assert_int_equal(ibuf_get_h64(buf, &v64), 0);
	assert_int_equal(v16, 0x1234);
	assert_int_equal(v32, 0x12345678);
	assert_int_equal(v64, 0x0102030405060708);
	assert_fails(ibuf_get_n8(buf, &v8), EBADMSG);
	ibuf_free(buf);
}

static void
number_too_large_is_refused(void **state)
{
	struct ibuf *buf = ibuf_open(64);

	(void)state;
	assert_fails(ibuf_add_n8(buf, 0x100), EINVAL);
	assert_fails(ibuf_add_n16(buf, 0x10000), EINVAL);
	assert_fails(ibuf_add_n32(buf, 0x100000000), EINVAL);
	assert_fails(ibuf_add_h16(buf, 0x10000), EINVAL);
	assert_fails(ibuf_add_h32(buf, 0x100000000), EINVAL);
	assert_int_equal(ibuf_size(buf), 0);
	assert_int_equal(ibuf_add_n64(buf, UINT64_MAX), 0);
	assert_int_equal(ibuf_add_n8(buf, 0xff), 0);
	assert_fails(ibuf_set_n8(buf, 0, 0x100), EINVAL);
	assert_fails(ibuf_set_h32(buf, 0, UINT64_MAX), EINVAL);
	ibuf_free(buf);
}

static void
set_overwrites_within_bounds(void **state)
{
	struct ibuf *buf = ibuf_open(64);
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;
	uint8_t v8;

	(void)state;
	assert_int_equal(ibuf_add_zero(buf, 29), 0);
	assert_int_equal(ibuf_set_n8(buf, 0, 1), 0);
	assert_int_equal(ibuf_set_n16(buf, 1, 0x0203), 0);
	assert_int_equal(ibuf_set_n32(buf, 3, 0x04050607), 0);
	assert_int_equal(ibuf_set_n64(buf, 7, 0x08090a0b0c0d0e0f), 0);
	assert_int_equal(ibuf_set_h16(buf, 15, 0xabcd), 0);
	assert_int_equal(ibuf_set_h32(buf, 17, 0xabcdef01), 0);
	assert_int_equal(ibuf_set_h64(buf, 21, 0xabcdef0123456789), 0);
	assert_fails(ibuf_set_n8(buf, 29, 1), ERANGE);
	assert_fails(ibuf_set_n64(buf, 22, 1), ERANGE);
	assert_fails(ibuf_set_n8(buf, SIZE_MAX, 1), ERANGE);
	assert_fails(ibuf_set(buf, 1, "x", SIZE_MAX), ERANGE);
	assert_memory_equal(
	    ibuf_data(buf), "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 15);
	assert_int_equal(ibuf_skip(buf, 15), 0);
	/* Offsets count from the unread part. */
	assert_int_equal(ibuf_set_h16(buf, 0, 0xdcba), 0);
	assert_int_equal(ibuf_get_h16(buf, &v16), 0);
	assert_int_equal(v16, 0xdcba);
	assert_int_equal(ibuf_get_h32(buf, &v32), 0);
	assert_int_equal(v32, 0xabcdef01);
	assert_int_equal(ibuf_get_h64(buf, &v64), 0);
	assert_int_equal(v64, 0xabcdef0123456789);
	assert_fails(ibuf_get_n8(buf, &v8), EBADMSG);
	ibuf_free(buf);
}

static void
get_consumes_or_leaves_all(void **state)
{
	struct ibuf *buf = ibuf_open(8);
	char out[8];

	(void)state;
	assert_int_equal(ibuf_add(buf, "abcdef", 6), 0);
	assert_int_equal(ibuf_get(buf, out, 2), 0);
	assert_memory_equal(out, "ab", 2);
	assert_fails(ibuf_get(buf, out, 5), EBADMSG);
	assert_fails(ibuf_skip(buf, 5), EBADMSG);
	assert_int_equal(ibuf_size(buf), 4);
	assert_int_equal(ibuf_skip(buf, 1), 0);
	assert_memory_equal(ibuf_seek(buf, 1, 2), "ef", 2);
	assert_null(ibuf_seek(buf, 1, 3));
	assert_int_equal(errno, ERANGE);
	assert_null(ibuf_seek(buf, 4, SIZE_MAX));
	ibuf_rewind(buf);
	assert_int_equal(ibuf_get(buf, out, 6), 0);
	assert_memory_equal(out, "abcdef", 6);
	ibuf_free(buf);
}

static void
strings_are_terminated(void **state)
{
	struct ibuf *buf = ibuf_open(32);
	char out[4], *s;

	(void)state;
	assert_fails(ibuf_add_strbuf(buf, "four", 4), EOVERFLOW);
	assert_int_equal(ibuf_size(buf), 0);
	assert_int_equal(ibuf_add_strbuf(buf, "abc", 4), 0);
	assert_int_equal(ibuf_add_strbuf(buf, "a", 4), 0);
	assert_int_equal(ibuf_add(buf, "four", 4), 0);
	assert_int_equal(ibuf_add(buf, "x\0yz", 4), 0);
	assert_int_equal(ibuf_get_strbuf(buf, out, 4), 0);
	assert_string_equal(out, "abc");
	assert_int_equal(ibuf_get_strbuf(buf, out, 4), 0);
	assert_memory_equal(out, "a\0\0\0", 4);
	assert_fails(ibuf_get_strbuf(buf, out, 4), EOVERFLOW);
	assert_string_equal(out, "fou");
	assert_non_null(s = ibuf_get_string(buf, 4));
	assert_string_equal(s, "x");
	free(s);
	assert_fails(ibuf_get_strbuf(buf, out, 0), EINVAL);
	assert_fails(ibuf_get_strbuf(buf, out, 1), EBADMSG);
	assert_null(ibuf_get_string(buf, 1));
	assert_int_equal(errno, EBADMSG);
	ibuf_free(buf);
}

static void
maxsize_only_goes_down(void **state)
{
	struct ibuf *buf = ibuf_dynamic(0, 16);

	(void)state;
	assert_int_equal(ibuf_add(buf, "abcd", 4), 0);
	assert_fails(ibuf_set_maxsize(buf, 17), ERANGE);
	assert_fails(ibuf_set_maxsize(buf, 3), ERANGE);
	assert_int_equal(ibuf_set_maxsize(buf, 6), 0);
	assert_int_equal(ibuf_left(buf), 2);
	assert_fails(ibuf_add(buf, "efg", 3), ERANGE);
	assert_int_equal(ibuf_add(buf, "ef", 2), 0);
	ibuf_free(buf);
}

static void
view_cannot_be_written(void **state)
{
	struct ibuf *buf = ibuf_open(8), view, part;
	uint16_t v;
	int fd;

	(void)state;
	assert_int_equal(ibuf_add(buf, "abcdef", 6), 0);
	ibuf_from_ibuf(&view, buf);
	assert_int_equal(ibuf_left(&view), 0);
	assert_fails(ibuf_add(&view, "x", 1), EINVAL);
	assert_fails(ibuf_set(&view, 0, "x", 1), EINVAL);
	assert_fails(ibuf_set_maxsize(&view, 1), EINVAL);
	assert_int_equal(ibuf_get_ibuf(&view, 2, &part), 0);
	assert_fails(ibuf_get_ibuf(&view, 5, &part), EBADMSG);
	assert_int_equal(ibuf_size(&part), 2);
	assert_int_equal(ibuf_get_n16(&part, &v), 0);
	assert_int_equal(v, 'a' << 8 | 'b');
	/* Cutting a view leaves what it looks at alone. */
	assert_int_equal(ibuf_truncate(&view, 1), 0);
	assert_fails(ibuf_truncate(&view, 2), EINVAL);
	assert_int_equal(ibuf_size(buf), 6);
	assert_memory_equal(ibuf_data(buf), "abcdef", 6);
	/* A view is not freed, so it must not keep a descriptor. */
	assert_int_not_equal(fd = open("/dev/null", O_RDONLY), -1);
	ibuf_fd_set(&view, fd);
	assert_false(ibuf_fd_avail(&view));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	ibuf_free(&view);
	ibuf_free(buf);
}

static void
add_ibuf_takes_the_unread_part(void **state)
{
	struct ibuf *buf = ibuf_open(8), *from = ibuf_open(8), empty;

	(void)state;
	assert_int_equal(ibuf_add(from, "abcd", 4), 0);
	assert_int_equal(ibuf_skip(from, 1), 0);
	assert_int_equal(ibuf_add_ibuf(buf, from), 0);
	assert_int_equal(ibuf_size(from), 3);
	assert_int_equal(ibuf_size(buf), 3);
	assert_memory_equal(ibuf_data(buf), "bcd", 3);
	ibuf_from_buffer(&empty, NULL, 0);
	assert_int_equal(ibuf_add_ibuf(buf, &empty), 0);
	assert_int_equal(ibuf_size(buf), 3);
	ibuf_free(from);
	ibuf_free(buf);
}

static void
descriptor_is_owned(void **state)
{
	struct ibuf *buf = ibuf_open(1);
	int one, two;

	(void)state;
	assert_int_equal(ibuf_fd_get(buf), -1);
	assert_int_not_equal(one = open("/dev/null", O_RDONLY), -1);
	assert_int_not_equal(two = open("/dev/null", O_RDONLY), -1);
	ibuf_fd_set(buf, one);
	assert_true(ibuf_fd_avail(buf));
	ibuf_fd_set(buf, two);
	assert_int_equal(fcntl(one, F_GETFD), -1);
	assert_int_equal(ibuf_fd_get(buf), two);
	assert_false(ibuf_fd_avail(buf));
	ibuf_fd_set(buf, two);
	errno = ENOTTY;
	ibuf_free(buf);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(fcntl(two, F_GETFD), -1);
}

static void
queues_keep_order(void **state)
{
	struct ibufqueue *q = ibufq_new(), *r = ibufq_new();
	struct ibuf *one = ibuf_open(1), *two = ibuf_open(1);
	struct ibuf *three = ibuf_open(1);

	(void)state;
	assert_null(ibufq_pop(q));
	ibufq_push(q, one);
	ibufq_push(r, two);
	ibufq_push(r, three);
	assert_int_equal(ibufq_queuelen(r), 2);
	ibufq_concat(q, r);
	assert_int_equal(ibufq_queuelen(q), 3);
	assert_int_equal(ibufq_queuelen(r), 0);
	assert_ptr_equal(ibufq_pop(q), one);
	assert_ptr_equal(ibufq_pop(q), two);
	assert_int_equal(ibufq_queuelen(q), 1);
	ibufq_push(r, one);
	ibufq_flush(r);
	assert_int_equal(ibufq_queuelen(r), 0);
	assert_null(ibufq_pop(r));
	ibufq_free(r);
	ibufq_free(q);
	ibufq_free(NULL);
	ibuf_free(two);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_sizes),
		cmocka_unit_test(fixed_buffer_does_not_grow),
		cmocka_unit_test(dynamic_buffer_grows_to_its_limit),
		cmocka_unit_test(memory_not_written_is_zero),
		cmocka_unit_test(numbers_have_their_byte_order),
		cmocka_unit_test(number_too_large_is_refused),
		cmocka_unit_test(set_overwrites_within_bounds),
		cmocka_unit_test(get_consumes_or_leaves_all),
		cmocka_unit_test(strings_are_terminated),
		cmocka_unit_test(maxsize_only_goes_down),
		cmocka_unit_test(view_cannot_be_written),
		cmocka_unit_test(add_ibuf_takes_the_unread_part),
		cmocka_unit_test(descriptor_is_owned),
		cmocka_unit_test(queues_keep_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
