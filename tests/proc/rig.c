/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"
#include "usbdev.h"

#define PEER "tests/proc/qmp_peer.py"
#define QEMU "qemu-system-x86_64"

uint64_t
rig_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void
rig_account(void)
{
	char path[] = "/tmp/usbmgrd-test.XXXXXX", line[1024];
	FILE *in, *out;
	int fd;

	if (geteuid() != 0) {
		puts("Bail out! must be run by root: usbmgrd drops from there");
		exit(1);
	}
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
		err(1, "mount namespace");
	if ((fd = mkstemp(path)) == -1 || fchmod(fd, 0644) == -1 ||
	    (out = fdopen(fd, "w")) == NULL ||
	    (in = fopen("/etc/passwd", "r")) == NULL)
		err(1, "/etc/passwd");
	while (fgets(line, sizeof(line), in) != NULL)
		if (strncmp(line, "_usbmgrd-", 9) != 0)
			fputs(line, out);
	fprintf(out, "%s:x:64102:64102::/nonexistent:/usr/sbin/nologin\n",
	    proc_table[PROC_QMPCLIENT].user);
	fclose(in);
	if (fclose(out) == EOF ||
	    mount(path, "/etc/passwd", NULL, MS_BIND, NULL) == -1)
		err(1, "/etc/passwd");
	unlink(path);
}

/* The program is two directories above this one: build/tests/proc. */
static void
rig_program(char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t n;

	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(n > 0);
	self[n] = '\0';
	snprintf(path, size, "%s/../../usbmgrd-qmpclient", dirname(self));
}

static void
rig_spawn(struct rig *r, int fd)
{
	char path[PATH_MAX];

	rig_program(path, sizeof(path));
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0) {
		if (fd == PROC_PARENT_FD)
			fcntl(fd, F_SETFD, 0);
		else
			dup2(fd, PROC_PARENT_FD);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
}

static void
rig_link(struct rig *r, enum rig_link link, int fd)
{
	r->fd[link] = fd;
	assert_int_equal(imsgbuf_init(&r->link[link], fd), 0);
	imsgbuf_allow_fdpass(&r->link[link]);
}

void
rig_bare(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->fd[RIG_PARENT] = r->fd[RIG_ENGINE] = -1;
	strlcpy(r->dir, "/tmp/usbmgrd-test.XXXXXX", sizeof(r->dir));
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(chmod(r->dir, 0755), 0);
	snprintf(r->log, sizeof(r->log), "%s/qmpclient.log", r->dir);
}

void
rig_start(struct rig *r)
{
	struct msg_peer peer = { PROC_ENGINE };
	struct msg_log log = { .required = 0 };
	struct msg_start start = { 0 };
	int parent[2], engine[2], fd;

	rig_bare(r);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, parent), 0);
	assert_int_equal(
	    socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, engine),
	    0);
	rig_spawn(r, parent[1]);
	close(parent[1]);
	rig_link(r, RIG_PARENT, parent[0]);
	rig_link(r, RIG_ENGINE, engine[0]);
	fd = open(r->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	rig_send(r, RIG_PARENT, MSG_LOG, &log, fd);
	rig_send(r, RIG_PARENT, MSG_PEER, &peer, engine[1]);
	rig_send(r, RIG_PARENT, MSG_START, &start, -1);
	rig_expect(r, MSG_READY, 0, NULL);
}

static void
rig_close_links(struct rig *r)
{
	int i;

	for (i = 0; i < RIG_LINKS; i++) {
		if (r->fd[i] == -1)
			continue;
		imsgbuf_clear(&r->link[i]);
		close(r->fd[i]);
		r->fd[i] = -1;
	}
}

int
rig_setup(void **state)
{
	static struct rig rig;

	*state = &rig;
	rig_start(&rig);
	return 0;
}

int
rig_teardown(void **state)
{
	rig_stop(*state);
	return 0;
}

