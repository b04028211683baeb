/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/tree.h>
#include "core.h"
#include "log.h"
#include "retry.h"

enum att_state {
	ATT_PENDING,
	ATT_ATTACHED,
	ATT_DETACHING
};

struct device;
struct vm;

/* A device in a machine, on its way into it or out of it. */
struct attachment {
	LIST_ENTRY(attachment) vm_entry;
	LIST_ENTRY(attachment) orphan_entry; /* when dev is NULL */
	struct vm *vm;
	struct device *dev; /* NULL: not plugged (any more) */
	enum att_state state;
	uint32_t request;
	uint32_t guest_port;
	struct usbport port;
	uint16_t devnum;
	char id[MSG_ID_MAX];
	struct retry retry; /* of a detach that failed */
};

/* That the rule of a device names a machine. */
struct interest {
	LIST_ENTRY(interest) entry;
	struct device *dev;
};

struct device {
	RB_ENTRY(device) entry;
	struct usbdev dev;
	const struct msg_rule *rule; /* NULL: none matches */
	struct interest interests[MSG_RULE_VMS_MAX];
	unsigned int ninterests;
	struct attachment *att;
	enum device_state state;
	uint32_t request; /* of the last attach */
	int dropped; /* somebody else took it out of its machine */
	struct retry retry;
	char reason[MSG_TEXT_MAX];
};

struct vm {
	TAILQ_ENTRY(vm) entry;
	struct msg_vm conf;
	enum vm_state state;
	char reason[MSG_TEXT_MAX];
	LIST_HEAD(, interest) interests;
	LIST_HEAD(, attachment) attachments;
};

static int device_cmp(struct device *, struct device *);
RB_HEAD(core_device_tree, device);
RB_PROTOTYPE(core_device_tree, device, entry, device_cmp)

struct core {
	struct policy *policy;
	struct core_device_tree devices;
	TAILQ_HEAD(, vm) vms;
	LIST_HEAD(, attachment) orphans;
	struct retry_list retries;
	uint64_t now;
	uint32_t last_request;
	int scan_done;
	struct core_action *actions;
	size_t nactions;
	size_t maxactions;
};

static void reconcile(struct core *, struct device *);

static int
device_cmp(struct device *a, struct device *b)
{
	return usbport_cmp(&a->dev.port, &b->dev.port);
}

RB_GENERATE(core_device_tree, device, entry, device_cmp)

static void *
xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (p == NULL)
		fatal("calloc");
	return p;
}

struct core *
core_new(void)
{
	struct core *core = calloc(1, sizeof(*core));

	if (core == NULL)
		return NULL;
	RB_INIT(&core->devices);
	TAILQ_INIT(&core->vms);
	LIST_INIT(&core->orphans);
	retry_init(&core->retries);
	return core;
}

/* Actions */

static struct core_action *
action_add(struct core *core, enum core_action_type type,
    const struct usbport *port, uint16_t devnum, const char *reason)
{
	struct core_action *a;
	size_t max;

	if (core->nactions == core->maxactions) {
		max = core->maxactions * 2 + 16;
		a = reallocarray(core->actions, max, sizeof(*a));
		if (a == NULL)
			fatal("reallocarray");
		core->actions = a;
		core->maxactions = max;
	}
	a = &core->actions[core->nactions++];
	memset(a, 0, sizeof(*a));
	a->type = type;
	a->port = *port;
	a->devnum = devnum;
	strlcpy(a->reason, reason, sizeof(a->reason));
	return a;
}

static void
action_identify(struct core_action *a, const struct usbdev *d)
{
	a->vendor = d->vendor;
	a->product = d->product;
	a->speed = (enum usbspeed)d->speed;
	a->uevent = d->uevent;
	memcpy(a->digest, d->digest, sizeof(a->digest));
}

static int
action_cmp(const void *va, const void *vb)
{
	const struct core_action *a = va, *b = vb;
	int c;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if ((c = usbport_cmp(&a->port, &b->port)) != 0)
		return c;
	return a->request < b->request ? -1 : a->request > b->request;
}

/* Attachments */

