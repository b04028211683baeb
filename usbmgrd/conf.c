/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include "classes.h"
#include "confint.h"
#include "damping.h"
#include "log.h"

static const char *const events_names[] = { [EVENTS_AUTO] = "auto",
	[EVENTS_UDEV] = "udev",
	[EVENTS_KERNEL] = "kernel" };

static const char *const text_names[TEXT_MAX] = { [TEXT_SERIAL] = "serial",
	[TEXT_NAME] = "name",
	[TEXT_MANUFACTURER] = "manufacturer" };

void
conf_free(struct conf *conf)
{
	struct conf_vm *vm;
	struct conf_rule *rule;
	unsigned int i;

	if (conf == NULL)
		return;
	conf_free_sources(conf);
	while ((vm = TAILQ_FIRST(&conf->vms)) != NULL) {
		TAILQ_REMOVE(&conf->vms, vm, entry);
		free(vm);
	}
	while ((rule = TAILQ_FIRST(&conf->rules)) != NULL) {
		TAILQ_REMOVE(&conf->rules, rule, entry);
		for (i = 0; i < TEXT_MAX; i++)
			free(rule->text[i]);
		free(rule);
	}
	free(conf);
}

/* Printing */

static const char *
vm_name(const void *arg, uint32_t number)
{
	const struct conf *conf = arg;
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &conf->vms, entry)
		if (vm->msg.vm == number)
			return vm->msg.name;
	return "";
}

static void
print_pledge(uint64_t bits, FILE *out)
{
	const struct class_word *w;
	const char *blank = "";
	uint64_t bit;

	if (bits == 0)
		return;
	fputs(" pledge \"", out);
	for (w = class_words; w->word != NULL; w++) {
		bit = class_word_bit(w->word);
		if ((bits & bit) == 0)
			continue;
		fprintf(out, "%s%s", blank, w->word);
		bits &= ~bit;
		blank = " ";
	}
	fputc('"', out);
}

static void
print_id(int has, unsigned int id, FILE *out)
{
	if (has)
		fprintf(out, "%04x", id);
	else
		fputc('*', out);
}

static void
print_place(const struct msg_rule *m, FILE *out)
{
	struct usbport port = m->port;
	char buf[USBPORT_STRLEN];

	if (m->has & RULE_HAS_CONTROLLER)
		fprintf(out, " controller %s", m->controller);
	if ((m->has & RULE_HAS_PORT) && port.busnum != 0) {
		fprintf(out, " port %s", usbport_string(&port, buf));
	} else if (m->has & RULE_HAS_PORT) {
		port.busnum = 1;
		usbport_string(&port, buf);
		fprintf(out, " port %s", strchr(buf, ':') + 1);
	}
	if (m->has & RULE_HAS_BELOW)
		fprintf(out, " below %s", usbport_string(&m->below, buf));
}

static void
print_class(const struct msg_rule *m, FILE *out)
{
	fprintf(out, " class %02x", m->class.class);
	if (m->class_parts > 1)
		fprintf(out, ":%02x", m->class.subclass);
	if (m->class_parts > 2)
		fprintf(out, ":%02x", m->class.protocol);
}

static void
print_identity(const struct conf_rule *rule, FILE *out)
{
	const struct msg_rule *m = &rule->msg;
	unsigned int i;

	if (rule->has_product) {
		fputs(" product ", out);
		print_id(m->has & RULE_HAS_VENDOR, m->vendor, out);
		fputc(':', out);
		print_id(m->has & RULE_HAS_PRODUCT, m->product, out);
	}
	for (i = 0; i < TEXT_MAX; i++)
		if (m->has & rule_text_bits[i])
			fprintf(
			    out, " %s \"%s\"", text_names[i], rule->text[i]);
	if (m->has & RULE_HAS_CLASS)
		print_class(m, out);
	if (m->has & RULE_HAS_SPEED)
		fprintf(
		    out, " speed %s", usbspeed_string((enum usbspeed)m->speed));
}

static void
print_vms(const struct msg_rule *m, FILE *out,
    const char *(*name)(const void *, uint32_t), const void *arg)
{
	unsigned int i;

	fputs(m->nvms == 1 ? " to" : " to {", out);
	for (i = 0; i < m->nvms; i++)
		fprintf(out, " \"%s\"", name(arg, m->vms[i]));
	if (m->nvms != 1)
		fputs(" }", out);
}

static void
print_what(const struct conf_rule *rule, FILE *out)
{
	const struct msg_rule *m = &rule->msg;

	fputs(m->action == RULE_BLOCK ? "block" : "pass", out);
	if (m->flags & RULE_QUICK)
		fputs(" quick", out);
	if (m->has == 0 && !rule->has_product)
		fputs(" all", out);
	print_place(m, out);
	print_identity(rule, out);
}

void
conf_print_rule(const struct conf *conf, const struct conf_rule *rule,
    FILE *out, const char *(*name)(const void *, uint32_t), const void *arg)
{
	const struct msg_rule *m = &rule->msg;

	if (rule->source != NULL)
		conf_print_source(conf, rule->source, out);
	else if (m->action == RULE_SOURCE)
		fputs("a manifest, or eve", out);
	else
		print_what(rule, out);
	if (m->action == RULE_PASS)
		print_vms(m, out, name, arg);
	if (m->flags & RULE_EVEN_IF_BUSY)
		fputs(" even if busy", out);
	print_pledge(m->pledge, out);
	fputc('\n', out);
}

