/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef INVENTORY_H
#define INVENTORY_H

#include "vm.h"

/*
 * Questions to a machine that has just greeted: is the guest running, which
 * devices of ours does it have, where is the USB bus of the policy, which of
 * its ports are free.  The answers go into struct vm; vm_inventory_done is
 * called at the end.  One inventory of a machine at a time.
 */

/* inventory_start: ask everything. */
void inventory_start(struct vm *);

/*
 * inventory_recount: ask only which ports of the bus are taken; no effect
 * while an inventory is taken or without a bus.
 */
void inventory_recount(struct vm *);

/* inventory_is_migrating: 1 if the status is of a migration that goes on. */
int inventory_is_migrating(const char *status);

/* inventory_stop: forget it; to be called when the connection is closed. */
void inventory_stop(struct vm *);

/* inventory_port_free: what was told of that port before is outdated. */
void inventory_port_free(struct vm *, unsigned int port);

#endif
