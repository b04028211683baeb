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

#include <sys/wait.h>

#include "spawner.c"

/*
 * What a spawner makes of a request: it starts a process and goes on, or ends
 * with that word in its line on stderr.  There is no program to be executed.
 */
static int
serves(const struct request *request, size_t size, const char *word)
{
	char text[256] = "";
	int fds[2], err[2], status;
	struct answer answer = { .pid = 0 };
	pid_t spawner;

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(pipe(err), 0);
	assert_true((spawner = fork()) >= 0);
	if (spawner == 0) {
		dup2(err[1], STDERR_FILENO);
		log_init(PROC_SPAWNER, 1);
		strlcpy(directory, "/nonexistent", sizeof(directory));
		channel = fds[1];
		close(fds[0]);
		spawner_run();
	}
	close(fds[1]);
	close(err[1]);
	channel = fds[0];
	if (size == sizeof(*request))
		assert_int_equal(spawner_send((enum proc_id)request->proc,
				     request->promises, err[0]),
		    0);
	else
		assert_int_equal(write(channel, request, size), size);
	if (word == NULL)
		assert_int_equal(
		    read(channel, &answer, sizeof(answer)), sizeof(answer));
	close(channel);
	assert_int_equal(waitpid(spawner, &status, 0), spawner);
	assert_true(read(err[0], text, sizeof(text) - 1) >= 0);
	close(err[0]);
	if (word == NULL)
		return answer.pid > 0 && status == 0;
	assert_non_null(strstr(text, word));
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static int
asked(uint32_t proc, const char *promises, const char *word)
{
	struct request request = { .proc = proc };

	strlcpy(request.promises, promises, sizeof(request.promises));
	return serves(&request, sizeof(request), word);
}

static void
starts_with_promises_that_are_built_in(void **state)
{
	(void)state;
	assert_true(asked(PROC_MONITOR, "stdio rpath uevent", NULL));
	assert_true(asked(PROC_MONITOR, "uevent stdio", NULL));
	assert_true(asked(PROC_QMPCLIENT, "", NULL));
}

static void
ends_at_promises_that_are_not(void **state)
{
	static const char word[] = "broke the protocol: promises";

	(void)state;
	assert_true(asked(PROC_MONITOR, "stdio exec", word));
	assert_true(asked(PROC_MONITOR, "stdio recvfd", word));
	assert_true(asked(PROC_QMPCLIENT, "all", word));
}

static void
ends_at_a_process_that_it_does_not_start(void **state)
{
	static const char word[] = "broke the protocol: process";

	(void)state;
	assert_true(asked(PROC_PARENT, "", word));
	assert_true(asked(PROC_SPAWNER, "", word));
	assert_true(asked(PROC_MAX, "", word));
	assert_true(asked(UINT32_MAX, "", word));
}

static void
ends_at_a_request_that_is_none(void **state)
{
	struct request request = { .proc = PROC_MONITOR };

	(void)state;
	assert_true(serves(&request, sizeof(request.proc), "that is none"));
	assert_true(serves(&request, sizeof(request) - 1, "that is none"));
}

/* spawner_send cannot be made to send such. */
static void
promises_end(void **state)
{
	struct request request = { .proc = PROC_MONITOR };
	int status;
	pid_t child;

	(void)state;
	memset(request.promises, ' ', sizeof(request.promises));
	assert_true((child = fork()) >= 0);
	if (child == 0) {
		close(STDERR_FILENO);
		check_request(&request);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	request.promises[sizeof(request.promises) - 1] = '\0';
	check_request(&request);
}

static void
order_of_promises_does_not_count(void **state)
{
	(void)state;
	assert_true(sandbox_same_promises("stdio rpath", "rpath \t stdio"));
	assert_true(sandbox_same_promises("", " "));
	assert_true(sandbox_same_promises("stdio", "stdio stdio"));
	assert_false(sandbox_same_promises("stdio rpath", "stdio"));
	assert_false(sandbox_same_promises("stdio", "stdio rpath"));
	assert_false(sandbox_same_promises("stdio", ""));
	assert_false(sandbox_same_promises("rpath", "rpat"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_with_promises_that_are_built_in),
		cmocka_unit_test(ends_at_promises_that_are_not),
		cmocka_unit_test(ends_at_a_process_that_it_does_not_start),
		cmocka_unit_test(ends_at_a_request_that_is_none),
		cmocka_unit_test(promises_end),
		cmocka_unit_test(order_of_promises_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
