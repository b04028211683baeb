/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include "conf.h"
#include "core.h"
#include "errors.h"
#include "events.h"
#include "explain.h"
#include "json.h"
#include "log.h"
#include "replay.h"
#include "replayint.h"

#define DEFAULT_CONF SYSCONFDIR "/usbmgrd.conf"

/* Of machines that may be forgotten before their action is printed. */
struct vm_name {
	SLIST_ENTRY(vm_name) entry;
	char name[MSG_VM_NAME_MAX];
};

static struct {
	const struct replay_input *in;
	int audit; /* an audit log, 0: not, -1: not known yet */
	SLIST_HEAD(, vm_name) names;
	const char *path;
	unsigned long line;
	int silent; /* actions are not printed */
	struct core *core;
	struct conf *conf;
	uint64_t now;
	struct core_action *actions; /* of the event being replayed */
	size_t nactions;
	size_t maxactions;
	struct core_action *pending; /* attaches not yet answered */
	size_t npending;
	size_t maxpending;
} replay = { .now = 1, .audit = -1 };

static void replay_event(struct core_event *);

static const char *
keep_name(const char *name)
{
	struct vm_name *n;

	SLIST_FOREACH(n, &replay.names, entry)
		if (strcmp(n->name, name) == 0)
			return n->name;
	if ((n = calloc(1, sizeof(*n))) == NULL)
		fatal("calloc");
	strlcpy(n->name, name, sizeof(n->name));
	SLIST_INSERT_HEAD(&replay.names, n, entry);
	return n->name;
}

static void
append(struct core_action **list, size_t *n, size_t *max,
    const struct core_action *a)
{
	if (*n == *max) {
		*max = *max * 2 + 16;
		*list = reallocarray(*list, *max, sizeof(**list));
		if (*list == NULL)
			fatal("reallocarray");
	}
	(*list)[(*n)++] = *a;
}

static void
answer(const struct core_action *a, enum result result, const char *text)
{
	struct msg_result m;
	struct core_event ev = { .type = EV_RESULT, .u.result = &m };

	memset(&m, 0, sizeof(m));
	m.request = a->request;
	m.vm = a->vm;
	m.result = result;
	strlcpy(m.text, text, sizeof(m.text));
	replay_event(&ev);
}

/* A detach succeeds at once, an attach unless the next event denies it. */
static void
replay_event(struct core_event *ev)
{
	const struct core_action *actions;
	struct core_action *copy;
	size_t i, n;

	ev->now = replay.now;
	actions = core_event(replay.core, ev, &n);
	if (n == 0)
		return;
	if ((copy = reallocarray(NULL, n, sizeof(*copy))) == NULL)
		fatal("reallocarray");
	memcpy(copy, actions, n * sizeof(*copy));
	for (i = 0; i < n; i++) {
		if (copy[i].type == ACT_VM_NEW || copy[i].type == ACT_VM_GONE)
			continue;
		if (copy[i].vmname != NULL)
			copy[i].vmname = keep_name(copy[i].vmname);
		append(&replay.actions, &replay.nactions, &replay.maxactions,
		    &copy[i]);
		if (copy[i].type == ACT_ATTACH)
			append(&replay.pending, &replay.npending,
			    &replay.maxpending, &copy[i]);
	}
	for (i = 0; i < n; i++)
		if (copy[i].type == ACT_DETACH)
			answer(&copy[i], RESULT_OK, "");
	free(copy);
}

static void
print_action(const struct core_action *a)
{
	static const char *const names[] = { [ACT_DETACH] = "detach",
		[ACT_ATTACH] = "attach",
		[ACT_HOLD] = "hold" };
	char buf[4096], port[USBPORT_STRLEN];
	struct json j;

	json_init(&j, buf, sizeof(buf));
	json_object(&j, NULL);
	json_str(&j, "action", names[a->type]);
	if (a->vmname != NULL)
		json_str(&j, "vm", a->vmname);
	json_str(&j, "device", usbport_string(&a->port, port));
	json_num(&j, "devnum", a->devnum);
	if (a->type == ACT_ATTACH) {
		json_hex16(&j, "vendor", a->vendor);
		json_hex16(&j, "product", a->product);
	}
	json_str(&j, "reason", a->reason);
	json_end(&j, '}');
	if (json_finish(&j) != 0)
		puts(buf);
}

static void
print_actions(void)
{
	size_t i;

	core_sort_actions(replay.actions, replay.nactions);
	for (i = 0; i < replay.nactions && !replay.silent; i++)
		if (replay.actions[i].type != ACT_RELEASE)
			print_action(&replay.actions[i]);
	replay.nactions = 0;
}

