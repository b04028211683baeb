/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include <time.h>
#include "audit.h"
#include "control.h"
#include "enginelog.h"

static uint64_t counters[COUNTERS];
static uint64_t failures[RESULT_MAX];
static time_t started;

void
enginelog_count(enum counter_family family)
{
	counters[family]++;
}

/* For those that watch */

static struct ctl_event
watched(enum ctl_event_type type, const char *reason)
{
	struct ctl_event ev;
	struct timespec ts;

	memset(&ev, 0, sizeof(ev));
	clock_gettime(CLOCK_REALTIME, &ts);
	ev.time = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	ev.type = type;
	strlcpy(ev.reason, reason, sizeof(ev.reason));
	return ev;
}

/* What is plugged there, if it is that device. */
static void
identify(struct core *core, struct ctl_event *ev, const struct usbport *port,
    uint16_t devnum)
{
	struct ctl_device d;

	ev->port = *port;
	ev->devnum = devnum;
	if (core_device_get(core, port, &d) == -1 || d.dev.devnum != devnum)
		return;
	ev->vendor = d.dev.vendor;
	ev->product = d.dev.product;
	memcpy(ev->name, d.dev.name, sizeof(ev->name));
}

/* Events: audit lines that replay reads */

static struct json *
begin(const char *event, uint64_t now)
{
	struct json *j = audit_begin(event);

	json_num(j, "at", (int64_t)now);
	return j;
}

static void
json_place(struct json *j, const struct usbport *port)
{
	char buf[USBPORT_STRLEN];

	usbport_string(port, buf);
	json_num(j, "bus", port->busnum);
	json_str(j, "port", strchr(buf, ':') + 1);
}

static void
json_port(struct json *j, const char *name, const struct usbport *port)
{
	char buf[USBPORT_STRLEN];

	json_str(j, name, usbport_string(port, buf));
}

static void
json_use(struct json *j, const char *name, const char *use)
{
	if (use[0] == '\0')
		json_bool(j, name, 0);
	else
		json_str(j, name, use);
}

static void
json_vm(const struct core *core, struct json *j, uint32_t number)
{
	const char *name = core_vm_name(core, number);

	if (name[0] != '\0')
		json_str(j, "vm", name);
	if (core_vm_left(core, number))
		json_bool(j, "left", 1);
}

static void
log_policy(struct core *core, const struct core_event *ev)
{
	const struct policy *p = ev->u.policy;
	struct json *j = begin("policy", ev->now);
	struct ctl_event watch;
	char text[MSG_TEXT_MAX];

	(void)core;
	json_hex(j, "sha256", p->hash, sizeof(p->hash));
	json_num(j, "vms", (int64_t)p->nvms);
	json_num(j, "rules", (int64_t)p->nrules);
	audit_end();
	enginelog_count(COUNT_POLICIES);
	if (!control_is_watched())
		return;
	snprintf(
	    text, sizeof(text), "%zu machines, %zu rules", p->nvms, p->nrules);
	watch = watched(CTL_EV_POLICY, text);
	control_tell(&watch);
}

static void
log_device(struct core *core, const struct core_event *ev)
{
	const struct usbdev *d = ev->u.device;
	struct json *j = begin("device-add", ev->now);
	struct ctl_event watch;
	int known;

	json_num(j, "uevent", (int64_t)d->uevent);
	json_place(j, &d->port);
	json_num(j, "devnum", d->devnum);
	json_hex16(j, "vendor", d->vendor);
	json_hex16(j, "product", d->product);
	json_str(j, "serial", d->serial);
	json_str(j, "name", d->name);
	json_str(j, "manufacturer", d->manufacturer);
	json_str(j, "controller", d->controller);
	json_str(j, "speed", usbspeed_string((enum usbspeed)d->speed));
	usbdev_json_classes(j, d);
	json_port(j, "peer", &d->peer);
	json_use(j, "net", d->netif);
	json_use(j, "busy", d->busy);
	json_str(j, "busy_why", d->busy_why);
	json_bool(j, "odd_descriptors", d->odd_descriptors);
	json_hex(j, "digest", d->digest, sizeof(d->digest));
	audit_end();
	known = core_devnum(core, &d->port) == d->devnum;
	if (!known)
		enginelog_count(COUNT_PLUGGED);
	if (!control_is_watched())
		return;
	watch = watched(known ? CTL_EV_CHANGED : CTL_EV_PLUGGED, "");
	watch.port = d->port;
	watch.devnum = d->devnum;
	watch.vendor = d->vendor;
	watch.product = d->product;
	memcpy(watch.name, d->name, sizeof(watch.name));
	control_tell(&watch);
}

