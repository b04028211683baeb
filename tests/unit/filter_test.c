/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * The promises as data, and what libseccomp makes of them: the program is
 * exported and run here over every call, for this architecture and for the
 * other one that is supported, and must give what the data say.
 */

#include <linux/usbdevice_fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <errno.h>
#include <fcntl.h>
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
#include "filter.h"
#include "promises.h"
#include "sandbox.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#define NR_MAX 600
#define PROGRAM_MAX 4096
#define ERRNO(e) (SECCOMP_RET_ERRNO | (e))
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct program {
	struct sock_filter insn[PROGRAM_MAX];
	size_t len;
};

static const struct {
	const char *name;
	uint32_t scmp;
	uint32_t audit;
} arch_table[] = {
	{ "x86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64 },
	{ "aarch64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64 },
};

/* Names of calls that newer architectures do without. */
static const char *const optional[] = { "access", "arch_prctl", "dup2",
	"epoll_wait", "lstat", "mkdir", "open", "poll", "readlink", "stat",
	"time", "unlink" };

static const enum proc_id filtered[] = { PROC_PARENT, PROC_ENGINE, PROC_MONITOR,
	PROC_QMPCLIENT, PROC_SPAWNER };

static int
in_list(const char *const *list, const char *name)
{
	for (; *list != NULL; list++)
		if (strcmp(*list, name) == 0)
			return 1;
	return 0;
}

static int
is_optional(const char *name)
{
	size_t i;

	for (i = 0; i < COUNT(optional); i++)
		if (strcmp(optional[i], name) == 0)
			return 1;
	return 0;
}

/* One of the classic BPF programs that seccomp(2) runs. */
static uint32_t
run(const struct program *p, const struct seccomp_data *data)
{
	uint32_t a = 0, k, mem[BPF_MEMWORDS] = { 0 };
	const struct sock_filter *i;
	size_t pc = 0;
	int taken;

	for (;;) {
		assert_true(pc < p->len);
		i = &p->insn[pc++];
		k = i->k;
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(k <= sizeof(*data) - sizeof(a));
			memcpy(&a, (const char *)data + k, sizeof(a));
			continue;
		case BPF_LD | BPF_MEM:
			a = mem[k];
			continue;
		case BPF_ST:
			mem[k] = a;
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= k;
			continue;
		case BPF_RET | BPF_K:
			return k;
		case BPF_JMP | BPF_JA:
			pc += k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			taken = a == k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			taken = a > k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			taken = a >= k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			taken = (a & k) != 0;
			break;
		default:
			fail_msg("instruction %#x", i->code);
			return 0;
		}
		pc += taken ? i->jt : i->jf;
	}
}

static void
build(struct program *p, enum proc_id proc, const char *promises, uint32_t arch)
{
	const char *errstr = "nothing";
	scmp_filter_ctx ctx;
	ssize_t n;
	int fd;

	ctx = filter_build(proc, promises, arch, 0, &errstr);
	if (ctx == NULL)
		fail_msg("%s: %s", errstr, strerror(errno));
	assert_int_not_equal(fd = memfd_create("filter", MFD_CLOEXEC), -1);
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	n = pread(fd, p->insn, sizeof(p->insn), 0);
	assert_true(n > 0 && (size_t)n < sizeof(p->insn));
	p->len = (size_t)n / sizeof(p->insn[0]);
	close(fd);
	seccomp_release(ctx);
}

static int
conds_hold(const struct promise_cond *c, const uint64_t *args)
{
	uint64_t value;
	size_t i;

	for (i = 0; i < PROMISE_CONDS && c[i].mask != 0; i++) {
		value = c[i].value == PROMISE_OWN_PID ? (uint64_t)getpid()
						      : c[i].value;
		if ((args[c[i].arg] & c[i].mask) != value)
			return 0;
	}
	return 1;
}

/* What the data say about a call, without libseccomp. */
static uint32_t
expected(const char *promises, const char *call, const uint64_t *args)
{
	const struct promise_arg *row;
	const struct promise *p;
	int conditional = 0;

	if (in_list(promise_always, call))
		return SECCOMP_RET_ALLOW;
	for (p = promise_table; p->name != NULL; p++)
		if (promises_have(promises, p->name, strlen(p->name)) &&
		    in_list(p->calls, call))
			return SECCOMP_RET_ALLOW;
	for (row = promise_args; row->promise != NULL; row++) {
		if (strcmp(row->call, call) != 0 ||
		    !promises_have(
			promises, row->promise, strlen(row->promise)))
			continue;
		conditional = 1;
		if (conds_hold(row->conds, args))
			return SECCOMP_RET_ALLOW;
	}
	if (!conditional && in_list(promise_absent, call))
		return ERRNO(ENOSYS);
	return SECCOMP_RET_TRAP;
}

/* Values on both sides of every condition, and dirt in the upper half. */
static uint64_t
pick(void)
{
	static const uint64_t pool[] = { 0, 1, 2, 3, 4, 5, 6, 7, 9, 15, AF_INET,
		AF_NETLINK, SO_ERROR, SO_PEERCRED, SIGKILL, SIGTERM, SIGABRT,
		O_WRONLY | O_APPEND, O_WRONLY | O_APPEND | O_CREAT,
		O_RDWR | O_APPEND, O_CREAT, O_TRUNC, O_PATH, O_DIRECTORY,
		MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS,
		MAP_PRIVATE, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR,
		F_SETFL, F_DUPFD_CLOEXEC, CLONE_PARENT | SIGCHLD, SIGCHLD,
		CLONE_NEWNS, CLONE_NEWNS | CLONE_NEWUSER, PR_SET_NAME,
		PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP,
		NETLINK_KOBJECT_UEVENT, SO_DOMAIN, 0x80000000, 0xffffffff,
		(uint32_t)USBDEVFS_IOCTL, (uint32_t)USBDEVFS_RESET,
		UINT64_C(1) << 32, UINT64_MAX };
	static uint32_t state = 1;
	uint64_t value;

	state = state * 1664525 + 1013904223;
	if ((state >> 24) % 8 == 0)
		return (uint64_t)getpid();
	value = pool[(state >> 16) % COUNT(pool)];
	if ((state >> 28) == 0)
		value |= UINT64_C(0xdead) << 32;
	return value;
}

/* Rounds with other arguments, where these can matter. */
static int
rounds(const char *call)
{
	const struct promise_arg *row;

	for (row = promise_args; call != NULL && row->promise != NULL; row++)
		if (strcmp(row->call, call) == 0)
			return 2000;
	return 4;
}

static void
check_call(const struct program *p, uint32_t audit_arch, const char *promises,
    int nr, const char *call)
{
	struct seccomp_data data = { .nr = nr, .arch = audit_arch };
	uint64_t args[6];
	uint32_t want, got;
	int round, i, n = rounds(call);

	for (round = 0; round < n; round++) {
		for (i = 0; i < 6; i++)
			data.args[i] = args[i] = round == 0 ? 0 : pick();
		want = expected(promises, call == NULL ? "" : call, args);
		got = run(p, &data);
		if (got != want)
			fail_msg("%s (%d) %#lx %#lx %#lx %#lx: %#x not %#x",
			    call == NULL ? "?" : call, nr, (long)args[0],
			    (long)args[1], (long)args[2], (long)args[3], got,
			    want);
	}
}

static void
check_profile(enum proc_id proc, const char *promises, size_t a)
{
	static struct program p;
	char *call;
	int nr;

	build(&p, proc, promises, arch_table[a].scmp);
	if (promises == NULL)
		promises = sandbox_promises(proc);
	for (nr = 0; nr < NR_MAX; nr++) {
		call = seccomp_syscall_resolve_num_arch(arch_table[a].scmp, nr);
		check_call(&p, arch_table[a].audit, promises, nr, call);
		free(call);
	}
}

static void
every_call_as_the_data_say(void **state)
{
	size_t a, i;

	(void)state;
	for (a = 0; a < COUNT(arch_table); a++)
		for (i = 0; i < COUNT(filtered); i++)
			check_profile(filtered[i], NULL, a);
}

/* It stays on a child, whose own one comes on top: what both allow is left. */
static void
filter_of_the_spawner_takes_nothing_from_a_child(void **state)
{
	struct seccomp_data data = { .arch = AUDIT_ARCH_X86_64 };
	static struct program spawner, child;
	enum proc_id proc;
	int round, i;

	(void)state;
	build(&spawner, PROC_SPAWNER, NULL, SCMP_ARCH_X86_64);
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		build(&child, proc, NULL, SCMP_ARCH_X86_64);
		for (data.nr = 0; data.nr < NR_MAX; data.nr++)
			for (round = 0; round < 2000; round++) {
				for (i = 0; i < 6; i++)
					data.args[i] = pick();
				if (run(&child, &data) == SECCOMP_RET_ALLOW &&
				    run(&spawner, &data) != SECCOMP_RET_ALLOW)
					fail_msg(
					    "%s: %d", proc_name(proc), data.nr);
			}
	}
}

