/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_int.h"
#include "xalloc.h"

/* More are told of by nobody: qmpclient/inventory.h. */
#define FOREIGNS_MAX 1024

static int
same(const struct foreign *f, const struct vm *vm, const char *id)
{
	return f->vm == vm && strcmp(f->msg.id, id) == 0;
}

static int
covers_port(const struct usbport *want, const struct usbport *port)
{
	return want->depth == 0 ||
	       (want->depth == port->depth &&
		   memcmp(want->chain, port->chain, sizeof(port->chain)) == 0);
}

/* As usb_host_auto_check does: whatever is given has to fit. */
static int
covers(const struct msg_vm_foreign *m, const struct usbdev *d)
{
	if (m->busnum == 0 && m->devnum == 0 && m->vendor == 0 &&
	    m->product == 0 && m->port.depth == 0)
		return 0;
	return (m->busnum == 0 || m->busnum == d->port.busnum) &&
	       (m->devnum == 0 || m->devnum == d->devnum) &&
	       (m->vendor == 0 || m->vendor == d->vendor) &&
	       (m->product == 0 || m->product == d->product) &&
	       covers_port(&m->port, &d->port);
}

const struct foreign *
core_foreign_has(const struct core *core, const struct usbdev *d)
{
	const struct foreign *f;

	LIST_FOREACH(f, &core->foreigns, entry)
		if (covers(&f->msg, d))
			return f;
	return NULL;
}

int
core_foreign_any(const struct core *core, const struct vm *vm)
{
	const struct foreign *f;

	LIST_FOREACH(f, &core->foreigns, entry)
		if (f->vm == vm)
			return 1;
	return 0;
}

/* What it had or has is open to others, or is not. */
static void
reconcile_covered(struct core *core, const struct msg_vm_foreign *m)
{
	struct device *dev;

	RB_FOREACH(dev, core_device_tree, &core->devices)
		if (covers(m, &dev->dev))
			core_device_reconcile(core, dev);
}

void
core_event_vm_foreign(struct core *core, const struct msg_vm_foreign *m)
{
	struct vm *vm = core_vm_find(core, m->vm);
	struct foreign *f;
	unsigned int n = 0;

	if (vm == NULL)
		return;
	LIST_FOREACH(f, &core->foreigns, entry) {
		if (same(f, vm, m->id))
			break;
		n++;
	}
	if (f == NULL && n == FOREIGNS_MAX)
		return;
	if (f == NULL) {
		f = xcalloc(1, sizeof(*f));
		f->vm = vm;
		LIST_INSERT_HEAD(&core->foreigns, f, entry);
	}
	f->msg = *m;
	f->told = 1;
	reconcile_covered(core, m);
}

void
core_foreign_untold(struct core *core, const struct vm *vm)
{
	struct foreign *f;

	LIST_FOREACH(f, &core->foreigns, entry)
		if (f->vm == vm)
			f->told = 0;
}

void
core_foreign_forget(struct core *core, struct vm *vm, int all)
{
	struct foreign *f, *next;
	struct msg_vm_foreign m;

	for (f = LIST_FIRST(&core->foreigns); f != NULL; f = next) {
		next = LIST_NEXT(f, entry);
		if (f->vm != vm)
			continue;
		if (f->told && !all) {
			f->told = 0;
			continue;
		}
		m = f->msg;
		LIST_REMOVE(f, entry);
		free(f);
		reconcile_covered(core, &m);
	}
}
