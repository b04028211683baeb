/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef POLICY_INT_H
#define POLICY_INT_H

#include "policy.h"

/* What the files of the policy share, and nobody else includes. */

/* policy_has_vm: 1 if there is a machine of that number. */
int policy_has_vm(const struct policy *, uint32_t number);

/*
 * policy_join_machines: give machines what they have of the manifests.  0, or
 * -1 when memory is short.
 */
int policy_join_machines(struct policy *);

#endif