static void
answer_pending(void)
{
	struct core_action *list = replay.pending;
	size_t i, n = replay.npending;

	replay.pending = NULL;
	replay.npending = replay.maxpending = 0;
	for (i = 0; i < n; i++)
		answer(&list[i], RESULT_OK, "");
	free(list);
	if (replay.npending > 0)
		answer_pending();
}

static const char *
attach_failed(const struct replay_event *ev)
{
	struct core_action a;
	size_t i;

	for (i = replay.npending; i > 0; i--) {
		a = replay.pending[i - 1];
		if (usbport_cmp(&a.port, &ev->port) != 0)
			continue;
		memmove(&replay.pending[i - 1], &replay.pending[i],
		    (replay.npending - i) * sizeof(a));
		replay.npending--;
		answer(
		    &a, qmp_error_result("GenericError", ev->error), ev->error);
		return NULL;
	}
	return "no attach of that device comes before it";
}

static const char *
vm_change(const struct replay_event *ev, enum vm_state state)
{
	struct msg_vm_state m;
	struct core_event cev = { .type = EV_VM_STATE, .u.vm_state = &m };
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &replay.conf->vms, entry)
		if (strcmp(vm->msg.name, ev->vm) == 0)
			break;
	if (vm == NULL)
		return "the policy has no such vm";
	memset(&m, 0, sizeof(m));
	m.vm = vm->msg.vm;
	m.state = state;
	replay_event(&cev);
	return NULL;
}

static const char *
device_remove(const struct replay_event *ev)
{
	struct msg_device_gone gone;
	struct core_event cev = { .type = EV_DEVICE_GONE, .u.gone = &gone };

	memset(&gone, 0, sizeof(gone));
	gone.port = ev->port;
	gone.devnum = core_devnum(replay.core, &ev->port);
	if (gone.devnum == 0)
		return "nothing is plugged there";
	replay_event(&cev);
	return NULL;
}

static void
device_add(const struct replay_event *ev)
{
	struct core_event cev = { .type = EV_DEVICE, .u.device = &ev->device };

	replay_event(&cev);
}

static void
tick(const struct replay_event *ev)
{
	struct core_event cev = { .type = EV_TICK };
	uint64_t next, until = replay.now + ev->ms;

	while ((next = core_next(replay.core)) != 0 && next <= until) {
		replay.now = next;
		replay_event(&cev);
	}
	replay.now = until;
}

static void
adapters(const struct replay_event *ev)
{
	struct core_event cev = { .type = EV_EVE_ADAPTERS,
		.u.adapters = ev->adapters };

	replay_event(&cev);
}

/* A domain is known by its name here, by that of its file in EVE. */
static void
domain(enum core_event_type type, const char *name, struct domain *status)
{
	struct core_domain d = { .status = status };
	struct core_event cev = { .type = type, .u.domain = &d };

	strlcpy(d.key, name, sizeof(d.key));
	replay_event(&cev);
}

/* NULL, or what is wrong with an event that could be read. */
static const char *
replay_one(const struct replay_event *ev)
{
	if (ev->type != REPLAY_ATTACH_FAILED)
		answer_pending();
	switch (ev->type) {
	case REPLAY_DEVICE_ADD:
		device_add(ev);
		return NULL;
	case REPLAY_DEVICE_REMOVE:
		return device_remove(ev);
	case REPLAY_VM_UP:
		return vm_change(ev, VM_READY);
	case REPLAY_VM_DOWN:
		return vm_change(ev, VM_ABSENT);
	case REPLAY_ATTACH_FAILED:
		return attach_failed(ev);
	case REPLAY_TICK:
		tick(ev);
		return NULL;
	case REPLAY_ADAPTERS:
		adapters(ev);
		return NULL;
	case REPLAY_DOMAIN:
		domain(EV_EVE_DOMAIN, ev->domain->name, ev->domain);
		return NULL;
	case REPLAY_DOMAIN_DELETE:
		domain(EV_EVE_DOMAIN_GONE, ev->domain_name, NULL);
		return NULL;
	default:
		return "event of an audit log";
	}
}

static void
vms_are_down(const struct conf *conf)
{
	struct msg_vm_socket m = { .error = ENOENT, .ended = 1 };
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = &m };
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &conf->vms, entry) {
		m.vm = vm->msg.vm;
		replay_event(&ev);
	}
}

