/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "core_int.h"

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
