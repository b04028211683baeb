/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * What somebody would try who has taken a process over, done by that very
 * process as it is at work, confined.  Which act, and by which processes, says
 * the file "act" beside the program: "socket-inet PID engine monitor", with the
 * process to which it may be done.  The acts
 * and what must come of them are in acts.table.
 *
 * One that is not stopped by a signal is logged, with its error.
 */

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/usbdevice_fs.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "acts.h"
#include "imsg.h"
#include "log.h"
#include "msg.h"
#include "trap.h"

#define PAGE 4096L
#define PTR(p) ((long)(uintptr_t)(p))
#define SYS(...) syscall(SYS_##__VA_ARGS__)

/*
 * What the acts are done to; opened or mapped before the process is confined.
 */
static struct {
	long page;
	long file; /* read only, of a directory that all may see */
	pid_t other; /* a process of the test */
} on;

static char chosen[64];
static unsigned int chosen_procs;
static int channels[PROC_MAX]; /* 0: none */

/*
 * Times that it is asked before the process is at work: the spawner for each
 * child, a child when it gets its log.
 */
static const int starts[PROC_MAX] = { [PROC_SPAWNER] = 3,
	[PROC_ENGINE] = 1,
	[PROC_MONITOR] = 1,
	[PROC_QMPCLIENT] = 1 };

/* A message of that type which has a descriptor where none is allowed. */
static long
send_descriptor(int to, uint32_t type, size_t size)
{
	struct {
		struct imsg_hdr hdr;
		char payload[2048];
	} message = { .hdr = { .type = type,
			  .len = (uint32_t)(sizeof(struct imsg_hdr) + size) |
				 IMSG_FD_MARK } };
	struct iovec iov = { .iov_base = &message,
		.iov_len = sizeof(struct imsg_hdr) + size };
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	int fd = STDIN_FILENO;

	control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&control.hdr), &fd, sizeof(fd));
	return sendmsg(to, &msg, MSG_NOSIGNAL);
}

static long
descriptor_to_parent(void)
{
	return send_descriptor(PROC_PARENT_FD, MSG_PONG, 4);
}

static long
descriptor_to_sibling(void)
{
	static const enum msg_type types[PROC_MAX] = {
		[PROC_ENGINE] = MSG_DETACH,
		[PROC_MONITOR] = MSG_SCAN_DONE,
		[PROC_QMPCLIENT] = MSG_VM_PORT,
	};
	enum msg_type type = types[log_proc()];
	enum proc_id peer;

	for (peer = PROC_FIRST_CHILD; peer <= PROC_LAST_CHILD; peer++)
		if (channels[peer] != 0)
			send_descriptor(
			    channels[peer], type, msg_info(type)->size);
	errno = 0;
	return -1;
}

/* Hostile: all that this process may say to its neighbours, and more. */

#define FLOOD 400
#define ONE_IN(n) (dice() % (n) == 0)

static uint64_t dice_state;

static unsigned int
dice(void)
{
	dice_state = dice_state * 6364136223846793005 + 1442695040888963407;
	return (unsigned int)(dice_state >> 33);
}

static uint32_t
plausible(void)
{
	static const uint32_t values[] = { 0, 1, 1, 1, 2, 3, 4, 9, 22, 127, 128,
		255, 256, 0x7ffffffe, 0x7fffffff, 0x80000000, 0xffffffff };

	return values[dice() % (sizeof(values) / sizeof(values[0]))];
}

static struct usbport
any_port(void)
{
	struct usbport port = { .busnum = (uint16_t)(1 + dice() % 4),
		.depth = 1,
		.chain = { (uint8_t)(1 + dice() % 15) } };

	return port;
}