static void
replay_policy(const struct conf *conf)
{
	struct core_event policy = { .type = EV_POLICY };
	struct core_event scan = { .type = EV_SCAN_DONE };
	const char *wrong;

	if ((replay.core = core_new()) == NULL)
		fatal("core_new");
	core_alone(replay.core);
	policy.u.policy = conf_policy(conf, &wrong);
	if (policy.u.policy == NULL)
		fatalx("policy: %s", wrong);
	replay_event(&policy);
	vms_are_down(conf);
	replay_event(&scan);
}

/* What is read is one or the other. */
static const char *
replay_either(const struct replay_event *ev)
{
	if (replay.audit == -1 && !ev->audit)
		replay_policy(replay.conf);
	if (replay.audit == -1)
		replay.audit = ev->audit;
	if (replay.audit != ev->audit)
		return ev->audit ? "a line of an audit log among other events"
				 : "no line of an audit log, as those before";
	if (!ev->audit)
		return replay_one(ev);
	return auditlog_replay(ev, replay.silent ? NULL : print_action);
}

static int
replay_line(const char *line, size_t len)
{
	static struct replay_event ev;
	char error[256];
	const char *wrong;

	if (len > 0 && line[len - 1] == '\n')
		len--;
	if (strspn(line, " \t\r") >= len)
		return 0;
	if (events_parse(line, len, &ev, error, sizeof(error)) == -1)
		wrong = error;
	else
		wrong = replay_either(&ev);
	if (wrong == NULL)
		print_actions();
	else
		fprintf(
		    stderr, "%s:%lu: %s\n", replay.path, replay.line, wrong);
	return wrong == NULL ? 0 : -1;
}

static int
replay_file(FILE *in)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int rc = 0;

	replay.line = 0;
	while (rc == 0 && (len = getline(&line, &size, in)) != -1) {
		replay.line++;
		rc = replay_line(line, (size_t)len);
	}
	if (ferror(in)) {
		fprintf(stderr, "%s: %s\n", replay.path, strerror(errno));
		rc = -1;
	}
	free(line);
	return rc;
}

static int
replay_path(const char *path)
{
	FILE *in;
	int rc;

	replay.path = path;
	in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	if (in == NULL)
		fatal("%s", path);
	rc = replay_file(in);
	if (in != stdin)
		fclose(in);
	return rc;
}

static int
replay_run(const struct replay_input *in)
{
	int i, rc = 0;

	for (i = 0; i < in->npolicies || i == 0; i++) {
		struct conf *conf = conf_parse(
		    in->npolicies == 0 ? DEFAULT_CONF : in->policies[i],
		    CONF_ANYBODY);

		if (conf == NULL)
			return -1;
		auditlog_policy(conf);
		if (conf_open(conf) == -1 || conf_load(conf) == -1)
			return -1;
		if (i == 0)
			replay.conf = conf;
	}
	for (i = 0; i < in->nfiles && rc == 0; i++)
		rc = replay_path(in->files[i]);
	/* Without an event, there still is a policy. */
	if (rc == 0 && replay.audit == -1)
		replay_policy(replay.conf);
	if (rc == 0 && replay.audit == 1)
		rc = auditlog_end();
	return rc;
}

static void
replay_free(void)
{
	struct vm_name *n;

	core_free(replay.core);
	auditlog_free();
	while ((n = SLIST_FIRST(&replay.names)) != NULL) {
		SLIST_REMOVE_HEAD(&replay.names, entry);
		free(n);
	}
	free(replay.actions);
	free(replay.pending);
}

int
replay_events(const struct replay_input *in)
{
	int rc;

	rc = replay_run(in);
	replay_free();
	return rc == 0 ? 0 : 1;
}

static void
explain_rule_cb(const struct ctl_rule *rule, void *arg)
{
	(void)arg;
	explain_rule(rule);
}

static void
explain_device_cb(const struct ctl_device *d, void *arg)
{
	(void)arg;
	explain_device(d);
}

int
replay_explain(const struct replay_input *in, const struct usbport *port)
{
	int rc;

	replay.silent = 1;
	rc = replay_run(in);
	if (rc == 0 && replay.audit == 1)
		auditlog_explain(port, explain_rule_cb, explain_device_cb);
	else if (rc == 0) {
		answer_pending();
		core_clock(replay.core, replay.now);
		core_explain(replay.core, port, explain_rule_cb,
		    explain_device_cb, NULL);
	}
	replay_free();
	return rc;
}

int
check_file(const char *file)
{
	struct conf *conf = conf_parse(file, CONF_ROOT_ONLY);
	int rc;

	if (conf == NULL)
		return 1;
	rc = conf_open(conf) == -1 || conf_load(conf) == -1;
	conf_free(conf);
	if (rc != 0)
		return 1;
	fprintf(stderr, "configuration OK\n");
	return 0;
}
