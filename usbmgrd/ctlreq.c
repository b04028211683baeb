/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "audit.h"
#include "control.h"
#include "ctlint.h"
#include "engine.h"
#include "enginelog.h"
#include "log.h"

/* What control clients ask for, and what they get. */

#define RULES_A_PAGE 100 /* of what a queue of a client holds */
#define DEVICE_DEADLINE 30000 /* ms; an answer of QEMU takes 10 s at most */

static const struct msg_none none;
static struct msg_process processes[PROC_MAX];
static int reloading; /* the parent was asked and has not answered */

static void send_done(struct client *, uint32_t error, const char *, ...)
    __attribute__((format(printf, 3, 4)));

static void
send_done(struct client *client, uint32_t error, const char *fmt, ...)
{
	struct msg_done m;
	va_list ap;

	memset(&m, 0, sizeof(m));
	m.error = error;
	va_start(ap, fmt);
	vsnprintf(m.text, sizeof(m.text), fmt, ap);
	va_end(ap);
	client->wait = WAIT_NOTHING;
	loop_timer_del(&client->deadline);
	chan_send(&client->chan, MSG_CTL_DONE, &m, -1);
}

/* Lists */

static void
send_device(const struct ctl_device *device, void *arg)
{
	chan_send(arg, MSG_CTL_DEVICE, device, -1);
}

static void
send_vm(const struct ctl_vm *vm, void *arg)
{
	chan_send(arg, MSG_CTL_VM, vm, -1);
}

static void
send_rule(const struct ctl_rule *rule, void *arg)
{
	chan_send(arg, MSG_CTL_RULE, rule, -1);
}

static void
send_policy_rule(const struct ctl_policy_rule *rule, void *arg)
{
	chan_send(arg, MSG_CTL_POLICY_RULE, rule, -1);
}

static void
send_counter(const struct ctl_counter *counter, void *arg)
{
	chan_send(arg, MSG_CTL_COUNTER, counter, -1);
}

static void
show_devices(struct client *client, const void *payload)
{
	(void)payload;
	core_devices(control.core, send_device, &client->chan);
}

static void
show_vms(struct client *client, const void *payload)
{
	(void)payload;
	core_vms(control.core, send_vm, &client->chan);
}

static void
show_rules(struct client *client, const void *payload)
{
	const struct ctl_page *m = payload;

	core_rules(control.core, m->first, RULES_A_PAGE, send_policy_rule,
	    &client->chan);
}

static void
show_processes(struct client *client, const void *payload)
{
	enum proc_id proc;

	(void)payload;
	for (proc = PROC_PARENT; proc < PROC_MAX; proc++)
		if (processes[proc].pid != 0)
			chan_send(&client->chan, MSG_CTL_PROCESS,
			    &processes[proc], -1);
}

static void
show_counters(struct client *client, const void *payload)
{
	(void)payload;
	enginelog_counters(
	    control.core, control.nclients, send_counter, &client->chan);
}

static void
explain(struct client *client, const void *payload)
{
	const struct ctl_port *m = payload;

	if (!usbport_valid(&m->port)) {
		chan_fail(&client->chan, "port that is none");
		return;
	}
	core_explain(
	    control.core, &m->port, send_rule, send_device, &client->chan);
}

/* Watching */

static void
monitor(struct client *client, const void *payload)
{
	(void)payload;
	control.nwatching += !client->watches;
	client->watches = 1;
}

int
control_is_watched(void)
{
	return control.nwatching > 0;
}

void
control_tell(const struct ctl_event *ev)
{
	struct client *client;

	TAILQ_FOREACH(client, &control.clients, entry)
		if (client->watches)
			chan_send(&client->chan, MSG_CTL_EVENT, ev, -1);
}

/* By hand */

static void
device_overdue(void *arg)
{
	send_done(
	    arg, 1, "not done in %d s; it is tried on", DEVICE_DEADLINE / 1000);
}

static void
check_device(struct client *client)
{
	const struct ctl_override *o = &client->asked;
	char port[USBPORT_STRLEN];
	struct ctl_device d;
	uint32_t error;

	usbport_string(&o->port, port);
	if (core_device_get(control.core, &o->port, &d) == -1 ||
	    d.dev.devnum != o->devnum) {
		send_done(client, 1, "%s was unplugged", port);
		return;
	}
	if (d.state == DEV_ATTACHING || d.state == DEV_DETACHING)
		return;
	error = (o->command == OVERRIDE_ATTACH && d.state != DEV_ATTACHED) ||
		(o->command == OVERRIDE_DETACH && d.vm[0] != '\0');
	if (d.vm[0] != '\0' && d.state != DEV_HELD)
		send_done(client, error, "%s is %s to %s: %.140s", port,
		    device_state_string(d.state), d.vm, d.reason);
	else
		send_done(client, error, "%s is %s: %.200s", port,
		    device_state_string(d.state), d.reason);
}

void
control_event(void)
{
	struct client *client;

	if (control.nclients == 0)
		return;
	TAILQ_FOREACH(client, &control.clients, entry)
		if (client->wait == WAIT_DEVICE)
			check_device(client);
}

static void
override(struct client *client, const void *payload)
{
	const struct ctl_override *m = payload;
	struct core_override o = { .port = m->port, .devnum = m->devnum };
	char why[MSG_TEXT_MAX], port[USBPORT_STRLEN];

	if (!usbport_valid(&m->port) || m->command >= OVERRIDE_MAX ||
	    !msg_string_ok(m->vm, sizeof(m->vm))) {
		chan_fail(&client->chan, "override that is none");
		return;
	}
	o.command = (enum override)m->command;
	o.force = m->force != 0;
	o.uid = client->who.uid;
	o.pid = client->who.pid;
	strlcpy(o.vm, m->vm, sizeof(o.vm));
	if (core_override_try(control.core, &o, why, sizeof(why)) == -1) {
		send_done(client, 1, "%s: %.200s",
		    usbport_string(&m->port, port), why);
		return;
	}
	client->asked = *m;
	client->asked.devnum = core_devnum(control.core, &m->port);
	client->wait = WAIT_DEVICE;
	loop_timer_set(
	    &client->deadline, DEVICE_DEADLINE, device_overdue, client);
	engine_override(&o);
}