/* Such that most of them pass the first checks. */
static void
plausible_payload(enum msg_type type, void *payload)
{
	struct msg_device_gone *gone = payload;
	struct msg_open_device *device = payload;
	struct msg_vm_state *state = payload;
	struct msg_vm_has *has = payload;
	struct msg_attach *attach = payload;
	struct usbdev *dev = payload;

	switch (type) {
	case MSG_DEVICE:
		dev->port = any_port();
		dev->devnum = (uint16_t)(1 + dice() % 127);
		dev->vendor = (uint16_t)plausible();
		break;
	case MSG_DEVICE_GONE:
		gone->port = any_port();
		gone->devnum = (uint16_t)(1 + dice() % 127);
		break;
	case MSG_OPEN_DEVICE:
	case MSG_RELEASE_DEVICE:
		device->request = 1 + dice() % 9;
		device->busnum = (uint16_t)(1 + dice() % 300);
		device->devnum = (uint16_t)(1 + dice() % 127);
		break;
	case MSG_VM_STATE:
		state->vm = 1 + dice() % 2;
		state->state = dice() % VM_STATE_MAX;
		state->handover = 1 + dice() % 2;
		state->conn = dice() % 3;
		break;
	case MSG_VM_HAS:
	case MSG_VM_DROPPED:
		has->vm = 1 + dice() % 2;
		has->request = 1 + dice() % 9;
		has->port = any_port();
		has->devnum = (uint16_t)(1 + dice() % 127);
		break;
	case MSG_ATTACH:
		attach->request = 1 + dice() % 9;
		attach->vm = 1 + dice() % 2;
		attach->port = any_port();
		attach->devnum = (uint16_t)(1 + dice() % 127);
		break;
	default:
		break;
	}
}

/* Once there must be none of these, or it would be over at once. */
static int
ends_soon(unsigned int type)
{
	return type == MSG_READY || type == MSG_TRAPPED ||
	       type == MSG_SCAN_DONE;
}

