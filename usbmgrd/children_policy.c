/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "children.h"
#include "children_int.h"
#include "log.h"
#include "parent_eve.h"
#include "reload.h"

static const struct msg_none none;
static const struct conf *policy;
static int policy_done;
static uint32_t unconfirmed; /* policies that the engine was sent */

const struct conf *
children_conf(void)
{
	return policy;
}

static void
send_rule(const struct conf_rule *rule)
{
	struct msg_rule_text text;
	unsigned int i;

	for (i = 0; i < TEXT_MAX; i++) {
		if (rule->text[i] == NULL)
			continue;
		conf_rule_text(rule, i, &text);
		children_send(PROC_ENGINE, MSG_CONF_TEXT, &text, -1);
	}
	children_send(PROC_ENGINE, MSG_CONF_RULE, &rule->msg, -1);
}

static int
send_policy(const struct conf *conf)
{
	struct msg_conf_begin begin = { .vms = conf->nvms,
		.rules = conf->nrules,
		.damping = conf->damping };
	const struct conf_rule *rule;
	const struct conf_vm *vm;

	conf_hash(conf, begin.hash);
	unconfirmed++;
	children_send(PROC_ENGINE, MSG_CONF_BEGIN, &begin, -1);
	TAILQ_FOREACH(vm, &conf->vms, entry)
		children_send(PROC_ENGINE, MSG_CONF_VM, &vm->msg, -1);
	parent_eve_send_adapters(conf);
	TAILQ_FOREACH(rule, &conf->rules, entry) {
		if (rule->source != NULL &&
		    parent_eve_send_source(conf, rule->source) == -1)
			return -1;
		send_rule(rule);
		/* A long policy may be more than a channel's queue holds. */
		if (children_flush(PROC_ENGINE) == -1)
			return 0; /* why will be seen: it ended or is overdue */
	}
	children_send(PROC_ENGINE, MSG_CONF_END, &none, -1);
	return 0;
}

int
children_policy_start(void)
{
	unconfirmed = 0;
	return send_policy(policy);
}

int
children_policy_taken(void)
{
	return policy_done;
}

/* An engine that is not there gets it when it is. */
void
children_policy(const struct conf *conf)
{
	policy = conf;
	if (child_is_open(PROC_ENGINE) && send_policy(conf) == -1)
		child_end(PROC_ENGINE, "cannot have its policy");
}

void
children_policy_stays(const struct conf *conf)
{
	policy = conf;
}

/* One that was just started has the policy before a reload to say yes to. */
void
children_policy_refused(struct chan *c, const struct msg_refused *m)
{
	int ready;

	if (unconfirmed == 0) {
		chan_fail(c, "refused a policy that it was not sent");
		return;
	}
	unconfirmed--;
	if (!msg_string_ok(m->text, sizeof(m->text))) {
		chan_fail(c, "refused a policy without a reason");
		return;
	}
	ready = child_is_ready(PROC_ENGINE);
	if (!ready && !reload_is_pending())
		log_warnx("policy: %s", m->text);
	if (!policy_done) {
		loop_end(1);
		return;
	}
	/* That of the reload is the last one. */
	if (ready || unconfirmed == 0)
		reload_refused(m->text);
	if (!ready)
		child_end(PROC_ENGINE, "was refused its policy");
}

void
children_policy_done(struct chan *c)
{
	int first = !policy_done;

	if (unconfirmed == 0) {
		chan_fail(c, "took a policy that it was not sent");
		return;
	}
	unconfirmed--;
	policy_done = 1;
	if (first)
		children_started();
	else if (unconfirmed == 0)
		reload_done();
}
