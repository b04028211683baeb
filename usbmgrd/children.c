/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <sys/wait.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "audit.h"
#include "children.h"
#include "children_int.h"
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

/* Of a child whose promises are other ones than those of the policy. */
enum renewal {
	RENEW_NOT,
	RENEW_ASKED, /* it ends when it has answered */
	RENEW_ENDED /* it was killed for that */
};

static struct child {
	pid_t pid; /* 0: not running */
	int ready;
	unsigned int pings; /* that it has not answered yet */
	enum renewal renewal;
	char promises[CONF_PROMISES_MAX]; /* that it was started with */
	const char *reason; /* of a start that follows no death, or NULL */
	struct chan chan;
	struct restart deaths;
	uint32_t restarts;
	time_t started;
	struct loop_timer timer; /* to start it; until it is ready or ends */
	char why[CHILD_WHY_MAX]; /* we ended it, or "" */
} children[PROC_MAX];

static const struct msg_none none;
static int debugging;
static int log_required;
static int serves; /* the first start is over */
static int spawner_ended;
static int stopping;

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

int
child_is_open(enum proc_id proc)
{
	return chan_is_open(to(proc));
}

int
child_is_ready(enum proc_id proc)
{
	return children[proc].ready;
}

/* From now on one that dies is started again. */
static int
serving(void)
{
	return serves && !stopping;
}

void
child_end(enum proc_id proc, const char *why)
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
	char text[CHILD_WHY_MAX] = "";

	if (why != NULL)
		snprintf(text, sizeof(text), "broke the protocol: %s", why);
	else
		chan_drain(c); /* it was noticed by a write */
	if (why != NULL && !serving()) {
		log_set_stderr(1);
		log_warnx("%s %s", proc_name(c->peer), text);
		loop_end(1);
	} else
		child_end(c->peer, text);
	chan_close(c);
}

static void
make_channel(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		fds) == -1)
		fatal("socketpair");
}

/* Of the policy in force, or on its way: children_renew mends it. */
static const char *
promises_of(enum proc_id proc)
{
	const struct conf_process *p = &children_conf()->processes[proc];

	return p->has_promises ? p->promises : sandbox_promises(proc);
}

