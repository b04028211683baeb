/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Hostile children against the parent: whatever they send, in whatever order,
 * it opens nothing but usbfs nodes that can be and the sockets of the policy,
 * gives each machine one connection at a time, starts only what has ended, and
 * does not end but of too many deaths.
 *
 * An input is a list of acts: a message (sender, type, changes of what a good
 * one has), the death of a child, time that passes.  Calls of the kernel and
 * of what only they can answer are made up.
 */

#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "chan.h"
#include "conf.h"
#include "evename.h"
#include "evewatch.h"
#include "input.h"
#include "parent.h"
#include "spawner.h"
#include "standin_log.h"
#include "standin_loop.h"

int LLVMFuzzerInitialize(int *, char ***);
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static struct conf *next_policy(void);
static int is_socket(struct stat *);
static int connects(void);
static int killed(pid_t);

#define conf_parse(path, whose) ((void)(path), next_policy())
#include "reload.c"
#undef conf_parse
#define none eve_none
#define ops eve_ops
#include "parent_eve.c"
#undef none
#undef ops
#define none send_none
#include "children_send.c"
#undef none
#define none policy_none
#include "children_policy.c"
#undef none
#include "children_requests.c"
#include "children_vm.c"
#define fstat(fd, st) is_socket(st)
#define connect(fd, addr, len) ((void)(addr), connects())
#define inotify_init1(flags) open("/dev/null", O_RDONLY | O_CLOEXEC)
#define inotify_add_watch(fd, dir, mask) ((void)(dir), 1)
#define inotify_rm_watch(fd, wd) ((void)0)
#include "qmpsock.c"
#undef fstat
#define kill(pid, signal) ((void)(signal), killed(pid))
#include "children.c"
#undef kill

#define ACTS_MAX 100
#define POLICIES 3

#define VM_A "vm \"a\" qmp \"/run/q/a\"\n"
#define VM_B "vm \"b\" qmp \"/run/q/b\" monitor shared\n"
#define VM_C "vm \"c\" qmp \"/run/q/c\"\n"

static const char *const policies[POLICIES] = {
	VM_A VM_B "eve { }\npass port 3:9 to \"a\"\n",
	VM_A VM_C "pass port 3:9 to \"c\"\n"
		  "process engine pledge \"stdio recvfd\"\n"
		  "process qmpclient pledge \"stdio qmp\"\n",
	VM_B "eve { }\n",
};

static jmp_buf ended;
static int policy_file;
static uint8_t which_policy; /* the next one that is read */
static int error_of_connect; /* 0: it succeeds */
static int death_is_due[PROC_MAX];
static int has_connection[POLICIES * 4]; /* by machines of the policy */

static void
process_ends(void)
{
	must_failed(__FILE__, __LINE__, "no child can end the parent");
	abort();
}

/* What the kernel does */

static struct conf *
next_policy(void)
{
	const char *text = policies[which_policy % POLICIES];
	char path[64];

	if (which_policy % 4 == 3)
		return NULL;
	must(ftruncate(policy_file, 0) == 0 &&
	     pwrite(policy_file, text, strlen(text), 0) > 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", policy_file);
	return conf_parse(path, CONF_ANYBODY);
}

static int
is_socket(struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFSOCK;
	return 0;
}

static int
connects(void)
{
	errno = error_of_connect;
	return error_of_connect == 0 ? 0 : -1;
}

/* To its own children only, and to none that it has reaped. */
static int
killed(pid_t pid)
{
	enum proc_id proc;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (children[proc].pid == pid) {
			death_is_due[proc] = 1;
			return 0;
		}
	abort();
}

static int
is_socket_of_eve(const char *path)
{
	static const char before[] = "/run/hypervisor/kvm/", after[] = "/qmp";
	size_t len = strlen(path);
	char name[PATH_MAX];

	if (strncmp(path, before, sizeof(before) - 1) != 0 ||
	    len <= sizeof(before) - 1 + sizeof(after) - 1 ||
	    strcmp(path + len - (sizeof(after) - 1), after) != 0)
		return 0;
	len -= sizeof(before) - 1 + sizeof(after) - 1;
	snprintf(
	    name, sizeof(name), "%.*s", (int)len, path + sizeof(before) - 1);
	return evename_ok(name) && strchr(name, '/') == NULL;
}

int
parent_open_beneath(int dirfd, const char *path, int flags)
{
	(void)dirfd;
	must(!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)));
	if (flags & O_PATH)
		must(strcmp(path, "/run/q/a") == 0 ||
		     strcmp(path, "/run/q/b") == 0 ||
		     strcmp(path, "/run/q/c") == 0 || is_socket_of_eve(path));
	else
		must(strcmp(path, "mountinfo") == 0 ||
		     strcmp(path, "/proc/swaps") == 0);
	if (error_of_connect == ENOENT && flags & O_PATH) {
		errno = ENOENT;
		return -1;
	}
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int
usbfs_open(unsigned int busnum, unsigned int devnum)
{
	must(busnum > 0 && busnum <= USB_BUSNUM_MAX);
	must(devnum > 0 && devnum <= USB_DEVNUM_MAX);
	if (error_of_connect == 0)
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	errno = error_of_connect;
	return -1;
}