static void
narrowed_filter_has_less(void **state)
{
	(void)state;
	check_profile(PROC_MONITOR, "stdio", 0);
	check_profile(PROC_QMPCLIENT, " stdio  qmp ", 0);
	check_profile(PROC_ENGINE, "", 0);
}

#define OWN_PID UINT64_MAX

/* What each of the two makes of the same function, and with what. */
static const struct {
	const char *promise;
	const char *function;
	struct {
		const char *call;
		uint64_t args[4];
	} libc[2]; /* glibc 2.36, musl 1.2.3 */
} same_table[] = {
	{ "stdio", "fwrite", { { "write", { 2 } }, { "writev", { 2 } } } },
	{ "stdio", "fread", { { "read", { 0 } }, { "readv", { 0 } } } },
	{ "stdio", "epoll_wait",
	    { { "epoll_wait", { 0 } }, { "epoll_pwait", { 0 } } } },
	{ "stdio", "poll", { { "poll", { 0 } }, { "ppoll", { 0 } } } },
	{ "stdio", "nanosleep",
	    { { "clock_nanosleep", { 0 } }, { "nanosleep", { 0 } } } },
	{ "stdio", "time", { { "time", { 0 } }, { "clock_gettime", { 0 } } } },
	{ "stdio", "gettimeofday",
	    { { "gettimeofday", { 0 } }, { "clock_gettime", { 0 } } } },
	{ "stdio", "abort",
	    { { "tgkill", { OWN_PID, OWN_PID, SIGABRT } },
		{ "tkill", { OWN_PID, SIGABRT } } } },
	{ "stdio", "abort",
	    { { "rt_sigprocmask", { SIG_UNBLOCK } },
		{ "rt_sigprocmask", { SIG_BLOCK } } } },
	{ "stdio", "malloc",
	    { { "brk", { 0 } },
		{ "mmap", { 0, 4096, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS } } } },
	{ "stdio", "malloc",
	    { { "mprotect", { 0, 4096, PROT_READ | PROT_WRITE } },
		{ "mprotect", { 0, 4096, PROT_READ | PROT_WRITE } } } },
	/* Of glibc 2.41 where the vDSO has vgetrandom; musl has no such. */
	{ "stdio", "getrandom",
	    { { "mmap", { 0, 4096, PROT_READ | PROT_WRITE,
			    MAP_DROPPABLE | MAP_ANONYMOUS } },
		{ "getrandom", { 0 } } } },
	{ "stdio", "free", { { "munmap", { 0 } }, { "madvise", { 0 } } } },
	{ "stdio", "fopen",
	    { { "fcntl", { 0, F_GETFL } },
		{ "fcntl", { 0, F_SETFD, FD_CLOEXEC } } } },
	{ "stdio", "exit",
	    { { "exit_group", { 0 } }, { "exit_group", { 0 } } } },
	{ "rpath", "open",
	    { { "openat", { 0, 0, O_RDONLY | O_CLOEXEC } },
		{ "open", { 0, O_RDONLY | O_CLOEXEC | 0100000 } } } },
	{ "rpath", "stat",
	    { { "newfstatat", { 0, 0, 0, 0 } }, { "stat", { 0 } } } },
	{ "rpath", "lstat",
	    { { "newfstatat", { 0, 0, 0, AT_SYMLINK_NOFOLLOW } },
		{ "lstat", { 0 } } } },
	{ "rpath", "access", { { "access", { 0 } }, { "faccessat", { 0 } } } },
	{ "rpath", "readlink",
	    { { "readlink", { 0 } }, { "readlinkat", { 0 } } } },
	{ "rpath", "readdir",
	    { { "getdents64", { 0 } }, { "getdents64", { 0 } } } },
	{ "recvfd", "fstat",
	    { { "newfstatat", { 0, 0, 0, AT_EMPTY_PATH } },
		{ "fstat", { 0 } } } },
	{ "beneath", "fstat",
	    { { "newfstatat", { 0, 0, 0, AT_EMPTY_PATH } },
		{ "fstat", { 0 } } } },
	{ "uevent", "recv", { { "recvfrom", { 0 } }, { "recvfrom", { 0 } } } },
	{ "qmp", "send", { { "sendto", { 0 } }, { "sendto", { 0 } } } },
	{ "children", "waitpid", { { "wait4", { 0 } }, { "wait4", { 0 } } } },
	{ "exec", "dup2", { { "dup2", { 0 } }, { "dup3", { 0 } } } },
	{ "id", "setrlimit",
	    { { "prlimit64", { 0 } }, { "prlimit64", { 0 } } } },
};

