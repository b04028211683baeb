/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "audit.h"
#include "chan.h"
#include "children.h"
#include "log.h"
#include "parent.h"
#include "parent_eve.h"
#include "spawn.h"

#define START_DEADLINE 10000 /* ms, for all of them */
#define STOP_DEADLINE 5000

static struct child {
	pid_t pid; /* 0: not running */
	int ready;
	struct chan chan;
} children[PROC_MAX];

static const struct msg_none none;
static int policy_done;
static int stopping;

static const char *const events_options[] = { [EVENTS_AUTO] = "auto",
	[EVENTS_UDEV] = "udev",
	[EVENTS_KERNEL] = "kernel" };

static void parent_dispatch(struct chan *, enum msg_type, const void *, int);
static void parent_qmp_connected(uint32_t, uint32_t, int, int32_t);
static void parent_qmp_failed(uint32_t, int, int, uint32_t);
static void parent_qmp_gone(uint32_t);

static const struct qmpsock_ops qmpsock_ops = {
	.connected = parent_qmp_connected,
	.failed = parent_qmp_failed,
	.gone = parent_qmp_gone,
};

static struct chan *
to(enum proc_id proc)
{
	return &children[proc].chan;
}

void
children_send(
    enum proc_id proc, enum msg_type type, const void *payload, int fd)
{
	chan_send(to(proc), type, payload, fd);
}

int
children_flush(enum proc_id proc)
{
	return chan_flush(to(proc));
}

/*
 * Why a child closed its channel its wait status tells: see children_reap.
 * One that goes on without is of no use.
 */
static void
parent_lost_child(struct chan *c, const char *why)
{
	if (why != NULL) {
		log_set_stderr(1);
		log_warnx("%s broke the protocol: %s", proc_name(c->peer), why);
		loop_end(1);
	} else if (children[c->peer].pid > 0)
		kill(children[c->peer].pid, SIGKILL);
	chan_close(c);
}

static void
start_child(enum proc_id proc, const char *dir, const struct conf *conf,
    int debug, int verbose)
{
	const struct conf_process *p = &conf->processes[proc];
	struct spawn how = { .debug = debug, .verbose = verbose };
	int fd;

	if (proc == PROC_MONITOR)
		how.option = events_options[conf->events];
	if (p->user[0] != '\0')
		how.user = p->user;
	if (p->has_promises)
		how.promises = p->promises;
	children[proc].pid = spawn_child(proc, dir, &how, &fd);
	if (children[proc].pid == -1)
		fatal("cannot start %s", proc_name(proc));
	chan_open(to(proc), fd, PROC_PARENT, proc, parent_dispatch,
	    parent_lost_child, NULL);
}

static void
connect_children(enum proc_id a, enum proc_id b)
{
	struct msg_peer peer_a = { .proc = a }, peer_b = { .proc = b };
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		fds) == -1)
		fatal("socketpair");
	chan_send(to(a), MSG_PEER, &peer_b, fds[0]);
	chan_send(to(b), MSG_PEER, &peer_a, fds[1]);
}

static int
send_log(enum proc_id proc)
{
	int fd = logs_open(proc);

	if (fd == -1) {
		log_warn("log file %s", proc_table[proc].log);
		return -1;
	}
	if (proc == PROC_PARENT)
		audit_open(fd);
	else
		chan_send(to(proc), MSG_LOG, &none, fd);
	return 0;
}

static void
send_file(enum msg_type type, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		fatal("%s", path);
	chan_send(to(PROC_MONITOR), type, &none, fd);
}

static void
send_rule(const struct conf_rule *rule)
{
	struct msg_rule_text text;
	unsigned int i;

	for (i = 0; i < TEXT_MAX; i++) {
		if (rule->text[i] == NULL)
			continue;
		conf_rule_text(rule, i, &text);
		chan_send(to(PROC_ENGINE), MSG_CONF_TEXT, &text, -1);
	}
	chan_send(to(PROC_ENGINE), MSG_CONF_RULE, &rule->msg, -1);
}

static int
send_policy(const struct conf *conf)
{
	struct msg_conf_begin begin = { .vms = conf->nvms,
		.rules = conf->nrules };
	const struct conf_rule *rule;
	const struct conf_vm *vm;

	chan_send(to(PROC_ENGINE), MSG_CONF_BEGIN, &begin, -1);
	TAILQ_FOREACH(vm, &conf->vms, entry) {
		chan_send(to(PROC_ENGINE), MSG_CONF_VM, &vm->msg, -1);
		chan_send(to(PROC_QMPCLIENT), MSG_QMP_VM, &vm->msg, -1);
	}
	parent_eve_send_adapters(conf);
	TAILQ_FOREACH(rule, &conf->rules, entry) {
		if (rule->source != NULL &&
		    parent_eve_send_source(conf, rule->source) == -1)
			return -1;
		send_rule(rule);
		/* A long policy may be more than a channel's queue holds. */
		if (chan_flush(to(PROC_ENGINE)) == -1)
			return 0; /* why will be seen: it ended or is overdue */
	}
	chan_send(to(PROC_ENGINE), MSG_CONF_END, &none, -1);
	return 0;
}

