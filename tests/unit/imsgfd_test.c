/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "imsg_pair.h"
#include "slow.h"

#include <sys/resource.h>

/*
 * Descriptors on a stream: which message each belongs to, what a hostile
 * peer may do with them, and that none is left behind.
 */

/* Lets no more descriptors be opened; returns the limit to go back to. */
static struct rlimit
forbid_descriptors(int but)
{
	struct rlimit old, low;
	int fd;

	/* Valgrind keeps the limit to itself. */
	if (slow() > 1)
		skip();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_not_equal(fd = dup(STDERR_FILENO), -1);
	close(fd);
	low = old;
	low.rlim_cur = (rlim_t)(fd + but);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	return old;
}

static void
fd_of_the_last_record_in_a_merged_read(void **state)
{
	struct pair *p = *state;
	struct imsg m;
	ino_t ino;
	int fd = new_file(&ino);

	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, -1, "abc", 3), 1);
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(imsg_compose(&p->a, 2, 0, 0, fd, "abc", 3), 1);
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	get_type(p, &m, 1);
	assert_brings_none(&m);
	get_type(p, &m, 2);
	assert_brings(&m, ino);
}

static void
each_message_gets_its_own_fd(void **state)
{
	const int with[8] = { 1, 0, 1, 1, 0, 0, 1, 0 };
	struct pair *p = *state;
	ino_t ino[8] = { 0 };
	struct imsg m;
	uint32_t i;

	for (i = 0; i < 8; i++)
		assert_int_equal(
		    imsg_compose(&p->a, i, 0, 0,
			with[i] ? new_file(&ino[i]) : -1, "abc", 3),
		    1);
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(imsgbuf_queuelen(&p->a), 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(imsgbuf_read(&p->b), 1);
	for (i = 0; i < 8; i++) {
		get_type(p, &m, i);
		if (with[i])
			assert_brings(&m, ino[i]);
		else
			assert_brings_none(&m);
	}
}

static void
fd_outlives_a_read_that_ends_inside_the_header(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE | IMSG_FD_MARK);
	struct pair *p = *state;
	struct imsg m;
	size_t cut;
	ino_t ino;

	for (cut = 1; cut < sizeof(hdr); cut++) {
		raw_send(p, &hdr, cut, 1, &ino);
		assert_int_equal(imsgbuf_read(&p->b), 1);
		assert_int_equal(imsgbuf_get(&p->b, &m), 0);
		/* And one that brings a single byte. */
		raw_send(p, (char *)&hdr + cut, 1, 0, NULL);
		assert_int_equal(imsgbuf_read(&p->b), 1);
		if (cut + 1 < sizeof(hdr)) {
			raw_send(p, (char *)&hdr + cut + 1,
			    sizeof(hdr) - cut - 1, 0, NULL);
			assert_int_equal(imsgbuf_read(&p->b), 1);
		}
		get_type(p, &m, 5);
		assert_brings(&m, ino);
	}
}

/*
 * The same by no fault of the peer: the read buffer is full eight bytes into
 * a header, and the next read brings the rest and a second descriptor.
 */
static void
fd_outlives_a_full_read_buffer(void **state)
{
	static char data[MAX_IMSGSIZE];
	struct pair *p = *state;
	const size_t last = IBUF_READ_SIZE - 3 * MAX_IMSGSIZE - 8;
	ino_t one, two;
	struct imsg m;
	int i;

	for (i = 0; i < 3; i++)
		assert_int_equal(imsg_compose(&p->a, 0, 0, 0, -1, data,
				     MAX_IMSGSIZE - IMSG_HEADER_SIZE),
		    1);
	assert_int_equal(
	    imsg_compose(&p->a, 0, 0, 0, -1, data, last - IMSG_HEADER_SIZE), 1);
	imsg_compose(&p->a, 1, 0, 0, new_file(&one), "abc", 3);
	imsg_compose(&p->a, 2, 0, 0, new_file(&two), "abc", 3);
	imsg_compose(&p->a, 3, 0, 0, -1, "abc", 3);
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	for (i = 0; i < 4; i++) {
		get_type(p, &m, 0);
		assert_brings_none(&m);
	}
	assert_int_equal(imsgbuf_get(&p->b, &m), 0);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	get_type(p, &m, 1);
	assert_brings(&m, one);
	get_type(p, &m, 2);
	assert_brings(&m, two);
	get_type(p, &m, 3);
	assert_brings_none(&m);
}

