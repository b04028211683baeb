/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "imsg_pair.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

/*
 * The transport: what a stream socket does to messages, what a hostile peer
 * may send, and what happens when nobody reads.
 */

/* Both system calls are counted, and sendmsg(2) can be made to fail once. */
static unsigned int nsend, nrecv;
static int send_errno;

ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
	nsend++;
	if (send_errno != 0) {
		errno = send_errno;
		send_errno = 0;
		return -1;
	}
	return syscall(SYS_sendmsg, fd, msg, flags);
}

ssize_t
recvmsg(int fd, struct msghdr *msg, int flags)
{
	nrecv++;
	return syscall(SYS_recvmsg, fd, msg, flags);
}

/* Lengths. */

static void
length_out_of_range_is_refused(void **state)
{
	const uint32_t lens[] = { 0, 1, 15, MAX_IMSGSIZE + 1, 0x10000000,
		0x7fffffff };
	struct rusage before, after;
	struct imsg_hdr hdr;
	struct pair *p;
	size_t i;

	/* Memory of the claimed size would be wiped, hence be resident. */
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		if (i > 0)
			assert_int_equal(pair_setup(state), 0);
		p = *state;
		hdr = header(5, lens[i]);
		raw_send(p, &hdr, sizeof(hdr), 0, NULL);
		assert_read_fails(p, ERANGE);
		if (i + 1 < sizeof(lens) / sizeof(lens[0]))
			assert_int_equal(pair_teardown(state), 0);
	}
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	assert_true(after.ru_maxrss - before.ru_maxrss < 64 * 1024);
}

static void
length_limit_is_that_of_the_channel(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE + 101);
	struct pair *p = *state;

	assert_int_equal(imsgbuf_set_maxsize(&p->b, 100), 0);
	raw_send(p, &hdr, sizeof(hdr), 0, NULL);
	assert_read_fails(p, ERANGE);
}

static void
nothing_follows_a_read_error(void **state)
{
	struct imsg_hdr good = header(1, IMSG_HEADER_SIZE);
	struct imsg_hdr bad = header(2, 3);
	struct pair *p = *state;
	ino_t ino;

	/* A good message with a descriptor before the bad one is dropped. */
	imsg_compose(&p->a, 1, 0, 0, new_file(&ino), NULL, 0);
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	raw_send(p, &bad, sizeof(bad), 0, NULL);
	assert_int_equal(imsgbuf_read(&p->b), -1);
	assert_int_equal(count_fds(), p->fds + 2);
	raw_send(p, &good, sizeof(good), 0, NULL);
	assert_read_fails(p, ERANGE);
	/* Not even the end of the stream. */
	pair_close_a(p);
	assert_read_fails(p, ERANGE);
}

/* Reading. */

static void
bytes_one_by_one(void **state)
{
	struct imsg_hdr hdr = header(5, IMSG_HEADER_SIZE + 4);
	struct pair *p = *state;
	unsigned char raw[20];
	struct imsg m;
	size_t i;

	memcpy(raw, &hdr, sizeof(hdr));
	memcpy(raw + sizeof(hdr), "abcd", 4);
	for (i = 0; i < sizeof(raw); i++) {
		assert_int_equal(imsgbuf_read(&p->b), 1);
		assert_int_equal(imsgbuf_get(&p->b, &m), 0);
		raw_send(p, raw + i, 1, 0, NULL);
		assert_int_equal(imsgbuf_read(&p->b), 1);
	}
	get_type(p, &m, 5);
	assert_memory_equal(m.data, "abcd", 4);
	imsg_free(&m);
}

