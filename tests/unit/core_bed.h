/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CORE_BED_H
#define CORE_BED_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core.h"

/*
 * Scenarios for the engine's core in few words.  Machines are "a", "b" and
 * "c", numbered 1, 2, 3.  An event is a call; did() then says what the core
 * must have answered, one action a line, in order:
 *
 *	policy("a b", "pass 3:9 a", "pass 046d:c077 b");
 *	vm_up("b");
 *	plug("3:9", 5, "046d:c077");
 *	did("attach b 3:9/5: t:2\n");
 *	answer("3:9", RESULT_OK);
 *	did("");
 *	is("3:9", "attached b: t:2");
 *
 * Rule N of a policy is at "t:N".
 */

/* Two products. */
#define MOUSE "046d:c077"
#define KEYBOARD "045e:0823"

#define ASKS_MAX 64
#define VMS_MAX 16

/* What a machine was asked and has not answered. */
struct ask {
	int detach;
	uint32_t vm;
	uint32_t conn;
	uint32_t request;
	struct usbport port;
	uint16_t devnum;
	uint8_t digest; /* first byte of it */
};

static struct {
	struct core *core;
	uint64_t now;
	uint32_t last_request; /* the highest that was seen */
	uint32_t requests_before; /* and before this event */
	char did[8192];
	struct ask asks[ASKS_MAX];
	size_t nasks;
	enum release release; /* of machines of policies to come */
	int connected[VMS_MAX]; /* by number */
	uint32_t conn[VMS_MAX];
} bed;

static inline struct usbport
mkport(const char *text)
{
	struct usbport port;
	const char *errstr;

	assert_int_equal(usbport_parse(&port, text, &errstr), 0);
	return port;
}

static inline uint32_t
vm_number(const char *name)
{
	return (uint32_t)(name[0] - 'a') + 1;
}

/* Policies. */

static inline void
mkrule_word(struct msg_rule *r, const char *word)
{
	unsigned int n;

	if (strcmp(word, "pass") == 0) {
		r->action = RULE_PASS;
	} else if (strcmp(word, "block") == 0) {
		r->action = RULE_BLOCK;
	} else if (strchr(word, ':') == NULL) {
		r->vms[r->nvms++] = vm_number(word);
	} else if (word[0] != '*' && strcspn(word, ":") != 4) {
		r->has |= RULE_HAS_PORT;
		r->port = mkport(word);
	} else {
		if (sscanf(word, "%4x", &n) == 1) {
			r->has |= RULE_HAS_VENDOR;
			r->vendor = (uint16_t)n;
		}
		if (sscanf(strchr(word, ':') + 1, "%4x", &n) == 1) {
			r->has |= RULE_HAS_PRODUCT;
			r->product = (uint16_t)n;
		}
	}
}

/* "pass 3:9 a b", "pass 046d:c077 a", "pass 046d:* a", "block", ... */
static inline void
mkrule(struct policy *p, const char *text)
{
	char copy[128], *word, *next = copy;
	struct msg_rule r;

	memset(&r, 0, sizeof(r));
	strlcpy(copy, text, sizeof(copy));
	while ((word = strsep(&next, " ")) != NULL)
		mkrule_word(&r, word);
	snprintf(r.where, sizeof(r.where), "t:%zu", p->nrules + 1);
	assert_null(policy_add_rule(p, &r));
}

/* vms as "a b"; rules end with NULL. */
static inline struct policy *
mkpolicy(const char *vms, const char *const *rules)
{
	struct policy *p;
	struct msg_vm vm;
	size_t n;

	for (n = 0; rules[n] != NULL;)
		n++;
	assert_non_null(p = policy_new(strlen(vms), n));
	for (; *vms != '\0'; vms++) {
		if (*vms == ' ')
			continue;
		memset(&vm, 0, sizeof(vm));
		vm.vm = vm_number(vms);
		vm.name[0] = *vms;
		vm.release = bed.release;
		assert_null(policy_add_vm(p, &vm));
	}
	for (; *rules != NULL; rules++)
		mkrule(p, *rules);
	return p;
}

