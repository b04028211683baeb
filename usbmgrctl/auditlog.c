/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "log.h"
#include "replayint.h"

static struct {
	struct conf *confs[POLICIES_MAX + 1];
	int nconfs;
	struct conf *conf; /* in force */
	struct core *core; /* of this run of usbmgrd, NULL before it */
	uint32_t last_vm;
	uint64_t now;
	struct core_action *actions; /* that the log has not confirmed yet */
	size_t nactions;
	size_t next;
	char wrong[1024];
} log_;

void
auditlog_policy(struct conf *conf)
{
	log_.confs[log_.nconfs++] = conf;
}

static const char *wrong(const char *, ...)
    __attribute__((format(printf, 1, 2)));

static const char *
wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(log_.wrong, sizeof(log_.wrong), fmt, ap);
	va_end(ap);
	return log_.wrong;
}

static const char *const names[] = { [ACT_DETACH] = "detach",
	[ACT_ATTACH] = "attach",
	[ACT_HOLD] = "hold",
	[ACT_RELEASE] = "release" };

static const char *
describe(const struct core_action *a, char *buf, size_t size)
{
	char port[USBPORT_STRLEN];

	snprintf(buf, size, "%s %s%s%s (%.200s)", names[a->type],
	    usbport_string(&a->port, port), a->vmname == NULL ? "" : " ",
	    a->vmname == NULL ? "" : a->vmname, a->reason);
	return buf;
}

/* All that the event before has led to must have been in the log. */
static const char *
check_none_left(void)
{
	char text[512];

	if (log_.next == log_.nactions)
		return NULL;
	return wrong("replay gives \"%s\" here, which the log does not have",
	    describe(&log_.actions[log_.next], text, sizeof(text)));
}

static const char *
give(struct core_event *ev, void (*print)(const struct core_action *))
{
	const struct core_action *actions;
	size_t i, n;

	ev->now = log_.now;
	actions = core_event(log_.core, ev, &n);
	free(log_.actions);
	log_.actions = reallocarray(NULL, n + 1, sizeof(*actions));
	if (log_.actions == NULL)
		fatal("reallocarray");
	log_.nactions = log_.next = 0;
	/* Machines of EVE come and go without a decision. */
	for (i = 0; i < n; i++)
		if (actions[i].type <= ACT_RELEASE)
			log_.actions[log_.nactions++] = actions[i];
	n = log_.nactions;
	for (i = 0; i < n && print != NULL; i++)
		if (log_.actions[i].type != ACT_RELEASE)
			print(&log_.actions[i]);
	return NULL;
}

static int
is_action(const struct core_action *a, const struct replay_event *ev)
{
	return strcmp(ev->command, names[a->type]) == 0 &&
	       usbport_cmp(&a->port, &ev->port) == 0 &&
	       a->devnum == ev->device.devnum &&
	       a->request == ev->result.request &&
	       strcmp(a->vmname == NULL ? "" : a->vmname, ev->vm) == 0 &&
	       strcmp(a->reason, ev->reason) == 0;
}

static const char *
confirm(const struct replay_event *ev)
{
	char text[512];

	if (log_.next == log_.nactions)
		return "replay does not give this decision of the log";
	if (!is_action(&log_.actions[log_.next], ev))
		return wrong("replay gives another decision: %s",
		    describe(&log_.actions[log_.next], text, sizeof(text)));
	log_.next++;
	return NULL;
}

/* Policies */

/* As the parent numbers them. */
static const char *
load(struct conf *conf, void (*print)(const struct core_action *))
{
	struct core_event ev = { .type = EV_POLICY };
	const char *why;

	if (log_.conf != conf)
		conf_renumber(log_.conf, conf, &log_.last_vm);
	log_.conf = conf;
	ev.u.policy = conf_policy(conf, &why);
	if (ev.u.policy == NULL)
		return why;
	return give(&ev, print);
}

static const char *
policy(const struct replay_event *ev, void (*print)(const struct core_action *))
{
	uint8_t hash[AUDIT_HASH_LEN];
	int i;

	for (i = 0; i < log_.nconfs; i++) {
		conf_hash(log_.confs[i], hash);
		if (memcmp(hash, ev->hash, sizeof(hash)) == 0)
			return load(log_.confs[i], print);
	}
	return "another policy was in force from here on: give it, too, with "
	       "-f; its sha256 is that of what usbmgrd -nv prints of it";
}

static void
start(void)
{
	core_free(log_.core);
	if ((log_.core = core_new()) == NULL)
		fatal("core_new");
	log_.conf = NULL;
	log_.last_vm = 0;
	log_.nactions = log_.next = 0;
}

/* Events */

static uint32_t
vm_number(const struct replay_event *ev)
{
	return ev->vm[0] == '\0' ? 0
				 : core_vm_number(log_.core, ev->vm, ev->left);
}

static const char *
override(const struct replay_event *ev, struct core_override *o)
{
	char why[MSG_TEXT_MAX];

	memset(o, 0, sizeof(*o));
	o->port = ev->port;
	o->devnum = ev->device.devnum;
	o->force = ev->force;
	o->uid = ev->uid;
	strlcpy(o->vm, ev->vm, sizeof(o->vm));
	if (strcmp(ev->command, "attach") == 0)
		o->command = OVERRIDE_ATTACH;
	else if (strcmp(ev->command, "detach") == 0)
		o->command = OVERRIDE_DETACH;
	else if (strcmp(ev->command, "policy") != 0)
		return "\"command\": expected attach, detach or policy";
	if (core_override_try(log_.core, o, why, sizeof(why)) == -1)
		return wrong("replay refuses it: %s", why);
	return NULL;
}

