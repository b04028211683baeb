/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "chan.h"
#include "log.h"
#include "slow.h"

#define DEADLINE 60 /* seconds for all tests */
#define SETTLE_MS 5

/*
 * One end is a channel on the loop, what it does is noted in seen; the other
 * end is the peer, who is free to send what it likes.
 */
static struct {
	struct chan *chan;
	struct imsgbuf peer;
	int fd; /* of the peer, -1: closed */
	size_t fds; /* open before the test */
	char seen[8192];
	void (*act)(struct chan *); /* in the first dispatch */
} bed;

static size_t
count_fds(void)
{
	struct dirent *de;
	size_t n = 0;
	DIR *d;

	assert_non_null(d = opendir("/proc/self/fd"));
	while ((de = readdir(d)) != NULL)
		n += de->d_name[0] != '.';
	closedir(d);
	return n - 1;
}

static void note(const char *, ...) __attribute__((format(printf, 1, 2)));

static void
note(const char *fmt, ...)
{
	size_t len = strlen(bed.seen);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(bed.seen + len, sizeof(bed.seen) - len, fmt, ap);
	va_end(ap);
}

static void
sees(const char *expected)
{
	assert_string_equal(bed.seen, expected);
	bed.seen[0] = '\0';
}

static void
dispatch(struct chan *c, enum msg_type type, const void *payload, int fd)
{
	void (*act)(struct chan *) = bed.act;
	uint32_t first;

	assert_int_equal((uintptr_t)payload % sizeof(uint64_t), 0);
	memcpy(&first, payload, sizeof(first));
	note("%s %u%s\n", msg_name(type), first, fd == -1 ? "" : " fd");
	if (fd != -1)
		close(fd);
	bed.act = NULL;
	if (act != NULL)
		act(c);
}

static void
lost(struct chan *c, const char *why)
{
	note("lost: %s\n", why == NULL ? "end" : why);
	chan_close(c);
	free(c);
	bed.chan = NULL;
}

static void
open_between(enum proc_id me, enum proc_id peer)
{
	int sp[2];

	assert_int_equal(socketpair(AF_UNIX,
			     SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sp),
	    0);
	assert_non_null(bed.chan = calloc(1, sizeof(*bed.chan)));
	chan_open(bed.chan, sp[0], me, peer, dispatch, lost, NULL);
	bed.fd = sp[1];
	assert_int_equal(imsgbuf_init(&bed.peer, sp[1]), 0);
	imsgbuf_allow_fdpass(&bed.peer);
}

/* The engine, and a peer in the place of its parent. */
static int
setup(void **state)
{
	(void)state;
	memset(&bed, 0, sizeof(bed));
	bed.fds = count_fds();
	open_between(PROC_ENGINE, PROC_PARENT);
	return 0;
}

static void
peer_close(void)
{
	if (bed.fd == -1)
		return;
	imsgbuf_clear(&bed.peer);
	close(bed.fd);
	bed.fd = -1;
}

static int
teardown(void **state)
{
	(void)state;
	if (bed.chan != NULL)
		chan_close(bed.chan);
	free(bed.chan);
	bed.chan = NULL;
	peer_close();
	return count_fds() == bed.fds ? 0 : -1;
}

/* Another pair of processes than those of setup(). */
static void
instead_between(enum proc_id me, enum proc_id peer)
{
	chan_close(bed.chan);
	free(bed.chan);
	peer_close();
	open_between(me, peer);
}

static void
end(void *arg)
{
	(void)arg;
	loop_end(0);
}

/* The loop runs until nothing has arrived for a while. */
static void
settle(void)
{
	struct loop_timer t = { .at = 0 };
	size_t seen;

	do {
		seen = strlen(bed.seen);
		loop_timer_set(&t, SETTLE_MS * slow(), end, NULL);
		loop_run();
	} while (strlen(bed.seen) != seen);
}

static int
new_fd(void)
{
	int fd = memfd_create("chan", MFD_CLOEXEC);

	assert_int_not_equal(fd, -1);
	return fd;
}

/* Queues any message at the peer; its payload begins with a number. */
static void
queue_raw(uint32_t type, uint32_t first, size_t size, int fd)
{
	static uint8_t payload[MAX_IMSGSIZE];

	memcpy(payload, &first, sizeof(first));
	assert_int_equal(
	    imsg_compose(&bed.peer, type, 0, 0, fd, payload, size), 1);
}

