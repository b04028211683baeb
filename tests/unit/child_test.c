/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * How a child gets from exec to confined.  Most of it takes root, a mount
 * namespace of its own and users, which this program gives itself; without
 * root these tests are skipped.
 */

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
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
#include "child.h"
#include "rootdir.h"
#include "sandbox.h"
#include "spawn.h"

#define UID 4242
#define GID 4243

extern char **environ;

static const char *const sys_only[] = { "/sys", "/nonexistent/a", NULL };
static const char *const deep[] = { "/usr/lib", "/usr/bin", NULL };

/*
 * _exit(2) would make calls of its own under AddressSanitizer; of this one
 * the compiler does not know that it does not return.
 */
static void
quit(int status)
{
	syscall(SYS_exit_group, status);
}

static void
failed(const char *what)
{
	quit(write(STDERR_FILENO, what, strlen(what)) == -1 ? 2 : 1);
}

#define EXPECT(cond)                                   \
	do {                                           \
		if (!(cond))                           \
			failed("failed: " #cond "\n"); \
	} while (0)

static int
in_child(void (*what)(void))
{
	int status;
	pid_t pid;

	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		alarm(20);
		what();
		quit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define NEED_ROOT()                                      \
	do {                                             \
		if (geteuid() != 0)                      \
			fail_msg("must be run by root"); \
	} while (0)

/* Bit n is set if name[n] is in the directory, bit 31 if something else is. */
static unsigned int
contents(const char *dir, const char *const *names)
{
	unsigned int found = 0, n;
	const struct dirent *de;
	DIR *d;

	EXPECT((d = opendir(dir)) != NULL);
	while ((de = readdir(d)) != NULL) {
		if (de->d_name[0] == '.')
			continue;
		for (n = 0; names[n] != NULL; n++)
			if (strcmp(de->d_name, names[n]) == 0)
				break;
		found |= 1U << (names[n] == NULL ? 31 : n);
	}
	closedir(d);
	return found;
}

static void
read_only(const char *path)
{
	struct statvfs st;

	EXPECT(statvfs(path, &st) == 0);
	EXPECT(st.f_flag & ST_RDONLY);
	EXPECT(st.f_flag & ST_NOSUID);
	EXPECT(st.f_flag & ST_NODEV);
	EXPECT(st.f_flag & ST_NOEXEC);
}

static void
enter(const char *const *roots)
{
	const char *errstr = "";

	if (rootdir_enter(roots, &errstr) == -1) {
		perror(errstr);
		quit(1);
	}
}

static void
enter_nothing(void)
{
	static const char *const none[] = { NULL };
	char cwd[16];

	enter(NULL);
	EXPECT(contents("/", none) == 0);
	EXPECT(contents("..", none) == 0);
	EXPECT(getcwd(cwd, sizeof(cwd)) != NULL && strcmp(cwd, "/") == 0);
	EXPECT(mkdir("/x", 0700) == -1 && errno == EROFS);
	EXPECT(open("/x", O_CREAT | O_WRONLY, 0600) == -1 && errno == EROFS);
	EXPECT(open("/etc/passwd", O_RDONLY) == -1 && errno == ENOENT);
	read_only("/");
}

static void
enter_sys(void)
{
	static const char *const names[] = { "sys", NULL };
	struct stat st;

	umask(077);
	enter(sys_only);
	EXPECT(umask(022) == 077);
	EXPECT(contents("/", names) == 1);
	EXPECT(access("/sys/kernel/uevent_seqnum", R_OK) == 0);
	EXPECT(open("/sys/kernel/uevent_helper", O_WRONLY) == -1);
	EXPECT(stat("/sys", &st) == 0 && (st.st_mode & S_IXOTH));
	read_only("/sys");
	/* Root itself must not get it back. */
	EXPECT(open("/sys/kernel/profiling", O_RDWR) == -1);
}

/* Two below one directory; whoever the child becomes must pass through. */
static void
enter_deep(void)
{
	static const char *const names[] = { "usr", NULL };
	static const char *const below[] = { "lib", "bin", NULL };
	struct stat st;

	umask(077);
	enter(deep);
	EXPECT(contents("/", names) == 1);
	EXPECT(contents("/usr", below) == 3);
	EXPECT(stat("/usr", &st) == 0 && (st.st_mode & 0777) == 0755);
	read_only("/usr/lib");
	read_only("/usr/bin");
	EXPECT(setresuid(UID, UID, UID) == 0);
	EXPECT(access("/usr/bin/env", R_OK) == 0);
}

/* Where mounts are shared, as most systems have it, none gets out. */
static void
enter_from_shared(void)
{
	pid_t pid;
	int status;

	EXPECT(unshare(CLONE_NEWNS) == 0);
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0);
	EXPECT((pid = fork()) != -1);
	if (pid == 0) {
		enter(sys_only);
		quit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	EXPECT(access("/proc/self/status", F_OK) == 0);
	EXPECT(access("/etc/passwd", F_OK) == 0);
}

static void
root_shows_only_what_is_listed(void **state)
{
	(void)state;
	NEED_ROOT();
	assert_int_equal(in_child(enter_nothing), 0);
	assert_int_equal(in_child(enter_sys), 0);
	assert_int_equal(in_child(enter_deep), 0);
	assert_int_equal(in_child(enter_from_shared), 0);
}

/* Users that the processes need, for this process alone. */
static void
give_users(void)
{
	char path[] = "/tmp/child_test.XXXXXX";
	enum proc_id proc;
	FILE *f;
	int fd;

	EXPECT(unshare(CLONE_NEWNS) == 0);
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	EXPECT((fd = mkstemp(path)) != -1);
	EXPECT((f = fdopen(fd, "w")) != NULL);
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		fprintf(f, "%s:x:%d:%d::/:/bin/false\n", proc_table[proc].user,
		    UID, GID);
	EXPECT(fclose(f) == 0);
	EXPECT(mount(path, "/etc/passwd", NULL, MS_BIND, NULL) == 0);
	EXPECT(unlink(path) == 0);
}

static void
no_message(struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)c;
	(void)type;
	(void)payload;
	(void)fd;
}

static int prepared;

static void
prepare(void)
{
	/* Still root, already in the new root directory, unfiltered. */
	prepared = geteuid() == 0 && access("/etc/passwd", F_OK) == -1 &&
		   prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0;
}

static struct chan parent;

/* As if spawned: a channel on 3, and something that should not be open. */
static void
init(enum proc_id me, const char *const *roots)
{
	static char name[] = "test", flag[] = "-v";
	char *argv[] = { name, flag, NULL };
	int fds[2];

	give_users();
	EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	EXPECT(dup2(fds[0], PROC_PARENT_FD) == PROC_PARENT_FD);
	EXPECT(dup2(fds[1], 77) == 77);
	EXPECT(signal(SIGCHLD, SIG_DFL) != SIG_ERR);
	optind = 1;
	child_init(me, 2, argv, roots, prepare, &parent, no_message);
}

static void
init_engine(void)
{
	init(PROC_ENGINE, NULL);
	EXPECT(prepared);
	EXPECT(geteuid() == UID && getegid() == GID && getuid() == UID);
	EXPECT(chan_is_open(&parent));
	EXPECT(fcntl(77, F_GETFD) == -1 && errno == EBADF);
	/* 0, 1, 2, the channel, epoll */
	EXPECT(fcntl(4, F_GETFD) != -1);
	EXPECT(fcntl(5, F_GETFD) == -1 && errno == EBADF);
	EXPECT(read(0, &prepared, 1) == 0);
	EXPECT(kill(getpid(), SIGTERM) == 99); /* kills */
}

static void
init_monitor(void)
{
	long fd;

	init(PROC_MONITOR, sys_only);
	fd = syscall(SYS_openat, AT_FDCWD, "/sys/kernel/uevent_seqnum",
	    O_RDONLY | O_CLOEXEC);
	EXPECT(fd != -1);
	EXPECT(read((int)fd, &prepared, 1) == 1);
	EXPECT(syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY) == -1);
	EXPECT(errno == ENOENT);
	syscall(SYS_openat, AT_FDCWD, "/sys/kernel/profiling", O_RDWR);
	quit(2);
}

