/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <sys/syscall.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
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

/* Where sbin is a link to bin, this program is in bin by its own name. */
static int
is_sbin(const char *dir)
{
	struct stat sbin, st;

	return stat(SBINDIR, &sbin) == 0 && stat(dir, &st) == 0 &&
	       st.st_dev == sbin.st_dev && st.st_ino == sbin.st_ino;
}

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
	if (is_sbin(path))
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

/*
 * fork(3) cannot do the one; CLONE_PARENT and what it means for SIGCHLD and
 * PR_SET_PDEATHSIG are in clone(2).
 */
static pid_t
fork_for(const struct spawn *how)
{
	unsigned long flags = SIGCHLD;

	if (how->sibling)
		flags |= CLONE_PARENT;
	return (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
}

pid_t
spawn_child(enum proc_id proc, const char *dir, const struct spawn *how, int fd)
{
	const char *args[ARGS_MAX] = { proc_table[proc].file };
	char path[PATH_MAX];
	int n = 1;
	pid_t pid;

	if (proc == PROC_ENGINE)
		args[n++] = "-E";
	if (how->debug)
		args[n++] = "-d";
	if (how->verbose)
		args[n++] = "-v";
	n = add_option(args, n, "-o", how->option);
	n = add_option(args, n, "-p", how->promises);
	add_option(args, n, "-u", how->user);
	if (find_file(proc, dir, path, sizeof(path)) == -1)
		return -1;
	if ((pid = fork_for(how)) == 0) {
		run_child(path, args, fd);
		_exit(127);
	}
	return pid;
}