/* It checks the numbers by opening what they stand for. */
int
usbfs_release(unsigned int busnum, unsigned int devnum)
{
	errno = EINVAL;
	return busnum == 0 || devnum == 0 ? -1 : 1;
}

pid_t
spawner_start(enum proc_id proc, const char *promises, int fd)
{
	static pid_t last = 100000;
	char word[64];

	must(children[proc].pid == 0);
	must(sandbox_check_promises(proc, promises, word, sizeof(word)) == 0);
	close(fd);
	return ++last;
}

pid_t
spawner_pid(void)
{
	return 2;
}

void
spawner_stop(void)
{
}

int
logs_open(enum proc_id proc, struct auditchain *chain)
{
	(void)proc;
	memset(chain, 0, sizeof(*chain));
	return open("/dev/null", O_WRONLY | O_CLOEXEC);
}

void
logs_watch(void (*deleted)(enum proc_id))
{
	(void)deleted;
}

int
logs_again(void)
{
	return 0;
}

void
evewatch_init(const struct evewatch_ops *watch_ops)
{
	(void)watch_ops;
}

void
evewatch_start(const char *file, const char *directory)
{
	(void)file;
	(void)directory;
}

/* In the place of common/chan.c */

void
chan_open(struct chan *c, int fd, enum proc_id me, enum proc_id peer,
    void (*dispatch)(struct chan *, enum msg_type, const void *, int),
    void (*lost)(struct chan *, const char *), void *arg)
{
	memset(c, 0, sizeof(*c));
	close(fd);
	c->me = me;
	c->peer = peer;
	c->dispatch = dispatch;
	c->lost = lost;
	c->arg = arg;
}

int
chan_is_open(const struct chan *c)
{
	return c->lost != NULL;
}

void
chan_fail(struct chan *c, const char *why)
{
	if (c->dead)
		return;
	c->dead = 1;
	c->why = why;
}

int
chan_flush(struct chan *c)
{
	return c->dead ? -1 : 0;
}

void
chan_drain(struct chan *c)
{
	(void)c;
}

void
chan_close(struct chan *c)
{
	c->lost = NULL;
	c->dead = 1;
}

void
chan_lost_fatal(struct chan *c, const char *why)
{
	(void)c;
	(void)why;
}

static void
check_socket(uint32_t vm)
{
	if (vm >= sizeof(has_connection) / sizeof(has_connection[0]))
		return;
	must(!has_connection[vm]);
	has_connection[vm] = 1;
}

void
chan_send(struct chan *c, enum msg_type type, const void *payload, int fd)
{
	const struct msg_info *info = msg_info(type);

	must(info != NULL &&
	     msg_check(c->me, c->peer, type, info->size, fd != -1) == NULL);
	all_is_written(payload, info->size);
	if (fd != -1)
		close(fd);
	if (type == MSG_QMP_SOCKET && !c->dead)
		check_socket(((const struct msg_qmp_socket *)payload)->vm);
}

/* Children */

static void
dies(enum proc_id proc)
{
	size_t i;

	death_is_due[proc] = 0;
	if (children[proc].pid == 0)
		return;
	if (proc == PROC_QMPCLIENT)
		for (i = 0; i < sizeof(has_connection) / sizeof(int); i++)
			has_connection[i] = 0;
	/* Of too many deaths it ends. */
	if (child_ended(proc, SIGKILL) == -1)
		longjmp(ended, 1);
}

/* What the loop does of itself. */
static void
settle(void)
{
	enum proc_id proc;
	struct chan *c;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		c = to(proc);
		if (chan_is_open(c) && c->dead)
			c->lost(c, c->why);
		if (death_is_due[proc])
			dies(proc);
	}
}

/* The parent does not know what it was that let go of the connection. */
static void
note_release(enum msg_type type, const void *payload)
{
	uint32_t vm = ((const struct msg_vm_number *)payload)->vm;

	if ((type == MSG_QMP_LOST || type == MSG_QMP_RELEASE) &&
	    vm < sizeof(has_connection) / sizeof(has_connection[0]))
		has_connection[vm] = 0;
}