static void
second_fd_for_one_header_is_refused(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE | IMSG_FD_MARK);
	struct pair *p = *state;
	ino_t ino;

	raw_send(p, &hdr, 4, 1, &ino);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	raw_send(p, (char *)&hdr + 4, 4, 1, &ino);
	assert_read_fails(p, EBADMSG);
	assert_int_equal(count_fds(), p->fds + 2);
}

static void
two_fds_in_one_message_are_refused(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE | IMSG_FD_MARK);
	struct pair *p = *state;
	ino_t ino;

	raw_send(p, &hdr, sizeof(hdr), 2, &ino);
	assert_read_fails(p, EBADMSG);
	assert_int_equal(count_fds(), p->fds + 2);
}

static void
four_fds_in_one_message_are_refused(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE | IMSG_FD_MARK);
	struct pair *p = *state;
	ino_t ino;

	raw_send(p, &hdr, sizeof(hdr), 4, &ino);
	assert_read_fails(p, EBADMSG);
	assert_int_equal(count_fds(), p->fds + 2);
}

static void
descriptor_limit_is_an_error(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE | IMSG_FD_MARK);
	struct pair *p = *state;
	struct rlimit old;
	ino_t ino;

	raw_send(p, &hdr, sizeof(hdr), 1, &ino);
	old = forbid_descriptors(0);
	assert_int_equal(imsgbuf_read(&p->b), -1);
	assert_int_equal(errno, EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* And it stays one when the limit is gone. */
	assert_read_fails(p, EMFILE);
}

static void
descriptor_limit_between_two_fds_leaks_none(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE | IMSG_FD_MARK);
	struct pair *p = *state;
	struct rlimit old;
	ino_t ino;

	raw_send(p, &hdr, sizeof(hdr), 2, &ino);
	old = forbid_descriptors(1);
	assert_int_equal(imsgbuf_read(&p->b), -1);
	assert_int_equal(errno, EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(count_fds(), p->fds + 2);
}

static void
received_fd_is_close_on_exec(void **state)
{
	struct pair *p = *state;
	struct imsg m;
	ino_t ino;

	imsg_compose(&p->a, 1, 0, 0, new_file(&ino), NULL, 0);
	carry(p);
	get_type(p, &m, 1);
	assert_int_equal(fcntl(m.buf->fd, F_GETFD), FD_CLOEXEC);
	assert_brings(&m, ino);
}

static void
mark_without_fd_is_refused(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE | IMSG_FD_MARK);
	struct pair *p = *state;

	raw_send(p, &hdr, sizeof(hdr), 0, NULL);
	assert_read_fails(p, EBADMSG);
}

static void
fd_without_mark_is_refused(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE);
	struct pair *p = *state;
	ino_t ino;

	raw_send(p, &hdr, sizeof(hdr), 1, &ino);
	assert_read_fails(p, EBADMSG);
	assert_int_equal(count_fds(), p->fds + 2);
}

static void
fd_in_the_middle_of_a_payload_is_refused(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE + 8);
	struct pair *p = *state;
	ino_t ino;

	raw_send(p, &hdr, sizeof(hdr), 0, NULL);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	raw_send(p, "abcd", 4, 1, &ino);
	assert_read_fails(p, EBADMSG);
}

/* Else it would go to the next message that has a mark. */
static void
fd_begun_with_an_unmarked_header_is_refused(void **state)
{
	struct imsg_hdr hdr[2] = { header(5, IMSG_HEADER_SIZE),
		header(6, IMSG_HEADER_SIZE | IMSG_FD_MARK) };
	struct pair *p = *state;
	ino_t ino;

	raw_send(p, hdr, 8, 1, &ino);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	raw_send(p, (char *)hdr + 8, sizeof(hdr) - 8, 0, NULL);
	assert_read_fails(p, EBADMSG);
}