static void
one_system_call_carries_many(void **state)
{
	struct pair *p = *state;
	struct imsg m;
	uint32_t i;
	ino_t ino;

	for (i = 0; i < 200; i++)
		assert_int_equal(
		    imsg_compose(&p->a, i, 0, 0, -1, &i, sizeof(i)), 1);
	nsend = nrecv = 0;
	carry(p);
	assert_int_equal(nsend, 1);
	assert_int_equal(nrecv, 1);
	for (i = 0; i < 200; i++) {
		get_type(p, &m, i);
		imsg_free(&m);
	}
	/* One more for each descriptor, as it must be at the front. */
	for (i = 0; i < 9; i++)
		assert_int_equal(
		    imsg_compose(&p->a, i, 0, 0,
			i == 3 || i == 6 ? new_file(&ino) : -1, NULL, 0),
		    1);
	nsend = 0;
	assert_int_equal(imsgbuf_write(&p->a), 0);
	assert_int_equal(nsend, 3);
}

static void
end_of_stream_comes_after_the_messages(void **state)
{
	struct imsg_hdr hdr = header(6, IMSG_HEADER_SIZE + 4);
	struct pair *p = *state;
	struct imsg m;

	imsg_compose(&p->a, 5, 0, 0, -1, "abc", 3);
	assert_int_equal(imsgbuf_write(&p->a), 0);
	/* The peer dies in the middle of the next one. */
	raw_send(p, &hdr, sizeof(hdr), 0, NULL);
	pair_close_a(p);
	assert_int_equal(imsgbuf_read(&p->b), 1);
	assert_int_equal(imsgbuf_read(&p->b), 0);
	assert_int_equal(imsgbuf_read(&p->b), 0);
	get_type(p, &m, 5);
	imsg_free(&m);
	assert_int_equal(imsgbuf_get(&p->b, &m), 0);
}

static void
on_signal(int sig)
{
	(void)sig;
}

/* Interrupts system calls every 50 ms from now on, until end_signals(). */
static timer_t
start_signals(void)
{
	struct itimerspec it = { { 0, 50000000 }, { 0, 50000000 } };
	struct sigaction sa;
	struct sigevent ev;
	timer_t timer;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
	memset(&ev, 0, sizeof(ev));
	ev.sigev_notify = SIGEV_SIGNAL;
	ev.sigev_signo = SIGUSR1;
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &it, NULL), 0);
	return timer;
}

static void
end_signals(timer_t timer)
{
	assert_int_equal(timer_delete(timer), 0);
}

static void
set_blocking(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
}

static void
wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) == -1)
		assert_int_equal(errno, EINTR);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
signals_do_not_end_a_blocking_read(void **state)
{
	struct pair *p = *state;
	timer_t timer;
	struct imsg m;
	pid_t pid;

	set_blocking(p->sb);
	assert_int_not_equal(pid = fork(), -1);
	if (pid == 0) {
		poll(NULL, 0, 300);
		imsg_compose(&p->a, 5, 0, 0, -1, NULL, 0);
		_exit(imsgbuf_write(&p->a) != 0);
	}
	timer = start_signals();
	assert_int_equal(imsgbuf_read(&p->b), 1);
	end_signals(timer);
	get_type(p, &m, 5);
	imsg_free(&m);
	wait_for(pid);
}

/* Writing. */

