/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include "classes.h"
#include "trace.h"
#include "world.h"

/* Policies of chance. */

static const char *const words[KINDS] = { "mouse", "keyboard", "storage",
	"vendor" };

uint64_t
conf_classes(int kind)
{
	return class_word_bit(words[kind]);
}

/* A pledge that three of the four kinds keep. */
static uint64_t
chance_pledge(void)
{
	uint64_t pledge = 0;
	int i, not = (int)chance(KINDS);

	if (chance(8) != 0)
		return 0;
	for (i = 0; i < KINDS; i++)
		if (i != not )
			pledge |= conf_classes(i);
	return pledge;
}

static const struct conf_vm *
find_qemu(const struct conf *conf, int qemu)
{
	size_t i;

	for (i = 0; i < conf->nvms; i++)
		if (conf->vms[i].qemu == qemu)
			return &conf->vms[i];
	return NULL;
}

/* What stays the same keeps its number; no number is given twice. */
static void
add_vm(struct conf *next, const struct conf *before, int qemu)
{
	const struct conf_vm *old = find_qemu(before, qemu);
	struct conf_vm *vm = &next->vms[next->nvms++];

	vm->qemu = qemu;
	vm->shared =
	    old == NULL || chance(8) == 0 ? chance(3) == 0 : old->shared;
	vm->number = old != NULL && vm->shared == old->shared
			 ? old->number
			 : ++world.last_number;
	vm->pledge = chance_pledge();
	vm->release = chance(2) == 0 ? RELEASE_HOST : RELEASE_NOBODY;
}

static void
chance_rule(struct conf *next, struct conf_rule *r)
{
	size_t first, i;

	r->slot = chance(2) == 0 ? (int)chance(SLOTS) : -1;
	r->kind = chance(2) == 0 ? (int)chance(KINDS) : -1;
	r->quick = chance(10) == 0;
	if (next->nvms == 0 || chance(5) == 0)
		return;
	r->pass = 1;
	r->even_if_busy = chance(5) == 0;
	r->pledge = chance_pledge();
	r->nvms = chance(2) == 0 ? 1 : 1 + chance((uint32_t)next->nvms);
	first = chance((uint32_t)next->nvms);
	for (i = 0; i < r->nvms; i++)
		r->vms[i] = (first + i) % next->nvms;
}

void
conf_chance(struct conf *next, const struct conf *before)
{
	int first = (int)chance(QEMUS), i;
	size_t n;

	memset(next, 0, sizeof(*next));
	if (chance(3) != 0)
		next->damping = (struct damping){ 1 + chance(4),
			1000 * (1 + chance(20)), 1000 * (1 + chance(5)) };
	for (i = 0; i < QEMUS; i++)
		if (chance(6) != 0)
			add_vm(next, before, (first + i) % QEMUS);
	next->nrules = 1 + chance(RULES_MAX);
	for (n = 0; n < next->nrules; n++)
		chance_rule(next, &next->rules[n]);
}

static void
make_vm(struct policy *p, const struct conf_vm *v)
{
	struct msg_vm vm;

	memset(&vm, 0, sizeof(vm));
	vm.vm = v->number;
	vm.name[0] = qemu_names[v->qemu];
	vm.pledge = v->pledge;
	vm.release = v->release;
	vm.monitor = v->shared ? MONITOR_SHARED : MONITOR_PERSISTENT;
	CHECK(policy_add_vm(p, &vm) == NULL, NOBODY, v->qemu, "bad machine");
}

static void
make_rule(struct policy *p, const struct conf *conf, const struct conf_rule *r)
{
	struct snapshot kind = { .kind = r->kind < 0 ? 0 : r->kind };
	struct usbdev d = host_device(&kind);
	struct msg_rule m;
	size_t i;

	memset(&m, 0, sizeof(m));
	m.action = r->pass ? RULE_PASS : RULE_BLOCK;
	m.flags = (r->quick ? RULE_QUICK : 0U) |
		  (r->even_if_busy ? RULE_EVEN_IF_BUSY : 0U);
	m.pledge = r->pledge;
	if (r->slot >= 0) {
		m.has |= RULE_HAS_PORT;
		m.port = slot_port(r->slot);
	}
	if (r->kind >= 0) {
		m.has |= RULE_HAS_VENDOR | RULE_HAS_PRODUCT;
		m.vendor = d.vendor;
		m.product = d.product;
	}
	m.nvms = (uint16_t)r->nvms;
	for (i = 0; i < r->nvms; i++)
		m.vms[i] = conf->vms[r->vms[i]].number;
	snprintf(m.where, sizeof(m.where), "t:%zu", p->nrules + 1);
	CHECK(policy_add_rule(p, &m) == NULL, NOBODY, NOBODY, "bad rule");
}

struct policy *
conf_policy(const struct conf *conf)
{
	struct policy *p = policy_new(conf->nvms, conf->nrules);
	size_t i;

	CHECK(p != NULL, NOBODY, NOBODY, "policy_new");
	CHECK(policy_set_damping(p, &conf->damping) == NULL, NOBODY, NOBODY,
	    "bad damping");
	for (i = 0; i < conf->nvms; i++)
		make_vm(p, &conf->vms[i]);
	for (i = 0; i < conf->nrules; i++)
		make_rule(p, conf, &conf->rules[i]);
	return p;
}

const struct conf_rule *
conf_decide(const struct conf *conf, const struct snapshot *s, size_t *place)
{
	const struct conf_rule *r, *last = NULL;
	size_t i;

	for (i = 0; i < conf->nrules; i++) {
		r = &conf->rules[i];
		if ((r->slot >= 0 && r->slot != s->slot) ||
		    (r->kind >= 0 && r->kind != s->kind))
			continue;
		last = r;
		*place = i + 1;
		if (r->quick)
			break;
	}
	return last;
}
