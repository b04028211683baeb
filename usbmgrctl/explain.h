/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef EXPLAIN_H
#define EXPLAIN_H

#include "msg.h"

/* Why a device is where it is, from the daemon or from a replay. */

/* explain_rule: a rule that matches, in the order of the policy. */
void explain_rule(const struct ctl_rule *);

/* explain_device: where the rules have led to. */
void explain_device(const struct ctl_device *);

/*
 * explain_print: what was collected, in words or as JSON.  -1 after a
 * message if no device was told of.
 */
int explain_print(const struct usbport *, int json);

#endif
