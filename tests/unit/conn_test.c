/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conn.h"
#include "log.h"

#define GREETING                                                           \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 1, \"minor\": 2, " \
	"\"major\": 7}}}}\r\n"

static const struct conn_patience patience = { QMP_TIMEOUT_DEFAULT,
	QMP_TIMEOUT_DEFAULT };

/* A connection, and the end that a QEMU would have. */
static struct {
	struct conn conn;
	int peer;
	size_t fds; /* open before */
	int greeted;
	int events;
	int lost;
	enum qmp_end end;
	char why[MSG_TEXT_MAX];
	int order[2048]; /* of the answers */
	enum reply_type types[2048];
	unsigned int norder;
} t;

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

static void
end_step(void *arg)
{
	(void)arg;
	loop_end(0);
}

/* Lets the loop run for some milliseconds. */
static void
step(uint64_t ms)
{
	struct loop_timer timer = { .at = 0 };

	loop_timer_set(&timer, ms, end_step, NULL);
	loop_run();
}

static void
on_greeting(void *owner, const char *version)
{
	assert_ptr_equal(owner, &t);
	assert_string_equal(version, "7.2.1");
	t.greeted++;
}

static void
on_event(void *owner, const char *name, yajl_val data)
{
	(void)name;
	(void)data;
	assert_ptr_equal(owner, &t);
	t.events++;
}

static void
on_lost(void *owner, enum qmp_end end, const char *why)
{
	assert_ptr_equal(owner, &t);
	t.lost++;
	t.end = end;
	strlcpy(t.why, why, sizeof(t.why));
	conn_close(&t.conn);
}

static void
on_reply(void *owner, const struct reply *reply, void *arg)
{
	assert_ptr_equal(owner, &t);
	assert_true(t.norder < 2048);
	t.types[t.norder] = reply->type;
	t.order[t.norder++] = (int)(intptr_t)arg;
}

static const struct conn_ops ops = {
	.greeting = on_greeting, .event = on_event, .lost = on_lost
};

static int
setup(void **state)
{
	int fds[2];

	(void)state;
	memset(&t, 0, sizeof(t));
	t.fds = count_fds();
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	t.peer = fds[1];
	conn_open(&t.conn, fds[0], "vm", &patience, &ops, &t);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	conn_close(&t.conn);
	if (t.peer != -1)
		close(t.peer);
	assert_int_equal(count_fds(), t.fds);
	return 0;
}

static void
say(const char *text)
{
	assert_int_equal(write(t.peer, text, strlen(text)), strlen(text));
	step(5);
}

static void
ask(const char *command, int number)
{
	conn_begin(&t.conn, command);
	conn_add(&t.conn, 0, on_reply, (void *)(intptr_t)number);
}

