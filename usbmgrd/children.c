/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "audit.h"
#include "chan.h"
#include "children.h"
#include "filter.h"
#include "log.h"
#include "notify.h"
#include "parent.h"
#include "parent_eve.h"
#include "reload.h"
#include "restart.h"
#include "sandbox.h"
#include "spawner.h"

#define START_DEADLINE 10000 /* ms, for all of them */
#define STOP_DEADLINE 5000

static struct child {
	pid_t pid; /* 0: not running */
	int ready;
	int pinged; /* and has not answered yet */
	struct chan chan;
	struct restart deaths;
	uint32_t restarts;
	time_t started;
	struct loop_timer timer; /* to start it; then until it is ready */
	char why[160]; /* we ended it, or "" */
} children[PROC_MAX];

static const struct msg_none none;
static const struct conf *policy; /* in force */
static int debugging;
static int verbose;
static int policy_done;
static uint32_t unconfirmed; /* policies that the engine was sent */
static int control_socket = -1; /* once all serve; a copy for each engine */
static int readonly_socket = -1;
static int log_required;
static int proc_self; /* /proc/PID of this process */
static uint32_t last_request; /* of an engine, to open a device */
static int spawner_ended;
static int stopping;

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
	if (chan_is_open(to(proc)))
		chan_send(to(proc), type, payload, fd);
	else if (fd != -1)
		close(fd);
}

int
children_flush(enum proc_id proc)
{
	return chan_flush(to(proc));
}

/* The first start is over: from now on one that dies is started again. */
static int
serving(void)
{
	return control_socket != -1 && !stopping;
}

/* What comes of it is up to children_reap; the first reason counts. */
static void
end_child(enum proc_id proc, const char *why)
{
	struct child *child = &children[proc];

	if (child->why[0] == '\0')
		strlcpy(child->why, why, sizeof(child->why));
	if (child->pid > 0)
		kill(child->pid, SIGKILL);
}

/*
 * Why a child closed its channel its wait status tells: see children_reap.
 * One that goes on without is of no use.
 */
static void
parent_lost_child(struct chan *c, const char *why)
{
	char text[sizeof(children[0].why)] = "";

	if (why != NULL)
		snprintf(text, sizeof(text), "broke the protocol: %s", why);
	else
		chan_drain(c); /* it was noticed by a write */
	if (why != NULL && !serving()) {
		log_set_stderr(1);
		log_warnx("%s %s", proc_name(c->peer), text);
		loop_end(1);
	} else
		end_child(c->peer, text);
	chan_close(c);
}

static void
make_channel(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		fds) == -1)
		fatal("socketpair");
}

/* -1 with errno set when it cannot be started. */
static int
start_child(enum proc_id proc)
{
	struct child *child = &children[proc];
	int fds[2], saved;
	pid_t pid;

	make_channel(fds);
	if ((pid = spawner_start(proc, fds[1])) == -1) {
		saved = errno;
		close(fds[0]);
		errno = saved;
		return -1;
	}
	child->pid = pid;
	child->started = time(NULL);
	child->ready = child->pinged = 0;
	child->why[0] = '\0';
	if (proc == PROC_ENGINE)
		unconfirmed = 0;
	chan_open(to(proc), fds[0], PROC_PARENT, proc, parent_dispatch,
	    parent_lost_child, NULL);
	return 0;
}

static void
connect_children(enum proc_id a, enum proc_id b)
{
	struct msg_peer peer_a = { .proc = a }, peer_b = { .proc = b };
	int fds[2];

	make_channel(fds);
	chan_send(to(a), MSG_PEER, &peer_b, fds[0]);
	chan_send(to(b), MSG_PEER, &peer_a, fds[1]);
}

static int
send_log(enum proc_id proc)
{
	struct msg_log m = { .required = (uint32_t)log_required };
	int fd = logs_open(proc, &m.chain);

	if (fd == -1) {
		log_warn("log file %s", proc_table[proc].log);
		return -1;
	}
	if (proc == PROC_PARENT) {
		audit_open(fd);
		log_opened(0);
	} else
		chan_send(to(proc), MSG_LOG, &m, fd);
	return 0;
}

static void
log_was_deleted(enum proc_id proc)
{
	if (stopping || (proc != PROC_PARENT && !chan_is_open(to(proc))))
		return;
	if (send_log(proc) == 0)
		log_warnx("log file %s was deleted; a new one was made",
		    proc_table[proc].log);
	else if (log_required)
		fatalx("log file %s was deleted, and the policy says "
		       "log required",
		    proc_table[proc].log);
}

