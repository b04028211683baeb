/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "core_int.h"

void
core_clock(struct core *core, uint64_t now)
{
	core->now = now;
}

static uint32_t
until(const struct core *core, uint64_t at)
{
	return at > core->now ? (uint32_t)(at - core->now) : 1;
}

static uint32_t
until_retry(const struct core *core, const struct retry *r)
{
	return r->listed ? until(core, r->at) : 0;
}

static void
describe_device(
    const struct core *core, const struct device *dev, struct ctl_device *out)
{
	memset(out, 0, sizeof(*out));
	out->dev = dev->dev;
	out->state = dev->state;
	out->request = dev->request;
	strlcpy(out->reason, dev->reason, sizeof(out->reason));
	out->retry_ms = until_retry(core, &dev->retry);
	if (dev->state == DEV_HELD && dev->damped_until != 0)
		out->retry_ms = until(core, dev->damped_until);
	if (dev->state == DEV_FAILED)
		out->failed = dev->retry.result;
	out->override = dev->override;
	if (dev->rule != NULL)
		strlcpy(out->rule,
		    core_source_where(
			dev, dev->att == NULL ? NULL : dev->att->vm),
		    sizeof(out->rule));
	if (dev->att != NULL) {
		out->guest_port = dev->att->guest_port;
		if (out->retry_ms == 0)
			out->retry_ms = until_retry(core, &dev->att->retry);
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
		describe_device(core, dev, &out);
		cb(&out, arg);
	}
}

void
core_vms(const struct core *core, void (*cb)(const struct ctl_vm *, void *),
    void *arg)
{
	struct core_att_tree attachments;
	struct attachment *att;
	struct ctl_vm out;
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry) {
		memset(&out, 0, sizeof(out));
		out.state = vm->state;
		strlcpy(out.name, vm->conf.name, sizeof(out.name));
		strlcpy(out.bus, vm->conf.bus, sizeof(out.bus));
		strlcpy(out.reason, vm->reason, sizeof(out.reason));
		attachments = vm->attachments;
		RB_FOREACH(att, core_att_tree, &attachments)
			if (att->state == ATT_ATTACHED)
				out.devices++;
		cb(&out, arg);
	}
}

const char *
core_vm_name(const struct core *core, uint32_t number)
{
	const struct vm *vm = core_vm_find(core, number);

	return vm == NULL ? "" : vm->conf.name;
}

uint32_t
core_vm_number(const struct core *core, const char *name, int left)
{
	const struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		if (vm->gone == left && strcmp(vm->conf.name, name) == 0)
			return vm->conf.vm;
	return 0;
}

int
core_vm_left(const struct core *core, uint32_t number)
{
	const struct vm *vm = core_vm_find(core, number);

	return vm != NULL && vm->gone;
}

int
core_request_find(const struct core *core, uint32_t number, uint32_t request,
    struct core_request *out)
{
	const struct vm *vm = core_vm_find(core, number);
	const struct attachment *att;

	if (vm == NULL || (att = core_att_find(vm, request)) == NULL)
		return -1;
	out->port = att->port;
	out->devnum = att->devnum;
	out->detaching = att->state == ATT_DETACHING;
	out->since = att->since;
	return 0;
}

int
core_device_get(
    struct core *core, const struct usbport *port, struct ctl_device *out)
{
	const struct device *dev = core_device_find(core, port);

	if (dev == NULL)
		return -1;
	describe_device(core, dev, out);
	return 0;
}

uint32_t
core_nrules(const struct core *core)
{
	return core->policy == NULL ? 0 : (uint32_t)core->policy->nrules;
}

static uint32_t
count_devices(const struct core *core, const struct msg_rule *rule)
{
	struct core_device_tree devices = core->devices;
	struct device *dev;
	uint32_t n = 0;

	RB_FOREACH(dev, core_device_tree, &devices)
		n += core_source_rule(dev) == rule;
	return n;
}

void
core_rules(const struct core *core, uint32_t first, uint32_t n,
    void (*cb)(const struct ctl_policy_rule *, void *), void *arg)
{
	struct ctl_policy_rule out;
	const struct rule *r;
	unsigned int i;

	for (; core->policy != NULL && n > 0 && first < core->policy->nrules;
	     n--, first++) {
		r = &core->policy->rules[first];
		memset(&out, 0, sizeof(out));
		out.rule = r->msg;
		out.hits = r->hits;
		out.number = first;
		out.generation = core->generation;
		out.devices = count_devices(core, &r->msg);
		for (i = 0; i < TEXT_MAX; i++)
			if (r->text[i] != NULL)
				strlcpy(out.text[i], r->text[i],
				    sizeof(out.text[i]));
		for (i = 0; i < r->msg.nvms; i++)
			strlcpy(out.vms[i], core_vm_name(core, r->msg.vms[i]),
			    sizeof(out.vms[i]));
		cb(&out, arg);
	}
}

struct explain {
	struct core *core;
	const struct device *dev;
	const struct msg_rule *decides;
	void (*rule)(const struct ctl_rule *, void *);
	void *arg;
	char where[MSG_WHERE_MAX]; /* of the rule told last */
};

static void
explain_rule(const struct policy_match *match, void *arg)
{
	const struct msg_rule *m = match->rule;
	struct explain *e = arg;
	struct ctl_rule out;
	unsigned int i;

	/* What the source says, if it says something. */
	if (m->action == RULE_SOURCE &&
	    (m = core_source_explain(e->core, e->dev, m)) == NULL)
		return;
	/* A line with lists is several rules, of which one is told. */
	if (strcmp(e->where, m->where) == 0 && m != e->decides)
		return;
	strlcpy(e->where, m->where, sizeof(e->where));
	memset(&out, 0, sizeof(out));
	out.action = m->action;
	out.quick = (m->flags & RULE_QUICK) != 0;
	out.companion = (uint32_t)match->companion;
	out.decides = m == e->decides;
	out.nvms = m->nvms;
	for (i = 0; i < m->nvms; i++)
		strlcpy(out.vms[i], core_vm_find(e->core, m->vms[i])->conf.name,
		    sizeof(out.vms[i]));
	strlcpy(out.where, m->where, sizeof(out.where));
	e->rule(&out, e->arg);
}

int
core_explain(struct core *core, const struct usbport *port,
    void (*rule)(const struct ctl_rule *, void *),
    void (*device)(const struct ctl_device *, void *), void *arg)
{
	struct device *dev = core_device_find(core, port);
	struct explain e = {
		.core = core, .dev = dev, .rule = rule, .arg = arg
	};
	struct ctl_device out;

	if (dev == NULL)
		return -1;
	e.decides = dev->rule;
	if (core->policy != NULL)
		policy_explain(core->policy, &dev->dev, explain_rule, &e);
	describe_device(core, dev, &out);
	device(&out, arg);
	return 0;
}
