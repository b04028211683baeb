/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "imsg_pair.h"

static void
message_arrives_as_composed(void **state)
{
	struct pair *p = *state;
	struct imsg m;
	char out[5];

	assert_int_equal(imsgbuf_get(&p->b, &m), 0);
	assert_int_equal(imsg_compose(&p->a, 7, 42, 4711, -1, "hello", 5), 1);
	assert_int_equal(imsg_compose(&p->a, 8, 0, 0, -1, NULL, 0), 1);
	assert_int_equal(imsgbuf_queuelen(&p->a), 2);
	assert_int_equal(imsgbuf_queuebytes(&p->a), 37);
	carry(p);
	assert_int_equal(imsgbuf_queuebytes(&p->a), 0);

	get_type(p, &m, 7);
	assert_int_equal(imsg_get_id(&m), 42);
	assert_int_equal(imsg_get_pid(&m), 4711);
	assert_int_equal(imsg_get_len(&m), 5);
	assert_int_equal(imsg_get_fd(&m), -1);
	assert_int_equal(m.hdr.len, 21);
	assert_memory_equal(m.data, "hello", 5);
	assert_int_equal(imsg_get_data(&m, out, 5), 0);
	assert_memory_equal(out, "hello", 5);
	imsg_free(&m);

	get_type(p, &m, 8);
	assert_int_equal(imsg_get_pid(&m), getpid());
	assert_int_equal(imsg_get_len(&m), 0);
	assert_null(m.data);
	imsg_free(&m);
	assert_int_equal(imsgbuf_get(&p->b, &m), 0);
}

/* What a type means, and which may come, is for the layer above to say. */
static void
type_is_passed_through(void **state)
{
	const uint32_t types[] = { 0, 1, 0x7fffffff, 0x80000000, UINT32_MAX };
	struct pair *p = *state;
	struct imsg m;
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_int_equal(
		    imsg_compose(&p->a, types[i], types[i], 0, -1, "x", 1), 1);
		carry(p);
		get_type(p, &m, types[i]);
		assert_int_equal(imsg_get_id(&m), types[i]);
		imsg_free(&m);
	}
}

