/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <linux/usbdevice_fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include "promises.h"

static const char *const stdio_calls[] = { "read", "readv", "write", "writev",
	"recvmsg", "sendmsg", "close", "epoll_wait", "epoll_pwait",
	"epoll_pwait2", "epoll_ctl", "poll", "ppoll", "brk", "munmap", "mremap",
	"madvise", "futex", "clock_gettime", "gettimeofday", "time",
	"clock_nanosleep", "nanosleep", "getrandom", "sysinfo", "getpid",
	"gettid", "getuid", "geteuid", "getgid", "getegid", "rt_sigaction",
	"rt_sigprocmask", NULL };

static const char *const recvfd_calls[] = { "fstat", "pread64", NULL };

/*
 * What libudev 252 does below /sys and /run/udev; the plain stat calls are
 * what musl uses.
 */
static const char *const rpath_calls[] = { "stat", "lstat", "fstat", "statx",
	"statfs", "fstatfs", "access", "faccessat", "faccessat2", "readlink",
	"readlinkat", "getdents64", "lseek", "pread64", NULL };

static const char *const uevent_calls[] = { "recvfrom", NULL };

static const char *const qmp_calls[] = { "recvfrom", NULL };

static const char *const control_calls[] = { "accept4", NULL };

static const char *const unix_calls[] = { "connect", "unlink", NULL };

/* The filter does not see descriptors in a message: sendmsg is in stdio. */
static const char *const sendfd_calls[] = { NULL };

/*
 * The flags of openat2 are behind a pointer: what it opens is up to the
 * caller, which resolves beneath a directory that it holds and follows no
 * symbolic link.
 */
static const char *const beneath_calls[] = { "openat2", "fstat", NULL };

/* Which interface and what with it is behind a pointer, too. */
static const char *const usbfs_calls[] = { NULL };

static const char *const watch_calls[] = { "inotify_add_watch",
	"inotify_rm_watch", "getdents64", NULL };

static const char *const children_calls[] = { "wait4", "waitid", NULL };

const struct promise promise_table[] = {
	{ "stdio", "descriptors that are open, memory, time, signals",
	    stdio_calls },
	{ "rpath", "look at files, read only", rpath_calls },
	{ "recvfd", "look at descriptors that came by message", recvfd_calls },
	{ "sendfd", "send descriptors by message", sendfd_calls },
	{ "unix", "connect to sockets in the file system, remove one's own",
	    unix_calls },
	{ "uevent", "receive from the uevent socket", uevent_calls },
	{ "qmp", "talk on QMP sockets that are connected", qmp_calls },
	{ "control", "accept clients on the control socket", control_calls },
	{ "beneath", "open files beneath directories that are held",
	    beneath_calls },
	{ "watch", "watch and list directories, watch processes for their end",
	    watch_calls },
	{ "usbfs", "bind the host's drivers to a USB device", usbfs_calls },
	{ "children", "end and reap the other processes", children_calls },
	{ NULL, NULL, NULL }
};

/* An int: the kernel drops the upper half, and libc may leave dirt there. */
#define INT_BITS UINT64_C(0xffffffff)
#define INT_IS(n, v) (n), INT_BITS, (v)
/* None but these bits; none of those. */
#define INT_ONLY(n, bits) (n), INT_BITS & ~(uint64_t)(bits), 0
#define NONE_OF(n, bits) (n), (bits), 0

#define ANY_WRITE (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND)
#define MMAP_KIND (MAP_TYPE | MAP_ANONYMOUS)

const struct promise_arg promise_args[] = {
	/* Memory is never executable, and mmap maps no descriptor. */
	{ "stdio", "mmap",
	    { { NONE_OF(2, PROT_EXEC) },
		{ 3, MMAP_KIND, MAP_PRIVATE | MAP_ANONYMOUS } } },
	{ "stdio", "mprotect", { { NONE_OF(2, PROT_EXEC) } } },
	/* Not F_SETFL, which could take O_APPEND off a log. */
	{ "stdio", "fcntl", { { INT_IS(1, F_GETFL) } } },
	{ "stdio", "fcntl", { { INT_IS(1, F_GETFD) } } },
	{ "stdio", "fcntl", { { INT_IS(1, F_SETFD) } } },
	/* abort(3) */
	{ "stdio", "tgkill",
	    { { 0, INT_BITS, PROMISE_OWN_PID }, { INT_IS(2, SIGABRT) } } },

	{ "rpath", "open", { { NONE_OF(1, ANY_WRITE) } } },
	{ "rpath", "openat", { { NONE_OF(2, ANY_WRITE) } } },
	{ "rpath", "newfstatat",
	    { { INT_ONLY(
		3, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH) } } },
	/* fstat(3) of glibc from 2.33 */
	{ "recvfd", "newfstatat", { { INT_IS(3, AT_EMPTY_PATH) } } },
	{ "beneath", "newfstatat", { { INT_IS(3, AT_EMPTY_PATH) } } },

	{ "unix", "socket", { { INT_IS(0, AF_UNIX) } } },
	{ "unix", "getsockopt",
	    { { INT_IS(1, SOL_SOCKET) }, { INT_IS(2, SO_PEERCRED) } } },
	{ "unix", "unlinkat", { { INT_IS(2, 0) } } },
	{ "control", "getsockopt",
	    { { INT_IS(1, SOL_SOCKET) }, { INT_IS(2, SO_PEERCRED) } } },
	/* Without an address: send(2). */
	{ "qmp", "sendto", { { 4, UINT64_MAX, 0 } } },
	{ "usbfs", "ioctl", { { INT_IS(1, (uint32_t)USBDEVFS_IOCTL) } } },
	{ "watch", "pidfd_open", { { INT_IS(1, 0) } } },
	/* No other process group, and only to end it. */
	{ "children", "kill",
	    { { NONE_OF(0, 0x80000000) }, { INT_IS(1, SIGKILL) } } },
	{ NULL, NULL, { { 0, 0, 0 } } }
};

const char *const promise_always[] = { "exit", "exit_group", "rt_sigreturn",
	"restart_syscall", NULL };

const char *const promise_absent[] = { "clone3", NULL };

const char *const promise_sanitizer_calls[] = { "sigaltstack", "sched_yield",
	"getrlimit", "prlimit64", NULL };

const char *const promise_sanitizer_denied[] = { "open", "openat", "readlink",
	"readlinkat", "access", "stat", "clone", "ptrace", "prctl", "pipe2",
	"socketpair", "ioctl", "uname", "process_vm_readv", NULL };

size_t
promises_next(const char *list, const char **word, const char **rest)
{
	size_t len;

	*word = list + strspn(list, " \t");
	len = strcspn(*word, " \t");
	*rest = *word + len;
	return len;
}

int
promises_have(const char *list, const char *name, size_t len)
{
	const char *word;
	size_t n;

	while ((n = promises_next(list, &word, &list)) != 0)
		if (n == len && memcmp(word, name, n) == 0)
			return 1;
	return 0;
}

const struct promise *
promise_find(const char *name, size_t len)
{
	const struct promise *p;

	for (p = promise_table; p->name != NULL; p++)
		if (strlen(p->name) == len && memcmp(p->name, name, len) == 0)
			return p;
	return NULL;
}