static pid_t
pid_of(enum proc_id proc)
{
	if (proc == PROC_PARENT)
		return getpid();
	return proc == PROC_SPAWNER ? spawner_pid() : children[proc].pid;
}

/* For usbmgrctl show processes. */
static void
tell_process(enum proc_id proc)
{
	const struct conf_process *p = &policy->processes[proc];
	const struct child *child = &children[proc];
	struct msg_process m;

	memset(&m, 0, sizeof(m));
	m.proc = proc;
	m.pid = pid_of(proc);
	m.started = (uint64_t)child->started;
	m.restarts = child->restarts;
	strlcpy(m.promises,
	    p->has_promises ? p->promises : sandbox_promises(proc),
	    sizeof(m.promises));
	if (m.pid > 0)
		children_send(PROC_ENGINE, MSG_PROCESS, &m, -1);
}

static void
tell_processes(void)
{
	enum proc_id proc;

	for (proc = PROC_PARENT; proc <= PROC_LAST_CHILD; proc++)
		tell_process(proc);
	tell_process(PROC_SPAWNER);
}

static void
send_file(enum msg_type type, int dirfd, const char *path)
{
	int fd = parent_open_beneath(dirfd, path, O_RDONLY);

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

void
children_vm(const struct msg_vm *vm)
{
	children_send(PROC_QMPCLIENT, MSG_QMP_VM, vm, -1);
}

static void
tell_engine_leaving(const struct msg_vm *vm)
{
	chan_send(to(PROC_ENGINE), MSG_VM_LEAVING, vm, -1);
}

static void
send_machines(const struct conf *conf)
{
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &conf->vms, entry)
		children_vm(&vm->msg);
	reload_each_leaving(children_vm);
	parent_eve_send_machines();
}