static void
log_device_gone(struct core *core, const struct core_event *ev)
{
	const struct msg_device_gone *gone = ev->u.gone;
	struct json *j = begin("device-remove", ev->now);
	struct ctl_event watch;

	json_num(j, "uevent", (int64_t)gone->uevent);
	json_place(j, &gone->port);
	json_num(j, "devnum", gone->devnum);
	audit_end();
	enginelog_count(COUNT_UNPLUGGED);
	if (!control_is_watched())
		return;
	watch = watched(CTL_EV_UNPLUGGED, "");
	identify(core, &watch, &gone->port, gone->devnum);
	control_tell(&watch);
}

static void
log_scan_done(struct core *core, const struct core_event *ev)
{
	(void)core;
	begin("scan-done", ev->now);
	audit_end();
}

static void
log_vm_leaving(struct core *core, const struct core_event *ev)
{
	struct json *j = begin("vm-leaving", ev->now);

	(void)core;
	json_str(j, "vm", ev->u.vm->name);
	json_num(j, "release", ev->u.vm->release);
	audit_end();
}

static void
log_vm_socket(struct core *core, const struct core_event *ev)
{
	const struct msg_vm_socket *m = ev->u.vm_socket;
	struct json *j = begin("vm-socket", ev->now);

	json_vm(core, j, m->vm);
	json_num(j, "error", m->error);
	json_bool(j, "ended", m->ended != 0);
	json_num(j, "conn", m->conn);
	if (m->error != 0)
		json_str(j, "reason", strerror(m->error));
	audit_end();
}

static void
log_vm_device(struct core *core, const struct core_event *ev)
{
	const struct msg_vm_has *has = ev->u.has;
	struct json *j;

	j = begin(ev->type == EV_VM_HAS ? "vm-has" : "vm-dropped", ev->now);
	json_vm(core, j, has->vm);
	json_num(j, "request", has->request);
	json_port(j, "device", &has->port);
	json_num(j, "devnum", has->devnum);
	json_num(j, "guest_port", has->guest_port);
	audit_end();
}

/* Its port may be on any bus, or none. */
static void
log_vm_foreign(struct core *core, const struct core_event *ev)
{
	const struct msg_vm_foreign *m = ev->u.foreign;
	struct json *j = begin("vm-foreign", ev->now);
	struct usbport port = m->port;
	char buf[USBPORT_STRLEN] = ":";

	json_vm(core, j, m->vm);
	json_str(j, "id", m->id);
	json_num(j, "on_bus", m->busnum);
	json_num(j, "port_bus", m->port.busnum);
	json_num(j, "devnum", m->devnum);
	json_hex16(j, "vendor", m->vendor);
	json_hex16(j, "product", m->product);
	if (port.depth > 0) {
		port.busnum = 1;
		usbport_string(&port, buf);
	}
	json_str(j, "on_port", strchr(buf, ':') + 1);
	audit_end();
}

static void
log_vm_port(struct core *core, const struct core_event *ev)
{
	json_vm(core, begin("vm-port", ev->now), ev->u.vm_number->vm);
	audit_end();
}

static void
log_vm_state(struct core *core, const struct core_event *ev)
{
	const struct msg_vm_state *m = ev->u.vm_state;
	struct json *j = begin("vm-state", ev->now);
	struct ctl_event watch;

	json_vm(core, j, m->vm);
	json_str(j, "state", vm_state_string(m->state));
	json_num(j, "handover", m->handover);
	json_bool(j, "migrating", m->migrating != 0);
	json_bool(j, "told", m->told != 0);
	json_num(j, "conn", m->conn);
	json_str(j, "reason", m->text);
	audit_end();
	if (!control_is_watched())
		return;
	watch = watched(CTL_EV_VM, m->text);
	strlcpy(watch.vm, core_vm_name(core, m->vm), sizeof(watch.vm));
	strlcpy(watch.state, vm_state_string(m->state), sizeof(watch.state));
	control_tell(&watch);
}

static void
count_result(const struct core_event *ev, const struct core_request *req)
{
	const struct msg_result *m = ev->u.result;

	if (m->result != RESULT_OK) {
		failures[m->result] += !req->detaching;
		return;
	}
	enginelog_count(req->detaching ? COUNT_DETACHED : COUNT_ATTACHED);
	if (!req->detaching && req->since != 0)
		counters[COUNT_ATTACH_TIME] += ev->now - req->since;
}

