/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Real processes in the real filters, as released: each does what it is for
 * and lives, and tries what it must not and is killed.  The acts are bare
 * system calls, so that no sanitizer adds calls of its own.
 */

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/usbdevice_fs.h>
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
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "filter.h"
#include "landlock.h"
#include "promises.h"
#include "sandbox.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const enum proc_id filtered[] = { PROC_PARENT, PROC_ENGINE, PROC_MONITOR,
	PROC_QMPCLIENT, PROC_SPAWNER };

/* What the acts work on. */
static struct {
	pid_t other;
	char path[32];
	char *page;
	/* An act changes these, so each process has its own. */
	int pair[2];
	int listener;
	int epoll;
	int inotify;
	int file;
	int devnull;
} on;

static int
prepare(void **state)
{
	int fd;

	(void)state;
	strlcpy(on.path, "/tmp/sandbox_test.XXXXXX", sizeof(on.path));
	assert_int_not_equal(fd = mkstemp(on.path), -1);
	assert_int_equal(write(fd, "12345678", 8), 8);
	close(fd);
	on.other = fork();
	assert_int_not_equal(on.other, -1);
	if (on.other == 0) {
		for (;;)
			pause();
	}
	return 0;
}

static int
clean_up(void **state)
{
	(void)state;
	kill(on.other, SIGKILL);
	waitpid(on.other, NULL, 0);
	unlink(on.path);
	return 0;
}

/*
 * Before a function that does not return, as _exit(2), AddressSanitizer makes
 * system calls of its own; of this one the compiler does not know.
 */
static void
quit(int status)
{
	syscall(SYS_exit_group, status);
}

/* In a process of its own: the condition must hold. */
#define EXPECT(cond)                              \
	do {                                      \
		if (!(cond))                      \
			quit(__LINE__ % 200 + 1); \
	} while (0)

static void
open_all(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, on.pair) == 0);
	/* Without a name bind(2) gives an abstract one (unix(7)). */
	on.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	EXPECT(bind(on.listener, (struct sockaddr *)&sun,
		   sizeof(sa_family_t)) == 0);
	EXPECT(listen(on.listener, 1) == 0);
	EXPECT((on.epoll = epoll_create1(0)) != -1);
	EXPECT((on.inotify = inotify_init1(0)) != -1);
	EXPECT((on.file = open(on.path, O_RDWR)) != -1);
	EXPECT((on.devnull = open("/dev/null", O_RDWR)) != -1);
	on.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(on.page != MAP_FAILED);
}

/* Runs act in a new process with that filter; its wait status. */
static int
run(enum proc_id proc, const char *promises, void (*act)(void))
{
	struct rlimit no_core = { 0, 0 };
	const char *errstr;
	int status;
	pid_t pid;

	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		signal(SIGSYS, SIG_DFL); /* cmocka has a handler */
		open_all();
		EXPECT(setrlimit(RLIMIT_CORE, &no_core) == 0);
		alarm(20);
		EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
		EXPECT(filter_enter(proc, promises, 0, &errstr) == 0);
		act();
		quit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define SYS(...) syscall(SYS_##__VA_ARGS__)

static void
do_nothing(void)
{
}

static void
do_stdio(void)
{
	struct pollfd pfd = { .fd = on.pair[1], .events = POLLIN };
	struct epoll_event ev = { .events = EPOLLIN };
	struct timespec ts;
	char buf[8];
	void *p;

	EXPECT(SYS(write, on.pair[0], "x", 1) == 1);
	EXPECT(SYS(ppoll, &pfd, 1, NULL, NULL, 8) == 1);
	EXPECT(SYS(read, on.pair[1], buf, 1) == 1);
	EXPECT(SYS(epoll_ctl, on.epoll, EPOLL_CTL_ADD, on.pair[1], &ev) == 0);
	EXPECT(SYS(epoll_pwait, on.epoll, &ev, 1, 0, NULL, 8) == 0);
	p = (void *)SYS(mmap, NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(p != MAP_FAILED);
	EXPECT(SYS(mprotect, p, 4096, PROT_READ) == 0);
	EXPECT(SYS(munmap, p, 4096) == 0);
	EXPECT(SYS(clock_gettime, CLOCK_REALTIME, &ts) == 0);
	EXPECT(SYS(getrandom, buf, sizeof(buf), 0) == sizeof(buf));
	EXPECT((SYS(fcntl, on.pair[0], F_GETFL) & O_ACCMODE) == O_RDWR);
	EXPECT(SYS(close, on.pair[0]) == 0);
}

static void
do_messages(void)
{
	struct iovec iov = { .iov_base = on.page, .iov_len = 1 };
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };

	control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&control.hdr), &on.file, sizeof(int));
	EXPECT(SYS(sendmsg, on.pair[0], &msg, 0) == 1);
	EXPECT(SYS(recvmsg, on.pair[1], &msg, MSG_CMSG_CLOEXEC) == 1);
	EXPECT(msg.msg_controllen == CMSG_LEN(sizeof(int)) ||
	       msg.msg_controllen == CMSG_SPACE(sizeof(int)));
}