static int
send_policy(const struct conf *conf)
{
	struct msg_conf_begin begin = { .vms = conf->nvms,
		.rules = conf->nrules,
		.damping = conf->damping };
	const struct conf_rule *rule;
	const struct conf_vm *vm;

	conf_hash(conf, begin.hash);
	unconfirmed++;
	chan_send(to(PROC_ENGINE), MSG_CONF_BEGIN, &begin, -1);
	TAILQ_FOREACH(vm, &conf->vms, entry)
		chan_send(to(PROC_ENGINE), MSG_CONF_VM, &vm->msg, -1);
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

/* An engine that is not there gets it when it is. */
void
children_policy(const struct conf *conf)
{
	policy = conf;
	if (chan_is_open(to(PROC_ENGINE)) && send_policy(conf) == -1)
		end_child(PROC_ENGINE, "cannot have its policy");
}

void
children_policy_stays(const struct conf *conf)
{
	policy = conf;
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

/* All that a child needs but its siblings.  -1 after a message. */
static int
send_start(enum proc_id proc)
{
	struct msg_start start = { .verbose = (uint32_t)verbose };

	switch (proc) {
	case PROC_ENGINE:
		start.last_request = last_request;
		if (send_policy(policy) == -1)
			return -1;
		reload_each_leaving(tell_engine_leaving);
		break;
	case PROC_MONITOR:
		send_file(MSG_MOUNTINFO, proc_self, "mountinfo");
		send_file(MSG_SWAPS, AT_FDCWD, "/proc/swaps");
		break;
	default:
		send_machines(policy);
	}
	chan_send(to(proc), MSG_START, &start, -1);
	return 0;
}

int
children_start(const struct conf *conf, int debug, int verbosity)
{
	struct loop_timer deadline = { .at = 0 };
	enum proc_id proc;
	int status;

	policy = conf;
	debugging = debug;
	verbose = verbosity;
	log_required = conf->log_required;
	children[PROC_PARENT].started = time(NULL);
	children[PROC_SPAWNER].started = time(NULL);
	logs_watch(log_was_deleted);
	/* A symbolic link, which nothing here follows later. */
	proc_self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc_self == -1)
		fatal("/proc/self");
	qmpsock_init(&qmpsock_ops);
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (start_child(proc) == -1)
			fatal("cannot start %s", proc_name(proc));
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (send_log(proc) == -1)
			return -1;
	loop_timer_set(&deadline, START_DEADLINE, start_overdue, NULL);
	connect_children(PROC_ENGINE, PROC_MONITOR);
	connect_children(PROC_ENGINE, PROC_QMPCLIENT);
	parent_eve_init(conf);
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (send_start(proc) == -1) {
			loop_timer_del(&deadline);
			return -1;
		}
	status = loop_run();
	loop_timer_del(&deadline);
	return status == 0 ? 0 : -1;
}

static void
describe_end(const struct child *child, int status, char *buf, size_t size)
{
	if (child->why[0] != '\0')
		strlcpy(buf, child->why, size);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		strlcpy(buf, "was killed by its system call filter", size);
	else if (WIFSIGNALED(status))
		snprintf(buf, size, "was killed by signal %d (%s)",
		    WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(buf, size, "ended with status %d%s",
		    WEXITSTATUS(status),
		    child->ready ? "" : " before it was ready");
}

/* Children that die are started again. */

static void
audit_child(const char *event, enum proc_id proc, pid_t pid, const char *reason)
{
	struct json *j = audit_begin(event);

	json_str(j, "child", proc_name(proc));
	if (pid > 0)
		json_num(j, "pid", pid);
	if (reason != NULL)
		json_str(j, "reason", reason);
	json_num(j, "restarts", children[proc].restarts);
	audit_end();
}

static void
give_control_socket(int sock, uint32_t readonly)
{
	struct msg_control m = { .readonly = readonly };
	int fd;

	if (sock == -1)
		return;
	if ((fd = fcntl(sock, F_DUPFD_CLOEXEC, 0)) == -1)
		fatal("control socket");
	chan_send(to(PROC_ENGINE), MSG_CONTROL, &m, fd);
}

static void
give_control_sockets(void)
{
	give_control_socket(control_socket, 0);
	give_control_socket(readonly_socket, 1);
}

static void
tell_engine_socket(uint32_t number, int error, int ended, uint32_t conn)
{
	struct msg_vm_socket told = { .vm = number,
		.error = error,
		.ended = (uint32_t)ended,
		.conn = conn };

	chan_send(to(PROC_ENGINE), MSG_VM_SOCKET, &told, -1);
}

static void
connect_with_running(enum proc_id proc)
{
	enum proc_id other;

	for (other = PROC_FIRST_CHILD; other <= PROC_LAST_CHILD; other++)
		if (other != proc && children[other].pid > 0 &&
		    (proc == PROC_ENGINE || other == PROC_ENGINE))
			connect_children(proc, other);
}

static void
child_overdue(void *arg)
{
	enum proc_id proc = (enum proc_id)((struct child *)arg - children);
	char why[64];

	snprintf(why, sizeof(why), "was not ready in %d seconds",
	    START_DEADLINE / 1000);
	end_child(proc, why);
}

static int child_died(enum proc_id, pid_t, const char *);

static void
child_again(void *arg)
{
	struct child *child = arg;
	enum proc_id proc = (enum proc_id)(child - children);
	char text[sizeof(child->why)];

	if (start_child(proc) == -1) {
		snprintf(text, sizeof(text), "cannot be started: %s",
		    strerror(errno));
		if (child_died(proc, 0, text) == -1)
			loop_end(1);
		return;
	}
	child->restarts++;
	loop_timer_set(&child->timer, START_DEADLINE, child_overdue, child);
	if (send_log(proc) == -1) {
		end_child(proc, "cannot have its log");
		return;
	}
	if (proc == PROC_ENGINE)
		parent_eve_forget_machines();
	else
		connect_with_running(proc);
	if (send_start(proc) == -1) {
		end_child(proc, "cannot have its policy");
		return;
	}
	tell_process(proc);
	if (proc == PROC_ENGINE) {
		/* What the others say is of machines that it knows by then. */
		connect_with_running(proc);
		tell_processes();
		qmpsock_each_failed(tell_engine_socket);
		give_control_sockets();
		parent_eve_serve();
	}
}

static void
child_is_back(enum proc_id proc)
{
	struct child *child = &children[proc];

	loop_timer_del(&child->timer);
	audit_child("child-restarted", proc, child->pid, NULL);
	log_info("%s (pid %d) is at work again", proc_name(proc), child->pid);
	notify("STATUS=%s was started again", proc_name(proc));
	if (proc == PROC_QMPCLIENT)
		qmpsock_resume();
}

/* -1 when it is not started again, which ends the service. */
static int
child_died(enum proc_id proc, pid_t pid, const char *how)
{
	struct child *child = &children[proc];
	const char *name = proc_name(proc);
	int after = restart_after(&child->deaths, loop_now());

	if (proc == PROC_QMPCLIENT)
		qmpsock_suspend();
	log_set_stderr(1);
	audit_child("child-died", proc, pid, how);
	if (after == -1)
		log_warnx("%s died %d times in %d seconds, the last time it "
			  "%s: giving up",
		    name, RESTART_DEATHS, RESTART_WINDOW / 1000, how);
	else
		log_warnx(
		    "%s (pid %d) %s: it is started again", name, pid, how);
	log_set_stderr(debugging || after == -1);
	notify("STATUS=%s %s", name, how);
	if (after == -1)
		return -1;
	loop_timer_set(&child->timer, (uint64_t)after, child_again, child);
	return 0;
}

static int
child_ended(enum proc_id proc, int status)
{
	struct child *child = &children[proc];
	char how[sizeof(child->why)];
	pid_t pid = child->pid;

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		chan_drain(to(proc)); /* MSG_TRAPPED may be the last word */
	describe_end(child, status, how, sizeof(how));
	child->pid = 0;
	if (serving() && !(log_required && WIFEXITED(status) &&
			     WEXITSTATUS(status) == EXIT_LOG_REQUIRED)) {
		chan_close(to(proc));
		return child_died(proc, pid, how);
	}
	if (!stopping)
		log_set_stderr(1);
	if (!stopping || WIFSIGNALED(status))
		log_warnx("%s (pid %d) %s", proc_name(proc), pid, how);
	return -1;
}

/* Without it no child could be started again. */
static int
spawner_lost(int status)
{
	char how[sizeof(children[0].why)];

	spawner_ended = 1;
	if (stopping)
		return -1;
	describe_end(&(struct child){ .ready = 1 }, status, how, sizeof(how));
	log_set_stderr(1);
	log_warnx("spawner (pid %d) %s: no child could be started again",
	    spawner_pid(), how);
	return -1;
}

int
children_reap(void)
{
	enum proc_id proc;
	int status, rv = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == spawner_pid() && spawner_lost(status) == -1)
			rv = -1;
		for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
			if (children[proc].pid == pid &&
			    child_ended(proc, status) == -1)
				rv = -1;
	}
	return rv;
}