static void
log_result(struct core *core, const struct core_event *ev)
{
	const struct msg_result *m = ev->u.result;
	struct json *j = begin("result", ev->now);
	struct core_request req;
	struct ctl_event watch;
	int known = core_request_find(core, m->vm, m->request, &req) == 0;

	json_num(j, "request", m->request);
	json_vm(core, j, m->vm);
	if (known) {
		json_port(j, "device", &req.port);
		json_num(j, "devnum", req.devnum);
		json_str(j, "of", req.detaching ? "detach" : "attach");
	}
	json_num(j, "conn", m->conn);
	json_str(j, "result", result_string(m->result));
	json_num(j, "guest_port", m->guest_port);
	json_str(j, "text", m->text);
	audit_end();
	if (!known)
		return;
	count_result(ev, &req);
	if (!control_is_watched())
		return;
	watch = watched(m->result != RESULT_OK ? CTL_EV_FAILED
			: req.detaching        ? CTL_EV_DETACHED
					       : CTL_EV_ATTACHED,
	    m->text);
	if (m->result != RESULT_OK)
		snprintf(watch.reason, sizeof(watch.reason), "%.60s: %.190s",
		    result_string(m->result), m->text);
	identify(core, &watch, &req.port, req.devnum);
	watch.request = m->request;
	strlcpy(watch.vm, core_vm_name(core, m->vm), sizeof(watch.vm));
	control_tell(&watch);
}

static void
log_tick(struct core *core, const struct core_event *ev)
{
	(void)core;
	begin("tick", ev->now);
	audit_end();
}

static void
log_scan(struct core *core, const struct core_event *ev)
{
	(void)core;
	begin("scan", ev->now);
	audit_end();
}

static void
log_qmpclient_lost(struct core *core, const struct core_event *ev)
{
	(void)core;
	begin("qmpclient-lost", ev->now);
	audit_end();
}

void
enginelog_requests(uint32_t last, uint64_t now)
{
	json_num(begin("requests", now), "last", last);
	audit_end();
}

static void
log_override(struct core *core, const struct core_event *ev)
{
	static const char *const commands[] = { [OVERRIDE_NONE] = "policy",
		[OVERRIDE_ATTACH] = "attach",
		[OVERRIDE_DETACH] = "detach" };
	const struct core_override *o = ev->u.override;
	struct json *j = begin("override", ev->now);
	struct ctl_event watch;
	char text[MSG_TEXT_MAX];

	json_port(j, "device", &o->port);
	json_num(j, "devnum", o->devnum);
	json_str(j, "command", commands[o->command]);
	if (o->command == OVERRIDE_ATTACH)
		json_str(j, "vm", o->vm);
	json_bool(j, "force", o->force);
	json_num(j, "uid", o->uid);
	json_num(j, "pid", o->pid);
	audit_end();
	enginelog_count(COUNT_OVERRIDES);
	if (!control_is_watched())
		return;
	snprintf(text, sizeof(text), "%s by uid %u%s", commands[o->command],
	    o->uid, o->force ? ", forced" : "");
	watch = watched(CTL_EV_OVERRIDE, text);
	identify(core, &watch, &o->port, core_devnum(core, &o->port));
	strlcpy(watch.vm, o->vm, sizeof(watch.vm));
	control_tell(&watch);
}

void
enginelog_event(struct core *core, const struct core_event *ev)
{
	static void (*const loggers[])(
	    struct core *, const struct core_event *) = {
		[EV_POLICY] = log_policy,
		[EV_DEVICE] = log_device,
		[EV_DEVICE_GONE] = log_device_gone,
		[EV_SCAN_DONE] = log_scan_done,
		[EV_VM_SOCKET] = log_vm_socket,
		[EV_VM_HAS] = log_vm_device,
		[EV_VM_DROPPED] = log_vm_device,
		[EV_VM_STATE] = log_vm_state,
		[EV_VM_FOREIGN] = log_vm_foreign,
		[EV_VM_PORT] = log_vm_port,
		[EV_VM_LEAVING] = log_vm_leaving,
		[EV_RESULT] = log_result,
		[EV_TICK] = log_tick,
		[EV_OVERRIDE] = log_override,
		[EV_SCAN] = log_scan,
		[EV_QMPCLIENT_LOST] = log_qmpclient_lost,
	};

	if (started == 0)
		started = time(NULL);
	if (ev->type >= EV_EVE_BEGIN)
		enginelog_eve(ev);
	else
		loggers[ev->type](core, ev);
}

/* Actions */