static void
check_same(const struct program *p, size_t a, size_t row, size_t libc)
{
	struct seccomp_data data = { .arch = arch_table[a].audit };
	const char *call = same_table[row].libc[libc].call;
	size_t i;

	data.nr = seccomp_syscall_resolve_name_arch(arch_table[a].scmp, call);
	if (data.nr < 0 && is_optional(call))
		return; /* there both libraries make the newer one */
	for (i = 0; i < 4; i++) {
		data.args[i] = same_table[row].libc[libc].args[i];
		if (data.args[i] == OWN_PID)
			data.args[i] = (__u64)getpid();
	}
	if (run(p, &data) != SECCOMP_RET_ALLOW)
		fail_msg("%s of %s: %s", same_table[row].function,
		    libc == 0 ? "glibc" : "musl", call);
}

static void
glibc_and_musl_may_do_the_same(void **state)
{
	static struct program p;
	size_t a, i, row;

	(void)state;
	for (a = 0; a < COUNT(arch_table); a++)
		for (i = 0; i < COUNT(filtered); i++) {
			build(&p, filtered[i], NULL, arch_table[a].scmp);
			for (row = 0; row < COUNT(same_table); row++) {
				if (!promises_have(
					sandbox_promises(filtered[i]),
					same_table[row].promise,
					strlen(same_table[row].promise)))
					continue;
				check_same(&p, a, row, 0);
				check_same(&p, a, row, 1);
			}
		}
}