uint32_t
children_restarts(enum proc_id proc)
{
	return children[proc].restarts;
}

int
children_ping(void)
{
	struct child *child;
	enum proc_id proc;
	int well = 1;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		child = &children[proc];
		if (!child->ready || child->pid <= 0 || child->pinged) {
			well = 0;
			if (child->pinged)
				end_child(proc, "did not answer");
			continue;
		}
		child->pinged = 1;
		chan_send(to(proc), MSG_PING, &none, -1);
	}
	return well;
}

static int
running(void)
{
	enum proc_id proc;
	int n = !spawner_ended;

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
	if (!spawner_ended)
		kill(spawner_pid(), SIGKILL);
}

void
children_stop(void)
{
	struct loop_timer deadline = { .at = 0 };
	enum proc_id proc;

	stopping = 1;
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		loop_timer_del(&children[proc].timer);
		if (children[proc].pid > 0)
			chan_close(to(proc));
	}
	spawner_stop();
	loop_timer_set(&deadline, STOP_DEADLINE, stop_overdue, NULL);
	while (running())
		loop_run();
	loop_timer_del(&deadline);
}

void
children_reopen_logs(void)
{
	enum proc_id proc;

	/* Else those that are open stay. */
	if (logs_again() == -1)
		return;
	for (proc = PROC_PARENT; proc <= PROC_LAST_CHILD; proc++)
		if (proc == PROC_PARENT || chan_is_open(to(proc)))
			send_log(proc);
	log_info("logs are open again");
}

/* Requests of the children */

/* The engine knows devices as the monitor may send them, so it has no other. */
static int
is_device(const struct msg_open_device *m)
{
	return m->request != 0 && m->request < REQUEST_MAX && m->busnum != 0 &&
	       m->busnum <= USB_BUSNUM_MAX && m->devnum != 0 &&
	       m->devnum <= USB_DEVNUM_MAX;
}