static void
flood_one(enum proc_id peer, int to)
{
	_Alignas(uint64_t) char payload[2048] = { 0 };
	const struct msg_info *info;
	struct imsg_hdr hdr = { .pid = (uint32_t)-1 };
	struct iovec iov[2] = { { &hdr, sizeof(hdr) }, { payload, 0 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	unsigned int type, i, n;
	uint32_t value;

	do {
		type = 1 + dice() % (MSG_MAX - 1);
		info = msg_info(type);
	} while (((info->from >> log_proc() & 1) == 0 ||
		     (info->to >> peer & 1) == 0 ||
		     (ends_soon(type) && !ONE_IN(50))) &&
		 !ONE_IN(20000));
	if (info->fd || ONE_IN(1000)) {
		send_descriptor(to, type, info->size);
		return;
	}
	iov[1].iov_len = info->size;
	plausible_payload((enum msg_type)type, payload);
	n = ONE_IN(40) ? 1 + dice() % 3 : 0;
	for (i = 0; i < n; i++) {
		value = plausible();
		memcpy(payload + dice() % (info->size / 4) * 4, &value, 4);
	}
	hdr.type = ONE_IN(2000) ? plausible() : type;
	hdr.len =
	    ONE_IN(2000) ? plausible() : (uint32_t)(sizeof(hdr) + info->size);
	sendmsg(to, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static long
flood(void)
{
	enum proc_id peer;
	int i;

	dice_state = (uint64_t)on.other * 2654435761 + log_proc();
	for (i = 0; i < FLOOD; i++) {
		peer = dice() % PROC_CLIENT;
		if (channels[peer] != 0 &&
		    (peer != PROC_MONITOR || ONE_IN(1000))) /* no messages */
			flood_one(peer, channels[peer]);
	}
	return 0;
}

/* Without the text of it. */
static long
trap_blocked(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	return SYS(setuid, 0);
}

static long
trap_unmapped(void)
{
	long code = PTR(trap_install) & -PAGE;

	SYS(munmap, code - PAGE, 3 * PAGE);
	return SYS(setuid, 0);
}

static long
trap_writable(void)
{
	long code = PTR(trap_install) & -PAGE;

	SYS(mprotect, code - PAGE, 3 * PAGE, PROT_READ | PROT_WRITE);
	return SYS(setuid, 0);
}

static long
trap_moved(void)
{
	return SYS(
	    mremap, PTR(trap_install) & -PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
}

static long
fork_child(void)
{
	long pid = SYS(clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid;
}

static long
run_program(void)
{
	static char *const args[] = { NULL };

	return execve("/bin/true", args, args);
}

static long
openat2_of(const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC };

	return SYS(openat2, AT_FDCWD, path, &how, sizeof(how));
}

static long
connect_to(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX,
		.sun_path = "/run/nobody" };

	return connect(PROC_PARENT_FD, (struct sockaddr *)&sun, sizeof(sun));
}

/* An act of one system call in each row. */
#define ROW(X)                                                                \
	X("open-write", SYS(openat, AT_FDCWD, "/etc/passwd", O_WRONLY))       \
	X("open-append",                                                      \
	    SYS(openat, AT_FDCWD, "/etc/passwd", O_WRONLY | O_APPEND))        \
	X("create",                                                           \
	    SYS(openat, AT_FDCWD, "/etc/acts", O_RDONLY | O_CREAT, 0600))     \
	X("open-shadow", SYS(openat, AT_FDCWD, "/etc/shadow", O_RDONLY))      \
	X("open-above",                                                       \
	    SYS(openat, AT_FDCWD, "../../../etc/passwd", O_RDONLY))           \
	X("open-own-fd", SYS(openat, AT_FDCWD, "/proc/self/fd/0", O_RDONLY))  \
	X("openat2", openat2_of("/etc/shadow", O_RDONLY))                     \
	X("openat2-write", openat2_of("/etc/passwd", O_WRONLY))               \
	X("openat2-create",                                                   \
	    openat2_of("/tmp/usbmgrd-act", O_WRONLY | O_CREAT))               \
	X("open-handle", SYS(open_by_handle_at, on.file, NULL, O_RDONLY))     \
	X("unlink", SYS(unlinkat, AT_FDCWD, "/etc/acts", 0))                  \
	X("rename", SYS(renameat2, AT_FDCWD, "/etc/acts", AT_FDCWD, "/x", 0)) \
	X("symlink", SYS(symlinkat, "/etc", AT_FDCWD, "/etc/acts"))           \
	X("chmod", SYS(fchmodat, AT_FDCWD, "/etc/acts", 0777))                \
	X("chown", SYS(fchownat, AT_FDCWD, "/etc/acts", 0, 0, 0))             \
	X("mknod", SYS(mknodat, AT_FDCWD, "/etc/acts", 0600, 0))              \
	X("truncate", SYS(ftruncate, on.file, 0))                             \
	X("socket-inet", SYS(socket, AF_INET, SOCK_STREAM, 0))                \
	X("socket-packet", SYS(socket, AF_PACKET, SOCK_RAW, 0))               \
	X("socket-route", SYS(socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE))   \
	X("socket-uevent",                                                    \
	    SYS(socket, AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT))        \
	X("socket-unix", SYS(socket, AF_UNIX, SOCK_STREAM, 0))                \
	X("connect", connect_to())                                            \
	X("listen", SYS(listen, PROC_PARENT_FD, 1))                           \
	X("ptrace", SYS(ptrace, PTRACE_ATTACH, on.other, 0, 0))               \
	X("read-memory",                                                      \
	    SYS(process_vm_readv, on.other, NULL, 0L, NULL, 0L, 0L))          \
	X("take-descriptor", SYS(pidfd_getfd, on.file, 0, 0))                 \
	X("kill", SYS(kill, on.other, SIGCONT))                               \
	X("tgkill", SYS(tgkill, on.other, on.other, SIGCONT))                 \
	X("kill-all", SYS(kill, -on.other, SIGCONT))                          \
	X("execve", run_program())                                            \
	X("fork", fork_child())                                               \
	X("clone3", SYS(clone3, NULL, 0L))                                    \
	X("mount", SYS(mount, "none", "/", "tmpfs", 0L, NULL))                \
	X("chroot", SYS(chroot, "."))                                         \
	X("user-namespace", SYS(unshare, CLONE_NEWUSER))                      \
	X("setns", SYS(setns, on.file, 0))                                    \
	X("setuid", SYS(setuid, 0))                                           \
	X("setresuid", SYS(setresuid, 0, 0, 0))                               \
	X("setgid", SYS(setgid, 0))                                           \
	X("capset", SYS(capset, NULL, NULL))                                  \
	X("limits", SYS(prlimit64, 0, 0, NULL, NULL))                         \
	X("mprotect-exec",                                                    \
	    SYS(mprotect, on.page, PAGE, PROT_READ | PROT_EXEC))              \
	X("mmap-exec", SYS(mmap, 0L, PAGE, PROT_READ | PROT_EXEC,             \
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L))              \
	X("mmap-write-exec",                                                  \
	    SYS(mmap, 0L, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,           \
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L))                         \
	X("mmap-file",                                                        \
	    SYS(mmap, 0L, PAGE, PROT_READ, MAP_SHARED, on.file, 0L))          \
	X("mmap-shared", SYS(mmap, 0L, PAGE, PROT_READ | PROT_WRITE,          \
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0L))             \
	X("memfd", SYS(memfd_create, "act", 0))                               \
	X("personality", SYS(personality, 0x0400000L))                        \
	X("ioctl", SYS(ioctl, STDIN_FILENO, USBDEVFS_RESET, 0L))              \
	X("ioctl-tty", SYS(ioctl, STDERR_FILENO, TIOCSTI, ""))                \
	X("file-flags", SYS(fcntl, on.file, F_SETFL, 0))                      \
	X("dumpable", SYS(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0))                \
	X("keep-caps", SYS(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0))               \
	X("handler", SYS(rt_sigaction, SIGSYS, NULL, NULL, 8L))               \
	X("filter", SYS(seccomp, 0, 0, NULL))                                 \
	X("bpf", SYS(bpf, 0, NULL, 0))                                        \
	X("perf", SYS(perf_event_open, NULL, 0, 0, -1, 0L))                   \
	X("io-uring", SYS(io_uring_setup, 1, NULL))                           \
	X("keyring", SYS(keyctl, 0, 0, 0, 0, 0))                              \
	X("module", SYS(finit_module, on.file, "", 0))                        \
	X("reboot", SYS(reboot, 0, 0, 0, NULL))                               \
	X("descriptor-to-parent", descriptor_to_parent())                     \
	X("descriptor-to-sibling", descriptor_to_sibling())                   \
	X("trap-blocked", trap_blocked())                                     \
	X("trap-unmapped", trap_unmapped())                                   \
	X("trap-writable", trap_writable())                                   \
	X("trap-moved", trap_moved())                                         \
	X("flood", flood())

static long
act(const char *name)
{
#define TRY(row, call)              \
	if (strcmp(name, row) == 0) \
		return call;
	ROW(TRY)
#undef TRY
	errx(1, "no act is called %s", name);
}

static void
read_choice(void)
{
	char path[PATH_MAX], line[128] = "", *word, *rest = line;
	enum proc_id proc;
	ssize_t n;
	FILE *stream;

	if ((n = readlink("/proc/self/exe", path, sizeof(path) - 8)) == -1)
		err(1, "readlink");
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, "act");
	if ((stream = fopen(path, "re")) == NULL)
		return; /* a test that wants none */
	if (fgets(line, sizeof(line), stream) == NULL)
		err(1, "%s", path);
	fclose(stream);
	strlcpy(chosen, strsep(&rest, " \n"), sizeof(chosen));
	if ((word = strsep(&rest, " \n")) != NULL)
		on.other = (pid_t)strtol(word, NULL, 10);
	while ((word = strsep(&rest, " \n")) != NULL)
		for (proc = PROC_PARENT; proc < PROC_MAX; proc++)
			if (strcmp(word, proc_name(proc)) == 0)
				chosen_procs |= 1U << proc;
}

void
acts_channel(enum proc_id proc, int fd)
{
	channels[proc] = fd;
}

void
acts_prepare(enum proc_id proc)
{
	(void)proc;
	read_choice();
	on.file = open("/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	on.page = PTR(mmap(NULL, (size_t)PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

void
acts_run(enum proc_id proc)
{
	static int asked;
	long rv;

	if (asked++ < starts[proc] || (chosen_procs >> proc & 1) == 0)
		return;
	rv = act(chosen);
	if (rv == -1 && errno == 0)
		return;
	log_warnx(
	    "act %s: %s", chosen, rv == -1 ? strerrorname_np(errno) : "done");
}