static struct attachment *
att_new(struct core *core, struct vm *vm, struct device *dev,
    const struct usbport *port, uint16_t devnum)
{
	struct attachment *att = xcalloc(1, sizeof(*att));

	att->vm = vm;
	att->dev = dev;
	att->port = *port;
	att->devnum = devnum;
	LIST_INSERT_HEAD(&vm->attachments, att, vm_entry);
	if (dev != NULL)
		dev->att = att;
	else
		LIST_INSERT_HEAD(&core->orphans, att, orphan_entry);
	return att;
}

/* Forgets the attachment; what it means for the device is the caller's. */
static void
att_free(struct core *core, struct attachment *att)
{
	retry_cancel(&core->retries, &att->retry);
	LIST_REMOVE(att, vm_entry);
	if (att->dev != NULL)
		att->dev->att = NULL;
	else
		LIST_REMOVE(att, orphan_entry);
	free(att);
}

static struct attachment *
att_find(const struct vm *vm, uint32_t request)
{
	struct attachment *att;

	LIST_FOREACH(att, &vm->attachments, vm_entry)
		if (att->request == request)
			return att;
	return NULL;
}

static void
att_detach(struct core *core, struct attachment *att, const char *reason)
{
	struct core_action *a;

	att->state = ATT_DETACHING;
	a = action_add(core, ACT_DETACH, &att->port, att->devnum, reason);
	a->vm = att->vm->conf.vm;
	a->vmname = att->vm->conf.name;
	a->request = att->request;
	strlcpy(a->id, att->id, sizeof(a->id));
	if (att->dev != NULL)
		action_identify(a, &att->dev->dev);
}

/* What is in a machine but not plugged has to leave it. */
static void
reconcile_orphan(struct core *core, struct attachment *att)
{
	if (core->scan_done && att->state == ATT_ATTACHED &&
	    !retry_blocks(&att->retry))
		att_detach(core, att, "device removed");
}

static void
adopt_orphan(struct core *core, struct device *dev)
{
	struct attachment *att, *next;

	for (att = LIST_FIRST(&core->orphans); att != NULL; att = next) {
		next = LIST_NEXT(att, orphan_entry);
		if (dev->att != NULL || att->state != ATT_ATTACHED ||
		    att->devnum != dev->dev.devnum ||
		    usbport_cmp(&att->port, &dev->dev.port) != 0)
			continue;
		LIST_REMOVE(att, orphan_entry);
		att->dev = dev;
		dev->att = att;
		dev->request = att->request;
	}
}

/* Devices */

static struct device *
device_find(struct core *core, const struct usbport *port)
{
	struct device key;

	key.dev.port = *port;
	return RB_FIND(core_device_tree, &core->devices, &key);
}

static struct vm *
vm_find(const struct core *core, uint32_t number)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		if (vm->conf.vm == number)
			return vm;
	return NULL;
}

static void
device_forget_rule(struct device *dev)
{
	unsigned int i;

	for (i = 0; i < dev->ninterests; i++)
		LIST_REMOVE(&dev->interests[i], entry);
	dev->ninterests = 0;
	dev->rule = NULL;
}

static void
device_decide(struct core *core, struct device *dev)
{
	struct interest *interest;
	struct vm *vm;
	unsigned int i;

	device_forget_rule(dev);
	retry_reset(&core->retries, &dev->retry);
	if (core->policy == NULL)
		return;
	dev->rule = policy_decide(core->policy, &dev->dev);
	if (dev->rule == NULL)
		return;
	for (i = 0; i < dev->rule->nvms; i++) {
		vm = vm_find(core, dev->rule->vms[i]);
		if (vm == NULL)
			fatalx("rule %s for a machine that is not there",
			    dev->rule->where);
		interest = &dev->interests[dev->ninterests++];
		interest->dev = dev;
		LIST_INSERT_HEAD(&vm->interests, interest, entry);
	}
}

/* Of the machines of its rule: the one that has it, or the first that is up. */
static struct vm *
device_choose_vm(const struct core *core, const struct device *dev)
{
	struct vm *vm, *first_up = NULL;
	unsigned int i;

	for (i = 0; i < dev->rule->nvms; i++) {
		vm = vm_find(core, dev->rule->vms[i]);
		if (dev->att != NULL && dev->att->vm == vm)
			return vm;
		if (first_up == NULL && vm->state == VM_READY)
			first_up = vm;
	}
	return first_up;
}

/*
 * Where policy wants the device now: a machine that is up, or NULL with the
 * reason and whether a rule would have passed it.
 */