/* The rest is the parent's to do */

static void
reload(struct client *client, const void *payload)
{
	(void)payload;
	client->wait = reloading ? WAIT_NEXT_RELOAD : WAIT_RELOAD;
	if (reloading)
		return;
	reloading = 1;
	engine_tell_parent(MSG_RELOAD, &none);
}

void
control_reload_text(const struct msg_line *m)
{
	struct client *client;

	if (!msg_string_ok(m->text, sizeof(m->text)))
		fatalx("parent sent a text without end");
	if (control.nclients == 0)
		return;
	TAILQ_FOREACH(client, &control.clients, entry)
		if (client->wait == WAIT_RELOAD)
			chan_send(&client->chan, MSG_CTL_TEXT, m, -1);
}

void
control_reload_done(const struct msg_done *m)
{
	struct client *client;
	int more = 0;

	if (!msg_string_ok(m->text, sizeof(m->text)))
		fatalx("parent sent a text without end");
	reloading = 0;
	if (control.nclients == 0)
		return;
	TAILQ_FOREACH(client, &control.clients, entry) {
		if (client->wait == WAIT_RELOAD)
			send_done(client, m->error, "%s", m->text);
		if (client->wait != WAIT_NEXT_RELOAD)
			continue;
		client->wait = WAIT_RELOAD;
		more = 1;
	}
	if (!more)
		return;
	reloading = 1;
	engine_tell_parent(MSG_RELOAD, &none);
}

void
control_process(const struct msg_process *m)
{
	if ((m->proc > PROC_LAST_CHILD && m->proc != PROC_SPAWNER) ||
	    m->pid <= 0 || !msg_string_ok(m->promises, sizeof(m->promises)))
		fatalx("parent sent a process that is none");
	processes[m->proc] = *m;
}

static void
set_log(struct client *client, const void *payload)
{
	const struct msg_verbose *m = payload;

	engine_tell_parent(MSG_WANT_VERBOSE, m);
	send_done(client, 0, "logs are %s", m->verbose ? "verbose" : "brief");
}

/* All of them */

static const struct request {
	enum msg_type type;
	int changes; /* not for those who may only look; ends with DONE */
	int goes_on; /* the answer has no end */
	void (*serve)(struct client *, const void *);
} requests[] = {
	{ MSG_CTL_SHOW_DEVICES, 0, 0, show_devices },
	{ MSG_CTL_SHOW_VMS, 0, 0, show_vms },
	{ MSG_CTL_SHOW_RULES, 0, 0, show_rules },
	{ MSG_CTL_SHOW_PROCESSES, 0, 0, show_processes },
	{ MSG_CTL_SHOW_COUNTERS, 0, 0, show_counters },
	{ MSG_CTL_EXPLAIN, 0, 0, explain },
	{ MSG_CTL_MONITOR, 0, 1, monitor },
	{ MSG_CTL_OVERRIDE, 1, 0, override },
	{ MSG_CTL_RELOAD, 1, 0, reload },
	{ MSG_CTL_LOG, 1, 0, set_log },
};

static void
audit_request(
    const struct client *client, enum msg_type type, const void *payload)
{
	struct json *j = control_audit("control", client);
	const struct ctl_override *o = payload;
	const struct ctl_port *p = payload;
	const struct msg_verbose *v = payload;
	char port[USBPORT_STRLEN];

	json_str(j, "request_type", msg_name(type));
	if (type == MSG_CTL_EXPLAIN && usbport_valid(&p->port))
		json_str(j, "device", usbport_string(&p->port, port));
	if (type == MSG_CTL_OVERRIDE && usbport_valid(&o->port) &&
	    msg_string_ok(o->vm, sizeof(o->vm))) {
		json_str(j, "device", usbport_string(&o->port, port));
		json_num(j, "command", o->command);
		json_str(j, "vm", o->vm);
		json_bool(j, "force", o->force != 0);
	}
	if (type == MSG_CTL_LOG)
		json_bool(j, "verbose", v->verbose != 0);
	json_bool(j, "readonly", client->readonly);
	audit_end();
	enginelog_count(COUNT_REQUESTS);
}

void
ctlreq_serve(struct client *client, enum msg_type type, const void *payload)
{
	const struct request *r = requests;
	size_t i;

	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (requests[i].type == type)
			r = &requests[i];
	if (r->type != type) {
		chan_fail(&client->chan, "request that is not served");
		return;
	}
	audit_request(client, type, payload);
	if (client->wait != WAIT_NOTHING) {
		chan_fail(
		    &client->chan, "request before the answer to another");
		return;
	}
	if (r->changes && client->readonly) {
		json_str(control_audit("denied", client), "request_type",
		    msg_name(type));
		audit_end();
		enginelog_count(COUNT_REFUSED);
		send_done(client, 1, "this socket is only for those who look");
		return;
	}
	r->serve(client, payload);
	if (!r->changes && !r->goes_on)
		chan_send(&client->chan, MSG_CTL_END, &none, -1);
}

void
ctlreq_forget(struct client *client)
{
	loop_timer_del(&client->deadline);
	control.nwatching -= client->watches != 0;
	client->watches = 0;
}