/* -1 with errno set when it cannot be started. */
static int
start_child(enum proc_id proc)
{
	struct child *child = &children[proc];
	const char *promises = promises_of(proc);
	int fds[2], saved;
	pid_t pid;

	make_channel(fds);
	if ((pid = spawner_start(proc, promises, fds[1])) == -1) {
		saved = errno;
		close(fds[0]);
		errno = saved;
		return -1;
	}
	child->pid = pid;
	child->started = time(NULL);
	child->ready = 0;
	child->pings = 0;
	child->renewal = RENEW_NOT;
	strlcpy(child->promises, promises, sizeof(child->promises));
	child->why[0] = '\0';
	chan_open(to(proc), fds[0], PROC_PARENT, proc, children_dispatch,
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

void
child_process(enum proc_id proc, struct msg_process *m)
{
	const struct child *child = &children[proc];
	const char *promises = child->promises;

	if (proc < PROC_FIRST_CHILD || proc > PROC_LAST_CHILD)
		promises = sandbox_promises(proc);
	memset(m, 0, sizeof(*m));
	m->proc = proc;
	m->pid = pid_of(proc);
	m->started = (uint64_t)child->started;
	m->restarts = child->restarts;
	strlcpy(m->promises, promises, sizeof(m->promises));
}

static int
all_ready(void)
{
	enum proc_id proc;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (!children[proc].ready)
			return 0;
	return children_policy_taken();
}

void
children_started(void)
{
	if (all_ready())
		loop_end(0);
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
	if (!children_policy_taken())
		log_warnx("engine did not take the policy in %d seconds",
		    START_DEADLINE / 1000);
	loop_end(1);
}

int
children_start(const struct conf *conf, int debug, int verbosity)
{
	struct loop_timer deadline = { .at = 0 };
	enum proc_id proc;
	int status;

	children_policy(conf);
	debugging = debug;
	log_required = conf->log_required;
	children[PROC_PARENT].started = time(NULL);
	children[PROC_SPAWNER].started = time(NULL);
	logs_watch(log_was_deleted);
	children_send_init(verbosity);
	children_vm_init();
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
		if (children_send_start(proc) == -1) {
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
	child_end(proc, why);
}

static int child_died(enum proc_id, pid_t, const char *);

static void
child_again(void *arg)
{
	struct child *child = arg;
	enum proc_id proc = (enum proc_id)(child - children);
	char text[CHILD_WHY_MAX];

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
		child_end(proc, "cannot have its log");
		return;
	}
	if (proc == PROC_ENGINE)
		parent_eve_forget_machines();
	else
		connect_with_running(proc);
	if (children_send_start(proc) == -1) {
		child_end(proc, "cannot have its policy");
		return;
	}
	children_send_process(proc);
	if (proc == PROC_ENGINE) {
		/* What the others say is of machines that it knows by then. */
		connect_with_running(proc);
		children_send_engine();
	}
}

static void
child_is_back(enum proc_id proc)
{
	struct child *child = &children[proc];

	loop_timer_del(&child->timer);
	audit_child("child-restarted", proc, child->pid, child->reason);
	child->reason = NULL;
	log_info("%s (pid %d) is at work again", proc_name(proc), child->pid);
	notify("STATUS=%s was started again", proc_name(proc));
	if (proc == PROC_QMPCLIENT)
		qmpsock_resume();
}

int
child_ready(enum proc_id proc)
{
	if (children[proc].ready)
		return -1;
	children[proc].ready = 1;
	if (serving())
		child_is_back(proc);
	else
		children_started();
	return 0;
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
	child->renewal = RENEW_NOT;
	child->reason = NULL;
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

/* Children with other promises than the policy says are replaced. */

int
children_renews(enum proc_id proc)
{
	const struct child *child = &children[proc];

	return child->pid > 0 &&
	       !sandbox_same_promises(child->promises, promises_of(proc));
}

/* Whoever has ended it before counts, and says why. */
static void
renew_end(struct child *child)
{
	if (child->why[0] == '\0')
		child->renewal = RENEW_ENDED;
	child_end((enum proc_id)(child - children), "has other promises");
}

static void
renew_overdue(void *arg)
{
	renew_end(arg);
}

/* An engine has answers for its clients, who would have none without it. */
static void
renew(struct child *child)
{
	if (!chan_is_open(&child->chan))
		return; /* it ends already */
	if (!child->ready) {
		renew_end(child);
		return;
	}
	if (child->renewal == RENEW_NOT)
		loop_timer_set(
		    &child->timer, STOP_DEADLINE, renew_overdue, child);
	child->renewal = RENEW_ASKED;
	child->pings++;
	chan_send(&child->chan, MSG_PING, &none, -1);
}

void
children_renew(void)
{
	enum proc_id proc;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (children[proc].renewal == RENEW_ASKED ||
		    (children[proc].renewal == RENEW_NOT &&
			children_renews(proc)))
			renew(&children[proc]);
}

static void
child_renewed(enum proc_id proc, pid_t pid)
{
	struct child *child = &children[proc];

	if (proc == PROC_QMPCLIENT)
		qmpsock_suspend();
	child->renewal = RENEW_NOT;
	child->reason = "other promises in the policy";
	log_info("%s (pid %d) is started again for its new promises",
	    proc_name(proc), pid);
	loop_timer_set(&child->timer, 0, child_again, child);
}

static int
was_renewed(const struct child *child, int status)
{
	return child->renewal == RENEW_ENDED && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGKILL;
}

static int
child_ended(enum proc_id proc, int status)
{
	struct child *child = &children[proc];
	char how[CHILD_WHY_MAX];
	pid_t pid = child->pid;

	child->pid = 0;
	/* MSG_TRAPPED may be the last word, or what it still asked for. */
	if ((was_renewed(child, status) && child->ready) ||
	    (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS))
		chan_drain(to(proc));
	describe_end(child, status, how, sizeof(how));
	if (serving() && !(log_required && WIFEXITED(status) &&
			     WEXITSTATUS(status) == EXIT_LOG_REQUIRED)) {
		chan_close(to(proc));
		if (!was_renewed(child, status))
			return child_died(proc, pid, how);
		child_renewed(proc, pid);
		return 0;
	}
	if (!stopping)
		log_set_stderr(1);
	if (!stopping || (WIFSIGNALED(status) && !was_renewed(child, status)))
		log_warnx("%s (pid %d) %s", proc_name(proc), pid, how);
	return -1;
}

/* Without it no child could be started again. */
static int
spawner_lost(int status)
{
	char how[CHILD_WHY_MAX];

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

void
child_answered(enum proc_id proc)
{
	struct child *child = &children[proc];

	if (child->pings > 0)
		child->pings--;
	/* Else there is an answer to come, and children_renew after it. */
	if (child->pings == 0 && child->renewal == RENEW_ASKED &&
	    !reload_is_pending())
		renew_end(child);
}

int
children_ping(void)
{
	struct child *child;
	enum proc_id proc;
	int well = 1;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		child = &children[proc];
		if (!child->ready || child->pid <= 0 || child->pings > 0) {
			well = 0;
			if (child->pings > 0 && child->renewal == RENEW_NOT)
				child_end(proc, "did not answer");
			continue;
		}
		child->pings = 1;
		chan_send(to(proc), MSG_PING, &none, -1);
	}
	return well;
}

void
children_serve(int control_fd, int readonly_fd)
{
	serves = 1;
	children_send_control(control_fd, readonly_fd);
	children_send_engine();
	children_vm_serve();
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