static void
partial_writes_resume(void **state)
{
	static unsigned char data[10000], *got;
	struct pair *p = *state;
	unsigned int stuck = 0;
	uint32_t i, next = 0;
	ino_t ino[60] = { 0 };
	int size = 4096;
	struct imsg m;

	assert_int_equal(
	    setsockopt(p->sa, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	for (i = 0; i < 60; i++) {
		memset(data, (int)i, sizeof(data));
		assert_int_equal(imsg_compose(&p->a, i, 0, 0,
				     i % 7 == 3 ? new_file(&ino[i]) : -1, data,
				     sizeof(data)),
		    1);
	}
	nrecv = 0;
	while (next < 60) {
		assert_true(nrecv < 10000);
		assert_int_equal(imsgbuf_write(&p->a), 0);
		stuck += imsgbuf_queuelen(&p->a) > 0;
		assert_int_equal(imsgbuf_read(&p->b), 1);
		while (imsgbuf_get(&p->b, &m) == 1) {
			assert_int_equal(imsg_get_type(&m), next);
			assert_int_equal(imsg_get_len(&m), sizeof(data));
			got = m.data;
			assert_int_equal(got[0], next);
			assert_int_equal(got[sizeof(data) - 1], next);
			if (next % 7 == 3)
				assert_brings(&m, ino[next]);
			else
				assert_brings_none(&m);
			next++;
		}
	}
	assert_true(stuck > 10);
	assert_int_equal(imsgbuf_queuelen(&p->a), 0);
	assert_int_equal(imsgbuf_queuebytes(&p->a), 0);
}

static void
short_of_buffers_means_later(void **state)
{
	const int later[] = { EAGAIN, ENOBUFS, EINTR };
	struct pair *p = *state;
	struct imsg m;
	size_t i;

	for (i = 0; i < 3; i++) {
		imsg_compose(&p->a, 1, 0, 0, -1, NULL, 0);
		send_errno = later[i];
		assert_int_equal(imsgbuf_write(&p->a), 0);
		assert_int_equal(imsgbuf_queuelen(&p->a), i < 2);
		carry(p);
		get_type(p, &m, 1);
		imsg_free(&m);
	}
	imsg_compose(&p->a, 2, 0, 0, -1, NULL, 0);
	send_errno = EIO;
	assert_int_equal(imsgbuf_write(&p->a), -1);
	assert_int_equal(errno, EIO);
	for (i = 0; i < 2; i++) {
		send_errno = later[i];
		assert_int_equal(imsgbuf_flush(&p->a), 0);
		assert_int_equal(imsgbuf_queuelen(&p->a), 0);
		imsg_compose(&p->a, 2, 0, 0, -1, NULL, 0);
	}
}

/* SIGPIPE has its default action here: it would end the test. */
static void
closed_peer_is_epipe_without_a_signal(void **state)
{
	struct pair *p = *state;
	ino_t ino;

	pair_close_a(p);
	imsg_compose(&p->b, 1, 0, 0, new_file(&ino), "abc", 3);
	assert_int_equal(imsgbuf_write(&p->b), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(imsgbuf_flush(&p->b), -1);
	assert_int_equal(errno, EPIPE);
}

static void
queue_is_bounded(void **state)
{
	static char data[1008];
	struct pair *p = *state;
	struct imsg m;
	uint32_t n;
	ino_t ino;
	int fd;

	for (n = 0; imsg_compose(&p->a, 1, 0, 0, -1, data, 1008) == 1; n++)
		assert_true(n <= 1024);
	assert_int_equal(errno, ENOBUFS);
	assert_int_equal(n, IMSG_QUEUE_MAX / 1024);
	assert_int_equal(imsgbuf_queuelen(&p->a), n);
	assert_int_equal(imsgbuf_queuebytes(&p->a), IMSG_QUEUE_MAX);
	/* The descriptor of what is refused stays with the caller. */
	fd = new_file(&ino);
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, fd, NULL, 0), -1);
	assert_int_equal(errno, ENOBUFS);
	assert_is_file(fd, ino);
	close(fd);
	assert_null(imsg_create(&p->a, 1, 0, 0, 0));
	assert_int_equal(errno, ENOBUFS);
	/* A lower limit than what is queued, then room again. */
	imsgbuf_set_queuemax(&p->a, 100);
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, -1, NULL, 0), -1);
	while (imsgbuf_queuelen(&p->a) > 0) {
		assert_int_equal(imsgbuf_write(&p->a), 0);
		assert_int_equal(imsgbuf_read(&p->b), 1);
		while (imsgbuf_get(&p->b, &m) == 1)
			imsg_free(&m);
	}
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, -1, data, 85), -1);
	assert_int_equal(imsg_compose(&p->a, 1, 0, 0, -1, data, 84), 1);
}

/* Headers cost memory, too. */
static void
queue_of_empty_messages_is_bounded(void **state)
{
	struct pair *p = *state;
	int n;

	imsgbuf_set_queuemax(&p->a, 160);
	for (n = 0; imsg_compose(&p->a, 1, 0, 0, -1, NULL, 0) == 1; n++)
		assert_true(n <= 10);
	assert_int_equal(errno, ENOBUFS);
	assert_int_equal(n, 10);
}