static void
parent_open_device(const struct msg_open_device *m)
{
	struct msg_open_failed failed = { .request = m->request };
	int fd = usbfs_open(m->busnum, m->devnum);
	struct json *j;

	failed.error = errno;
	if (m->request > last_request)
		last_request = m->request;
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
	if (reload_vm_has_left(m->vm))
		return;
	if (m->end >= QMP_END_MAX ||
	    (qmpsock_lost(m->vm, (enum qmp_end)m->end) == -1 &&
		!parent_eve_left(m->vm)))
		chan_fail(c, "lost a connection that there was not");
}

static void
parent_qmp_release(struct chan *c, const struct msg_vm_number *m)
{
	if (!reload_vm_has_left(m->vm) && qmpsock_release(m->vm) == -1 &&
	    !parent_eve_left(m->vm))
		chan_fail(c, "released a connection that there was not");
}

static void
parent_qmp_want(struct chan *c, const struct msg_vm_number *m)
{
	if (!reload_vm_has_left(m->vm) && qmpsock_want(m->vm) == -1 &&
	    !parent_eve_left(m->vm))
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
	if (serving())
		child_is_back(c->peer);
	else if (all_ready())
		loop_end(0);
}

/* One that was just started has the policy before a reload to say yes to. */
static void
parent_conf_refused(struct chan *c, const struct msg_refused *m)
{
	if (unconfirmed == 0) {
		chan_fail(c, "refused a policy that it was not sent");
		return;
	}
	unconfirmed--;
	if (!msg_string_ok(m->text, sizeof(m->text))) {
		chan_fail(c, "refused a policy without a reason");
		return;
	}
	if (!policy_done || !children[PROC_ENGINE].ready)
		log_warnx("policy: %s", m->text);
	if (!policy_done)
		loop_end(1);
	else if (!children[PROC_ENGINE].ready)
		end_child(PROC_ENGINE, "was refused its policy");
	else
		reload_refused(m->text);
}

static void
parent_conf_done(struct chan *c)
{
	int first = !policy_done;

	if (unconfirmed == 0) {
		chan_fail(c, "took a policy that it was not sent");
		return;
	}
	unconfirmed--;
	policy_done = 1;
	if (first && all_ready())
		loop_end(0);
	if (!first && unconfirmed == 0)
		reload_done();
}

static void
parent_want_verbose(const struct msg_verbose *m)
{
	enum proc_id proc;

	verbose = m->verbose != 0;
	log_set_verbose(verbose);
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (chan_is_open(to(proc)))
			chan_send(to(proc), MSG_VERBOSE, m, -1);
	log_info("logs are %s", verbose ? "verbose" : "brief");
}

/* If it does not die of it, it lies, and dies, too. */
static void
parent_trapped(enum proc_id proc, const struct msg_trapped *m)
{
	char call[64], why[sizeof(children[proc].why)];

	filter_call_name(m->arch, m->nr, call, sizeof(call));
	snprintf(
	    why, sizeof(why), "was killed by its system call filter: %s", call);
	end_child(proc, why);
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
		parent_conf_done(c);
		break;
	case MSG_PONG:
		children[c->peer].pinged = 0;
		break;
	case MSG_TRAPPED:
		parent_trapped(c->peer, payload);
		break;
	case MSG_OPEN_DEVICE:
		if (is_device(payload))
			parent_open_device(payload);
		else
			chan_fail(c, "wants a device that cannot be");
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
	case MSG_VM_LEFT:
		reload_vm_left(((const struct msg_vm_number *)payload)->vm);
		break;
	case MSG_RELOAD:
		reload_now(1);
		break;
	case MSG_WANT_VERBOSE:
		parent_want_verbose(payload);
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

	json_str(j, "vm", reload_vm_name(number));
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
	audit_qmp(number, error, 0);
	tell_engine_socket(number, error, ended, conn);
}

static void
parent_qmp_gone(uint32_t number)
{
	struct msg_vm_number gone = { .vm = number };

	chan_send(to(PROC_QMPCLIENT), MSG_QMP_GONE, &gone, -1);
}

void
children_serve(int control_fd, int readonly_fd)
{
	const struct conf_vm *vm;

	control_socket = control_fd;
	readonly_socket = readonly_fd;
	tell_processes();
	give_control_sockets();
	TAILQ_FOREACH(vm, &policy->vms, entry)
		qmpsock_add(
		    vm->msg.vm, vm->qmp, vm->msg.monitor == MONITOR_SHARED);
	parent_eve_serve();
}
