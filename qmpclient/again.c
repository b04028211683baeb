/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "again.h"
#include "attach.h"
#include "qmpclient.h"
#include "shared.h"

static int
is_changing(const struct vm *vm)
{
	const struct device *dev;

	TAILQ_FOREACH(dev, &vm->devices, entry)
		if (dev->at != DEVICE_ATTACHED)
			return 1;
	return 0;
}

static void
again_tell(struct vm *vm)
{
	struct device *dev;
	unsigned int i;

	vm->untold = vm->ready && is_changing(vm);
	if (vm->untold)
		vm_say_state(
		    vm, VM_GREETING, "it answers the engine before this one");
	else if (vm->ready) {
		TAILQ_FOREACH(dev, &vm->devices, entry)
			vm_device_say(vm, dev, MSG_VM_HAS);
		for (i = 0; i < vm->nforeigns; i++)
			tell_engine(MSG_VM_FOREIGN, &vm->foreigns[i]);
		vm_say_ready(vm, 1);
	} else if (vm->conn.fd != -1)
		vm_say_state(vm, VM_GREETING, "connected, no greeting yet");
}

void
again_engine(void)
{
	attach_forget();
	shared_forget();
	vm_each(again_tell);
}

void
again_answered(struct vm *vm)
{
	if (vm->ready && vm->untold && !is_changing(vm))
		again_tell(vm);
}
