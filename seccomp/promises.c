/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <linux/usbdevice_fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/netlink.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include "promises.h"

static const char *const stdio_calls[] = { "read", "readv", "write", "writev",
	"recvmsg", "sendmsg", "close", "epoll_wait", "epoll_pwait",
	"epoll_pwait2", "epoll_ctl", "poll", "ppoll", "brk", "munmap",
	"madvise", "futex", "clock_gettime", "gettimeofday", "time",
	"clock_nanosleep", "nanosleep", "getrandom", "sysinfo", "getpid",
	"gettid", "getuid", "geteuid", "getgid", "getegid", "rt_sigprocmask",
	NULL };

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
static const char *const beneath_calls[] = { "openat2", "fstat", "lseek",
	NULL };

/* Which interface and what with it is behind a pointer, too. */
static const char *const usbfs_calls[] = { NULL };

static const char *const watch_calls[] = { "inotify_init1", "inotify_add_watch",
	"inotify_rm_watch", "getdents64", NULL };

static const char *const children_calls[] = { "wait4", "waitid", NULL };

/* The filter of the process that starts the others stays over exec. */
static const char *const proc_calls[] = { NULL };

/* What the dynamic loader, libc and a child do first. */
static const char *const exec_calls[] = { "execve", "arch_prctl",
	"set_tid_address", "set_robust_list", "rseq", "rt_sigaction", "dup2",
	"dup3", "close_range", "epoll_create1", NULL };

static const char *const prot_exec_calls[] = { NULL };

static const char *const id_calls[] = { "setgroups", "setresgid", "setresuid",
	"prlimit64", "umask", NULL };

static const char *const rootdir_calls[] = { "mount", "umount2", "pivot_root",
	"chroot", "chdir", "mkdir", "mkdirat", NULL };

static const char *const netlink_calls[] = { "bind", "getsockname", NULL };

static const char *const confine_calls[] = { "seccomp",
	"landlock_create_ruleset", "landlock_add_rule",
	"landlock_restrict_self", NULL };

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
	{ "children", "end and reap the other processes, make their channels",
	    children_calls },
	{ "proc", "start a process beside this one", proc_calls },
	{ "exec", "execute a program", exec_calls },
	{ "prot_exec", "map the code of a program", prot_exec_calls },
	{ "id", "change user, group and limits", id_calls },
	{ "rootdir", "make a root directory of one's own", rootdir_calls },
	{ "netlink", "open the uevent socket", netlink_calls },
	{ "confine", "give up what is left", confine_calls },
	{ NULL, NULL, NULL }
};

/* An int: the kernel drops the upper half, and libc may leave dirt there. */
#define INT_BITS UINT64_C(0xffffffff)
#define INT_IS(n, v) (n), INT_BITS, (v)
/* None but these bits; none of those. */
#define INT_ONLY(n, bits) (n), INT_BITS & ~(uint64_t)(bits), 0
#define NONE_OF(n, bits) (n), (bits), 0

/* musl's O_ACCMODE has O_PATH in it. */
#define ANY_WRITE (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)
#define MMAP_KIND (MAP_TYPE | MAP_ANONYMOUS)
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif

const struct promise_arg promise_args[] = {
	/* Memory is never executable, and mmap maps no descriptor. */
	{ "stdio", "mmap",
	    { { NONE_OF(2, PROT_EXEC) },
		{ 3, MMAP_KIND, MAP_PRIVATE | MAP_ANONYMOUS } } },
	/* getrandom(3) of glibc from 2.41, which libudev calls */
	{ "stdio", "mmap",
	    { { NONE_OF(2, PROT_EXEC) },
		{ 3, MMAP_KIND, MAP_DROPPABLE | MAP_ANONYMOUS } } },
	{ "stdio", "mprotect", { { NONE_OF(2, PROT_EXEC) } } },
	/* Not F_SETFL, which could take O_APPEND off a log. */
	{ "stdio", "fcntl", { { INT_IS(1, F_GETFL) } } },
	{ "stdio", "fcntl", { { INT_IS(1, F_GETFD) } } },
	{ "stdio", "fcntl", { { INT_IS(1, F_SETFD) } } },
	/* abort(3) of glibc and of musl; a process has one thread. */
	{ "stdio", "tgkill",
	    { { 0, INT_BITS, PROMISE_OWN_PID }, { INT_IS(2, SIGABRT) } } },
	{ "stdio", "tkill",
	    { { 0, INT_BITS, PROMISE_OWN_PID }, { INT_IS(1, SIGABRT) } } },

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
	{ "children", "socketpair",
	    { { INT_IS(0, AF_UNIX) }, { INT_IS(2, 0) } } },
	/* What is sent and yet kept, to be sent again. */
	{ "sendfd", "fcntl", { { INT_IS(1, F_DUPFD_CLOEXEC) } } },

	{ "proc", "clone", { { 0, UINT64_MAX, CLONE_PARENT | SIGCHLD } } },
	/* As in stdio, of whichever process has inherited the filter. */
	{ "proc", "tgkill", { { INT_IS(2, SIGABRT) } } },
	{ "proc", "tkill", { { INT_IS(1, SIGABRT) } } },
	/* Private, of a file, too; what can be executed cannot be written. */
	{ "prot_exec", "mmap",
	    { { NONE_OF(2, PROT_EXEC) }, { 3, MAP_TYPE, MAP_PRIVATE } } },
	{ "prot_exec", "mmap",
	    { { NONE_OF(2, PROT_WRITE) }, { 3, MMAP_KIND, MAP_PRIVATE } } },
	/* What a child finds at descriptor 3. */
	{ "exec", "getsockopt",
	    { { INT_IS(1, SOL_SOCKET) }, { INT_IS(2, SO_DOMAIN) } } },
	{ "rootdir", "unshare", { { 0, UINT64_MAX, CLONE_NEWNS } } },
	{ "netlink", "socket",
	    { { INT_IS(0, AF_NETLINK) },
		{ INT_IS(2, NETLINK_KOBJECT_UEVENT) } } },
	{ "netlink", "getsockopt", { { INT_IS(1, SOL_SOCKET) } } },
	{ "netlink", "setsockopt", { { INT_IS(1, SOL_SOCKET) } } },
	{ "confine", "prctl", { { INT_IS(0, PR_SET_NAME) } } },
	{ "confine", "prctl", { { INT_IS(0, PR_SET_DUMPABLE) } } },
	{ "confine", "prctl", { { INT_IS(0, PR_SET_PDEATHSIG) } } },
	{ "confine", "prctl", { { INT_IS(0, PR_SET_NO_NEW_PRIVS) } } },
	{ NULL, NULL, { { 0, 0, 0 } } }
};

const char *const promise_always[] = { "exit", "exit_group", "rt_sigreturn",
	"restart_syscall", NULL };

const char *const promise_absent[] = { "clone3", "mremap", NULL };

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