/* One byte, as QEMU reads; -1 if there is none. *fd: that came with it. */
static int
get_byte(int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char c;
	struct iovec iov = { &c, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	msg.msg_control = control.buf;
	msg.msg_controllen = sizeof(control.buf);
	*fd = -1;
	if (recvmsg(t.peer, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return -1;
	if ((cmsg = CMSG_FIRSTHDR(&msg)) != NULL)
		memcpy(fd, CMSG_DATA(cmsg), sizeof(int));
	return (unsigned char)c;
}

static void
descriptor_comes_with_its_command(void **state)
{
	static char text[512 * 1024];
	size_t len = 0, nfds = 0, idle = 0;
	int size = 1, c, fd, i, n;

	(void)state;
	say(GREETING);
	setsockopt(t.conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (i = 0; i < 300; i++) {
		ask(i % 50 == 7 ? "add-fd" : "query-status", i);
		/* More than the socket takes at once. */
		for (n = i % 50 == 7 ? 60 : 1; n > 0; n--)
			ask("remove-fd", i);
		conn_send(&t.conn,
		    i % 50 == 7 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1);
	}
	/* Most of it waits, four of the descriptors at least with it. */
	assert_true(count_fds() >= t.fds + 2 + 4);
	while (idle < 20) {
		if ((c = get_byte(&fd)) == -1) {
			step(1);
			idle++;
			continue;
		}
		idle = 0;
		assert_true(len < sizeof(text) - 1);
		text[len++] = (char)c;
		if (fd == -1)
			continue;
		/* It came with the brace that opens its command. */
		close(fd);
		nfds++;
		assert_int_equal(c, '{');
		assert_true(len == 1 || text[len - 2] == '\n');
		for (i = 0; i < 20; i++)
			text[len++] = (char)get_byte(&fd);
		assert_non_null(memmem(text + len - 21, 21, "add-fd", 6));
	}
	assert_int_equal(nfds, 6);
	assert_int_equal(count_fds(), t.fds + 2);
	/* Nothing was lost or doubled. */
	text[len] = '\0';
	for (i = 0, len = 0; text[len] != '\0'; len++)
		i += strncmp(text + len, "\"execute\"", 9) == 0;
	assert_int_equal(i, 600 + 6 * 59);
	assert_int_equal(t.lost, 0);
}

static void
answers_in_order(void **state)
{
	(void)state;
	say(GREETING);
	assert_int_equal(t.greeted, 1);
	ask("a", 1);
	ask("b", 2);
	ask("c", 3);
	conn_send(&t.conn, -1);
	say("{\"return\": {}, \"id\": 0}\r\n{\"event\": \"X\"}\r\n"
	    "{\"error\": {\"class\": \"c\", \"desc\": \"d\"}, \"id\": 1}\r\n");
	assert_int_equal(t.norder, 2);
	assert_int_equal(t.order[0], 1);
	assert_int_equal(t.types[0], REPLY_RETURN);
	assert_int_equal(t.order[1], 2);
	assert_int_equal(t.types[1], REPLY_ERROR);
	assert_int_equal(t.events, 1);
	say("{\"return\": {}, \"id\": 3}\r\n");
	assert_int_equal(t.lost, 1);
	assert_int_equal(t.end, QMP_END_PROTOCOL);
	assert_int_equal(t.norder, 3);
	assert_int_equal(t.order[2], 3);
	assert_int_equal(t.types[2], REPLY_LOST);
}

static void
nothing_after_the_fault_counts(void **state)
{
	char why[MSG_TEXT_MAX];

	(void)state;
	say(GREETING "what\r\n{\"event\": \"X\"}\r\n");
	assert_int_equal(t.lost, 1);
	assert_int_equal(t.events, 0);
	snprintf(why, sizeof(why),
	    "sent something that is not QMP at byte %zu: not JSON",
	    sizeof(GREETING) - 1);
	assert_string_equal(t.why, why);
}

static void
descriptor_that_never_went_is_closed(void **state)
{
	int size = 1, i;

	(void)state;
	say(GREETING);
	setsockopt(t.conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (i = 0; i < 300; i++) {
		ask("add-fd", i);
		conn_send(&t.conn, open("/dev/null", O_RDWR | O_CLOEXEC));
	}
	assert_true(count_fds() > t.fds + 100);
	conn_close(&t.conn);
	assert_int_equal(t.norder, 300);
	assert_int_equal(count_fds(), t.fds + 1);
	/* Not open: taken and closed. */
	conn_send(&t.conn, open("/dev/null", O_RDWR | O_CLOEXEC));
	assert_int_equal(count_fds(), t.fds + 1);
}

static void
commands_are_bounded(void **state)
{
	int i;

	(void)state;
	say(GREETING);
	for (i = 0; i < 2000; i++) {
		ask("query-status", i);
		conn_send(&t.conn, -1);
	}
	step(5);
	assert_int_equal(t.lost, 1);
	assert_string_equal(t.why, "1025 commands wait for an answer");
	assert_int_equal(t.norder, 2000);
}

static void
long_command_is_no_disaster(void **state)
{
	char text[CONN_COMMAND_LEN];

	(void)state;
	say(GREETING);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	json_str(conn_begin(&t.conn, "qom-list"), "path", text);
	conn_add(&t.conn, 0, on_reply, NULL);
	conn_send(&t.conn, -1);
	step(5);
	assert_int_equal(t.lost, 1);
	assert_string_equal(t.why, "qom-list would be too long");
}

static void
peer_that_is_gone(void **state)
{
	(void)state;
	say(GREETING);
	close(t.peer);
	t.peer = -1;
	ask("query-status", 1);
	conn_send(&t.conn, -1);
	step(5);
	assert_int_equal(t.lost, 1);
	assert_int_equal(t.end, QMP_END_CLOSED);
	assert_string_equal(t.why, "closed by QEMU");
	assert_int_equal(t.types[0], REPLY_LOST);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		T(descriptor_comes_with_its_command),
		T(answers_in_order),
		T(nothing_after_the_fault_counts),
		T(descriptor_that_never_went_is_closed),
		T(commands_are_bounded),
		T(long_command_is_no_disaster),
		T(peer_that_is_gone),
	};

	log_init(PROC_QMPCLIENT, 0);
	loop_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
