/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "spawn.h"

#ifndef SBINDIR
#define SBINDIR "/usr/local/sbin"
#endif
#ifndef LIBEXECDIR
#define LIBEXECDIR "/usr/local/libexec/usbmgrd"
#endif

#define SELF "/proc/self/exe"
#define ARGS_MAX 11

int
spawn_dir(char *buf, size_t size)
{
	char path[PATH_MAX];
	const char *dir = path;
	ssize_t n;

	if ((n = readlink(SELF, path, sizeof(path))) == -1)
		return -1;
	if ((size_t)n == sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	path[n] = '\0';
	*strrchr(path, '/') = '\0';
	if (strcmp(path, SBINDIR) == 0)
		dir = LIBEXECDIR;
	if (strlcpy(buf, dir, size) >= size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

/* dup2 onto itself would leave close-on-exec set. */
static int
move_channel(int fd)
{
	if (fd == PROC_PARENT_FD)
		return fcntl(fd, F_SETFD, 0);
	return dup2(fd, PROC_PARENT_FD);
}

/* exec keeps what is blocked and what is ignored. */
static void
reset_signals(void)
{
	sigset_t none;
	int signo;

	for (signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
run_child(const char *path, const char *const *args, int fd)
{
	static char *const no_environment[] = { NULL };
	char *argv[ARGS_MAX];

	memcpy(argv, args, sizeof(argv));
	reset_signals();
	if (move_channel(fd) == -1)
		err(127, "channel of %s", args[0]);
	closefrom(PROC_PARENT_FD + 1);
	execve(path, argv, no_environment);
	err(127, "cannot run %s", path);
}

/* argv[0] and path differ for the engine: its file may have been replaced. */
static int
find_file(enum proc_id proc, const char *dir, char *path, size_t size)
{
	int n;

	if (proc == PROC_ENGINE)
		n = snprintf(path, size, SELF);
	else
		n = snprintf(path, size, "%s/%s", dir, proc_table[proc].file);
	if (n >= 0 && (size_t)n < size)
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

static int
add_option(const char **args, int n, const char *letter, const char *value)
{
	if (value == NULL)
		return n;
	args[n++] = letter;
	args[n++] = value;
	return n;
}

pid_t
spawn_child(
    enum proc_id proc, const char *dir, const struct spawn *how, int *chan_fd)
{
	const char *args[ARGS_MAX] = { proc_table[proc].file };
	char path[PATH_MAX];
	int fds[2], n = 1, saved;
	pid_t pid;

	*chan_fd = -1;
	if (proc == PROC_ENGINE)
		args[n++] = "-E";
	if (how->debug)
		args[n++] = "-d";
	if (how->verbose)
		args[n++] = "-v";
	n = add_option(args, n, "-o", how->option);
	n = add_option(args, n, "-p", how->promises);
	n = add_option(args, n, "-u", how->user);
	if (find_file(proc, dir, path, sizeof(path)) == -1 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		fds) == -1)
		return -1;
	switch (pid = fork()) {
	case 0:
		run_child(path, args, fds[1]);
		_exit(127);
	case -1:
		saved = errno;
		close(fds[0]);
		close(fds[1]);
		errno = saved;
		return -1;
	}
	close(fds[1]);
	*chan_fd = fds[0];
	return pid;
}