static void
do_recvfd(void)
{
	struct stat st;
	char buf[4];

	EXPECT(fstat(on.file, &st) == 0 && st.st_size == 8);
	EXPECT(SYS(pread64, on.file, buf, 4, 4) == 4);
	EXPECT(memcmp(buf, "5678", 4) == 0);
}

static void
do_rpath(void)
{
	char buf[512];
	long fd, up;

	fd = SYS(openat, AT_FDCWD, "/sys",
	    O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	EXPECT(fd >= 0);
	EXPECT(SYS(getdents64, fd, buf, sizeof(buf)) > 0);
	up = SYS(openat, fd, "..", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	EXPECT(up >= 0);
	EXPECT(SYS(faccessat2, fd, "kernel", F_OK, 0) == 0);
	EXPECT(SYS(fstatfs, fd, buf) == 0);
	EXPECT(SYS(lseek, on.file, 0, SEEK_SET) == 0);
	EXPECT(SYS(readlinkat, fd, "kernel", buf, 8) == -1 && errno == EINVAL);
	EXPECT(fstatat((int)fd, "kernel", (struct stat *)(void *)buf,
		   AT_SYMLINK_NOFOLLOW) == 0);
}

static void
do_uevent(void)
{
	EXPECT(SYS(recvfrom, on.pair[0], NULL, 0,
		   MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT, NULL, NULL) == -1);
	EXPECT(errno == EAGAIN);
}

static void
do_control(void)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	EXPECT(SYS(accept4, on.listener, NULL, NULL, SOCK_CLOEXEC) == -1);
	EXPECT(errno == EAGAIN);
	EXPECT(SYS(getsockopt, on.pair[0], SOL_SOCKET, SO_PEERCRED, &cred,
		   &len) == 0);
}

static void
do_qmp(void)
{
	char c;

	EXPECT(SYS(sendto, on.pair[0], "x", 1, MSG_NOSIGNAL, NULL, 0) == 1);
	EXPECT(SYS(recvfrom, on.pair[1], &c, 1, 0, NULL, NULL) == 1);
}

static void
do_unix(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX,
		.sun_path = "/nonexistent/qmp" };
	long fd;

	fd = SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	EXPECT(fd >= 0);
	EXPECT(SYS(connect, fd, &sun, sizeof(sun)) == -1 && errno == ENOENT);
	EXPECT(unlink("/nonexistent/sock") == -1 && errno == ENOENT);
}