/* Flushing. */

static double
seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
fill(struct pair *p)
{
	static char data[10000];

	while (imsg_compose(&p->a, 1, 0, 0, -1, data, sizeof(data)) == 1)
		;
}

/* How flushing to a peer who does not read went; NULL is well. */
static const char *
flush_in_vain(struct pair *p)
{
	double real = seconds(CLOCK_MONOTONIC);
	double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

	if (imsgbuf_flush(&p->a) != -1 || errno != ETIMEDOUT)
		return "did not fail with ETIMEDOUT";
	real = seconds(CLOCK_MONOTONIC) - real;
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	if (real < IMSG_FLUSH_TIMEOUT - 1 || real > IMSG_FLUSH_TIMEOUT + 5)
		return "not at the deadline";
	if (cpu > 0.5)
		return "used the processor";
	if (imsgbuf_queuelen(&p->a) == 0)
		return "lost what is queued";
	return NULL;
}

/* Both kinds of socket at the same time, as it takes ten seconds. */
static void
flush_gives_up_without_spinning(void **state)
{
	struct pair *p = *state;
	const char *why;
	int sp[2];
	pid_t pid;

	assert_int_not_equal(pid = fork(), -1);
	if (pid == 0) {
		alarm(30);
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, sp) == -1)
			_exit(1);
		p->a.fd = sp[0];
		fill(p);
		if ((why = flush_in_vain(p)) != NULL)
			fprintf(stderr, "blocking: %s\n", why);
		_exit(why != NULL);
	}
	fill(p);
	if ((why = flush_in_vain(p)) != NULL)
		fail_msg("non-blocking: %s", why);
	wait_for(pid);
}

/* Takes pieces with pauses; returns how many messages came. */
static int
slow_reader(struct pair *p)
{
	struct imsg m;
	int n = 0, rv;

	close(p->sa);
	set_blocking(p->sb);
	poll(NULL, 0, 200);
	while ((rv = imsgbuf_read(&p->b)) == 1) {
		while (imsgbuf_get(&p->b, &m) == 1) {
			imsg_free(&m);
			n++;
		}
		poll(NULL, 0, 5);
	}
	return rv == 0 ? n : -1;
}

static void
flush_waits_for_a_slow_reader(void **state)
{
	struct pair *p = *state;
	timer_t timer;
	uint32_t queued;
	pid_t pid;

	fill(p);
	queued = imsgbuf_queuelen(&p->a);
	assert_int_not_equal(pid = fork(), -1);
	if (pid == 0) {
		alarm(30);
		_exit(slow_reader(p) != (int)queued);
	}
	timer = start_signals();
	assert_int_equal(imsgbuf_flush(&p->a), 0);
	end_signals(timer);
	assert_int_equal(imsgbuf_queuelen(&p->a), 0);
	assert_int_equal(imsgbuf_flush(&p->a), 0);
	pair_close_a(p);
	wait_for(pid);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PAIR_TEST(length_out_of_range_is_refused),
		PAIR_TEST(length_limit_is_that_of_the_channel),
		PAIR_TEST(nothing_follows_a_read_error),
		PAIR_TEST(bytes_one_by_one),
		PAIR_TEST(one_system_call_carries_many),
		PAIR_TEST(end_of_stream_comes_after_the_messages),
		PAIR_TEST(signals_do_not_end_a_blocking_read),
		PAIR_TEST(partial_writes_resume),
		PAIR_TEST(short_of_buffers_means_later),
		PAIR_TEST(closed_peer_is_epipe_without_a_signal),
		PAIR_TEST(queue_is_bounded),
		PAIR_TEST(queue_of_empty_messages_is_bounded),
		PAIR_TEST(flush_gives_up_without_spinning),
		PAIR_TEST(flush_waits_for_a_slow_reader),
	};

	/* Broken code may well wait for ever. */
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