static void
other_architectures_are_killed(void **state)
{
	static const uint32_t others[] = { AUDIT_ARCH_I386, AUDIT_ARCH_ARM,
		AUDIT_ARCH_RISCV64, 0 };
	struct seccomp_data data = { 0 };
	static struct program p;
	size_t a, i;

	(void)state;
	for (a = 0; a < COUNT(arch_table); a++) {
		build(&p, PROC_PARENT, NULL, arch_table[a].scmp);
		for (data.nr = 0; data.nr < NR_MAX; data.nr++) {
			for (i = 0; i < COUNT(others); i++) {
				data.arch = others[i];
				assert_int_equal(
				    run(&p, &data), SECCOMP_RET_KILL_PROCESS);
			}
			data.arch = arch_table[1 - a].audit;
			assert_int_equal(
			    run(&p, &data), SECCOMP_RET_KILL_PROCESS);
		}
	}
}

/* The x32 numbers of x86-64 go by the same architecture. */
static void
x32_is_killed(void **state)
{
	struct seccomp_data data = { .arch = AUDIT_ARCH_X86_64 };
	static struct program p;
	int nr;

	(void)state;
	build(&p, PROC_PARENT, NULL, SCMP_ARCH_X86_64);
	for (nr = 0; nr < NR_MAX; nr++) {
		data.nr = 0x40000000 + nr;
		assert_int_equal(run(&p, &data), SECCOMP_RET_KILL_PROCESS);
	}
}

/* What of the list below one needs that starts the others. */
static int
spawner_needs(const char *call)
{
	static const char *const table[] = { "execve", "clone", "setresuid",
		"setresgid", "setgroups", "prctl", "seccomp", "mount",
		"umount2", "pivot_root", "chroot", "unshare", "bind",
		"setsockopt", "dup2", "dup3", "mkdir", "mkdirat", "prlimit64",
		"rt_sigaction", NULL };

	return in_list(table, call);
}

/*
 * What no process has, said here a second time: the data themselves may have
 * become wrong.
 */