/* A full speed mouse. */
static inline struct usbdev
mkdev(const char *port, unsigned int devnum, const char *product)
{
	static const struct usbclass mouse = { 3, 1, 2 };
	unsigned int vid, pid;
	struct usbdev d;

	memset(&d, 0, sizeof(d));
	assert_int_equal(sscanf(product, "%4x:%4x", &vid, &pid), 2);
	d.port = mkport(port);
	d.devnum = (uint16_t)devnum;
	d.vendor = (uint16_t)vid;
	d.product = (uint16_t)pid;
	d.speed = USB_SPEED_FULL;
	usbdev_add_interface(&d, &mouse);
	memset(d.digest, (int)pid & 0xff, sizeof(d.digest));
	return d;
}

/* What the core answers, and what holds for every answer. */

static inline void
note_ask(const struct core_action *a)
{
	char port[USBPORT_STRLEN], id[MSG_ID_MAX];
	struct ask *ask;

	usbport_string(&a->port, port);
	*strchr(port, ':') = '-';
	snprintf(
	    id, sizeof(id), "usbmgrd-%s-%u-%u", port, a->devnum, a->request);
	assert_string_equal(a->id, id);
	assert_int_equal(a->vm, vm_number(a->vmname));
	if (a->type == ACT_ATTACH) {
		assert_true(a->request > bed.requests_before);
		if (a->request > bed.last_request)
			bed.last_request = a->request;
	}
	assert_true(bed.nasks < ASKS_MAX);
	ask = &bed.asks[bed.nasks++];
	ask->detach = a->type == ACT_DETACH;
	ask->vm = a->vm;
	ask->conn = a->conn;
	ask->request = a->request;
	ask->port = a->port;
	ask->devnum = a->devnum;
	ask->digest = a->digest[0];
}

static inline void
note_action(const struct core_action *a)
{
	static const char *const names[] = { "detach", "attach", "hold",
		"release" };
	char port[USBPORT_STRLEN];
	size_t len = strlen(bed.did);

	snprintf(bed.did + len, sizeof(bed.did) - len, "%s%s%s %s/%u: %s\n",
	    names[a->type], a->vmname == NULL ? "" : " ",
	    a->vmname == NULL ? "" : a->vmname, usbport_string(&a->port, port),
	    a->devnum, a->reason);
	if (a->type == ACT_DETACH || a->type == ACT_ATTACH)
		note_ask(a);
}

/* In one event a device is given to one machine, or held for one reason. */
static inline void
check_pair(const struct core_action *a, const struct core_action *b)
{
	if (a->devnum != b->devnum || usbport_cmp(&a->port, &b->port) != 0)
		return;
	if (b->type == ACT_RELEASE)
		assert_int_equal(a->type, ACT_HOLD);
	else
		assert_true(a->type == ACT_DETACH && b->type != ACT_ATTACH);
}

/* An event, the data of which are already in it. */
static inline void
happens(struct core_event *ev)
{
	const struct core_action *actions;
	size_t i, j, n = 4711;

	ev->now = bed.now;
	bed.did[0] = '\0';
	bed.requests_before = bed.last_request;
	actions = core_event(bed.core, ev, &n);
	assert_true((actions == NULL) == (n == 0));
	for (i = 0; i < n; i++) {
		note_action(&actions[i]);
		for (j = 0; j < i; j++)
			check_pair(&actions[j], &actions[i]);
	}
}

static inline void
did_at(const char *expected, const char *file, int line)
{
	if (strcmp(expected, bed.did) != 0)
		print_error("# wanted:\n%s# got:\n%s", expected, bed.did);
	_assert_string_equal(bed.did, expected, file, line);
}
#define did(expected) did_at(expected, __FILE__, __LINE__)

/* Events. */

/*
 * As the parent says at the start of a machine that is not there.  What was
 * done before counts unless something is done for that.
 */
static inline void
vm_heard_of(uint32_t number)
{
	struct msg_vm_socket m = { .vm = number, .error = ENOENT, .ended = 1 };
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = &m };
	char before[sizeof(bed.did)];

	strlcpy(before, bed.did, sizeof(before));
	happens(&ev);
	if (bed.did[0] == '\0')
		strlcpy(bed.did, before, sizeof(bed.did));
}