static int
killed_by_filter(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void
child_is_confined(void **state)
{
	(void)state;
	NEED_ROOT();
	assert_true(killed_by_filter(in_child(init_engine)));
	assert_true(killed_by_filter(in_child(init_monitor)));
}

/* What only somebody else sees of a confined process (proc(5)). */
static void
line_of(pid_t pid, const char *file, const char *key, char *value, size_t size)
{
	char path[64], line[256];
	FILE *f;
	size_t len = strlen(key);

	value[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	assert_non_null(f = fopen(path, "r"));
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, key, len) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		strlcpy(value, line + len, size);
	}
	fclose(f);
}

static void
check_status(pid_t pid, const char *key, const char *want)
{
	char value[64];

	line_of(pid, "status", key, value, sizeof(value));
	assert_string_equal(value, want);
}

static void
check_limit(pid_t pid, const char *key, unsigned int want)
{
	unsigned int soft, hard;
	char value[128];

	line_of(pid, "limits", key, value, sizeof(value));
	assert_int_equal(sscanf(value, "%u %u", &soft, &hard), 2);
	assert_int_equal(soft, want);
	assert_int_equal(hard, want);
}

static int to_test;

static void
init_and_wait(void)
{
	EXPECT(dup2(to_test, STDERR_FILENO) == STDERR_FILENO);
	init(PROC_QMPCLIENT, NULL);
	EXPECT(chan_is_open(&parent));
	EXPECT(write(STDERR_FILENO, "x", 1) == 1);
	poll(NULL, 0, 20000);
}