static void
nobody_has_these(void **state)
{
	static const char *const never[] = { "execve", "execveat", "fork",
		"vfork", "clone", "ptrace", "process_vm_readv",
		"process_vm_writev", "pidfd_getfd", "pidfd_send_signal",
		"setuid", "setgid", "setresuid", "setresgid", "setgroups",
		"capset", "prctl", "seccomp", "mount", "umount2", "pivot_root",
		"chroot", "unshare", "setns", "open_by_handle_at", "ioctl",
		"bind", "listen", "setsockopt", "shutdown", "dup", "dup2",
		"dup3", "memfd_create", "creat", "truncate", "ftruncate",
		"rename", "renameat", "renameat2", "link", "linkat", "symlink",
		"symlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat",
		"chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat",
		"utimensat", "setxattr", "personality", "pkey_mprotect",
		"shmat", "remap_file_pages", "userfaultfd", "bpf",
		"perf_event_open", "io_uring_setup", "keyctl", "add_key",
		"init_module", "finit_module", "kexec_load", "reboot", "swapon",
		"swapoff", "iopl", "ioperm", "pwrite64", "pwritev", "splice",
		"sendfile", "fallocate", "copy_file_range", "tkill",
		"rt_sigqueueinfo", "setrlimit", "prlimit64", "setpriority",
		"sched_setscheduler", "settimeofday", "clock_settime",
		"sethostname", "quotactl", "acct", "rt_sigaction",
		"sigaltstack" };
	struct seccomp_data data = { .arch = AUDIT_ARCH_X86_64 };
	static struct program p;
	enum proc_id proc;
	size_t i, n;

	(void)state;
	for (n = 0; n < COUNT(filtered); n++) {
		proc = filtered[n];
		build(&p, proc, NULL, SCMP_ARCH_X86_64);
		for (i = 0; i < COUNT(never); i++) {
			if (proc == PROC_SPAWNER && spawner_needs(never[i]))
				continue;
			data.nr = seccomp_syscall_resolve_name_arch(
			    SCMP_ARCH_X86_64, never[i]);
			assert_true(data.nr >= 0);
			if (run(&p, &data) != SECCOMP_RET_TRAP)
				fail_msg("%s: %s", proc_name(proc), never[i]);
		}
	}
}

static int
has_call(const char *promises, const char *call)
{
	const struct promise_arg *row;
	const struct promise *p;

	for (p = promise_table; p->name != NULL; p++)
		if (promises_have(promises, p->name, strlen(p->name)) &&
		    in_list(p->calls, call))
			return 1;
	for (row = promise_args; row->promise != NULL; row++)
		if (strcmp(row->call, call) == 0 &&
		    promises_have(promises, row->promise, strlen(row->promise)))
			return 1;
	return 0;
}

static void
only_these_processes_have_them(void **state)
{
	static const struct {
		const char *call;
		unsigned int procs;
	} table[] = {
		{ "socket", 1U << PROC_PARENT | 1U << PROC_SPAWNER },
		{ "socketpair", 1U << PROC_PARENT },
		{ "connect", 1U << PROC_PARENT },
		{ "openat2", 1U << PROC_PARENT },
		{ "kill", 1U << PROC_PARENT },
		{ "pidfd_open", 1U << PROC_PARENT },
		{ "unlink", 1U << PROC_PARENT },
		{ "unlinkat", 1U << PROC_PARENT },
		{ "open", 1U << PROC_MONITOR | 1U << PROC_SPAWNER },
		{ "openat", 1U << PROC_MONITOR | 1U << PROC_SPAWNER },
		{ "getdents64", 1U << PROC_PARENT | 1U << PROC_MONITOR |
				    1U << PROC_SPAWNER },
		{ "accept4", 1U << PROC_ENGINE | 1U << PROC_SPAWNER },
		{ "lseek", 1U << PROC_PARENT | 1U << PROC_MONITOR |
			       1U << PROC_SPAWNER },
	};
	enum proc_id proc;
	size_t i, n;

	(void)state;
	for (i = 0; i < COUNT(table); i++)
		for (n = 0; n < COUNT(filtered); n++) {
			proc = filtered[n];
			if (has_call(sandbox_promises(proc), table[i].call) !=
			    (int)(table[i].procs >> proc & 1))
				fail_msg(
				    "%s: %s", proc_name(proc), table[i].call);
		}
}

static void
lists_are_disjoint(void **state)
{
	const struct promise_arg *row;
	const struct promise *p;

	(void)state;
	for (row = promise_args; row->promise != NULL; row++) {
		for (p = promise_table; p->name != NULL; p++)
			if (in_list(p->calls, row->call))
				fail_msg(
				    "%s is in %s and in the argument table",
				    row->call, p->name);
		assert_false(in_list(promise_always, row->call));
		assert_false(in_list(promise_absent, row->call));
		assert_false(in_list(promise_sanitizer_calls, row->call));
		assert_int_not_equal(row->conds[0].mask, 0);
		assert_non_null(
		    promise_find(row->promise, strlen(row->promise)));
	}
}