static inline void
set_policy(const char *vms, const char *const *rules)
{
	struct core_event ev = { .type = EV_POLICY };

	ev.u.policy = mkpolicy(vms, rules);
	happens(&ev);
	for (; *vms != '\0'; vms++)
		if (*vms != ' ')
			vm_heard_of(vm_number(vms));
}
#define policy(vms, ...) \
	set_policy(vms, (const char *const[]){ __VA_ARGS__, NULL })

static inline void
plug_dev(const struct usbdev *d)
{
	struct core_event ev = { .type = EV_DEVICE, .u.device = d };

	assert_null(usbdev_check(d));
	happens(&ev);
}

static inline void
plug(const char *port, unsigned int devnum, const char *product)
{
	struct usbdev d = mkdev(port, devnum, product);

	plug_dev(&d);
}

static inline void
unplug(const char *port, unsigned int devnum)
{
	struct msg_device_gone gone = { .devnum = (uint16_t)devnum };
	struct core_event ev = { .type = EV_DEVICE_GONE, .u.gone = &gone };

	gone.port = mkport(port);
	happens(&ev);
}

static inline void
scanned(void)
{
	struct core_event ev = { .type = EV_SCAN_DONE };

	happens(&ev);
}

static inline void
passes(uint64_t ms)
{
	struct core_event ev = { .type = EV_TICK };

	bed.now += ms;
	happens(&ev);
}

static inline void
vm_socket(const char *vm, int error)
{
	struct msg_vm_socket m = { .vm = vm_number(vm),
		.error = error,
		.ended = error == ENOENT || error == ECONNREFUSED,
		.conn = bed.conn[vm_number(vm)] };
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = &m };

	happens(&ev);
}

/* The connection that a state is about: the first after a loss is a new one. */
static inline uint32_t
vm_conn(uint32_t vm, enum vm_state state)
{
	int connected = state == VM_READY || state == VM_GREETING;

	if (connected && !bed.connected[vm])
		bed.conn[vm]++;
	bed.connected[vm] = connected;
	return bed.conn[vm];
}

/* What is asked of a machine that is lost is answered by nobody. */
static inline void
vm_is(const char *vm, enum vm_state state)
{
	struct msg_vm_state m = {
		.vm = vm_number(vm), .state = state, .handover = HANDOVER_FD
	};
	struct core_event ev = { .type = EV_VM_STATE, .u.vm_state = &m };
	size_t i, n = 0;

	for (i = 0; i < bed.nasks && state != VM_READY; i++)
		if (bed.asks[i].vm != m.vm)
			bed.asks[n++] = bed.asks[i];
	if (state != VM_READY)
		bed.nasks = n;
	strlcpy(m.text, "why", sizeof(m.text));
	m.conn = vm_conn(m.vm, state);
	happens(&ev);
}

static inline void
vm_up(const char *vm)
{
	vm_is(vm, VM_READY);
}

/*
 * Its QEMU has ended: the QMP client says that the connection is lost, then
 * the parent that nobody listens.  What was done is that of both; that a
 * device may still be there is only said in between.
 */
static inline void
vm_down(const char *vm)
{
	char first[sizeof(bed.did)], *line, *rest = first;
	char both[sizeof(bed.did)] = "";

	vm_is(vm, VM_LOST);
	strlcpy(first, bed.did, sizeof(first));
	vm_socket(vm, ECONNREFUSED);
	while ((line = strsep(&rest, "\n")) != NULL)
		if (*line != '\0' && strstr(line, "may have it") == NULL) {
			strlcat(both, line, sizeof(both));
			strlcat(both, "\n", sizeof(both));
		}
	strlcat(both, bed.did, sizeof(both));
	strlcpy(bed.did, both, sizeof(bed.did));
}

