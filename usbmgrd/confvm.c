/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "conf.h"
#include "log.h"

static const struct conf_vm *
find_name(const struct conf *conf, const char *name)
{
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &conf->vms, entry)
		if (strcmp(vm->msg.name, name) == 0)
			return vm;
	return NULL;
}

/* At another socket there is another machine, whatever it is called. */
static int
is_same(const struct conf_vm *a, const struct conf_vm *b)
{
	return strcmp(a->msg.name, b->msg.name) == 0 &&
	       strcmp(a->qmp, b->qmp) == 0 && a->msg.monitor == b->msg.monitor;
}

static uint32_t
renumbered(uint32_t vm, const uint32_t *from, const uint32_t *to, uint32_t n)
{
	uint32_t k;

	for (k = 0; k < n; k++)
		if (from[k] == vm)
			return to[k];
	return vm;
}

/* The same machine keeps its number; no number is given twice. */
void
conf_renumber(const struct conf *old, struct conf *conf, uint32_t *last)
{
	const struct conf_vm *before;
	struct conf_rule *rule;
	struct conf_vm *vm;
	struct conf_adapter *a;
	uint32_t *from, *to, n = 0;
	unsigned int i;

	from = calloc((size_t)conf->nvms + 1, sizeof(*from));
	to = calloc((size_t)conf->nvms + 1, sizeof(*to));
	if (from == NULL || to == NULL)
		fatal("calloc");
	TAILQ_FOREACH(vm, &conf->vms, entry) {
		before = old == NULL ? NULL : find_name(old, vm->msg.name);
		from[n] = vm->msg.vm;
		to[n] = before != NULL && is_same(before, vm) ? before->msg.vm
							      : ++*last;
		vm->msg.vm = to[n++];
	}
	TAILQ_FOREACH(rule, &conf->rules, entry)
		for (i = 0; i < rule->msg.nvms; i++)
			rule->msg.vms[i] =
			    renumbered(rule->msg.vms[i], from, to, n);
	TAILQ_FOREACH(a, &conf->adapters, entry)
		a->msg.vm = renumbered(a->msg.vm, from, to, n);
	free(from);
	free(to);
}
