/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core_int.h"

/*
 * A person's word on a device counts instead of the rules until it is
 * unplugged or left to the policy again.  Hubs and malformed descriptors it
 * cannot pass, pledges and protection only when forced.
 */

static int refuse(char *, size_t, const char *, ...)
    __attribute__((format(printf, 3, 4)));

static int
refuse(char *why, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return -1;
}

static struct vm *
find_name(const struct core *core, const char *name)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry)
		if (!vm->gone && strcmp(vm->conf.name, name) == 0)
			return vm;
	return NULL;
}

static int
check_attach(const struct core *core, const struct device *dev,
    const struct core_override *o, char *why, size_t size)
{
	char reason[MSG_TEXT_MAX], forced[MSG_TEXT_MAX];
	const struct vm *vm = find_name(core, o->vm);

	if (vm == NULL)
		return refuse(
		    why, size, "the policy has no machine \"%s\"", o->vm);
	if (core_override_check(dev, vm, o->force, reason) == DEV_HELD)
		return refuse(why, size, "%s%s", reason,
		    core_override_check(dev, vm, 1, forced) == DEV_HELD
			? ""
			: "; -f attaches it all the same");
	if (vm->state != VM_READY)
		return refuse(why, size, "machine \"%s\" is %s", o->vm,
		    core_vm_is_coming(vm) ? "connecting" : "down");
	return 0;
}

int
core_override_try(
    struct core *core, const struct core_override *o, char *why, size_t size)
{
	struct device *dev = core_device_find(core, &o->port);

	if (dev == NULL || (o->devnum != 0 && dev->dev.devnum != o->devnum))
		return refuse(why, size, "the device is not plugged any more");
	if (o->command == OVERRIDE_ATTACH)
		return check_attach(core, dev, o, why, size);
	return 0;
}

void
core_event_override(struct core *core, const struct core_override *o)
{
	char why[MSG_TEXT_MAX];
	struct device *dev;

	if (core_override_try(core, o, why, sizeof(why)) == -1)
		return;
	dev = core_device_find(core, &o->port);
	dev->override = o->command;
	if (o->command == OVERRIDE_ATTACH)
		dev->override_vm = find_name(core, o->vm)->conf.vm;
	dev->override_force = o->force;
	dev->override_uid = o->uid;
	dev->dropped = 0;
	core_device_decide(core, dev);
	core_device_reconcile(core, dev);
}

/* A machine that left the policy has no devices, also none by hand. */
struct vm *
core_override_vm(const struct core *core, struct device *dev)
{
	struct vm *vm;

	if (dev->override != OVERRIDE_ATTACH)
		return NULL;
	vm = core_vm_find(core, dev->override_vm);
	if (vm == NULL || vm->gone) {
		dev->override = OVERRIDE_NONE;
		return NULL;
	}
	return vm;
}

const char *
core_override_reason(const struct device *dev, char buf[MSG_TEXT_MAX])
{
	snprintf(buf, MSG_TEXT_MAX, "%s by hand (uid %u)%s",
	    dev->override == OVERRIDE_ATTACH ? "attached" : "detached",
	    dev->override_uid, dev->override_force ? ", forced" : "");
	return buf;
}