static inline void
vm_has_event(enum core_event_type type, const char *vm, const char *port,
    unsigned int devnum, uint32_t request)
{
	struct msg_vm_has m = { .vm = vm_number(vm), .request = request };
	struct core_event ev = { .type = type, .u.has = &m };
	char *colon;

	m.port = mkport(port);
	m.devnum = (uint16_t)devnum;
	m.guest_port = 2;
	snprintf(m.id, sizeof(m.id), "usbmgrd-%s-%u-%u", port, devnum, request);
	if ((colon = strchr(m.id, ':')) != NULL)
		*colon = '-';
	happens(&ev);
}

static inline void
vm_has(const char *vm, const char *port, unsigned int devnum, uint32_t request)
{
	if (request > bed.last_request)
		bed.last_request = request;
	vm_has_event(EV_VM_HAS, vm, port, devnum, request);
}

static inline void
vm_dropped(
    const char *vm, const char *port, unsigned int devnum, uint32_t request)
{
	vm_has_event(EV_VM_DROPPED, vm, port, devnum, request);
}

static inline void
result_is(uint32_t vm, uint32_t request, enum result result)
{
	struct msg_result m = { .vm = vm,
		.conn = bed.conn[vm],
		.request = request,
		.result = result };
	struct core_event ev = { .type = EV_RESULT, .u.result = &m };

	m.guest_port = result == RESULT_OK ? 1 : 0;
	strlcpy(m.text, result == RESULT_OK ? "" : "why", sizeof(m.text));
	assert_true(core_check_result(bed.core, &m));
	happens(&ev);
}

static inline struct ask
take_ask(size_t i)
{
	struct ask ask = bed.asks[i];

	assert_true(i < bed.nasks);
	bed.nasks--;
	memmove(&bed.asks[i], &bed.asks[i + 1],
	    (bed.nasks - i) * sizeof(bed.asks[0]));
	return ask;
}

/* Answers what was asked first of what was asked about that port. */
static inline void
answer(const char *port, enum result result)
{
	struct usbport p = mkport(port);
	struct ask ask;
	size_t i;

	for (i = 0; i < bed.nasks; i++)
		if (usbport_cmp(&bed.asks[i].port, &p) == 0)
			break;
	ask = take_ask(i);
	result_is(ask.vm, ask.request, result);
}

/* Answers all that was asked before the call, oldest first. */
static inline void
answer_all(enum result result)
{
	char port[USBPORT_STRLEN];
	size_t n;

	for (n = bed.nasks; n > 0; n--)
		answer(usbport_string(&bed.asks[0].port, port), result);
}

/* What the core says of its state. */

struct looked {
	struct usbport port;
	char text[512];
	struct ctl_device device;
};

static inline void
look_device(const struct ctl_device *d, void *arg)
{
	struct looked *l = arg;

	if (usbport_cmp(&d->dev.port, &l->port) != 0)
		return;
	l->device = *d;
	snprintf(l->text, sizeof(l->text), "%s%s%s: %s",
	    device_state_string(d->state), d->vm[0] == '\0' ? "" : " ", d->vm,
	    d->reason);
}

static inline struct looked
look(const char *port)
{
	struct looked l;

	memset(&l, 0, sizeof(l));
	l.port = mkport(port);
	core_devices(bed.core, look_device, &l);
	return l;
}

/* "attached a: t:1"; "" if there is no such device. */
static inline void
is_at(const char *port, const char *expected, const char *file, int line)
{
	struct looked l = look(port);

	_assert_string_equal(l.text, expected, file, line);
}
#define is(port, expected) is_at(port, expected, __FILE__, __LINE__)

static inline int
bed_setup(void **state)
{
	(void)state;
	memset(&bed, 0, sizeof(bed));
	bed.release = RELEASE_NOBODY;
	bed.now = 1000;
	return (bed.core = core_new()) == NULL ? -1 : 0;
}

static inline int
bed_teardown(void **state)
{
	(void)state;
	core_free(bed.core);
	return 0;
}

#define BED_TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)

/* One device in machine a, which is up. */
static inline void
mouse_attached(const char *port, unsigned int devnum)
{
	policy("a b", "pass 046d:c077 a");
	vm_up("a");
	scanned();
	plug(port, devnum, MOUSE);
	answer(port, RESULT_OK);
}

#endif
