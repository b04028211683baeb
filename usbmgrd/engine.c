/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "chan.h"
#include "child.h"
#include "control.h"
#include "engine.h"
#include "engine_eve.h"
#include "enginelog.h"
#include "log.h"

static struct {
	struct chan parent;
	struct chan monitor;
	struct chan qmpclient;
	int scan_done; /* came over this channel to the monitor */
	struct core *core;
	struct policy *incoming; /* between CONF_BEGIN and CONF_END */
	struct msg_refused refused; /* what is wrong with it, or "" */
	struct loop_timer tick;
} engine;

static const struct msg_none none;

static void engine_event(struct core_event *);

static void
engine_tick(void *arg)
{
	struct core_event ev = { .type = EV_TICK };

	(void)arg;
	engine_event(&ev);
}

static void
engine_attach(const struct core_action *a)
{
	struct msg_open_device open;
	struct msg_attach attach;

	memset(&attach, 0, sizeof(attach));
	attach.request = a->request;
	attach.vm = a->vm;
	attach.conn = a->conn;
	attach.port = a->port;
	attach.devnum = a->devnum;
	attach.speed = (uint16_t)a->speed;
	attach.speeds = (uint16_t)a->speeds;
	attach.handover = a->handover;
	memcpy(attach.digest, a->digest, sizeof(attach.digest));
	strlcpy(attach.id, a->id, sizeof(attach.id));
	if (a->handover != HANDOVER_ADDRESS) {
		open.request = a->request;
		open.busnum = a->port.busnum;
		open.devnum = a->devnum;
		chan_send(&engine.parent, MSG_OPEN_DEVICE, &open, -1);
	}
	chan_send(&engine.qmpclient, MSG_ATTACH, &attach, -1);
}

static void
engine_detach(const struct core_action *a)
{
	struct msg_detach detach;

	memset(&detach, 0, sizeof(detach));
	detach.request = a->request;
	detach.vm = a->vm;
	detach.conn = a->conn;
	strlcpy(detach.id, a->id, sizeof(detach.id));
	chan_send(&engine.qmpclient, MSG_DETACH, &detach, -1);
}

/* A machine of EVE: the parent knows where its socket is. */
static void
engine_vm_new(const struct core_action *a)
{
	struct msg_vm_name m;

	memset(&m, 0, sizeof(m));
	m.vm = a->vm;
	strlcpy(m.name, a->vmname, sizeof(m.name));
	chan_send(&engine.parent, MSG_EVE_VM, &m, -1);
}

static void
engine_vm_gone(const struct core_action *a)
{
	struct msg_vm_number m = { .vm = a->vm };

	chan_send(&engine.parent, MSG_EVE_VM_GONE, &m, -1);
}

static void
engine_release(const struct core_action *a)
{
	struct msg_release_device release = { .busnum = a->port.busnum,
		.devnum = a->devnum };

	chan_send(&engine.parent, MSG_RELEASE_DEVICE, &release, -1);
}

static void
engine_act(const struct core_action *a)
{
	/* Before the others can log what comes of it. */
	enginelog_action(engine.core, a);
	switch (a->type) {
	case ACT_DETACH:
		engine_detach(a);
		break;
	case ACT_ATTACH:
		engine_attach(a);
		break;
	case ACT_HOLD:
		break;
	case ACT_RELEASE:
		engine_release(a);
		break;
	case ACT_VM_NEW:
		engine_vm_new(a);
		break;
	case ACT_VM_GONE:
		engine_vm_gone(a);
		break;
	}
}

static void
engine_left(void)
{
	struct msg_vm_number left;
	const uint32_t *list;
	size_t i, n;

	list = core_left(engine.core, &n);
	for (i = 0; i < n; i++) {
		left.vm = list[i];
		chan_send(&engine.parent, MSG_VM_LEFT, &left, -1);
	}
}

static void
engine_event(struct core_event *ev)
{
	const struct core_action *actions;
	uint64_t next;
	size_t i, n;

	ev->now = loop_now();
	enginelog_event(engine.core, ev);
	actions = core_event(engine.core, ev, &n);
	for (i = 0; i < n; i++)
		engine_act(&actions[i]);
	engine_left();
	control_event();
	if ((next = core_next(engine.core)) != 0)
		loop_timer_set(&engine.tick,
		    next > ev->now ? next - ev->now : 0, engine_tick, NULL);
}

/* From the monitor */

static void
engine_device(const struct usbdev *dev)
{
	struct core_event ev = { .type = EV_DEVICE, .u.device = dev };
	const char *wrong;

	if ((wrong = usbdev_check(dev)) != NULL)
		fatalx("monitor sent a device whose %s is wrong", wrong);
	engine_event(&ev);
}

static void
engine_device_gone(const struct msg_device_gone *gone)
{
	struct core_event ev = { .type = EV_DEVICE_GONE, .u.gone = gone };

	if (!usbport_valid(&gone->port))
		fatalx("monitor sent a device whose port is wrong");
	engine_event(&ev);
}