int
rig_exit(struct rig *r, int close_links)
{
	uint64_t end = rig_now() + RIG_SOON_MS;
	int status;
	pid_t pid;

	if (close_links)
		rig_close_links(r);
	while ((pid = waitpid(r->pid, &status, WNOHANG)) == 0) {
		assert_true(rig_now() < end);
		usleep(2000);
	}
	assert_int_equal(pid, r->pid);
	r->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
rig_remove_dir(const char *dir)
{
	char path[PATH_MAX];
	struct dirent *de;
	DIR *d;

	if ((d = opendir(dir)) == NULL)
		return;
	while ((de = readdir(d)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		if (de->d_name[0] != '.')
			unlink(path);
	}
	closedir(d);
	rmdir(dir);
}

void
rig_stop(struct rig *r)
{
	while (r->nprocs > 0)
		rig_kill(r, r->procs[0], SIGKILL);
	if (r->pid > 0) {
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
	}
	rig_close_links(r);
	rig_remove_dir(r->dir);
}

/* Messages. */

void
rig_send(struct rig *r, enum rig_link link, enum msg_type type,
    const void *payload, int fd)
{
	assert_int_equal(imsg_compose(&r->link[link], type, 0, 0, fd, payload,
			     msg_info(type)->size),
	    1);
	assert_int_equal(imsgbuf_flush(&r->link[link]), 0);
}

static void
rig_note_state(struct rig *r, const uint8_t *payload)
{
	struct msg_vm_state m;

	memcpy(&m, payload, sizeof(m));
	assert_true(m.vm < RIG_VMS_MAX);
	if (m.state != VM_READY)
		return;
	r->ready[m.vm] = m.conn;
	r->handover[m.vm] = m.handover;
}

static void
rig_store(struct rig *r, enum rig_link link, struct imsg *imsg)
{
	struct rig_message *m = &r->queue[r->nqueue++];

	assert_true(r->nqueue < RIG_QUEUE_MAX);
	m->link = link;
	m->type = imsg_get_type(imsg);
	m->size = (uint32_t)imsg_get_len(imsg);
	assert_null(msg_check(PROC_QMPCLIENT,
	    link == RIG_PARENT ? PROC_PARENT : PROC_ENGINE, m->type, m->size,
	    0));
	assert_true(m->size <= sizeof(m->payload));
	assert_int_equal(imsg_get_data(imsg, m->payload, m->size), 0);
	memcpy(&m->key, m->payload, sizeof(m->key));
	if (m->type == MSG_VM_STATE)
		rig_note_state(r, m->payload);
}

static void
rig_receive(struct rig *r, int ms)
{
	struct pollfd pfd[RIG_LINKS];
	struct imsg imsg;
	int i;

	for (i = 0; i < RIG_LINKS; i++) {
		pfd[i].fd = r->fd[i];
		pfd[i].events = POLLIN;
	}
	if (poll(pfd, RIG_LINKS, ms) <= 0)
		return;
	for (i = 0; i < RIG_LINKS; i++) {
		if (pfd[i].revents == 0)
			continue;
		assert_int_equal(imsgbuf_read(&r->link[i]), 1);
		while (imsgbuf_get(&r->link[i], &imsg) == 1) {
			rig_store(r, (enum rig_link)i, &imsg);
			imsg_free(&imsg);
		}
	}
}

static int
rig_take(struct rig *r, enum msg_type type, uint32_t key, void *payload)
{
	struct rig_message *m;
	unsigned int i;

	for (i = 0; i < r->nqueue; i++) {
		m = &r->queue[i];
		if (m->type != type || m->key != key)
			continue;
		if (payload != NULL)
			memcpy(payload, m->payload, m->size);
		r->nqueue--;
		memmove(m, m + 1, (r->nqueue - i) * sizeof(*m));
		return 1;
	}
	return 0;
}

int
rig_get(struct rig *r, enum msg_type type, uint32_t key, void *payload, int ms)
{
	uint64_t now = rig_now(), end = now + (uint64_t)ms;

	while (!rig_take(r, type, key, payload)) {
		if ((now = rig_now()) >= end)
			return 0;
		rig_receive(r, (int)(end - now));
	}
	return 1;
}

void
rig_expect(struct rig *r, enum msg_type type, uint32_t key, void *payload)
{
	if (!rig_get(r, type, key, payload, RIG_SOON_MS))
		fail_msg("%s %u did not come", msg_name(type), key);
}

/* Machines. */

static void
rig_wait_socket(struct rig *r, const char *name)
{
	uint64_t end = rig_now() + RIG_SOON_MS;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	while (access(path, F_OK) == -1) {
		assert_true(rig_now() < end);
		usleep(5000);
	}
}

static pid_t
rig_run(struct rig *r, const char *name, char *const argv[])
{
	char path[PATH_MAX];
	int fd;
	pid_t pid;

	assert_true(r->nprocs < RIG_PROCS_MAX);
	snprintf(path, sizeof(path), "%s/%s.out", r->dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(fd);
	r->procs[r->nprocs++] = pid;
	rig_wait_socket(r, name);
	return pid;
}

pid_t
rig_qemu(struct rig *r, const char *name, const char *args)
{
	char qmp[PATH_MAX], text[1024];
	char *argv[64] = { QEMU, "-machine", "q35", "-nodefaults", "-display",
		"none", "-S", "-qmp", qmp };
	size_t n = 9;
	char *word, *rest = text;

	snprintf(
	    qmp, sizeof(qmp), "unix:%s/%s,server=on,wait=off", r->dir, name);
	strlcpy(text, args, sizeof(text));
	while ((word = strsep(&rest, " ")) != NULL && n < 63)
		if (*word != '\0')
			argv[n++] = word;
	return rig_run(r, name, argv);
}

pid_t
rig_peer(struct rig *r, const char *name, const char *when, const char *fault)
{
	char path[PATH_MAX], peer[] = PEER, w[64], f[64];
	char *argv[] = { peer, path, w, f, NULL };

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	strlcpy(w, when, sizeof(w));
	strlcpy(f, fault, sizeof(f));
	return rig_run(r, name, argv);
}

pid_t
rig_two_monitors(struct rig *r, const char *name, const char *args)
{
	char text[512];

	snprintf(text, sizeof(text), "-qmp unix:%s/%s2,server=on,wait=off %s",
	    r->dir, name, args);
	return rig_qemu(r, name, text);
}

void
rig_kill(struct rig *r, pid_t pid, int sig)
{
	unsigned int i;

	for (i = 0; i < r->nprocs && r->procs[i] != pid; i++)
		continue;
	assert_true(i < r->nprocs);
	r->procs[i] = r->procs[--r->nprocs];
	kill(pid, sig);
	waitpid(pid, NULL, 0);
}

int
rig_dial(struct rig *r, const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	uint64_t end = rig_now() + RIG_SOON_MS;
	int fd;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/%s", r->dir, name);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	/* It may be there a moment later, and listens a moment after that. */
	while (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == -1) {
		assert_true(errno == ECONNREFUSED || errno == ENOENT);
		assert_true(rig_now() < end);
		usleep(2000);
	}
	return fd;
}

void
rig_vm_fill(
    struct msg_vm *m, uint32_t number, const char *bus, enum handover handover)
{
	memset(m, 0, sizeof(*m));
	m->vm = number;
	m->handover = handover;
	m->greeting_ms = m->reply_ms = QMP_TIMEOUT_DEFAULT;
	snprintf(m->name, sizeof(m->name), "vm%u", number);
	strlcpy(m->bus, bus, sizeof(m->bus));
}

void
rig_vm(struct rig *r, uint32_t number, const char *bus, enum handover handover)
{
	struct msg_vm m;

	rig_vm_fill(&m, number, bus, handover);
	rig_send(r, RIG_PARENT, MSG_QMP_VM, &m, -1);
}

void
rig_connect(struct rig *r, uint32_t number, const char *name)
{
	struct msg_qmp_socket m = { .vm = number, .conn = ++r->conns };
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd = rig_dial(r, name);

	assert_int_equal(
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len), 0);
	m.pid = cred.pid;
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	rig_send(r, RIG_PARENT, MSG_QMP_SOCKET, &m, fd);
}

void
rig_state(struct rig *r, uint32_t number, enum vm_state state, char *text)
{
	struct msg_vm_state m;

	rig_expect(r, MSG_VM_STATE, number, &m);
	if (m.state != state)
		fail_msg("machine %u is %s (%s), not %s", number,
		    vm_state_string(m.state), m.text, vm_state_string(state));
	if (text != NULL)
		strlcpy(text, m.text, MSG_TEXT_MAX);
}

void
rig_ready(struct rig *r, uint32_t number, const char *name, const char *bus,
    enum handover handover, char *text)
{
	rig_vm(r, number, bus, handover);
	rig_connect(r, number, name);
	rig_state(r, number, VM_GREETING, NULL);
	rig_state(r, number, VM_READY, text);
}

void
rig_lost(struct rig *r, uint32_t number, enum qmp_end end, const char *text)
{
	char why[MSG_TEXT_MAX];
	struct msg_qmp_lost m;

	rig_state(r, number, VM_LOST, why);
	if (strstr(why, text) == NULL)
		fail_msg("machine %u is lost because \"%s\", not \"%s\"",
		    number, why, text);
	rig_expect(r, MSG_QMP_LOST, number, &m);
	assert_int_equal(m.end, end);
}

void
rig_attach(struct rig *r, uint32_t request, uint32_t vm, unsigned int devnum)
{
	struct msg_attach m;

	memset(&m, 0, sizeof(m));
	m.request = request;
	m.vm = vm;
	m.conn = r->ready[vm];
	m.port.busnum = 3;
	m.port.depth = 1;
	m.port.chain[0] = 9;
	m.devnum = (uint16_t)devnum;
	m.speed = USB_SPEED_FULL;
	m.speeds = 1U << USB_SPEED_FULL;
	m.handover = r->handover[vm];
	snprintf(m.id, sizeof(m.id), "usbmgrd-3-9-%u-%u", devnum, request);
	rig_send(r, RIG_ENGINE, MSG_ATTACH, &m, -1);
}

void
rig_detach(struct rig *r, uint32_t request, uint32_t vm, const char *id)
{
	struct msg_detach m;

	memset(&m, 0, sizeof(m));
	m.request = request;
	m.vm = vm;
	m.conn = r->ready[vm];
	strlcpy(m.id, id, sizeof(m.id));
	rig_send(r, RIG_ENGINE, MSG_DETACH, &m, -1);
}

void
rig_result(struct rig *r, uint32_t request, enum result result,
    struct msg_result *m, int ms)
{
	struct msg_result mine;

	if (m == NULL)
		m = &mine;
	if (!rig_get(r, MSG_RESULT, request, m, ms))
		fail_msg("no result of request %u", request);
	if (m->result != result)
		fail_msg("result of request %u is %s (%s), not %s", request,
		    result_string(m->result), m->text, result_string(result));
}

/* What the process uses. */

long
rig_rss(const struct rig *r)
{
	char path[64], line[256];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)r->pid);
	assert_non_null(f = fopen(path, "r"));
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "VmRSS:", 6) == 0)
			kib = strtol(line + 6, NULL, 10);
	fclose(f);
	return kib;
}

unsigned int
rig_fds(const struct rig *r)
{
	char path[64];
	unsigned int n = 0;
	struct dirent *de;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)r->pid);
	assert_non_null(d = opendir(path));
	while ((de = readdir(d)) != NULL)
		n += de->d_name[0] != '.';
	closedir(d);
	return n;
}

/* A second monitor, as somebody else would have. */

static void
rig_read_until(int fd, const char *text)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char buf[65536];
	size_t len = 0;
	ssize_t n;

	do {
		assert_int_equal(poll(&pfd, 1, RIG_SOON_MS), 1);
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		assert_true(n > 0);
		len += (size_t)n;
		buf[len] = '\0';
	} while (strstr(buf, text) == NULL);
}

void
rig_command(struct rig *r, const char *name, const char *json, const char *text)
{
	static const char caps[] = "{\"execute\": \"qmp_capabilities\"}";
	int fd = rig_dial(r, name);

	rig_read_until(fd, "QMP");
	assert_int_equal(write(fd, caps, sizeof(caps) - 1), sizeof(caps) - 1);
	rig_read_until(fd, "return");
	assert_int_equal(write(fd, json, strlen(json)), strlen(json));
	rig_read_until(fd, text);
	close(fd);
}