static void
queue(enum msg_type type, uint32_t first)
{
	const struct msg_info *info = msg_info(type);

	queue_raw(type, first, info->size, info->fd ? new_fd() : -1);
}

static void
deliver(void)
{
	assert_int_equal(imsgbuf_write(&bed.peer), 0);
	assert_int_equal(imsgbuf_queuelen(&bed.peer), 0);
	settle();
}

static void
send_raw(uint32_t type, size_t size, int fd)
{
	queue_raw(type, 0, size, fd);
	deliver();
}

/* Receiving. */

static void
messages_arrive_in_order(void **state)
{
	char expected[4096] = "", line[64];
	uint32_t i;

	(void)state;
	for (i = 0; i < 100; i++) {
		if (i % 10 == 3)
			queue(MSG_PEER, i);
		else
			queue(MSG_VERBOSE, i);
		snprintf(line, sizeof(line), "%s %u%s\n",
		    i % 10 == 3 ? "MSG_PEER" : "MSG_VERBOSE", i,
		    i % 10 == 3 ? " fd" : "");
		strlcat(expected, line, sizeof(expected));
	}
	deliver();
	sees(expected);
}

static void
every_message_of_the_table_arrives(void **state)
{
	const struct msg_info *info;
	char expected[128];
	uint32_t type;

	(void)state;
	for (type = MSG_FIRST_UNUSED + 1; type < MSG_MAX; type++) {
		info = msg_info(type);
		instead_between((enum proc_id)__builtin_ctz(info->to),
		    (enum proc_id)__builtin_ctz(info->from));
		queue((enum msg_type)type, type);
		deliver();
		snprintf(expected, sizeof(expected), "%s %u%s\n", info->name,
		    type, info->fd ? " fd" : "");
		sees(expected);
	}
}

static void
wrong_sender_ends_it(void **state)
{
	(void)state;
	send_raw(MSG_READY, sizeof(struct msg_none), -1);
	sees("lost: MSG_READY: not a message of this sender\n");
}

static void
wrong_receiver_ends_it(void **state)
{
	(void)state;
	send_raw(MSG_MOUNTINFO, sizeof(struct msg_none), new_fd());
	sees("lost: MSG_MOUNTINFO: not a message to this receiver\n");
}

/* What the monitor may say to the engine a client may not. */
static void
client_is_no_monitor(void **state)
{
	(void)state;
	instead_between(PROC_ENGINE, PROC_CLIENT);
	send_raw(MSG_SCAN_DONE, sizeof(struct msg_none), -1);
	sees("lost: MSG_SCAN_DONE: not a message of this sender\n");
}

static void
wrong_size_ends_it(void **state)
{
	const size_t right = sizeof(struct msg_verbose);
	const size_t wrong[] = { 0, 1, right - 1, right + 1, 2 * right,
		MAX_IMSGSIZE - IMSG_HEADER_SIZE };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		send_raw(MSG_VERBOSE, wrong[i], -1);
		sees("lost: MSG_VERBOSE: wrong size\n");
		peer_close();
		open_between(PROC_ENGINE, PROC_PARENT);
	}
}

static void
missing_descriptor_ends_it(void **state)
{
	(void)state;
	send_raw(MSG_PEER, sizeof(struct msg_peer), -1);
	sees("lost: MSG_PEER: without its descriptor\n");
}

/* And is closed: teardown() counts. */
static void
surplus_descriptor_ends_it(void **state)
{
	(void)state;
	send_raw(MSG_VERBOSE, sizeof(struct msg_verbose), new_fd());
	sees("lost: MSG_VERBOSE: with a descriptor\n");
}

static void
unknown_type_ends_it(void **state)
{
	static const uint32_t types[] = { MSG_FIRST_UNUSED, MSG_MAX,
		UINT32_MAX };
	char expected[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		send_raw(types[i], 4, i == 1 ? new_fd() : -1);
		snprintf(expected, sizeof(expected),
		    "lost: message %u: no such message\n", types[i]);
		sees(expected);
		peer_close();
		open_between(PROC_ENGINE, PROC_PARENT);
	}
}