static void
child_has_no_privileges_left(void **state)
{
	static const int harmless[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	char path[32], c;
	struct stat st;
	int fds[2];
	size_t i;
	pid_t pid;

	(void)state;
	NEED_ROOT();
	assert_int_equal(pipe(fds), 0);
	to_test = fds[1];
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		init_and_wait();
		quit(0);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	check_status(pid, "Name:\t", "usbmgrd-qmpclie");
	check_status(pid, "Uid:\t", "4242\t4242\t4242\t4242");
	check_status(pid, "Gid:\t", "4243\t4243\t4243\t4243");
	check_status(pid, "Groups:\t", "4243 ");
	check_status(pid, "CapInh:\t", "0000000000000000");
	check_status(pid, "CapPrm:\t", "0000000000000000");
	check_status(pid, "CapEff:\t", "0000000000000000");
	check_status(pid, "CapAmb:\t", "0000000000000000");
	check_status(pid, "NoNewPrivs:\t", "1");
	check_status(pid, "Seccomp:\t", "2");
	/* Files of a process that is not dumpable are root's (proc(5)). */
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	check_limit(pid, "Max processes", 0);
	check_limit(pid, "Max locked memory", 0);
	check_limit(pid, "Max core file size", 0);
	check_limit(pid, "Max open files", 1024);
	/* None of what the parent acts on ends a child. */
	for (i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		assert_int_equal(kill(pid, harmless[i]), 0);
	poll(NULL, 0, 50);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(fds[0]);
}

static void
init_by_hand(void)
{
	char name[] = "test";
	char *argv[] = { name, NULL };

	close(PROC_PARENT_FD);
	freopen("/dev/null", "w", stderr);
	child_init(PROC_ENGINE, 1, argv, NULL, NULL, &parent, no_message);
}

static void
init_with_a_file(void)
{
	int fd = open("/dev/null", O_RDWR);

	dup2(fd, PROC_PARENT_FD);
	freopen("/dev/null", "w", stderr);
	child_init(PROC_ENGINE, 0, NULL, NULL, NULL, &parent, no_message);
}

static void
child_is_not_started_by_hand(void **state)
{
	int status;

	(void)state;
	status = in_child(init_by_hand);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	status = in_child(init_with_a_file);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

/*
 * This program started again as the engine: tells over its channel what it
 * found, as text.
 */
static int
spawned(int argc, char *argv[])
{
	unsigned int others = 0;
	sigset_t blocked;
	char text[128];
	int fd, n, ignored;

	for (fd = PROC_PARENT_FD + 1; fd < 1024; fd++)
		others += fcntl(fd, F_GETFD) != -1;
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	ignored = signal(SIGPIPE, SIG_DFL) == SIG_IGN;
	n = snprintf(text, sizeof(text),
	    "%s %s %s %s open=%u env=%d blocked=%d ignored=%d cloexec=%d",
	    argv[0], argc > 2 ? argv[2] : "", argc > 3 ? argv[3] : "",
	    argc > 5 ? argv[5] : "", others, environ[0] != NULL,
	    sigismember(&blocked, SIGTERM), ignored,
	    fcntl(PROC_PARENT_FD, F_GETFD));
	return n < 0 || write(PROC_PARENT_FD, text, (size_t)n) != n;
}

static void
read_all(int fd, char *buf, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	for (;;) {
		assert_int_equal(poll(&pfd, 1, 20000), 1);
		n = read(fd, buf + len, size - len - 1);
		assert_int_not_equal(n, -1);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
}

static void
channel(int fds[2])
{
	EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
}

static void
check_spawned(const char *want)
{
	char text[256];
	int fds[2], status;
	sigset_t set;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	channel(fds);
	pid = spawn_child(PROC_ENGINE, "/nonexistent",
	    &(struct spawn){ .debug = 1, .verbose = 1, .option = "opt" },
	    fds[1]);
	assert_int_not_equal(pid, -1);
	close(fds[1]);
	read_all(fds[0], text, sizeof(text));
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_string_equal(text, want);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static void
spawned_child_inherits_nothing(void **state)
{
	static const char want[] = "usbmgrd -d -v opt open=0 env=0 blocked=0 "
				   "ignored=0 cloexec=0";
	int leak;

	(void)state;
	setenv("USBMGRD_TEST", "1", 1);
	assert_int_not_equal(leak = fcntl(STDERR_FILENO, F_DUPFD, 10), -1);
	check_spawned(want);
	close(leak);
}

static void
hear(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char text[8];

	EXPECT(poll(&pfd, 1, 20000) == 1);
	EXPECT(read(fd, text, 7) == 7 && memcmp(text, "usbmgrd", 7) == 0);
}

/* The child's end may be descriptor 3 already, or come from below. */
static void
spawn_with(int first)
{
	struct spawn how = { 0 };
	int fds[2];

	closefrom(3);
	if (first == 1)
		close(STDERR_FILENO);
	channel(fds);
	EXPECT(fds[first == 3 ? 0 : 1] == 3);
	if (first == 3) {
		fds[0] = fds[1];
		fds[1] = 3;
	}
	EXPECT(spawn_child(PROC_ENGINE, "/", &how, fds[1]) != -1);
	EXPECT(fcntl(fds[1], F_GETFD) == FD_CLOEXEC);
	close(fds[1]);
	hear(fds[0]);
}

static void
spawn_with_3(void)
{
	spawn_with(3);
	spawn_with(1);
}

static void
channel_may_be_3_already(void **state)
{
	(void)state;
	assert_int_equal(in_child(spawn_with_3), 0);
}

static void
spawn_nothing(void)
{
	struct pollfd pfd = { .events = POLLIN };
	int fds[2], status;
	char c;

	EXPECT(freopen("/dev/null", "w", stderr) != NULL);
	channel(fds);
	EXPECT(spawn_child(PROC_MONITOR, "/nonexistent", &(struct spawn){ 0 },
		   fds[1]) != -1);
	close(fds[1]);
	pfd.fd = fds[0];
	EXPECT(poll(&pfd, 1, 20000) == 1);
	EXPECT(read(pfd.fd, &c, 1) == 0);
	EXPECT(wait(&status) != -1);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 127);
}

static void
missing_program_ends_the_channel(void **state)
{
	(void)state;
	assert_int_equal(in_child(spawn_nothing), 0);
}

static void
children_are_beside_this_program(void **state)
{
	char dir[PATH_MAX], self[PATH_MAX], small[2];
	ssize_t n;

	(void)state;
	assert_int_equal(spawn_dir(dir, sizeof(dir)), 0);
	n = readlink("/proc/self/exe", self, sizeof(self));
	assert_true(n > 0 && (size_t)n < sizeof(self));
	assert_int_equal(strncmp(dir, self, strlen(dir)), 0);
	assert_int_equal(self[strlen(dir)], '/');
	assert_null(
	    memchr(self + strlen(dir) + 1, '/', (size_t)n - strlen(dir) - 1));
	assert_int_equal(spawn_dir(small, sizeof(small)), -1);
	assert_int_equal(errno, ENAMETOOLONG);
}

int
main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_shows_only_what_is_listed),
		cmocka_unit_test(child_is_confined),
		cmocka_unit_test(child_has_no_privileges_left),
		cmocka_unit_test(child_is_not_started_by_hand),
		cmocka_unit_test(spawned_child_inherits_nothing),
		cmocka_unit_test(channel_may_be_3_already),
		cmocka_unit_test(missing_program_ends_the_channel),
		cmocka_unit_test(children_are_beside_this_program),
	};

	if (argc > 1 && strcmp(argv[1], "-E") == 0)
		return spawned(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
