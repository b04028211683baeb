/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef POLICY_H
#define POLICY_H

#include <stddef.h>
#include "msg.h"

/* The policy as the engine holds it: machines and rules in their order. */

struct policy {
	struct msg_vm *vms;
	size_t nvms;
	size_t maxvms;
	struct msg_rule *rules;
	size_t nrules;
	size_t maxrules;
};

/*
 * policy_new: an empty policy with room for that many machines and rules;
 * NULL when memory is short.  policy_free has no effect on NULL.
 */
struct policy *policy_new(size_t vms, size_t rules);
void policy_free(struct policy *);

/*
 * policy_add_vm, policy_add_rule: append a copy.  NULL, or what is wrong
 * with it: no room, a string without end, a number out of range, a machine
 * that is not there.
 */
const char *policy_add_vm(struct policy *, const struct msg_vm *);
const char *policy_add_rule(struct policy *, const struct msg_rule *);

/*
 * policy_decide: the rule that decides on the device, which is the last one
 * that matches, or NULL if none does.  Depends on nothing but its arguments.
 */
const struct msg_rule *policy_decide(
    const struct policy *, const struct usbdev *);

#endif