static void
fd_is_dropped_where_none_is_allowed(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE);
	struct pair *p = *state;
	struct imsg m;
	ino_t ino;
	int i;

	p->b.flags = 0;
	for (i = 0; i < 3; i++) {
		imsg_compose(&p->a, 1, 0, 0, new_file(&ino), "abc", 3);
		carry(p);
		raw_send(p, &hdr, sizeof(hdr), i + 1, &ino);
		assert_int_equal(imsgbuf_read(&p->b), 1);
		get_type(p, &m, 1);
		assert_int_equal(imsg_get_len(&m), 3);
		assert_brings_none(&m);
		get_type(p, &m, 5);
		assert_brings_none(&m);
		assert_int_equal(count_fds(), p->fds + 2);
	}
}

static void
fd_is_not_sent_where_none_is_allowed(void **state)
{
	struct pair *p = *state;
	struct ibuf *msg;
	ino_t ino;
	int fd = new_file(&ino);

	p->a.flags = 0;
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, fd, NULL, 0), -1);
	assert_int_equal(errno, EPERM);
	/* It is still the caller's. */
	assert_is_file(fd, ino);
	assert_non_null(msg = imsg_create(&p->a, 1, 0, 0, 0));
	ibuf_fd_set(msg, fd);
	imsg_close(&p->a, msg);
	assert_int_equal(imsgbuf_write(&p->a), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(imsgbuf_flush(&p->a), -1);
	assert_int_equal(errno, EPERM);
}

static void
sent_fd_is_closed_here(void **state)
{
	struct pair *p = *state;
	struct imsg m;
	ino_t ino;
	int fd = new_file(&ino);

	imsg_compose(&p->a, 1, 0, 0, fd, "abc", 3);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	get_type(p, &m, 1);
	assert_brings(&m, ino);
}

/* pair_teardown() counts. */
static void
fds_on_their_way_do_not_leak(void **state)
{
	struct imsg_hdr hdr = header(5, 20 | IMSG_FD_MARK);
	struct pair *p = *state;
	struct imsg m;
	ino_t ino;

	/* Fetched and not taken; received and not fetched. */
	imsg_compose(&p->a, 1, 0, 0, new_file(&ino), "abc", 3);
	carry(p);
	get_type(p, &m, 1);
	imsg_free(&m);
	imsg_compose(&p->a, 2, 0, 0, new_file(&ino), "abc", 3);
	carry(p);
	/* With a payload that never ends, and waiting to be sent. */
	raw_send(p, &hdr, sizeof(hdr), 1, &ino);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	imsg_compose(&p->a, 3, 0, 0, new_file(&ino), "abc", 3);
	assert_int_equal(count_fds(), p->fds + 5);
}

static void
fd_of_half_a_header_does_not_leak(void **state)
{
	struct imsg_hdr hdr = header(5, 20 | IMSG_FD_MARK);
	struct pair *p = *state;
	ino_t ino;

	raw_send(p, &hdr, 8, 1, &ino);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	assert_int_equal(count_fds(), p->fds + 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PAIR_TEST(fd_of_the_last_record_in_a_merged_read),
		PAIR_TEST(each_message_gets_its_own_fd),
		PAIR_TEST(fd_outlives_a_read_that_ends_inside_the_header),
		PAIR_TEST(fd_outlives_a_full_read_buffer),
		PAIR_TEST(second_fd_for_one_header_is_refused),
		PAIR_TEST(two_fds_in_one_message_are_refused),
		PAIR_TEST(four_fds_in_one_message_are_refused),
		PAIR_TEST(descriptor_limit_is_an_error),
		PAIR_TEST(descriptor_limit_between_two_fds_leaks_none),
		PAIR_TEST(received_fd_is_close_on_exec),
		PAIR_TEST(mark_without_fd_is_refused),
		PAIR_TEST(fd_without_mark_is_refused),
		PAIR_TEST(fd_in_the_middle_of_a_payload_is_refused),
		PAIR_TEST(fd_begun_with_an_unmarked_header_is_refused),
		PAIR_TEST(fd_is_dropped_where_none_is_allowed),
		PAIR_TEST(fd_is_not_sent_where_none_is_allowed),
		PAIR_TEST(sent_fd_is_closed_here),
		PAIR_TEST(fds_on_their_way_do_not_leak),
		PAIR_TEST(fd_of_half_a_header_does_not_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