static struct vm *
device_want(const struct core *core, const struct device *dev, char *reason,
    size_t size, enum device_state *state)
{
	const struct usbdev *d = &dev->dev;
	struct vm *vm;

	*state = DEV_HELD;
	if (usbdev_is_hub(d)) {
		strlcpy(reason, "hub", size);
	} else if (dev->rule == NULL) {
		*state = DEV_UNASSIGNED;
		strlcpy(reason, "no rule matches", size);
	} else if (dev->rule->action == RULE_BLOCK) {
		*state = DEV_UNASSIGNED;
		snprintf(reason, size, "blocked by %s", dev->rule->where);
	} else if (d->odd_descriptors) {
		strlcpy(reason, "malformed descriptors", size);
	} else if (d->netif[0] != '\0') {
		snprintf(reason, size,
		    "protected: network interface %s of "
		    "the host",
		    d->netif);
	} else if (d->busy[0] != '\0') {
		snprintf(reason, size, "protected: disk %s in use (%s)",
		    d->busy, d->busy_why);
	} else if (dev->dropped) {
		strlcpy(
		    reason, "taken out of its machine by somebody else", size);
	} else if ((vm = device_choose_vm(core, dev)) == NULL) {
		vm = vm_find(core, dev->rule->vms[0]);
		snprintf(reason, size, "machine \"%s\" is %s", vm->conf.name,
		    vm_state_string(vm->state));
	} else
		return vm;
	return NULL;
}

static void
device_hold(struct core *core, struct device *dev, enum device_state state,
    const char *reason)
{
	int same = dev->state == state && strcmp(dev->reason, reason) == 0;

	dev->state = state;
	strlcpy(dev->reason, reason, sizeof(dev->reason));
	if (!same)
		action_add(
		    core, ACT_HOLD, &dev->dev.port, dev->dev.devnum, reason);
}

static void
device_attach(struct core *core, struct device *dev, struct vm *vm)
{
	struct attachment *att;
	struct core_action *a;
	char port[USBPORT_STRLEN];

	att = att_new(core, vm, dev, &dev->dev.port, dev->dev.devnum);
	att->state = ATT_PENDING;
	att->request = dev->request = ++core->last_request;
	usbport_string(&att->port, port);
	*strchr(port, ':') = '-';
	snprintf(att->id, sizeof(att->id), "usbmgrd-%s-%u-%u", port,
	    att->devnum, att->request);
	a = action_add(
	    core, ACT_ATTACH, &att->port, att->devnum, dev->rule->where);
	action_identify(a, &dev->dev);
	a->vm = vm->conf.vm;
	a->vmname = vm->conf.name;
	a->request = att->request;
	a->handover = (enum handover)vm->conf.handover;
	strlcpy(a->id, att->id, sizeof(a->id));
}

static void
device_follow_attachment(
    struct core *core, struct device *dev, struct vm *want, const char *reason)
{
	struct attachment *att = dev->att;

	if (att->state == ATT_ATTACHED && att->vm != want &&
	    !retry_blocks(&att->retry))
		att_detach(core, att, want != NULL ? dev->rule->where : reason);
	switch (att->state) {
	case ATT_PENDING:
		dev->state = DEV_ATTACHING;
		break;
	case ATT_ATTACHED:
		dev->state = DEV_ATTACHED;
		break;
	case ATT_DETACHING:
		dev->state = DEV_DETACHING;
		break;
	}
	strlcpy(dev->reason, want != NULL ? dev->rule->where : reason,
	    sizeof(dev->reason));
}

static void
reconcile(struct core *core, struct device *dev)
{
	enum device_state state;
	char reason[MSG_TEXT_MAX] = "";
	struct vm *want;

	want = device_want(core, dev, reason, sizeof(reason), &state);
	if (dev->att == NULL && want != NULL && !retry_blocks(&dev->retry))
		device_attach(core, dev, want);
	if (dev->att != NULL)
		device_follow_attachment(core, dev, want, reason);
	else if (want == NULL)
		device_hold(core, dev, state, reason);
	/* else it failed; state and reason say so since then */
}

