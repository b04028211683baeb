/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/prctl.h>
#include <sys/socket.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "acts.h"
#include "log.h"
#include "parent.h"
#include "sandbox.h"
#include "spawn.h"
#include "spawner.h"
#include "trap.h"

#define ANSWER_DEADLINE 5000 /* ms */

struct request {
	uint32_t proc;
	char promises[CONF_PROMISES_MAX];
};

struct answer {
	int32_t pid; /* -1: see error */
	int32_t error;
};

static const char *const events_options[] = { [EVENTS_AUTO] = "auto",
	[EVENTS_UDEV] = "udev",
	[EVENTS_KERNEL] = "kernel" };

static pid_t pid;
static int channel = -1;

/* The spawner */

static char directory[PATH_MAX];
static struct spawn how[PROC_MAX];

static void
spawner_prepare(const struct conf *conf, int debug, int verbose)
{
	enum proc_id proc;

	if (spawn_dir(directory, sizeof(directory)) == -1)
		fatal("cannot find the directory of the other programs");
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		how[proc].debug = debug;
		how[proc].verbose = verbose;
		how[proc].user = users_ids(proc);
		how[proc].sibling = 1;
	}
	how[PROC_MONITOR].option = events_options[conf->events];
}

/* The parent ends it, and nobody else. */
static void
spawner_ignore_signals(void)
{
	static const int list[] = { SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1 };
	size_t i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (signal(list[i], SIG_IGN) == SIG_ERR)
			fatal("signal");
}

static void
spawner_confine(int debug)
{
	const char *errstr;

	if (prctl(PR_SET_NAME, "usbmgrd-spawner", 0, 0, 0) == -1 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1)
		fatal("prctl");
	if (trap_install(NULL) == -1)
		fatal("sigaction");
	if ((!debug && sandbox_no_dump(&errstr) == -1) ||
	    sandbox_enter(PROC_SPAWNER, NULL, NULL, &errstr) == -1)
		fatal("%s", errstr);
}

/* The child checks them once more. */
static void
check_request(const struct request *request)
{
	char word[64];

	if (request->proc < PROC_FIRST_CHILD || request->proc > PROC_LAST_CHILD)
		fatalx("usbmgrd broke the protocol: process that is none");
	if (!msg_string_ok(request->promises, sizeof(request->promises)) ||
	    sandbox_check_promises((enum proc_id)request->proc,
		request->promises, word, sizeof(word)) == -1)
		fatalx("usbmgrd broke the protocol: promises that %s has not",
		    proc_name((enum proc_id)request->proc));
}

/* The descriptor that came with the request; ends at the parent's end. */
static int
spawner_receive(struct request *request)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = request, .iov_len = sizeof(*request) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	const struct cmsghdr *cmsg;
	ssize_t n;
	int fd;

	while ((n = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC)) == -1)
		if (errno != EINTR)
			fatal("recvmsg");
	if (n == 0)
		_exit(0);
	cmsg = CMSG_FIRSTHDR(&msg);
	if (n != (ssize_t)sizeof(*request) || cmsg == NULL ||
	    (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
	    cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
	    cmsg->cmsg_len != CMSG_LEN(sizeof(fd)))
		fatalx("usbmgrd broke the protocol: request that is none");
	check_request(request);
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

static void __attribute__((__noreturn__)) spawner_run(void)
{
	struct request request;
	struct answer answer;
	int fd;

	for (;;) {
		fd = spawner_receive(&request);
		acts_run(PROC_SPAWNER);
		how[request.proc].promises = request.promises;
		answer.pid = spawn_child((enum proc_id)request.proc, directory,
		    &how[request.proc], fd);
		answer.error = errno;
		close(fd);
		if (write(channel, &answer, sizeof(answer)) == -1)
			fatal("write");
	}
}

static void __attribute__((__noreturn__)) spawner_main(int fd, int debug)
{
	log_init(PROC_SPAWNER, 1);
	setproctitle("spawner");
	channel = fd;
	spawner_ignore_signals();
	spawner_confine(debug);
	spawner_run();
}

/* The parent */

void
spawner_init(const struct conf *conf, int debug, int verbose)
{
	int fds[2];

	spawner_prepare(conf, debug, verbose);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == -1)
		fatal("socketpair");
	switch (pid = fork()) {
	case -1:
		fatal("fork");
	case 0:
		close(fds[0]);
		spawner_main(fds[1], debug);
	}
	close(fds[1]);
	channel = fds[0];
}

static int
spawner_send(enum proc_id proc, const char *promises, int fd)
{
	struct request request = { .proc = proc };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = &request, .iov_len = sizeof(request) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	struct cmsghdr *cmsg;

	strlcpy(request.promises, promises, sizeof(request.promises));
	memset(&control, 0, sizeof(control));
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(channel, &msg, MSG_NOSIGNAL) == -1 ? -1 : 0;
}

static pid_t
spawner_answer(void)
{
	struct pollfd pfd = { .fd = channel, .events = POLLIN };
	struct answer answer;
	ssize_t n;

	if (poll(&pfd, 1, ANSWER_DEADLINE) != 1)
		n = -1;
	else
		n = read(channel, &answer, sizeof(answer));
	if (n != (ssize_t)sizeof(answer)) {
		/* A late answer would be taken for that of the next request. */
		kill(pid, SIGKILL);
		errno = EPIPE;
		return -1;
	}
	errno = answer.error;
	return answer.pid > 0 ? answer.pid : -1;
}

pid_t
spawner_start(enum proc_id proc, const char *promises, int fd)
{
	pid_t child = -1;
	int saved;

	if (spawner_send(proc, promises, fd) == 0)
		child = spawner_answer();
	saved = errno;
	close(fd);
	errno = saved;
	return child;
}

pid_t
spawner_pid(void)
{
	return pid;
}

void
spawner_stop(void)
{
	if (channel != -1)
		close(channel);
	channel = -1;
}