static void
garbage_ends_it(void **state)
{
	(void)state;
	assert_int_equal(write(bed.fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
	settle();
	assert_int_equal(strncmp(bed.seen, "lost: ", 6), 0);
	assert_string_not_equal(bed.seen, "lost: end\n");
	assert_null(bed.chan);
}

/* What came before counts, what comes behind does not. */
static void
nothing_counts_behind_a_violation(void **state)
{
	(void)state;
	queue(MSG_VERBOSE, 1);
	queue(MSG_PEER, 2);
	queue(MSG_MOUNTINFO, 3);
	queue(MSG_PEER, 4);
	queue(MSG_VERBOSE, 5);
	deliver();
	sees("MSG_VERBOSE 1\nMSG_PEER 2 fd\n"
	     "lost: MSG_MOUNTINFO: not a message to this receiver\n");
}

static void
data_before_the_end_counts(void **state)
{
	(void)state;
	queue(MSG_VERBOSE, 1);
	queue(MSG_PEER, 2);
	queue(MSG_VERBOSE, 3);
	assert_int_equal(imsgbuf_write(&bed.peer), 0);
	peer_close();
	settle();
	sees("MSG_VERBOSE 1\nMSG_PEER 2 fd\nMSG_VERBOSE 3\nlost: end\n");
}

/* The kernel tells it as a connection that was reset. */
static void
peer_that_did_not_read_has_ended_too(void **state)
{
	static const struct msg_none none;

	(void)state;
	chan_send(bed.chan, MSG_READY, &none, -1);
	queue(MSG_VERBOSE, 1);
	assert_int_equal(imsgbuf_write(&bed.peer), 0);
	peer_close();
	settle();
	sees("MSG_VERBOSE 1\nlost: end\n");
}

/* As when a write was the first to notice the end. */
static void
draining_brings_the_last_words(void **state)
{
	static const struct msg_none none;

	(void)state;
	queue(MSG_VERBOSE, 1);
	assert_int_equal(imsgbuf_write(&bed.peer), 0);
	peer_close();
	chan_send(bed.chan, MSG_READY, &none, -1);
	assert_true(bed.chan->dead);
	chan_drain(bed.chan);
	sees("MSG_VERBOSE 1\n");
	settle();
	sees("lost: end\n");
}

static void
half_a_message_is_an_end(void **state)
{
	struct imsg_hdr hdr = { MSG_VERBOSE, IMSG_HEADER_SIZE + 4, 0, 0 };

	(void)state;
	assert_int_equal(write(bed.fd, &hdr, sizeof(hdr)), sizeof(hdr));
	peer_close();
	settle();
	sees("lost: end\n");
}

/* In the middle of a dispatch. */

static void
close_it(struct chan *c)
{
	chan_close(c);
	chan_close(c);
}

static void
closed_during_dispatch(void **state)
{
	(void)state;
	bed.act = close_it;
	queue(MSG_VERBOSE, 1);
	queue(MSG_PEER, 2);
	queue(MSG_VERBOSE, 3);
	deliver();
	sees("MSG_VERBOSE 1\n");
	assert_int_equal(chan_is_open(bed.chan), 0);
	settle();
	sees("");
}

static void
fail_it(struct chan *c)
{
	chan_fail(c, "had enough");
	chan_fail(c, "more than enough");
	note("failed\n");
}

static void
failed_during_dispatch(void **state)
{
	(void)state;
	bed.act = fail_it;
	queue(MSG_VERBOSE, 1);
	queue(MSG_PEER, 2);
	deliver();
	sees("MSG_VERBOSE 1\nfailed\nlost: had enough\n");
}

static void
fail_and_close_it(struct chan *c)
{
	chan_fail(c, "had enough");
	chan_close(c);
}

static void
closed_after_it_failed(void **state)
{
	(void)state;
	bed.act = fail_and_close_it;
	queue(MSG_VERBOSE, 1);
	queue(MSG_VERBOSE, 2);
	deliver();
	sees("MSG_VERBOSE 1\n");
}

/* Sending. */

static void
peer_gets(enum msg_type type, int with_fd)
{
	struct imsg m;
	int fd;

	assert_int_equal(imsgbuf_get(&bed.peer, &m), 1);
	assert_int_equal(imsg_get_type(&m), type);
	assert_int_equal(imsg_get_len(&m), msg_info(type)->size);
	fd = imsg_get_fd(&m);
	assert_int_equal(fd != -1, with_fd);
	if (fd != -1)
		close(fd);
	imsg_free(&m);
}

static void
answer_it(struct chan *c)
{
	static const struct msg_open_device open = { 7, 3, 22 };
	static const struct msg_none none;

	chan_send(c, MSG_READY, &none, -1);
	chan_send(c, MSG_OPEN_DEVICE, &open, -1);
}

static void
answers_are_sent_at_once(void **state)
{
	(void)state;
	bed.act = answer_it;
	queue(MSG_VERBOSE, 1);
	deliver();
	assert_int_equal(imsgbuf_read(&bed.peer), 1);
	peer_gets(MSG_READY, 0);
	peer_gets(MSG_OPEN_DEVICE, 0);
}

static void
descriptors_are_sent_and_closed_here(void **state)
{
	static const struct msg_peer peer = { PROC_MONITOR };
	size_t n;

	(void)state;
	instead_between(PROC_PARENT, PROC_ENGINE);
	n = count_fds();
	chan_send(bed.chan, MSG_PEER, &peer, new_fd());
	/* In flight it is open in no process. */
	assert_int_equal(count_fds(), n);
	assert_int_equal(imsgbuf_read(&bed.peer), 1);
	peer_gets(MSG_PEER, 1);
}

/* Fills the socket until something has to wait; how many that took. */
static unsigned int
fill(enum msg_type type, const void *payload)
{
	unsigned int n = 0;

	while (imsgbuf_queuelen(&bed.chan->ibuf) == 0) {
		chan_send(bed.chan, type, payload, -1);
		assert_true(++n < 100000);
	}
	return n;
}

static void
slow_reader_gets_all(void **state)
{
	static const struct msg_open_device open;
	unsigned int n, i, got = 0;
	struct imsg m;

	(void)state;
	n = fill(MSG_OPEN_DEVICE, &open);
	for (i = 0; i < 1000; i++, n++)
		chan_send(bed.chan, MSG_OPEN_DEVICE, &open, -1);
	for (i = 0; i < 1000 && got < n; i++) {
		settle();
		assert_int_equal(imsgbuf_read(&bed.peer), 1);
		while (imsgbuf_get(&bed.peer, &m) == 1) {
			got++;
			imsg_free(&m);
		}
	}
	assert_int_equal(got, n);
	assert_int_equal(imsgbuf_queuelen(&bed.chan->ibuf), 0);
	/* And it still listens. */
	queue(MSG_VERBOSE, 1);
	deliver();
	sees("MSG_VERBOSE 1\n");
}

static void
reader_that_is_stuck_is_given_up(void **state)
{
	static const struct msg_peer peer = { PROC_MONITOR };
	static const struct msg_vm vm;
	unsigned int i;
	size_t n;

	(void)state;
	instead_between(PROC_PARENT, PROC_ENGINE);
	for (i = 0; i < 100000 && !bed.chan->dead; i++)
		chan_send(bed.chan, MSG_CONF_VM, &vm, -1);
	assert_true(imsgbuf_queuebytes(&bed.chan->ibuf) <= IMSG_QUEUE_MAX);
	assert_true(i < 100000);
	sees("");
	/* What is sent from now on is dropped, descriptors too. */
	n = count_fds();
	chan_send(bed.chan, MSG_PEER, &peer, new_fd());
	assert_int_equal(count_fds(), n);
	settle();
	sees("lost: does not read\n");
}

static void
sending_to_nobody_is_an_end(void **state)
{
	static const struct msg_none none;

	(void)state;
	peer_close();
	chan_send(bed.chan, MSG_READY, &none, -1);
	chan_send(bed.chan, MSG_READY, &none, -1);
	sees("");
	settle();
	sees("lost: end\n");
}

static void
flush_waits_for_the_reader(void **state)
{
	static const struct msg_open_device open;
	char buf[4096];
	int status;
	pid_t pid;

	(void)state;
	fill(MSG_OPEN_DEVICE, &open);
	assert_int_not_equal(pid = fork(), -1);
	if (pid == 0) {
		close(bed.chan->ibuf.fd);
		fcntl(bed.fd, F_SETFL, 0);
		while (read(bed.fd, buf, sizeof(buf)) > 0)
			;
		_exit(0);
	}
	assert_int_equal(chan_flush(bed.chan), 0);
	assert_int_equal(imsgbuf_queuelen(&bed.chan->ibuf), 0);
	chan_close(bed.chan);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Whoever queues a lot asks for no more than whether it may go on. */
static void
flush_to_nobody_fails(void **state)
{
	static const struct msg_open_device open;

	(void)state;
	fill(MSG_OPEN_DEVICE, &open);
	peer_close();
	assert_int_equal(chan_flush(bed.chan), -1);
	assert_true(bed.chan->dead);
	assert_int_equal(chan_flush(bed.chan), -1);
	assert_int_equal(errno, EPIPE);
	chan_close(bed.chan);
	assert_int_equal(chan_flush(bed.chan), -1);
	assert_int_equal(errno, EPIPE);
}

/* Clients. */

static void
client_gives_no_descriptors(void **state)
{
	size_t n;

	(void)state;
	instead_between(PROC_ENGINE, PROC_CLIENT);
	n = count_fds();
	queue_raw(MSG_CTL_SHOW_VMS, 1, sizeof(struct msg_none), new_fd());
	deliver();
	sees("MSG_CTL_SHOW_VMS 1\n");
	assert_int_equal(count_fds(), n);
}

/* What ends the process, tried in a child with a loop of its own. */

static int
status_of(void (*f)(void))
{
	int status;
	pid_t pid;

	assert_int_not_equal(pid = fork(), -1);
	if (pid == 0) {
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		/* No chan_close: both share the epoll(7) set. */
		imsgbuf_clear(&bed.chan->ibuf);
		imsgbuf_clear(&bed.peer);
		free(bed.chan);
		loop_init();
		f();
		_exit(42);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
send_in_the_wrong_direction(void)
{
	static const struct msg_verbose verbose;

	open_between(PROC_ENGINE, PROC_PARENT);
	chan_send(bed.chan, MSG_VERBOSE, &verbose, -1);
}

static void
send_without_descriptor(void)
{
	static const struct msg_peer peer;

	open_between(PROC_PARENT, PROC_ENGINE);
	chan_send(bed.chan, MSG_PEER, &peer, -1);
}

static void
our_own_mistakes_are_fatal(void **state)
{
	(void)state;
	assert_int_equal(status_of(send_in_the_wrong_direction), 1);
	assert_int_equal(status_of(send_without_descriptor), 1);
}

static void
parent_breaks_the_protocol(void)
{
	open_between(PROC_ENGINE, PROC_PARENT);
	chan_lost_fatal(bed.chan, "why");
}

static void
parent_ends(void)
{
	open_between(PROC_ENGINE, PROC_PARENT);
	chan_lost_fatal(bed.chan, NULL);
}

static void
sibling_ends(void)
{
	open_between(PROC_ENGINE, PROC_MONITOR);
	chan_lost_fatal(bed.chan, NULL);
	if (chan_is_open(bed.chan))
		_exit(43);
}

static void
losing_a_channel_to_another_process(void **state)
{
	(void)state;
	assert_int_equal(status_of(parent_breaks_the_protocol), 1);
	assert_int_equal(status_of(parent_ends), 0);
	assert_int_equal(status_of(sibling_ends), 42);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_arrive_in_order),
		TEST(every_message_of_the_table_arrives),
		TEST(wrong_sender_ends_it),
		TEST(wrong_receiver_ends_it),
		TEST(client_is_no_monitor),
		TEST(wrong_size_ends_it),
		TEST(missing_descriptor_ends_it),
		TEST(surplus_descriptor_ends_it),
		TEST(unknown_type_ends_it),
		TEST(garbage_ends_it),
		TEST(nothing_counts_behind_a_violation),
		TEST(data_before_the_end_counts),
		TEST(peer_that_did_not_read_has_ended_too),
		TEST(draining_brings_the_last_words),
		TEST(half_a_message_is_an_end),
		TEST(closed_during_dispatch),
		TEST(failed_during_dispatch),
		TEST(closed_after_it_failed),
		TEST(answers_are_sent_at_once),
		TEST(descriptors_are_sent_and_closed_here),
		TEST(slow_reader_gets_all),
		TEST(reader_that_is_stuck_is_given_up),
		TEST(sending_to_nobody_is_an_end),
		TEST(flush_waits_for_the_reader),
		TEST(flush_to_nobody_fails),
		TEST(client_gives_no_descriptors),
		TEST(our_own_mistakes_are_fatal),
		TEST(losing_a_channel_to_another_process),
	};

	alarm(DEADLINE * slow());
	signal(SIGPIPE, SIG_IGN);
	loop_init();
	log_init(PROC_ENGINE, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