static void
reconcile_all(struct core *core)
{
	struct attachment *att;
	struct device *dev;

	LIST_FOREACH(att, &core->orphans, orphan_entry)
		reconcile_orphan(core, att);
	RB_FOREACH(dev, core_device_tree, &core->devices)
		reconcile(core, dev);
}

static void
reconcile_vm(struct core *core, struct vm *vm)
{
	struct interest *interest;
	struct attachment *att;

	LIST_FOREACH(interest, &vm->interests, entry)
		reconcile(core, interest->dev);
	LIST_FOREACH(att, &vm->attachments, vm_entry)
		if (att->dev == NULL)
			reconcile_orphan(core, att);
		else
			reconcile(core, att->dev);
}

/* Events */

static void
device_remove(struct core *core, struct device *dev)
{
	struct attachment *att = dev->att;

	if (att != NULL) {
		att->dev = NULL;
		LIST_INSERT_HEAD(&core->orphans, att, orphan_entry);
		reconcile_orphan(core, att);
	}
	device_forget_rule(dev);
	retry_cancel(&core->retries, &dev->retry);
	RB_REMOVE(core_device_tree, &core->devices, dev);
	free(dev);
}

static void
event_device(struct core *core, const struct usbdev *d)
{
	struct device *dev = device_find(core, &d->port);

	if (dev != NULL && dev->dev.devnum != d->devnum) {
		device_remove(core, dev);
		dev = NULL;
	}
	if (dev == NULL) {
		dev = xcalloc(1, sizeof(*dev));
		dev->dev = *d;
		dev->retry.owner = dev;
		RB_INSERT(core_device_tree, &core->devices, dev);
		adopt_orphan(core, dev);
	} else
		dev->dev = *d;
	device_decide(core, dev);
	reconcile(core, dev);
}

static void
event_device_gone(struct core *core, const struct msg_device_gone *gone)
{
	struct device *dev = device_find(core, &gone->port);

	if (dev != NULL && dev->dev.devnum == gone->devnum)
		device_remove(core, dev);
}

static void
event_scan_done(struct core *core)
{
	struct attachment *att;

	core->scan_done = 1;
	LIST_FOREACH(att, &core->orphans, orphan_entry)
		reconcile_orphan(core, att);
}

static struct vm *
vm_new(struct core *core, const struct msg_vm *conf)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));

	vm->conf = *conf;
	vm->state = VM_ABSENT;
	LIST_INIT(&vm->interests);
	LIST_INIT(&vm->attachments);
	TAILQ_INSERT_TAIL(&core->vms, vm, entry);
	return vm;
}

static void
event_policy(struct core *core, struct policy *policy)
{
	struct policy *old = core->policy;
	struct device *dev;
	struct vm *vm;
	size_t i;

	core->policy = policy;
	for (i = 0; i < policy->nvms; i++)
		if ((vm = vm_find(core, policy->vms[i].vm)) != NULL)
			vm->conf = policy->vms[i];
		else
			vm_new(core, &policy->vms[i]);
	RB_FOREACH(dev, core_device_tree, &core->devices)
		device_decide(core, dev);
	policy_free(old);
	reconcile_all(core);
}

static void
vm_drop_attachments(struct core *core, struct vm *vm)
{
	struct attachment *att;
	struct device *dev;

	/* Whatever is in it now will be told before it is ready again. */
	while ((att = LIST_FIRST(&vm->attachments)) != NULL) {
		dev = att->dev;
		att_free(core, att);
		if (dev != NULL)
			reconcile(core, dev);
	}
}

static void
vm_set_state(
    struct core *core, struct vm *vm, enum vm_state state, const char *reason)
{
	struct interest *interest;

	strlcpy(vm->reason, reason, sizeof(vm->reason));
	if (vm->state == state)
		return;
	vm->state = state;
	if (state != VM_READY)
		vm_drop_attachments(core, vm);
	else
		LIST_FOREACH(interest, &vm->interests, entry)
			retry_reset(&core->retries, &interest->dev->retry);
	reconcile_vm(core, vm);
}

static void
event_vm_socket(struct core *core, const struct msg_vm_socket *m)
{
	struct vm *vm = vm_find(core, m->vm);

	/*
	 * The parent's word may be read after the QMP client's later one: a
	 * machine that is ready is so until the QMP client says otherwise.
	 */
	if (vm == NULL || vm->state == VM_READY)
		return;
	if (m->error == 0)
		vm_set_state(core, vm, VM_CONNECTING, "socket connected");
	else
		vm_set_state(core, vm, VM_ABSENT, strerror(m->error));
}