static void
check_name(const char *call)
{
	int nr = seccomp_syscall_resolve_name(call);

	if (nr == __NR_SCMP_ERROR || (nr < 0 && !is_optional(call)))
		fail_msg("%s is no system call here", call);
}

static void
names_resolve(void **state)
{
	const struct promise_arg *row;
	const struct promise *p;
	const char *const *call;

	(void)state;
	for (p = promise_table; p->name != NULL; p++)
		for (call = p->calls; *call != NULL; call++)
			check_name(*call);
	for (row = promise_args; row->promise != NULL; row++)
		check_name(row->call);
	for (call = promise_always; *call != NULL; call++)
		check_name(*call);
	for (call = promise_absent; *call != NULL; call++)
		check_name(*call);
}

static void
profiles_are_made_of_promises(void **state)
{
	const struct promise *p;
	const char *w, *rest;
	int used;
	size_t i, n;

	(void)state;
	for (i = 0; i < COUNT(filtered); i++) {
		assert_non_null(rest = sandbox_promises(filtered[i]));
		while ((n = promises_next(rest, &w, &rest)) != 0)
			assert_non_null(promise_find(w, n));
	}
	assert_null(sandbox_promises(PROC_CLIENT));
	assert_null(sandbox_promises(PROC_MAX));
	for (p = promise_table; p->name != NULL; p++) {
		used = 0;
		for (i = 0; i < COUNT(filtered); i++)
			used |= promises_have(sandbox_promises(filtered[i]),
			    p->name, strlen(p->name));
		assert_true(used);
	}
}

static void
promises_only_narrow(void **state)
{
	char word[8];

	(void)state;
#define OK(proc, words)   \
	assert_int_equal( \
	    sandbox_check_promises(proc, words, word, sizeof(word)), 0)
#define BAD(proc, words, bad)                                                \
	do {                                                                 \
		assert_int_equal(                                            \
		    sandbox_check_promises(proc, words, word, sizeof(word)), \
		    -1);                                                     \
		assert_string_equal(word, bad);                              \
	} while (0)
	OK(PROC_MONITOR, "stdio rpath uevent");
	OK(PROC_MONITOR, "uevent\tstdio");
	OK(PROC_MONITOR, "");
	OK(PROC_QMPCLIENT, "stdio recvfd qmp");
	BAD(PROC_MONITOR, "stdio qmp", "qmp");
	BAD(PROC_MONITOR, "stdio unix qmp", "unix");
	BAD(PROC_QMPCLIENT, "stdio rpath", "rpath");
	BAD(PROC_ENGINE, "stdi", "stdi");
	BAD(PROC_ENGINE, "stdiox", "stdiox");
	BAD(PROC_ENGINE, "stdio incredible", "incredi");
	BAD(PROC_CLIENT, "stdio", "stdio");
	BAD(PROC_MAX, "stdio", "stdio");
}

static void
unknown_promise_is_an_error(void **state)
{
	const char *errstr = NULL;

	(void)state;
	assert_null(filter_build(PROC_ENGINE, "stdio inet", 0, 0, &errstr));
	assert_int_equal(errno, EINVAL);
	assert_string_equal(errstr, "promise inet");
	assert_null(filter_build(PROC_CLIENT, NULL, 0, 0, &errstr));
	assert_int_equal(errno, EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_are_disjoint),
		cmocka_unit_test(names_resolve),
		cmocka_unit_test(profiles_are_made_of_promises),
		cmocka_unit_test(promises_only_narrow),
		cmocka_unit_test(unknown_promise_is_an_error),
		cmocka_unit_test(every_call_as_the_data_say),
		cmocka_unit_test(
		    filter_of_the_spawner_takes_nothing_from_a_child),
		cmocka_unit_test(narrowed_filter_has_less),
		cmocka_unit_test(glibc_and_musl_may_do_the_same),
		cmocka_unit_test(other_architectures_are_killed),
		cmocka_unit_test(x32_is_killed),
		cmocka_unit_test(nobody_has_these),
		cmocka_unit_test(only_these_processes_have_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