static void
do_beneath(void)
{
	struct open_how how = { .flags = O_RDWR | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

	EXPECT(
	    SYS(openat2, AT_FDCWD, "nonexistent/1", &how, sizeof(how)) == -1);
	EXPECT(errno == ENOENT);
}

static void
do_watch(void)
{
	long wd;

	wd = SYS(inotify_add_watch, on.inotify, "/tmp", IN_CREATE);
	EXPECT(wd >= 0);
	EXPECT(SYS(inotify_rm_watch, on.inotify, wd) == 0);
}

static void
do_children(void)
{
	EXPECT(SYS(wait4, -1, NULL, WNOHANG, NULL) == -1 && errno == ECHILD);
	EXPECT(SYS(kill, 0x3fffffff, SIGKILL) == -1 && errno == ESRCH);
	EXPECT(SYS(socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
		   on.pair) == 0);
}

static void
do_usbfs(void)
{
	EXPECT(SYS(ioctl, on.devnull, USBDEVFS_IOCTL, NULL) == -1);
	EXPECT(errno == ENOTTY);
}

static void
do_sendfd(void)
{
	EXPECT(SYS(fcntl, on.file, F_DUPFD_CLOEXEC, 0) > on.file);
}

/* The new one is a child of the test. */
static void
do_proc(void)
{
	long pid = SYS(clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);

	EXPECT(pid >= 0);
	if (pid == 0)
		quit(0);
}

static void
do_exec(void)
{
	socklen_t len = sizeof(int);
	int domain;

	EXPECT(SYS(getsockopt, on.pair[0], SOL_SOCKET, SO_DOMAIN, &domain,
		   &len) == 0);
	EXPECT(SYS(dup3, on.file, on.epoll, O_CLOEXEC) == on.epoll);
	EXPECT(SYS(epoll_create1, EPOLL_CLOEXEC) >= 0);
	EXPECT(SYS(close_range, 900, 1000, 0) == 0);
	EXPECT(SYS(execve, "/nonexistent", NULL, NULL) == -1);
	EXPECT(errno == ENOENT);
}

static void
do_prot_exec(void)
{
	EXPECT(SYS(mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE,
		   on.file, 0) != -1);
	EXPECT(SYS(mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		   on.file, 0) != -1);
}

static void
do_id(void)
{
	gid_t gid = 65534;
	struct rlimit max = { 0, 0 };

	EXPECT(SYS(umask, 077) >= 0);
	EXPECT(SYS(setgroups, 1, &gid) == 0);
	EXPECT(SYS(setresgid, gid, gid, gid) == 0);
	EXPECT(SYS(setresuid, 65534, 65534, 65534) == 0);
	EXPECT(SYS(prlimit64, 0, RLIMIT_NPROC, &max, NULL) == 0);
}

static void
do_rootdir(void)
{
	EXPECT(SYS(unshare, CLONE_NEWNS) == 0);
	EXPECT(SYS(mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	EXPECT(SYS(mount, "none", "/proc", "tmpfs", 0, NULL) == 0);
	EXPECT(SYS(mkdirat, AT_FDCWD, "/proc/x", 0755) == 0);
	EXPECT(SYS(chdir, "/proc") == 0);
	EXPECT(SYS(pivot_root, ".", ".") == 0 || errno == EINVAL);
	EXPECT(SYS(umount2, ".", MNT_DETACH) == 0);
}

static void
do_netlink(void)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	socklen_t len = sizeof(nl);
	int one = 1;
	long fd;

	fd = SYS(socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
	    NETLINK_KOBJECT_UEVENT);
	EXPECT(fd >= 0);
	EXPECT(SYS(setsockopt, fd, SOL_SOCKET, SO_PASSCRED, &one,
		   sizeof(one)) == 0);
	EXPECT(SYS(bind, fd, &nl, sizeof(nl)) == 0);
	EXPECT(SYS(getsockname, fd, &nl, &len) == 0);
}

static void
do_confine(void)
{
	const char *errstr;

	EXPECT(SYS(prctl, PR_SET_NAME, "test", 0, 0, 0) == 0);
	EXPECT(SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0);
	EXPECT(SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	EXPECT(sandbox_enter(PROC_ENGINE, NULL, NULL, &errstr) == 0);
}

/* At least one a word of promise_table. */
static const struct {
	const char *promise;
	void (*act)(void);
} allowed[] = {
	{ "stdio", do_stdio },
	{ "stdio", do_messages },
	{ "recvfd", do_recvfd },
	{ "rpath", do_rpath },
	{ "uevent", do_uevent },
	{ "control", do_control },
	{ "qmp", do_qmp },
	{ "unix", do_unix },
	{ "beneath", do_beneath },
	{ "watch", do_watch },
	{ "children", do_children },
	{ "usbfs", do_usbfs },
	{ "sendfd", do_sendfd },
	{ "proc", do_proc },
	{ "exec", do_exec },
	{ "prot_exec", do_prot_exec },
	{ "id", do_id },
	{ "rootdir", do_rootdir },
	{ "netlink", do_netlink },
	{ "confine", do_confine },
};

static void
what_is_promised_works(void **state)
{
	enum proc_id proc;
	int status;
	size_t i, n;

	(void)state;
	for (n = 0; n < COUNT(filtered); n++)
		for (i = 0; i < COUNT(allowed); i++) {
			proc = filtered[n];
			if (!promises_have(sandbox_promises(proc),
				allowed[i].promise, strlen(allowed[i].promise)))
				continue;
			status = run(proc, NULL, allowed[i].act);
			if (status != 0)
				fail_msg("%s, %s: status %#x", proc_name(proc),
				    allowed[i].promise, status);
		}
}

static void
each_promise_is_tried(void **state)
{
	const struct promise *p;
	size_t i;
	int tried;

	(void)state;
	for (p = promise_table; p->name != NULL; p++) {
		tried = 0;
		for (i = 0; i < COUNT(allowed); i++)
			tried |= strcmp(allowed[i].promise, p->name) == 0;
		if (!tried)
			fail_msg("%s", p->name);
	}
}

#define ALL                                                           \
	(1U << PROC_PARENT | 1U << PROC_ENGINE | 1U << PROC_MONITOR | \
	    1U << PROC_QMPCLIENT)
#define EVERY (ALL | 1U << PROC_SPAWNER)
#define ALL_BUT(proc) (ALL & ~(1U << PROC_##proc))
#define EVERY_BUT(proc) (EVERY & ~(1U << PROC_##proc))
#define PTR(p) ((long)(uintptr_t)(p))

struct call {
	const char *what;
	unsigned int procs; /* who must not */
	long nr;
	long args[6];
};

/* Row i of what is forbidden, or 0 if there are no more. */
static int
forbidden(size_t i, struct call *c)
{
	static const struct open_how how = { .flags = O_RDONLY };
	const long rw = PROT_READ | PROT_WRITE, rx = PROT_READ | PROT_EXEC;
	const long anon = MAP_PRIVATE | MAP_ANONYMOUS;
	const long page = PTR(on.page), path = PTR(on.path);
	const long usb_reset = 0x5514; /* USBDEVFS_RESET */
	const struct call table[] = {
		{ "execve", ALL, SYS_execve, { PTR("/bin/true") } },
		{ "fork", EVERY, SYS_clone, { SIGCHLD } },
		{ "ptrace", EVERY, SYS_ptrace, { PTRACE_ATTACH, on.other } },
		{ "read another's memory", EVERY, SYS_process_vm_readv,
		    { on.other } },
		{ "kill a group", EVERY, SYS_kill, { -on.other, SIGKILL } },
		{ "terminate another", EVERY, SYS_kill, { on.other, SIGTERM } },
		{ "stop another", EVERY, SYS_kill, { on.other, SIGSTOP } },
		{ "kill another", EVERY_BUT(PARENT), SYS_kill,
		    { on.other, SIGKILL } },
		{ "abort another", ALL, SYS_tgkill,
		    { on.other, on.other, SIGABRT } },
		{ "setuid", EVERY, SYS_setuid, { 0 } },
		{ "mount", ALL, SYS_mount, { PTR("none"), 0, PTR("tmpfs") } },
		{ "chroot", ALL, SYS_chroot, { PTR(".") } },
		{ "new namespace", EVERY, SYS_unshare, { CLONE_NEWUSER } },
		{ "executable memory", EVERY, SYS_mprotect,
		    { page, 4096, rx } },
		{ "map executable memory", EVERY, SYS_mmap,
		    { 0, 4096, rx, anon, -1 } },
		{ "map code to change it", EVERY, SYS_mmap,
		    { 0, 4096, rx | PROT_WRITE, MAP_PRIVATE, on.file } },
		{ "keep capabilities", EVERY, SYS_prctl,
		    { PR_SET_KEEPCAPS, 1 } },
		{ "map a file", ALL, SYS_mmap,
		    { 0, 4096, PROT_READ, MAP_PRIVATE, on.file } },
		{ "map shared memory", EVERY, SYS_mmap,
		    { 0, 4096, rw, MAP_SHARED | MAP_ANONYMOUS, -1 } },
		{ "change file flags", EVERY, SYS_fcntl,
		    { on.file, F_SETFL, 0 } },
		{ "ioctl", EVERY, SYS_ioctl, { on.devnull, usb_reset } },
		{ "inet socket", EVERY, SYS_socket, { AF_INET, SOCK_STREAM } },
		{ "netlink socket", EVERY, SYS_socket,
		    { AF_NETLINK, SOCK_RAW } },
		{ "unix socket", EVERY_BUT(PARENT), SYS_socket,
		    { AF_UNIX, SOCK_STREAM } },
		{ "connect", EVERY_BUT(PARENT), SYS_connect, { on.pair[0] } },
		{ "accept", ALL_BUT(ENGINE), SYS_accept4, { on.listener } },
		{ "prctl", ALL, SYS_prctl, { PR_SET_DUMPABLE, 1 } },
		{ "chmod", EVERY, SYS_fchmodat, { AT_FDCWD, path, 0777 } },
		{ "rename", EVERY, SYS_renameat2,
		    { AT_FDCWD, path, AT_FDCWD, PTR("/tmp/x") } },
		{ "unlink", EVERY_BUT(PARENT), SYS_unlinkat,
		    { AT_FDCWD, path } },
		{ "rmdir", EVERY, SYS_unlinkat,
		    { AT_FDCWD, PTR("/tmp/nonexistent"), AT_REMOVEDIR } },
		{ "open to write", EVERY, SYS_openat,
		    { AT_FDCWD, path, O_WRONLY } },
		{ "open to read and write", EVERY, SYS_openat,
		    { AT_FDCWD, path, O_RDWR } },
		{ "open to append", EVERY, SYS_openat,
		    { AT_FDCWD, path, O_WRONLY | O_APPEND } },
		{ "create a file", EVERY, SYS_openat,
		    { AT_FDCWD, path, O_RDONLY | O_CREAT } },
		{ "open to read", ALL_BUT(MONITOR), SYS_openat,
		    { AT_FDCWD, PTR("/etc/shadow"), O_RDONLY } },
		{ "openat2", EVERY_BUT(PARENT), SYS_openat2,
		    { AT_FDCWD, path, PTR(&how), sizeof(how) } },
	};

	if (i >= COUNT(table))
		return 0;
	*c = table[i];
	return 1;
}

static size_t trying;

static void
try_forbidden(void)
{
	struct call c;

	if (forbidden(trying, &c))
		syscall(c.nr, c.args[0], c.args[1], c.args[2], c.args[3],
		    c.args[4], c.args[5]);
}

static int
killed_by_filter(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void
what_is_not_promised_kills(void **state)
{
	enum proc_id proc;
	struct call c;
	int status;
	size_t n;

	(void)state;
	for (trying = 0; forbidden(trying, &c); trying++)
		for (n = 0; n < COUNT(filtered); n++) {
			proc = filtered[n];
			if ((c.procs >> proc & 1) == 0)
				continue;
			status = run(proc, NULL, try_forbidden);
			if (!killed_by_filter(status))
				fail_msg("%s, %s: status %#x", proc_name(proc),
				    c.what, status);
		}
	/* The other process is unharmed, and so is the file. */
	assert_int_equal(waitpid(on.other, &status, WNOHANG | WUNTRACED), 0);
	assert_int_equal(access(on.path, F_OK), 0);
}

static void
narrowing_counts(void **state)
{
	(void)state;
	assert_int_equal(run(PROC_MONITOR, "stdio", do_stdio), 0);
	assert_true(killed_by_filter(run(PROC_MONITOR, "stdio", do_rpath)));
	assert_true(killed_by_filter(run(PROC_ENGINE, "stdio", do_control)));
	assert_true(killed_by_filter(run(PROC_QMPCLIENT, "stdio", do_recvfd)));
	assert_int_equal(run(PROC_QMPCLIENT, "", do_nothing), 0);
	assert_true(killed_by_filter(run(PROC_QMPCLIENT, "", do_stdio)));
}

static void
do_abort(void)
{
	raise(SIGABRT);
}

static void
abort_is_not_the_filter(void **state)
{
	int status;

	(void)state;
	status = run(PROC_ENGINE, NULL, do_abort);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void
do_absent(void)
{
	EXPECT(SYS(clone3, NULL, 0) == -1 && errno == ENOSYS);
	EXPECT(SYS(mremap, on.page, 4096, 8192, 1) == -1 && errno == ENOSYS);
}

static void
clone3_and_mremap_are_not_there(void **state)
{
	(void)state;
	assert_int_equal(run(PROC_ENGINE, NULL, do_absent), 0);
}

/* What the log functions and malloc do in a child, through libc. */
static void
do_libc(void)
{
	char stamp[32];
	struct timespec ts;
	struct tm tm;
	void *p;
	int i;

	clock_gettime(CLOCK_REALTIME, &ts);
	EXPECT(gmtime_r(&ts.tv_sec, &tm) != NULL);
	EXPECT(strftime(stamp, sizeof(stamp), "%Y", &tm) == 4);
	EXPECT(strerror(EPERM) != NULL);
	for (i = 0; i < 24; i++) {
		EXPECT((p = malloc((size_t)1 << i)) != NULL);
		EXPECT((p = realloc(p, (size_t)3 << i)) != NULL);
		free(p);
	}
	EXPECT(poll(NULL, 0, 0) == 0);
}

static void
libc_works(void **state)
{
	int status;

	(void)state;
	tzset();
	status = run(PROC_ENGINE, NULL, do_libc);
#ifdef __SANITIZE_ADDRESS__
	/* Its allocator is another one, with other calls. */
	(void)status;
#else
	assert_int_equal(status, 0);
#endif
}
/* Runs what in a new process; its exit status. */
static int
in_child(int (*what)(void))
{
	int status;
	pid_t pid;

	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		signal(SIGSYS, SIG_DFL);
		open_all();
		alarm(20);
		quit(what());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define NO_LANDLOCK 77

static int
without_files(void)
{
	int used;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if ((used = landlock_enter(NULL, 1)) != 1)
		return used == 0 ? NO_LANDLOCK : 1;
	EXPECT(open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES);
	EXPECT(open("/", O_RDONLY | O_DIRECTORY) == -1 && errno == EACCES);
	EXPECT(open("/dev/null", O_RDWR) == -1 && errno == EACCES);
	EXPECT(unlink(on.path) == -1 && errno == EACCES);
	EXPECT(mkdir("/tmp/sandbox_test.dir", 0700) == -1 && errno == EACCES);
	/* What is open stays usable. */
	EXPECT(pread(on.file, on.page, 4, 0) == 4);
	return 0;
}

static int
with_sys(void)
{
	static const struct landlock_dir dirs[] = {
		{ "/sys", LANDLOCK_DIR_READ },
		{ "/nonexistent", LANDLOCK_DIR_READ },
		{ NULL, 0 },
	};
	int used;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if ((used = landlock_enter(dirs, 1)) != 1)
		return used == 0 ? NO_LANDLOCK : 1;
	EXPECT(open("/sys/kernel", O_RDONLY | O_DIRECTORY) != -1);
	EXPECT(open("/sys/kernel/uevent_seqnum", O_RDONLY) != -1);
	EXPECT(open("/sys/../etc/passwd", O_RDONLY) == -1 && errno == EACCES);
	EXPECT(open("/sys/kernel/profiling", O_WRONLY) == -1 &&
	       (errno == EACCES || errno == ENOENT));
	return 0;
}

/* A log can be made and written, and nothing be removed, and so on. */
static int
with_some_rights(void)
{
	static const struct landlock_dir dirs[] = {
		{ "/", LANDLOCK_DIR_READ },
		{ "/dev", LANDLOCK_DIR_WRITE },
		{ "/tmp/sandbox_test.logs",
		    LANDLOCK_DIR_WRITE | LANDLOCK_DIR_CREATE },
		{ "/tmp/sandbox_test.run", LANDLOCK_DIR_REMOVE },
		{ NULL, 0 },
	};
	int used;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if ((used = landlock_enter(dirs, 0)) != 1)
		return used == 0 ? NO_LANDLOCK : 1;
	EXPECT(open("/etc/passwd", O_RDONLY) != -1);
	EXPECT(open("/etc/passwd", O_WRONLY) == -1 && errno == EACCES);
	EXPECT(open("/dev/null", O_RDWR) != -1);
	EXPECT(unlink("/dev/null") == -1 && errno == EACCES);
	EXPECT(mknod("/dev/sandbox_test", S_IFREG, 0) == -1 && errno == EACCES);
	EXPECT(open("/tmp/sandbox_test.logs/log", O_WRONLY | O_APPEND | O_CREAT,
		   0600) != -1);
	EXPECT(unlink("/tmp/sandbox_test.logs/log") == -1 && errno == EACCES);
	EXPECT(
	    mkdir("/tmp/sandbox_test.logs/dir", 0700) == -1 && errno == EACCES);
	EXPECT(open("/tmp/sandbox_test.run/file", O_WRONLY) == -1 &&
	       errno == EACCES);
	EXPECT(
	    open("/tmp/sandbox_test.run/new", O_WRONLY | O_CREAT, 0600) == -1 &&
	    errno == EACCES);
	EXPECT(unlink("/tmp/sandbox_test.run/file") == 0);
	EXPECT(kill(on.other, 0) == 0);
	return 0;
}

static void
landlock_gives(void **state)
{
	int fd, status;

	(void)state;
	mkdir("/tmp/sandbox_test.logs", 0700);
	mkdir("/tmp/sandbox_test.run", 0700);
	fd = open("/tmp/sandbox_test.run/file", O_WRONLY | O_CREAT, 0600);
	assert_int_not_equal(fd, -1);
	close(fd);
	status = in_child(with_some_rights);
	unlink("/tmp/sandbox_test.run/file");
	unlink("/tmp/sandbox_test.logs/log");
	rmdir("/tmp/sandbox_test.logs");
	rmdir("/tmp/sandbox_test.run");
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LANDLOCK)
		skip();
	assert_int_equal(status, 0);
}

static void
landlock_refuses(void **state)
{
	int status;

	(void)state;
	status = in_child(without_files);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LANDLOCK)
		skip();
	assert_int_equal(status, 0);
	assert_int_equal(in_child(with_sys), 0);
}

/* As in a container whose own filter does not know the calls. */
static int
where_it_is_refused(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	const char *errstr;

	EXPECT(ctx != NULL);
	EXPECT(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM),
		   SCMP_SYS(landlock_create_ruleset), 0) == 0);
	EXPECT(seccomp_load(ctx) == 0);
	seccomp_release(ctx);
	EXPECT(landlock_enter(NULL, 1) == 0);
	EXPECT(sandbox_enter(PROC_ENGINE, NULL, NULL, &errstr) == 0);
	EXPECT(strncmp(sandbox_landlock(), "no Landlock", 11) == 0);
	return 0;
}

static void
landlock_may_be_refused(void **state)
{
	(void)state;
	assert_int_equal(in_child(where_it_is_refused), 0);
}

static int
enter_engine(void)
{
	const char *errstr;

	if (sandbox_enter(PROC_ENGINE, NULL, NULL, &errstr) == -1)
		return 1;
	do_stdio();
	SYS(ptrace, PTRACE_ATTACH, on.other, NULL, NULL);
	SYS(execve, "/bin/true", NULL, NULL);
	return 2;
}

static int
enter_with_more(void)
{
	const char *errstr = NULL;

	EXPECT(sandbox_enter(PROC_ENGINE, "stdio rpath", NULL, &errstr) == -1);
	EXPECT(errno == EINVAL && strcmp(errstr, "promises") == 0);
	EXPECT(sandbox_enter(PROC_CLIENT, NULL, NULL, &errstr) == -1);
	return 0;
}

static int
enter_and_see(void)
{
	int without = landlock_enter(NULL, 1) == 0;
	const char *errstr;

	if (sandbox_enter(PROC_MONITOR, NULL, NULL, &errstr) == -1)
		return 1;
	return (strcmp(sandbox_landlock(), "Landlock") == 0) == without;
}

static void
sandbox_enter_confines(void **state)
{
	(void)state;
	assert_true(killed_by_filter(in_child(enter_engine)));
	assert_int_equal(in_child(enter_with_more), 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	assert_int_equal(in_child(enter_and_see), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_promise_is_tried),
		cmocka_unit_test(what_is_promised_works),
		cmocka_unit_test(what_is_not_promised_kills),
		cmocka_unit_test(narrowing_counts),
		cmocka_unit_test(abort_is_not_the_filter),
		cmocka_unit_test(clone3_and_mremap_are_not_there),
		cmocka_unit_test(libc_works),
		cmocka_unit_test(landlock_refuses),
		cmocka_unit_test(landlock_gives),
		cmocka_unit_test(landlock_may_be_refused),
		cmocka_unit_test(sandbox_enter_confines),
	};

	return cmocka_run_group_tests(tests, prepare, clean_up);
}