static void
engine_scan_done(struct chan *c)
{
	struct core_event ev = { .type = EV_SCAN_DONE };

	if (engine.scan_done) {
		chan_fail(c, "second MSG_SCAN_DONE");
		return;
	}
	engine.scan_done = 1;
	engine_event(&ev);
}

static void
engine_dispatch_monitor(
    struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)fd;
	switch (type) {
	case MSG_DEVICE:
		engine_device(payload);
		break;
	case MSG_DEVICE_GONE:
		engine_device_gone(payload);
		break;
	case MSG_SCAN_DONE:
		engine_scan_done(c);
		break;
	default:
		chan_fail(c, msg_name(type));
	}
}

/* From the QMP client */

static void
engine_vm_has(enum core_event_type type, const struct msg_vm_has *has)
{
	struct core_event ev = { .type = type, .u.has = has };

	if (!usbport_valid(&has->port) || has->devnum == 0 ||
	    has->devnum > USB_DEVNUM_MAX || has->request == 0 ||
	    !msg_string_ok(has->id, sizeof(has->id)))
		fatalx("qmpclient sent a machine's device that is wrong");
	engine_event(&ev);
}

static void
engine_vm_foreign(const struct msg_vm_foreign *m)
{
	struct core_event ev = { .type = EV_VM_FOREIGN, .u.foreign = m };

	if (m->port.depth > USB_CHAIN_MAX ||
	    !msg_string_ok(m->id, sizeof(m->id)))
		fatalx("qmpclient sent a foreign device that is wrong");
	engine_event(&ev);
}

static void
engine_vm_port(const struct msg_vm_number *m)
{
	struct core_event ev = { .type = EV_VM_PORT, .u.vm_number = m };

	engine_event(&ev);
}

static void
engine_vm_state(const struct msg_vm_state *m)
{
	struct core_event ev = { .type = EV_VM_STATE, .u.vm_state = m };

	if (m->state >= VM_STATE_MAX || m->handover >= HANDOVER_MAX ||
	    !msg_string_ok(m->text, sizeof(m->text)))
		fatalx("qmpclient sent a machine's state that is wrong");
	engine_event(&ev);
}

static void
engine_result(const struct msg_result *m)
{
	struct core_event ev = { .type = EV_RESULT, .u.result = m };

	if (!core_check_result(engine.core, m))
		fatalx("qmpclient answered what it was not asked");
	engine_event(&ev);
}

static void
engine_dispatch_qmpclient(
    struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)fd;
	switch (type) {
	case MSG_VM_HAS:
		engine_vm_has(EV_VM_HAS, payload);
		break;
	case MSG_VM_DROPPED:
		engine_vm_has(EV_VM_DROPPED, payload);
		break;
	case MSG_VM_FOREIGN:
		engine_vm_foreign(payload);
		break;
	case MSG_VM_PORT:
		engine_vm_port(payload);
		break;
	case MSG_VM_STATE:
		engine_vm_state(payload);
		break;
	case MSG_RESULT:
		engine_result(payload);
		break;
	default:
		chan_fail(c, msg_name(type));
	}
}

/* From the parent */

/* The parent sees to it, and sends a channel to a new one. */
static void
engine_lost_qmpclient(struct chan *c, const char *why)
{
	struct core_event ev = { .type = EV_QMPCLIENT_LOST };

	chan_lost_fatal(c, why);
	engine_event(&ev);
}

static void
engine_peer_monitor(int fd)
{
	struct core_event ev = { .type = EV_SCAN };

	chan_close(&engine.monitor);
	chan_open(&engine.monitor, fd, PROC_ENGINE, PROC_MONITOR,
	    engine_dispatch_monitor, chan_lost_fatal, NULL);
	engine.scan_done = 0;
	engine_event(&ev);
}

static void
engine_peer_qmpclient(int fd)
{
	/* What the old one still said is told by the new one. */
	if (chan_is_open(&engine.qmpclient))
		engine_lost_qmpclient(&engine.qmpclient, NULL);
	chan_open(&engine.qmpclient, fd, PROC_ENGINE, PROC_QMPCLIENT,
	    engine_dispatch_qmpclient, engine_lost_qmpclient, NULL);
}

static void
engine_peer(const struct msg_peer *peer, int fd)
{
	if (peer->proc == PROC_MONITOR)
		engine_peer_monitor(fd);
	else if (peer->proc == PROC_QMPCLIENT)
		engine_peer_qmpclient(fd);
	else
		fatalx("channel to %s, which is no peer",
		    proc_name((enum proc_id)peer->proc));
}

static struct policy *
engine_incoming(void)
{
	if (engine.incoming == NULL)
		fatalx("part of a policy that was not begun");
	return engine.incoming;
}

static void
engine_conf_item(const char *wrong)
{
	if (wrong != NULL)
		fatalx("policy with a %s", wrong);
}