static void
audit_action(struct core *core, const struct core_action *a, const char *event)
{
	struct ctl_device d;
	struct json *j = audit_begin(event);

	json_port(j, "device", &a->port);
	json_num(j, "devnum", a->devnum);
	if (a->request != 0)
		json_num(j, "request", a->request);
	if (a->vmname != NULL)
		json_str(j, "vm", a->vmname);
	if (a->type == ACT_ATTACH) {
		json_hex16(j, "vendor", a->vendor);
		json_hex16(j, "product", a->product);
		json_num(j, "uevent", (int64_t)a->uevent);
	}
	if (core_device_get(core, &a->port, &d) == 0 &&
	    d.dev.devnum == a->devnum && d.rule[0] != '\0')
		json_str(j, "rule", d.rule);
	json_str(j, "reason", a->reason);
	if (a->companion)
		json_str(j, "matched", "through its companion port");
	audit_end();
}

static void
audit_machine(const struct core_action *a)
{
	struct json *j;

	j = audit_begin(a->type == ACT_VM_NEW ? "vm-new" : "vm-gone");
	if (a->vmname != NULL)
		json_str(j, "vm", a->vmname);
	json_num(j, "vm_number", a->vm);
	audit_end();
}

void
enginelog_action(struct core *core, const struct core_action *a)
{
	static const struct {
		const char *event;
		enum counter_family count;
		enum ctl_event_type type;
	} kinds[] = {
		[ACT_DETACH] = { "detach", COUNT_DETACHES, CTL_EV_DETACHING },
		[ACT_ATTACH] = { "attach", COUNT_ATTACHES, CTL_EV_ATTACHING },
		[ACT_HOLD] = { "hold", COUNT_HOLDS, CTL_EV_HELD },
		[ACT_RELEASE] = { "release", COUNT_RELEASES, CTL_EV_RELEASED },
	};
	struct ctl_event watch;

	if (a->type == ACT_VM_NEW || a->type == ACT_VM_GONE) {
		audit_machine(a);
		return;
	}
	audit_action(core, a, kinds[a->type].event);
	enginelog_count(kinds[a->type].count);
	if (!control_is_watched())
		return;
	watch = watched(kinds[a->type].type, a->reason);
	identify(core, &watch, &a->port, a->devnum);
	watch.request = a->request;
	if (a->vmname != NULL)
		strlcpy(watch.vm, a->vmname, sizeof(watch.vm));
	control_tell(&watch);
}

/* Counters */

struct sums {
	struct core *core;
	uint64_t devices[DEV_HELD + 1];
	uint64_t vms[VM_STATE_MAX];
	void (*cb)(const struct ctl_counter *, void *);
	void *arg;
};

static void
tell(const struct sums *s, enum counter_family family, const char *label,
    uint64_t value)
{
	struct ctl_counter c;

	memset(&c, 0, sizeof(c));
	c.family = family;
	c.value = value;
	strlcpy(c.label, label, sizeof(c.label));
	s->cb(&c, s->arg);
}

static void
sum_device(const struct ctl_device *d, void *arg)
{
	struct sums *s = arg;

	s->devices[d->state]++;
}

static void
sum_vm(const struct ctl_vm *vm, void *arg)
{
	struct sums *s = arg;

	s->vms[vm->state]++;
}

static void
tell_vm(const struct ctl_vm *vm, void *arg)
{
	tell(arg, GAUGE_VM_DEVICES, vm->name, vm->devices);
}

void
enginelog_counters(struct core *core, uint32_t clients,
    void (*cb)(const struct ctl_counter *, void *), void *arg)
{
	struct sums s = { .core = core, .cb = cb, .arg = arg };
	uint32_t i, k;

	core_devices(core, sum_device, &s);
	core_vms(core, sum_vm, &s);
	counters[COUNT_LOST] = audit_lost();
	for (i = 0; i < COUNTERS; i++)
		if (i != COUNT_FAILURES)
			tell(&s, (enum counter_family)i, "", counters[i]);
		else
			for (k = RESULT_OK + 1; k < RESULT_MAX; k++)
				tell(&s, COUNT_FAILURES, result_string(k),
				    failures[k]);
	tell(&s, GAUGE_CLIENTS, "", clients);
	tell(&s, GAUGE_RULES, "", core_nrules(core));
	for (i = 0; i <= DEV_HELD; i++)
		tell(&s, GAUGE_DEVICES, device_state_string(i), s.devices[i]);
	for (i = 0; i < VM_STATE_MAX; i++)
		tell(&s, GAUGE_VMS, vm_state_string(i), s.vms[i]);
	core_vms(core, tell_vm, &s);
	tell(&s, GAUGE_STARTED, "", (uint64_t)started);
}