static void
payload_is_read_exactly_or_in_parts(void **state)
{
	struct pair *p = *state;
	struct ibuf view;
	struct imsg m;
	char out[16];

	imsg_compose(&p->a, 1, 0, 0, -1, "ab\0cdef", 7);
	imsg_compose(&p->a, 2, 0, 0, -1, NULL, 0);
	carry(p);
	get_type(p, &m, 1);
	assert_int_equal(imsg_get_data(&m, out, 6), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(imsg_get_data(&m, out, 8), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(imsg_get_data(&m, out, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(imsg_get_buf(&m, out, 8), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(imsg_get_strbuf(&m, out, 3), 0);
	assert_string_equal(out, "ab");
	assert_int_equal(imsg_get_strbuf(&m, out, 2), -1);
	assert_int_equal(errno, EOVERFLOW);
	assert_int_equal(imsg_get_len(&m), 2);
	assert_int_equal(imsg_get_ibuf(&m, &view), 0);
	assert_int_equal(ibuf_size(&view), 2);
	assert_memory_equal(ibuf_data(&view), "ef", 2);
	assert_int_equal(imsg_get_len(&m), 0);
	assert_int_equal(imsg_get_ibuf(&m, &view), -1);
	assert_int_equal(errno, EBADMSG);
	imsg_free(&m);

	get_type(p, &m, 2);
	assert_int_equal(imsg_get_data(&m, out, 1), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(imsg_get_ibuf(&m, &view), -1);
	assert_int_equal(errno, EBADMSG);
	imsg_free(&m);
	/* Once more is harmless. */
	imsg_free(&m);
}

static void
composev_gathers(void **state)
{
	char one[] = "one", two[] = "two";
	const struct iovec iov[3] = { { one, 3 }, { NULL, 0 }, { two, 3 } };
	const struct iovec huge[2] = { { one, 3 }, { two, SIZE_MAX } };
	struct pair *p = *state;
	struct imsg m;
	ino_t ino;
	int fd;

	fd = new_file(&ino);
	assert_int_equal(imsg_composev(&p->a, 1, 2, 3, fd, iov, 3), 1);
	assert_int_equal(imsg_composev(&p->a, 1, 2, 3, -1, huge, 2), -1);
	assert_int_equal(errno, ERANGE);
	carry(p);
	get_type(p, &m, 1);
	assert_int_equal(imsg_get_len(&m), 6);
	assert_memory_equal(m.data, "onetwo", 6);
	assert_is_file(m.buf->fd, ino);
	imsg_free(&m);
}

static void
compose_ibuf_consumes_the_buffer(void **state)
{
	struct pair *p = *state;
	struct ibuf *buf;
	struct imsg m;
	ino_t ino;

	assert_non_null(buf = ibuf_dynamic(0, 100));
	assert_int_equal(ibuf_add(buf, "abcd", 4), 0);
	assert_int_equal(ibuf_skip(buf, 1), 0);
	ibuf_fd_set(buf, new_file(&ino));
	assert_int_equal(imsg_compose_ibuf(&p->a, 5, 6, 0, buf), 1);
	carry(p);
	get_type(p, &m, 5);
	assert_int_equal(imsg_get_len(&m), 3);
	assert_memory_equal(m.data, "bcd", 3);
	assert_int_equal(imsg_get_fd(&m), -1);
	imsg_free(&m);

	/* Also when it fails; the sanitizer would see it lost. */
	assert_non_null(buf = ibuf_open(MAX_IMSGSIZE));
	assert_int_equal(ibuf_add_zero(buf, MAX_IMSGSIZE), 0);
	ibuf_fd_set(buf, new_file(&ino));
	assert_int_equal(imsg_compose_ibuf(&p->a, 5, 6, 0, buf), -1);
	assert_int_equal(errno, ERANGE);
}

static void
create_add_close(void **state)
{
	struct pair *p = *state;
	struct ibuf *msg;
	struct imsg m;
	ino_t ino;

	assert_non_null(msg = imsg_create(&p->a, 9, 1, 0, 2));
	assert_int_equal(imsg_add(msg, "ab", 2), 2);
	assert_int_equal(imsg_add(msg, NULL, 0), 0);
	assert_int_equal(imsg_add(msg, "cde", 3), 3);
	ibuf_fd_set(msg, new_file(&ino));
	assert_int_equal(imsgbuf_queuelen(&p->a), 0);
	imsg_close(&p->a, msg);
	assert_int_equal(imsgbuf_queuelen(&p->a), 1);
	carry(p);
	get_type(p, &m, 9);
	assert_int_equal(imsg_get_len(&m), 5);
	assert_memory_equal(m.data, "abcde", 5);
	assert_is_file(m.buf->fd, ino);
	imsg_free(&m);
}

static void
add_past_the_limit_frees_the_message(void **state)
{
	struct pair *p = *state;
	struct ibuf *msg;
	ino_t ino;

	assert_non_null(msg = imsg_create(&p->a, 1, 0, 0, 0));
	ibuf_fd_set(msg, new_file(&ino));
	assert_int_equal(imsg_set_maxsize(msg, MAX_IMSGSIZE), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(imsg_set_maxsize(msg, SIZE_MAX), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(imsg_set_maxsize(msg, 4), 0);
	assert_int_equal(imsg_add(msg, "abcd", 4), 4);
	assert_int_equal(imsg_add(msg, "e", 1), -1);
	assert_int_equal(errno, ERANGE);
}

static void
maxsize_counts_the_payload_only(void **state)
{
	static char data[200000];
	struct pair *p = *state;
	struct imsg m;
	int i;

	memset(data, 'x', sizeof(data));
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, -1, data,
			     MAX_IMSGSIZE - IMSG_HEADER_SIZE),
	    1);
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, -1, data,
			     MAX_IMSGSIZE - IMSG_HEADER_SIZE + 1),
	    -1);
	assert_int_equal(errno, ERANGE);
	carry(p);
	get_type(p, &m, 1);
	assert_int_equal(imsg_get_len(&m), MAX_IMSGSIZE - IMSG_HEADER_SIZE);
	imsg_free(&m);

	assert_int_equal(imsgbuf_set_maxsize(&p->a, 100), 0);
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, -1, data, 101), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, -1, data, 100), 1);
	assert_int_equal(imsgbuf_set_maxsize(&p->b, 100), 0);
	carry(p);
	get_type(p, &m, 1);
	imsg_free(&m);

	/* More than one read brings in. */
	assert_int_equal(imsgbuf_set_maxsize(&p->a, sizeof(data)), 0);
	assert_int_equal(imsgbuf_set_maxsize(&p->b, sizeof(data)), 0);
	assert_int_equal(
	    imsg_compose(&p->a, 2, 0, 0, -1, data, sizeof(data)), 1);
	for (i = 0; imsgbuf_get(&p->b, &m) == 0; i++) {
		assert_true(i < 100);
		assert_int_equal(imsgbuf_write(&p->a), 0);
		assert_int_equal(imsgbuf_read(&p->b), 1);
	}
	assert_int_equal(imsg_get_len(&m), sizeof(data));
	assert_memory_equal(m.data, data, sizeof(data));
	imsg_free(&m);

	assert_int_equal(imsgbuf_set_maxsize(&p->a, UINT32_MAX), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(imsgbuf_set_maxsize(&p->a, IMSG_FD_MARK), -1);
	assert_int_equal(imsgbuf_set_maxsize(&p->a, IMSG_FD_MARK - 16), -1);
	assert_int_equal(imsgbuf_set_maxsize(&p->a, IMSG_FD_MARK - 17), 0);
}

static void
forward_repeats_all_but_the_descriptor(void **state)
{
	struct pair *p = *state;
	struct imsg_hdr hdr = { 3, 16, 4, 0 };
	struct imsg m, f;
	char out[2];
	ino_t ino;
	int i;

	imsg_compose(&p->a, 1, 2, 77, new_file(&ino), "abcd", 4);
	carry(p);
	get_type(p, &m, 1);
	assert_int_equal(imsg_get_buf(&m, out, 2), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(imsg_forward(&p->a, &m), 1);
		carry(p);
		get_type(p, &f, 1);
		assert_int_equal(imsg_get_id(&f), 2);
		assert_int_equal(imsg_get_pid(&f), 77);
		assert_int_equal(imsg_get_len(&f), 4);
		assert_memory_equal(f.data, "abcd", 4);
		assert_int_equal(imsg_get_fd(&f), -1);
		imsg_free(&f);
	}
	assert_int_equal(imsgbuf_set_maxsize(&p->a, 3), 0);
	assert_int_equal(imsg_forward(&p->a, &m), -1);
	assert_int_equal(errno, ERANGE);
	assert_is_file(m.buf->fd, ino);
	imsg_free(&m);

	/* A pid of 0 on the wire stays 0; no payload is no trouble. */
	assert_int_equal(write(p->sa, &hdr, sizeof(hdr)), sizeof(hdr));
	assert_int_equal(imsgbuf_read(&p->b), 1);
	get_type(p, &m, 3);
	assert_int_equal(imsg_forward(&p->a, &m), 1);
	imsg_free(&m);
	carry(p);
	get_type(p, &f, 3);
	assert_int_equal(imsg_get_pid(&f), 0);
	assert_int_equal(imsg_get_len(&f), 0);
	imsg_free(&f);
}

static void
message_set_aside_comes_back_whole(void **state)
{
	struct pair *p = *state;
	struct ibufqueue *q = ibufq_new();
	struct imsg m;
	char out[2];
	ino_t ino, lost;
	int fd;

	imsg_compose(&p->a, 1, 2, 3, new_file(&ino), "abcd", 4);
	imsg_compose(&p->a, 2, 2, 3, new_file(&lost), NULL, 0);
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	assert_int_equal(imsg_ibufq_pop(q, &m), 0);
	get_type(p, &m, 1);
	assert_int_equal(imsg_get_buf(&m, out, 2), 0);
	imsg_ibufq_push(q, &m);
	assert_null(m.buf);
	get_type(p, &m, 2);
	imsg_ibufq_push(q, &m);
	assert_int_equal(ibufq_queuelen(q), 2);
	assert_int_equal(imsg_ibufq_pop(q, &m), 1);
	assert_int_equal(imsg_get_type(&m), 1);
	assert_int_equal(imsg_get_len(&m), 4);
	assert_memory_equal(m.data, "abcd", 4);
	assert_is_file(fd = imsg_get_fd(&m), ino);
	close(fd);
	imsg_free(&m);
	/* The other one is still in it, with its descriptor. */
	ibufq_free(q);
}

static void
pop_refuses_a_buffer_that_is_no_message(void **state)
{
	struct ibufqueue *q = ibufq_new();
	struct imsg m;

	(void)state;
	ibufq_push(q, ibuf_open(16));
	assert_int_equal(imsg_ibufq_pop(q, &m), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(imsg_ibufq_pop(q, &m), 0);
	ibufq_free(q);
}

static void
old_get_returns_the_length(void **state)
{
	struct pair *p = *state;
	struct imsg m;

	assert_int_equal(imsg_get(&p->b, &m), 0);
	imsg_compose(&p->a, 1, 0, 0, -1, "abc", 3);
	carry(p);
	assert_int_equal(imsg_get(&p->b, &m), 19);
	imsg_free(&m);
}

static void
clear_may_be_repeated(void **state)
{
	struct pair *p = *state;
	ino_t ino;

	imsg_compose(&p->a, 1, 0, 0, new_file(&ino), "abc", 3);
	imsgbuf_clear(&p->a);
	imsgbuf_clear(&p->a);
	assert_int_equal(imsgbuf_queuelen(&p->a), 0);
	assert_int_equal(imsgbuf_queuebytes(&p->a), 0);
	assert_int_not_equal(fcntl(p->sa, F_GETFD), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PAIR_TEST(message_arrives_as_composed),
		PAIR_TEST(type_is_passed_through),
		PAIR_TEST(payload_is_read_exactly_or_in_parts),
		PAIR_TEST(composev_gathers),
		PAIR_TEST(compose_ibuf_consumes_the_buffer),
		PAIR_TEST(create_add_close),
		PAIR_TEST(add_past_the_limit_frees_the_message),
		PAIR_TEST(maxsize_counts_the_payload_only),
		PAIR_TEST(forward_repeats_all_but_the_descriptor),
		PAIR_TEST(message_set_aside_comes_back_whole),
		PAIR_TEST(pop_refuses_a_buffer_that_is_no_message),
		PAIR_TEST(old_get_returns_the_length),
		PAIR_TEST(clear_may_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
