/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "policy.h"

struct policy *
policy_new(size_t vms, size_t rules)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->vms = calloc(vms + 1, sizeof(*p->vms));
	p->rules = calloc(rules + 1, sizeof(*p->rules));
	p->maxvms = vms;
	p->maxrules = rules;
	if (p->vms == NULL || p->rules == NULL) {
		policy_free(p);
		return NULL;
	}
	return p;
}

void
policy_free(struct policy *p)
{
	if (p == NULL)
		return;
	free(p->vms);
	free(p->rules);
	free(p);
}

static int
has_vm(const struct policy *p, uint32_t number)
{
	size_t i;

	for (i = 0; i < p->nvms; i++)
		if (p->vms[i].vm == number)
			return 1;
	return 0;
}

const char *
policy_add_vm(struct policy *p, const struct msg_vm *vm)
{
	if (p->nvms == p->maxvms)
		return "more machines than announced";
	if (!msg_string_ok(vm->name, sizeof(vm->name)) || vm->name[0] == '\0' ||
	    !msg_string_ok(vm->bus, sizeof(vm->bus)))
		return "machine with a bad string";
	if (vm->vm == 0 || has_vm(p, vm->vm))
		return "machine with a bad number";
	if (vm->handover > HANDOVER_ADDRESS)
		return "machine with a bad handover";
	p->vms[p->nvms++] = *vm;
	return NULL;
}

const char *
policy_add_rule(struct policy *p, const struct msg_rule *r)
{
	size_t i;

	if (p->nrules == p->maxrules)
		return "more rules than announced";
	if (r->action > RULE_PASS || (r->has & ~(uint32_t)RULE_HAS_ALL) != 0)
		return "rule with bad bits";
	if ((r->has & RULE_HAS_PORT) && !usbport_valid(&r->port))
		return "rule with a bad port";
	if (r->nvms > MSG_RULE_VMS_MAX ||
	    (r->action == RULE_PASS) != (r->nvms > 0))
		return "rule with a bad number of machines";
	for (i = 0; i < r->nvms; i++)
		if (!has_vm(p, r->vms[i]))
			return "rule for a machine that is not there";
	if (!msg_string_ok(r->where, sizeof(r->where)))
		return "rule without its line";
	p->rules[p->nrules++] = *r;
	return NULL;
}

static int
matches(const struct msg_rule *r, const struct usbdev *d)
{
	if ((r->has & RULE_HAS_PORT) && usbport_cmp(&r->port, &d->port) != 0)
		return 0;
	if ((r->has & RULE_HAS_VENDOR) && r->vendor != d->vendor)
		return 0;
	if ((r->has & RULE_HAS_PRODUCT) && r->product != d->product)
		return 0;
	return 1;
}

const struct msg_rule *
policy_decide(const struct policy *p, const struct usbdev *d)
{
	size_t i;

	for (i = p->nrules; i > 0; i--)
		if (matches(&p->rules[i - 1], d))
			return &p->rules[i - 1];
	return NULL;
}