static int
all_ready(void)
{
	enum proc_id proc;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (!children[proc].ready)
			return 0;
	return policy_done;
}

static void
start_overdue(void *arg)
{
	enum proc_id proc;

	(void)arg;
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (!children[proc].ready)
			log_warnx("%s (pid %d) was not ready in %d seconds",
			    proc_name(proc), children[proc].pid,
			    START_DEADLINE / 1000);
	if (!policy_done)
		log_warnx("engine did not take the policy in %d seconds",
		    START_DEADLINE / 1000);
	loop_end(1);
}

int
children_start(const struct conf *conf, int debug, int verbose)
{
	struct msg_start start = { .verbose = (uint32_t)verbose };
	struct loop_timer deadline = { .at = 0 };
	char dir[PATH_MAX];
	enum proc_id proc;
	int status;

	qmpsock_init(&qmpsock_ops);
	if (spawn_dir(dir, sizeof(dir)) == -1)
		fatal("cannot find the directory of the other programs");
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		start_child(proc, dir, conf, debug, verbose);
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (send_log(proc) == -1)
			return -1;
	loop_timer_set(&deadline, START_DEADLINE, start_overdue, NULL);
	connect_children(PROC_ENGINE, PROC_MONITOR);
	connect_children(PROC_ENGINE, PROC_QMPCLIENT);
	send_file(MSG_MOUNTINFO, "/proc/self/mountinfo");
	send_file(MSG_SWAPS, "/proc/swaps");
	parent_eve_init(conf);
	if (send_policy(conf) == -1) {
		loop_timer_del(&deadline);
		return -1;
	}
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		chan_send(to(proc), MSG_START, &start, -1);
	status = loop_run();
	loop_timer_del(&deadline);
	return status == 0 ? 0 : -1;
}

static void
say_how_it_ended(enum proc_id proc, pid_t pid, int status)
{
	const char *name = proc_name(proc);

	if (!stopping)
		log_set_stderr(1);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_warnx("%s (pid %d) was killed by its system call filter",
		    name, pid);
	else if (WIFSIGNALED(status))
		log_warnx("%s (pid %d) was killed by signal %d (%s)", name, pid,
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (!stopping)
		log_warnx("%s (pid %d) ended with status %d%s", name, pid,
		    WEXITSTATUS(status),
		    children[proc].ready ? "" : " before it was ready");
}

int
children_reap(void)
{
	enum proc_id proc;
	int status, lost = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
			if (children[proc].pid != pid)
				continue;
			say_how_it_ended(proc, pid, status);
			children[proc].pid = 0;
			lost = 1;
		}
	return lost ? -1 : 0;
}

static int
running(void)
{
	enum proc_id proc;
	int n = 0;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		n += children[proc].pid > 0;
	return n;
}

static void
stop_overdue(void *arg)
{
	enum proc_id proc;

	(void)arg;
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (children[proc].pid > 0) {
			log_warnx("%s (pid %d) does not end: killed",
			    proc_name(proc), children[proc].pid);
			kill(children[proc].pid, SIGKILL);
		}
}

void
children_stop(void)
{
	struct loop_timer deadline = { .at = 0 };
	enum proc_id proc;

	stopping = 1;
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (children[proc].pid > 0)
			chan_close(to(proc));
	loop_timer_set(&deadline, STOP_DEADLINE, stop_overdue, NULL);
	while (running())
		loop_run();
	loop_timer_del(&deadline);
}

void
children_reopen_logs(void)
{
	enum proc_id proc;

	for (proc = PROC_PARENT; proc <= PROC_LAST_CHILD; proc++)
		send_log(proc);
	log_info("logs are open again");
}

/* Requests of the children */

static void
parent_open_device(const struct msg_open_device *m)
{
	struct msg_open_failed failed = { .request = m->request };
	int fd = usbfs_open(m->busnum, m->devnum);
	struct json *j;

	failed.error = errno;
	j = audit_begin("open-device");
	json_num(j, "request", m->request);
	json_num(j, "busnum", m->busnum);
	json_num(j, "devnum", m->devnum);
	if (fd == -1)
		json_str(j, "error", strerror(failed.error));
	audit_end();
	if (fd == -1)
		chan_send(to(PROC_QMPCLIENT), MSG_OPEN_FAILED, &failed, -1);
	else
		chan_send(to(PROC_QMPCLIENT), MSG_DEVICE_FD, m, fd);
}