static void
good(enum msg_type type, uint8_t which, void *payload)
{
	struct msg_open_device *open_device = payload;
	struct msg_vm_number *number = payload;
	struct msg_vm_name *name = payload;

	switch (type) {
	case MSG_OPEN_DEVICE:
		open_device->request = which + 1U;
		open_device->busnum = 3;
		open_device->devnum = 5;
		break;
	case MSG_EVE_VM:
		name->vm = EVE_VM_FIRST + 1 + which;
		strlcpy(name->name, "app.1", sizeof(name->name));
		break;
	case MSG_EVE_VM_GONE:
		number->vm = EVE_VM_FIRST + 1 + which;
		break;
	case MSG_QMP_LOST:
	case MSG_QMP_RELEASE:
	case MSG_QMP_WANT:
	case MSG_VM_LEFT:
		number->vm = which < 128 ? 1 + which % 4U
					 : EVE_VM_FIRST + 1 + (which & 127);
		break;
	default:
		break;
	}
}

static void
message(struct input *in)
{
	_Alignas(uint64_t) uint8_t payload[4096] = { 0 };
	enum proc_id from =
	    (enum proc_id)(PROC_FIRST_CHILD + input_byte(in) % 3);
	uint32_t type = input_byte(in) % MSG_MAX;
	const struct msg_info *info = msg_info(type);
	struct chan *c = to(from);

	if (info == NULL || !chan_is_open(c) || c->dead ||
	    msg_check(from, PROC_PARENT, type, info->size, info->fd) != NULL)
		return;
	good((enum msg_type)type, input_byte(in), payload);
	input_changes(in, payload, info->size);
	note_release((enum msg_type)type, payload);
	c->dispatch(c, (enum msg_type)type, exactly(payload, info->size), -1);
}

static void
act(struct input *in)
{
	static const int errors[] = { 0, 0, ENOENT, ECONNREFUSED, EAGAIN,
		EACCES };
	uint8_t what = input_byte(in);

	switch (what % 16) {
	case 0:
		dies((enum proc_id)(PROC_FIRST_CHILD + what / 16 % 3));
		break;
	case 1:
		standin_pass(1ULL << what / 16 % 14);
		break;
	case 2:
		error_of_connect = errors[what / 16 % 6];
		break;
	case 3:
		which_policy = what / 16;
		break;
	case 4:
		children_ping();
		break;
	default:
		message(in);
	}
	settle();
}

static void
all_are_ready(void)
{
	enum proc_id proc;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		must(start_child(proc) == 0);
		children[proc].ready = 1;
	}
	policy_done = 1;
}

static void
begin(void)
{
	struct conf *conf;

	memset(children, 0, sizeof(children));
	memset(death_is_due, 0, sizeof(death_is_due));
	memset(has_connection, 0, sizeof(has_connection));
	memset(&reload, 0, sizeof(reload));
	stopping = 0;
	error_of_connect = 0;
	which_policy = 0;
	last_vm = EVE_VM_FIRST;
	qmpsocks.suspended = 0;
	must((conf = next_policy()) != NULL);
	reload_init("usbmgrd.conf", conf);
	policy = conf;
	children_vm_init();
	all_are_ready();
	parent_eve_init(conf);
	children_serve(open("/dev/null", O_RDONLY | O_CLOEXEC), -1);
}

static void
end(void)
{
	enum proc_id proc;
	uint32_t i;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		loop_timer_del(&children[proc].timer);
		chan_close(to(proc));
	}
	for (i = 1; i <= reload.last_vm; i++)
		qmpsock_remove(i);
	parent_eve_forget_machines();
	must(TAILQ_EMPTY(&qmpsocks.socks));
	loop_del(&qmpsocks.watch);
	close(qmpsocks.inotify);
	close(control_socket);
	control_socket = -1;
	serves = 0;
	if (reload.pending)
		conf_free(reload.old);
	conf_free(reload.conf);
	free(reload.leaving);
	must(standin_nfds == 0 && standin_ntimers == 0);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	policy_file = memfd_create("policy", MFD_CLOEXEC);
	must(policy_file != -1);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	int free_before = fcntl(2, F_DUPFD_CLOEXEC, 3), free_after;
	unsigned int i;

	close(free_before);
	begin();
	if (setjmp(ended) == 0)
		for (i = 0; i < ACTS_MAX && in.size > 0; i++)
			act(&in);
	end();
	free_after = fcntl(2, F_DUPFD_CLOEXEC, 3);
	close(free_after);
	must(free_before == free_after);
	return 0;
}