void
conf_print_vm_options(const struct msg_vm *m, enum monitor_use usual, FILE *out)
{
	if (m->bus[0] != '\0')
		fprintf(out, " bus \"%s\"", m->bus);
	if (m->first_port != 0 && m->first_port == m->last_port)
		fprintf(out, " port %u", m->first_port);
	else if (m->first_port != 0)
		fprintf(out, " port %u-%u", m->first_port, m->last_port);
	print_pledge(m->pledge, out);
	if (m->handover != HANDOVER_AUTO)
		fprintf(out, " handover %s",
		    m->handover == HANDOVER_FD ? "fd" : "address");
	if (m->monitor != usual)
		fprintf(out, " monitor %s",
		    m->monitor == MONITOR_SHARED ? "shared" : "persistent");
	if (m->release == RELEASE_NOBODY)
		fputs(" release nobody", out);
	if (m->greeting_ms != QMP_TIMEOUT_DEFAULT)
		fprintf(out, " timeout greeting %u", m->greeting_ms / 1000);
	if (m->reply_ms != QMP_TIMEOUT_DEFAULT)
		fprintf(out, " timeout reply %u", m->reply_ms / 1000);
}

static void
print_vm(const struct conf *conf, const struct conf_vm *vm, FILE *out)
{
	const struct msg_vm *m = &vm->msg;

	fprintf(out, "vm \"%s\" qmp \"%s\"", m->name, vm->qmp);
	conf_print_vm_options(m, MONITOR_PERSISTENT, out);
	conf_print_adapters(conf, m->vm, out);
	fputc('\n', out);
}

static void
print_process(enum proc_id proc, const struct conf_process *p, FILE *out)
{
	if (p->user[0] == '\0' && !p->has_promises)
		return;
	fprintf(out, "process %s", proc_name(proc));
	if (p->user[0] != '\0')
		fprintf(out, " user \"%s\"", p->user);
	if (p->has_promises)
		fprintf(out, " pledge \"%s\"", p->promises);
	fputc('\n', out);
}

void
conf_print(const struct conf *conf, FILE *out)
{
	const struct conf_vm *vm;
	const struct conf_rule *rule;
	enum proc_id proc;

	fprintf(out, "log directory \"%s\"\n", conf->log_directory);
	if (conf->log_required)
		fputs("log required\n", out);
	fprintf(out, "control socket \"%s\"", conf->control);
	if (conf->control_group[0] != '\0')
		fprintf(out, " group \"%s\"", conf->control_group);
	if (conf->readonly[0] != '\0')
		fprintf(
		    out, "\ncontrol socket \"%s\" readonly", conf->readonly);
	if (conf->readonly_group[0] != '\0')
		fprintf(out, " group \"%s\"", conf->readonly_group);
	fprintf(out, "\nevents %s\n", events_names[conf->events]);
	damping_print(&conf->damping, out);
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		print_process(proc, &conf->processes[proc], out);
	TAILQ_FOREACH(vm, &conf->vms, entry)
		print_vm(conf, vm, out);
	TAILQ_FOREACH(rule, &conf->rules, entry)
		conf_print_rule(conf, rule, out, vm_name, conf);
}

void
conf_hash(const struct conf *conf, uint8_t hash[AUDIT_HASH_LEN])
{
	char *text = NULL;
	size_t len = 0;
	SHA2_CTX ctx;
	FILE *out;

	if ((out = open_memstream(&text, &len)) == NULL)
		fatal("open_memstream");
	conf_print(conf, out);
	if (fclose(out) == EOF)
		fatal("open_memstream");
	SHA256Init(&ctx);
	SHA256Update(&ctx, (const uint8_t *)text, len);
	SHA256Final(hash, &ctx);
	free(text);
}

/* For the engine */

void
conf_rule_text(
    const struct conf_rule *rule, unsigned int which, struct msg_rule_text *m)
{
	memset(m, 0, sizeof(*m));
	m->what = rule_text_bits[which];
	strlcpy(m->text, rule->text[which], sizeof(m->text));
}

static const char *
add_rule(struct policy *policy, const struct conf_rule *rule)
{
	struct msg_rule_text text;
	const char *wrong;
	unsigned int i;

	for (i = 0; i < TEXT_MAX; i++) {
		if (rule->text[i] == NULL)
			continue;
		conf_rule_text(rule, i, &text);
		if ((wrong = policy_add_text(policy, &text)) != NULL)
			return wrong;
	}
	return policy_add_rule(policy, &rule->msg);
}

struct policy *
conf_policy(const struct conf *conf, const char **why)
{
	const struct conf_rule *rule;
	const struct conf_vm *vm;
	struct policy *policy;

	*why = NULL;
	if ((policy = policy_new(conf->nvms, conf->nrules)) == NULL) {
		*why = "out of memory";
		return NULL;
	}
	*why = policy_set_damping(policy, &conf->damping);
	TAILQ_FOREACH(vm, &conf->vms, entry)
		if (*why == NULL)
			*why = policy_add_vm(policy, &vm->msg);
	if (*why == NULL)
		*why = conf_add_adapters(conf, policy);
	TAILQ_FOREACH(rule, &conf->rules, entry) {
		if (*why == NULL && rule->source != NULL)
			*why = conf_add_source(conf, rule->source, policy);
		if (*why == NULL)
			*why = add_rule(policy, rule);
	}
	if (*why == NULL) {
		conf_hash(conf, policy->hash);
		return policy;
	}
	policy_free(policy);
	return NULL;
}
