/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "policy_int.h"

const char *
policy_add_adapter(struct policy *p, const struct msg_adapter *m)
{
	struct msg_adapter *list;

	if (!msg_string_ok(m->name, sizeof(m->name)) || m->name[0] == '\0')
		return "adapter with a bad name";
	if (!policy_has_vm(p, m->vm))
		return "adapter of a machine that is not there";
	list = reallocarray(p->adapters, p->nadapters + 1, sizeof(*list));
	if (list == NULL)
		return "adapter for which there is no memory";
	list[p->nadapters++] = *m;
	p->adapters = list;
	return NULL;
}

static const char *
add_source(struct policy *p, struct bundles *bundles)
{
	if (p->source_open || p->nsources == POLICY_SOURCES_MAX)
		return "source too many";
	p->sources[p->nsources++].bundles = bundles;
	p->source_open = 1;
	return NULL;
}

const char *
policy_add_manifest(struct policy *p, struct bundles *bundles)
{
	const char *wrong = add_source(p, bundles);

	if (wrong != NULL)
		bundles_free(bundles);
	return wrong;
}

const char *
policy_add_eve(struct policy *p, const struct msg_eve *m)
{
	if (p->has_eve || m->nstates > EVE_STATES_MAX ||
	    !msg_string_ok(m->vm.bus, sizeof(m->vm.bus)))
		return "source that makes no sense";
	p->has_eve = 1;
	p->eve = *m;
	return add_source(p, NULL);
}

enum bundles_found
policy_find_adapter(
    const struct policy *p, const char *name, struct bundles_named *named)
{
	enum bundles_found found = BUNDLES_NO_SUCH;
	size_t i;

	memset(named, 0, sizeof(*named));
	for (i = 0; i < p->nsources; i++)
		if (p->sources[i].bundles != NULL)
			found =
			    bundles_find(p->sources[i].bundles, name, named);
	return found;
}

static const char *
vm_name(const struct policy *p, uint32_t number)
{
	size_t i;

	for (i = 0; i < p->nvms; i++)
		if (p->vms[i].vm == number)
			return p->vms[i].name;
	return "";
}

int
policy_check_adapters(const struct policy *p, char *why, size_t n)
{
	const struct msg_adapter *a;
	struct bundles_named named;
	enum bundles_found found;
	size_t i;

	for (i = 0; i < p->nadapters; i++) {
		a = &p->adapters[i];
		found = policy_find_adapter(p, a->name, &named);
		if (found == BUNDLES_ONE)
			continue;
		bundles_not_one(
		    vm_name(p, a->vm), a->name, found, &named, why, n);
		return -1;
	}
	return 0;
}

static void
join_machine(struct policy *p, const struct msg_vm *vm, char **names)
{
	size_t i, n = 0;

	for (i = 0; i < p->nadapters; i++)
		if (p->adapters[i].vm == vm->vm)
			names[n++] = p->adapters[i].name;
	for (i = 0; i < p->nsources && n > 0; i++)
		if (p->sources[i].bundles != NULL)
			bundles_machine(
			    p->sources[i].bundles, vm->vm, vm->name, names, n);
}

int
policy_join_machines(struct policy *p)
{
	char **names;
	size_t i;

	if (p->nadapters == 0)
		return 0;
	if ((names = calloc(p->nadapters, sizeof(*names))) == NULL)
		return -1;
	for (i = 0; i < p->nvms; i++)
		join_machine(p, &p->vms[i], names);
	free(names);
	return 0;
}

const struct policy_source *
policy_source_after(const struct policy *p, const struct policy_match *match,
    const struct policy_source *before)
{
	const struct policy_source *s = before;

	if (match->rule != NULL && (match->rule->flags & RULE_QUICK))
		return NULL;
	if (s == NULL)
		s = p->sources + p->nsources;
	if (s == p->sources)
		return NULL;
	s--;
	return match->rule == NULL || s->rule > match->at ? s : NULL;
}