static void
engine_conf_begin(const struct msg_conf_begin *m)
{
	if (engine.incoming != NULL)
		fatalx("policy begun twice");
	engine.incoming = policy_new(m->vms, m->rules);
	if (engine.incoming == NULL)
		fatal("policy of %u machines and %u rules", m->vms, m->rules);
	memcpy(engine.incoming->hash, m->hash, sizeof(m->hash));
	engine_conf_item(policy_set_damping(engine.incoming, &m->damping));
}

/* One that cannot be read is none, so that the messages after it fit. */
static void
engine_conf_manifest(const struct msg_manifest *m, int fd)
{
	char *why = engine.refused.text, more[MSG_REFUSED_MAX];
	struct bundles *bundles;

	bundles = engine_manifest(
	    m, fd, why[0] == '\0' ? why : more, sizeof(engine.refused.text));
	if (bundles == NULL)
		bundles = bundles_new(m->name);
	engine_conf_item(policy_add_manifest(engine_incoming(), bundles));
}

static int
engine_refuses(const struct policy *policy)
{
	struct msg_refused *m = &engine.refused;

	if (m->text[0] == '\0' &&
	    policy_check_adapters(policy, m->text, sizeof(m->text)) == 0)
		return 0;
	chan_send(&engine.parent, MSG_CONF_REFUSED, m, -1);
	memset(m, 0, sizeof(*m));
	return 1;
}

static void
engine_conf_end(void)
{
	struct core_event ev = { .type = EV_POLICY };

	ev.u.policy = engine_incoming();
	if (ev.u.policy->nvms != ev.u.policy->maxvms ||
	    ev.u.policy->nrules != ev.u.policy->maxrules)
		fatalx("policy with less than was announced");
	engine.incoming = NULL;
	if (engine_refuses(ev.u.policy)) {
		policy_free(ev.u.policy);
		return;
	}
	engine_event(&ev);
	chan_send(&engine.parent, MSG_CONF_DONE, &none, -1);
}

static void
engine_vm_leaving(const struct msg_vm *m)
{
	struct core_event ev = { .type = EV_VM_LEAVING, .u.vm = m };

	engine_conf_item(policy_check_vm(m));
	engine_event(&ev);
}

static void
engine_vm_socket(const struct msg_vm_socket *m)
{
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = m };

	engine_event(&ev);
}

void
engine_override(const struct core_override *o)
{
	struct core_event ev = { .type = EV_OVERRIDE, .u.override = o };

	engine_event(&ev);
}

void
engine_tell_parent(enum msg_type type, const void *payload)
{
	chan_send(&engine.parent, type, payload, -1);
}

static void
engine_start(const struct msg_start *m)
{
	enginelog_requests(m->last_request, loop_now());
	core_requests_from(engine.core, m->last_request);
	chan_send(&engine.parent, MSG_READY, &none, -1);
}

static void
engine_dispatch_parent(
    struct chan *c, enum msg_type type, const void *payload, int fd)
{
	if (child_dispatch(type, payload, fd))
		return;
	switch (type) {
	case MSG_PEER:
		engine_peer(payload, fd);
		break;
	case MSG_CONTROL:
		control_listen(fd, payload, engine.core);
		break;
	case MSG_PROCESS:
		control_process(payload);
		break;
	case MSG_RELOAD_TEXT:
		control_reload_text(payload);
		break;
	case MSG_RELOAD_DONE:
		control_reload_done(payload);
		break;
	case MSG_START:
		engine_start(payload);
		break;
	case MSG_CONF_BEGIN:
		engine_conf_begin(payload);
		break;
	case MSG_CONF_VM:
		engine_conf_item(policy_add_vm(engine_incoming(), payload));
		break;
	case MSG_CONF_TEXT:
		engine_conf_item(policy_add_text(engine_incoming(), payload));
		break;
	case MSG_CONF_RULE:
		engine_conf_item(policy_add_rule(engine_incoming(), payload));
		break;
	case MSG_CONF_END:
		engine_conf_end();
		break;
	case MSG_VM_LEAVING:
		engine_vm_leaving(payload);
		break;
	case MSG_VM_SOCKET:
		engine_vm_socket(payload);
		break;
	case MSG_CONF_ADAPTER:
		engine_conf_item(
		    policy_add_adapter(engine_incoming(), payload));
		break;
	case MSG_CONF_MANIFEST:
		engine_conf_manifest(payload, fd);
		break;
	case MSG_CONF_EVE:
		engine_conf_item(policy_add_eve(engine_incoming(), payload));
		break;
	case MSG_EVE_BEGIN:
	case MSG_EVE_ADAPTERS:
	case MSG_EVE_ADAPTERS_GONE:
	case MSG_EVE_DOMAIN:
	case MSG_EVE_DOMAIN_GONE:
	case MSG_EVE_END:
		engine_eve(type, payload, fd, engine.core, engine_event);
		break;
	default:
		chan_fail(c, msg_name(type));
	}
}

int
engine_main(int argc, char *argv[])
{
	child_init(PROC_ENGINE, argc, argv, NULL, NULL, &engine.parent,
	    engine_dispatch_parent);
	if ((engine.core = core_new()) == NULL)
		fatal("core_new");
	return loop_run();
}