static void
event_vm_state(struct core *core, const struct msg_vm_state *m)
{
	struct vm *vm = vm_find(core, m->vm);

	if (vm != NULL)
		vm_set_state(core, vm, (enum vm_state)m->state, m->text);
}

static void
event_vm_has(struct core *core, const struct msg_vm_has *m)
{
	struct vm *vm = vm_find(core, m->vm);
	struct device *dev = device_find(core, &m->port);
	struct attachment *att;

	/* Ids are never used twice, also not across a restart. */
	if (m->request > core->last_request)
		core->last_request = m->request;
	if (vm == NULL || att_find(vm, m->request) != NULL)
		return;
	if (dev != NULL && (dev->dev.devnum != m->devnum || dev->att != NULL))
		dev = NULL;
	att = att_new(core, vm, dev, &m->port, m->devnum);
	att->state = ATT_ATTACHED;
	att->request = m->request;
	att->guest_port = m->guest_port;
	strlcpy(att->id, m->id, sizeof(att->id));
	if (dev != NULL)
		dev->request = m->request;
}

static void
event_vm_dropped(struct core *core, const struct msg_vm_has *m)
{
	struct vm *vm = vm_find(core, m->vm);
	struct attachment *att;
	struct device *dev;

	if (vm == NULL || (att = att_find(vm, m->request)) == NULL ||
	    att->state == ATT_PENDING)
		return;
	dev = att->dev;
	if (dev != NULL && att->state == ATT_ATTACHED)
		dev->dropped = 1;
	att_free(core, att);
	if (dev != NULL)
		reconcile(core, dev);
	reconcile_vm(core, vm);
}

static void
attach_failed(struct core *core, struct device *dev, const struct msg_result *m)
{
	retry_failed(
	    &core->retries, &dev->retry, core->now, (enum result)m->result);
	dev->state = DEV_FAILED;
	snprintf(dev->reason, sizeof(dev->reason), "%.60s: %.190s",
	    result_string(m->result), m->text);
	action_add(
	    core, ACT_HOLD, &dev->dev.port, dev->dev.devnum, dev->reason);
}

static void
result_of_attach(
    struct core *core, struct attachment *att, const struct msg_result *m)
{
	struct device *dev = att->dev;

	if (m->result == RESULT_OK) {
		att->state = ATT_ATTACHED;
		att->guest_port = m->guest_port;
		if (dev == NULL) {
			reconcile_orphan(core, att);
			return;
		}
		retry_reset(&core->retries, &dev->retry);
		reconcile(core, dev);
		return;
	}
	att_free(core, att);
	if (dev != NULL) {
		attach_failed(core, dev, m);
		reconcile(core, dev);
	}
}

/* A port of the guest has become free. */
static void
wake_bus_full(struct core *core, struct vm *vm)
{
	struct interest *interest;

	LIST_FOREACH(interest, &vm->interests, entry)
		if (retry_waits_for_port(&interest->dev->retry)) {
			retry_reset(&core->retries, &interest->dev->retry);
			reconcile(core, interest->dev);
		}
}

static void
result_of_detach(
    struct core *core, struct attachment *att, const struct msg_result *m)
{
	struct device *dev = att->dev;
	struct vm *vm = att->vm;

	if (m->result == RESULT_OK) {
		att_free(core, att);
		if (dev != NULL)
			reconcile(core, dev);
		wake_bus_full(core, vm);
		return;
	}
	att->state = ATT_ATTACHED;
	att->retry.att = att;
	retry_failed(
	    &core->retries, &att->retry, core->now, (enum result)m->result);
	if (dev != NULL)
		reconcile(core, dev);
}

static void
event_result(struct core *core, const struct msg_result *m)
{
	struct vm *vm = vm_find(core, m->vm);
	struct attachment *att;

	if (vm == NULL || (att = att_find(vm, m->request)) == NULL)
		return;
	if (att->state == ATT_PENDING)
		result_of_attach(core, att, m);
	else if (att->state == ATT_DETACHING)
		result_of_detach(core, att, m);
}