static void
parent_release_device(const struct msg_release_device *m)
{
	int bound = usbfs_release(m->busnum, m->devnum), error = errno;
	struct json *j = audit_begin("release-device");

	json_num(j, "busnum", m->busnum);
	json_num(j, "devnum", m->devnum);
	if (bound == -1)
		json_str(j, "error", strerror(error));
	else
		json_num(j, "interfaces", bound);
	audit_end();
}

static void
parent_qmp_lost(struct chan *c, const struct msg_qmp_lost *m)
{
	if (m->end >= QMP_END_MAX ||
	    (qmpsock_lost(m->vm, (enum qmp_end)m->end) == -1 &&
		!parent_eve_left(m->vm)))
		chan_fail(c, "lost a connection that there was not");
}

static void
parent_qmp_release(struct chan *c, const struct msg_vm_number *m)
{
	if (qmpsock_release(m->vm) == -1 && !parent_eve_left(m->vm))
		chan_fail(c, "released a connection that there was not");
}

static void
parent_qmp_want(struct chan *c, const struct msg_vm_number *m)
{
	if (qmpsock_want(m->vm) == -1 && !parent_eve_left(m->vm))
		chan_fail(c, "wants a connection to a machine it did not "
			     "release");
}

static void
parent_ready(struct chan *c)
{
	if (children[c->peer].ready) {
		chan_fail(c, "ready twice");
		return;
	}
	children[c->peer].ready = 1;
	if (all_ready())
		loop_end(0);
}

static void
parent_conf_refused(struct chan *c, const struct msg_refused *m)
{
	if (!msg_string_ok(m->text, sizeof(m->text))) {
		chan_fail(c, "refused a policy without a reason");
		return;
	}
	log_warnx("policy: %s", m->text);
	if (!policy_done)
		loop_end(1);
}

static void
parent_conf_done(void)
{
	int first = !policy_done;

	policy_done = 1;
	if (first && all_ready())
		loop_end(0);
}

static void
parent_dispatch(struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)fd;
	switch (type) {
	case MSG_READY:
		parent_ready(c);
		break;
	case MSG_CONF_DONE:
		parent_conf_done();
		break;
	case MSG_OPEN_DEVICE:
		parent_open_device(payload);
		break;
	case MSG_RELEASE_DEVICE:
		parent_release_device(payload);
		break;
	case MSG_QMP_LOST:
		parent_qmp_lost(c, payload);
		break;
	case MSG_QMP_RELEASE:
		parent_qmp_release(c, payload);
		break;
	case MSG_QMP_WANT:
		parent_qmp_want(c, payload);
		break;
	case MSG_CONF_REFUSED:
		parent_conf_refused(c, payload);
		break;
	case MSG_EVE_VM:
		parent_eve_vm(c, payload);
		break;
	case MSG_EVE_VM_GONE:
		parent_eve_vm_gone(c, payload);
		break;
	default:
		chan_fail(c, msg_name(type));
	}
}

/* Machines */

static void
audit_qmp(uint32_t number, int error, int32_t pid)
{
	struct json *j = audit_begin("open-qmp");

	json_num(j, "vm_number", number);
	if (error == 0)
		json_num(j, "pid", pid);
	else
		json_str(j, "error", strerror(error));
	audit_end();
}

static void
parent_qmp_connected(uint32_t number, uint32_t conn, int fd, int32_t pid)
{
	struct msg_qmp_socket sock = { .vm = number, .pid = pid, .conn = conn };

	audit_qmp(number, 0, pid);
	chan_send(to(PROC_QMPCLIENT), MSG_QMP_SOCKET, &sock, fd);
}

static void
parent_qmp_failed(uint32_t number, int error, int ended, uint32_t conn)
{
	struct msg_vm_socket told = { .vm = number,
		.error = error,
		.ended = (uint32_t)ended,
		.conn = conn };

	audit_qmp(number, error, 0);
	chan_send(to(PROC_ENGINE), MSG_VM_SOCKET, &told, -1);
}

static void
parent_qmp_gone(uint32_t number)
{
	struct msg_vm_number gone = { .vm = number };

	chan_send(to(PROC_QMPCLIENT), MSG_QMP_GONE, &gone, -1);
}

void
children_serve(const struct conf *conf, int control_fd)
{
	const struct conf_vm *vm;

	chan_send(to(PROC_ENGINE), MSG_CONTROL, &none, control_fd);
	TAILQ_FOREACH(vm, &conf->vms, entry)
		qmpsock_add(
		    vm->msg.vm, vm->qmp, vm->msg.monitor == MONITOR_SHARED);
	parent_eve_serve();
}
