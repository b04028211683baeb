/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* What the core keeps must not grow: the one look into it. */

#include "check.h"
#include "core_int.h"
#include "trace.h"

#define ATTACHMENTS_MAX 256

void
check_memory(int at_rest)
{
	const struct core *core = world.core;
	size_t attachments = 0, orphans = 0, vms = 0, foreigns = 0;
	struct core_att_tree tree;
	struct attachment *att;
	struct foreign *f;
	struct vm *vm;

	TAILQ_FOREACH(vm, &core->vms, entry) {
		vms++;
		tree = vm->attachments;
		RB_FOREACH(att, core_att_tree, &tree)
			attachments++;
	}
	LIST_FOREACH(att, &core->orphans, orphan_entry) {
		orphans++;
		CHECK(!at_rest || request_get(told_vm(att->vm->conf.vm)->qemu,
				      att->request)
					  ->failures > 5,
		    slot_of(&att->port), NOBODY,
		    "request %u stays in machine %u", att->request,
		    att->vm->conf.vm);
	}
	LIST_FOREACH(f, &core->foreigns, entry)
		foreigns++;
	CHECK(attachments <= ATTACHMENTS_MAX && orphans <= attachments, ALL,
	    NOBODY, "%zu attachments", attachments);
	CHECK(vms <= LINKS_MAX, ALL, NOBODY, "%zu machines", vms);
	CHECK(foreigns <= vms * TOLD_FOREIGNS_MAX, ALL, NOBODY,
	    "%zu foreign devices", foreigns);
}