static void
event_tick(struct core *core)
{
	struct retry *due;

	while ((due = retry_due(&core->retries, core->now)) != NULL)
		if (due->owner != NULL)
			reconcile(core, due->owner);
		else if (((struct attachment *)due->att)->dev != NULL)
			reconcile(core, ((struct attachment *)due->att)->dev);
		else
			reconcile_orphan(core, due->att);
}

const struct core_action *
core_event(struct core *core, const struct core_event *ev, size_t *n)
{
	core->nactions = 0;
	core->now = ev->now;
	switch (ev->type) {
	case EV_POLICY:
		event_policy(core, ev->u.policy);
		break;
	case EV_DEVICE:
		event_device(core, ev->u.device);
		break;
	case EV_DEVICE_GONE:
		event_device_gone(core, ev->u.gone);
		break;
	case EV_SCAN_DONE:
		event_scan_done(core);
		break;
	case EV_VM_SOCKET:
		event_vm_socket(core, ev->u.vm_socket);
		break;
	case EV_VM_HAS:
		event_vm_has(core, ev->u.has);
		break;
	case EV_VM_STATE:
		event_vm_state(core, ev->u.vm_state);
		break;
	case EV_VM_DROPPED:
		event_vm_dropped(core, ev->u.has);
		break;
	case EV_RESULT:
		event_result(core, ev->u.result);
		break;
	case EV_TICK:
		event_tick(core);
		break;
	}
	*n = core->nactions;
	if (*n > 1)
		qsort(core->actions, *n, sizeof(*core->actions), action_cmp);
	return *n == 0 ? NULL : core->actions;
}

uint64_t
core_next(const struct core *core)
{
	return retry_next(&core->retries);
}

int
core_check_result(const struct core *core, const struct msg_result *m)
{
	struct vm *vm = vm_find(core, m->vm);

	/*
	 * What was asked of a machine before it was lost may be answered
	 * after its loss was told.
	 */
	return m->result < RESULT_MAX && vm != NULL &&
	       msg_string_ok(m->text, sizeof(m->text)) &&
	       (att_find(vm, m->request) != NULL ||
		   m->result == RESULT_VM_LOST);
}

static void
describe_device(const struct device *dev, struct ctl_device *out)
{
	memset(out, 0, sizeof(*out));
	out->dev = dev->dev;
	out->state = dev->state;
	out->request = dev->request;
	strlcpy(out->reason, dev->reason, sizeof(out->reason));
	if (dev->rule != NULL)
		strlcpy(out->rule, dev->rule->where, sizeof(out->rule));
	if (dev->att != NULL) {
		out->guest_port = dev->att->guest_port;
		strlcpy(out->vm, dev->att->vm->conf.name, sizeof(out->vm));
	}
}

void
core_devices(const struct core *core,
    void (*cb)(const struct ctl_device *, void *), void *arg)
{
	struct core_device_tree devices = core->devices;
	struct ctl_device out;
	struct device *dev;

	RB_FOREACH(dev, core_device_tree, &devices) {
		describe_device(dev, &out);
		cb(&out, arg);
	}
}

void
core_vms(const struct core *core, void (*cb)(const struct ctl_vm *, void *),
    void *arg)
{
	struct attachment *att;
	struct ctl_vm out;
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry) {
		memset(&out, 0, sizeof(out));
		out.state = vm->state;
		strlcpy(out.name, vm->conf.name, sizeof(out.name));
		strlcpy(out.bus, vm->conf.bus, sizeof(out.bus));
		strlcpy(out.reason, vm->reason, sizeof(out.reason));
		LIST_FOREACH(att, &vm->attachments, vm_entry)
			if (att->state == ATT_ATTACHED)
				out.devices++;
		cb(&out, arg);
	}
}

void
core_free(struct core *core)
{
	struct device *dev;
	struct vm *vm;

	if (core == NULL)
		return;
	while ((dev = RB_MIN(core_device_tree, &core->devices)) != NULL)
		device_remove(core, dev);
	while ((vm = TAILQ_FIRST(&core->vms)) != NULL) {
		while (!LIST_EMPTY(&vm->attachments))
			att_free(core, LIST_FIRST(&vm->attachments));
		TAILQ_REMOVE(&core->vms, vm, entry);
		free(vm);
	}
	policy_free(core->policy);
	free(core->actions);
	free(core);
}