/* What an event points to. */
static struct {
	struct replay_event ev;
	struct msg_device_gone gone;
	struct msg_vm vm;
	struct core_override override;
	struct core_domain domain;
} made;

static void
fill(const struct replay_event *ev)
{
	uint32_t vm = vm_number(ev);

	memset(&made, 0, sizeof(made));
	made.ev = *ev;
	made.ev.socket.vm = made.ev.has.vm = made.ev.state.vm =
	    made.ev.result.vm = made.ev.foreign.vm = made.ev.number.vm = vm;
	made.ev.has.port = ev->port;
	made.gone.port = ev->port;
	made.gone.devnum = ev->device.devnum;
	made.vm.release = ev->release;
	strlcpy(made.vm.name, ev->vm, sizeof(made.vm.name));
}

static void
machine_event(struct core_event *cev)
{
	switch (made.ev.type) {
	case REPLAY_VM_LEAVING:
		made.vm.vm = ++log_.last_vm;
		cev->type = EV_VM_LEAVING;
		cev->u.vm = &made.vm;
		break;
	case REPLAY_VM_SOCKET:
		cev->type = EV_VM_SOCKET;
		cev->u.vm_socket = &made.ev.socket;
		break;
	case REPLAY_VM_HAS:
		cev->type = EV_VM_HAS;
		cev->u.has = &made.ev.has;
		break;
	case REPLAY_VM_DROPPED:
		cev->type = EV_VM_DROPPED;
		cev->u.has = &made.ev.has;
		break;
	case REPLAY_VM_FOREIGN:
		cev->type = EV_VM_FOREIGN;
		cev->u.foreign = &made.ev.foreign;
		break;
	case REPLAY_VM_PORT:
		cev->type = EV_VM_PORT;
		cev->u.vm_number = &made.ev.number;
		break;
	case REPLAY_VM_STATE:
		cev->type = EV_VM_STATE;
		cev->u.vm_state = &made.ev.state;
		break;
	case REPLAY_RESULT:
		cev->type = EV_RESULT;
		cev->u.result = &made.ev.result;
		break;
	default:
		break;
	}
}

static void
device_event(struct core_event *cev)
{
	switch (made.ev.type) {
	case REPLAY_DEVICE_ADD:
		cev->type = EV_DEVICE;
		cev->u.device = &made.ev.device;
		break;
	case REPLAY_DEVICE_REMOVE:
		cev->type = EV_DEVICE_GONE;
		cev->u.gone = &made.gone;
		break;
	case REPLAY_SCAN:
		cev->type = EV_SCAN;
		break;
	case REPLAY_SCAN_DONE:
		cev->type = EV_SCAN_DONE;
		break;
	case REPLAY_QMPCLIENT_LOST:
		cev->type = EV_QMPCLIENT_LOST;
		break;
	default:
		machine_event(cev);
	}
}

static const char *
event(const struct replay_event *ev, void (*print)(const struct core_action *))
{
	struct core_event cev = { .type = EV_TICK };
	const char *why;
	int rc;

	fill(ev);
	if (ev->type == REPLAY_OVERRIDE) {
		if ((why = override(ev, &made.override)) != NULL)
			return why;
		cev.type = EV_OVERRIDE;
		cev.u.override = &made.override;
	} else if (ev->type >= REPLAY_EVE_BEGIN &&
		   ev->type <= REPLAY_EVE_DOMAIN_UNREAD) {
		rc = evelog_event(ev, &cev, &made.domain);
		if (rc != 1)
			return rc == 0 ? NULL : "it belongs to no file of EVE";
	} else
		device_event(&cev);
	return give(&cev, print);
}

const char *
auditlog_replay(
    const struct replay_event *ev, void (*print)(const struct core_action *))
{
	const char *why;

	if (ev->type == REPLAY_SKIP)
		return NULL;
	if (ev->type == REPLAY_START) {
		start();
		return NULL;
	}
	if (log_.core == NULL)
		return "the beginning of this run of usbmgrd is missing: give "
		       "the log before this one, too";
	if (ev->type == REPLAY_ACTION)
		return confirm(ev);
	if (ev->type == REPLAY_EVE_BUNDLE || ev->type == REPLAY_EVE_ADAPTER)
		return event(ev, print);
	if ((why = check_none_left()) != NULL)
		return why;
	if (ev->at < log_.now && log_.conf != NULL)
		return "\"at\": time runs backwards";
	log_.now = ev->at;
	if (ev->type == REPLAY_REQUESTS) {
		core_requests_from(log_.core, ev->has.request);
		return NULL;
	}
	if (ev->type == REPLAY_POLICY)
		return policy(ev, print);
	return event(ev, print);
}

int
auditlog_end(void)
{
	/* What is missing at the very end may be on its way to the disk. */
	if (log_.core != NULL)
		return 0;
	log_warnx("there is no start of usbmgrd in these logs: only that of "
		  "the engine can be replayed");
	return -1;
}

void
auditlog_explain(const struct usbport *port,
    void (*rule)(const struct ctl_rule *, void *),
    void (*device)(const struct ctl_device *, void *))
{
	core_clock(log_.core, log_.now);
	core_explain(log_.core, port, rule, device, NULL);
}

void
auditlog_free(void)
{
	int i;

	core_free(log_.core);
	evelog_free();
	for (i = 0; i < log_.nconfs; i++)
		conf_free(log_.confs[i]);
	free(log_.actions);
}
