/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include "conf.h"

static const char *const events_names[] = { [EVENTS_AUTO] = "auto",
	[EVENTS_UDEV] = "udev",
	[EVENTS_KERNEL] = "kernel" };

void
conf_free(struct conf *conf)
{
	struct conf_vm *vm;
	struct conf_rule *rule;

	if (conf == NULL)
		return;
	while ((vm = TAILQ_FIRST(&conf->vms)) != NULL) {
		TAILQ_REMOVE(&conf->vms, vm, entry);
		free(vm);
	}
	while ((rule = TAILQ_FIRST(&conf->rules)) != NULL) {
		TAILQ_REMOVE(&conf->rules, rule, entry);
		free(rule);
	}
	free(conf);
}

static const char *
vm_name(const struct conf *conf, uint32_t number)
{
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &conf->vms, entry)
		if (vm->msg.vm == number)
			return vm->msg.name;
	return "";
}

static void
print_rule(const struct conf *conf, const struct msg_rule *rule, FILE *out)
{
	char port[USBPORT_STRLEN];

	fputs(rule->action == RULE_BLOCK ? "block" : "pass", out);
	if (rule->has == 0)
		fputs(" all", out);
	if (rule->has & RULE_HAS_PORT)
		fprintf(out, " port %s", usbport_string(&rule->port, port));
	if (rule->has & RULE_HAS_PRODUCT)
		fprintf(out, " product %04x:%04x", rule->vendor, rule->product);
	if (rule->action == RULE_PASS)
		fprintf(out, " to \"%s\"", vm_name(conf, rule->vms[0]));
	fputc('\n', out);
}

void
conf_print(const struct conf *conf, FILE *out)
{
	const struct conf_vm *vm;
	const struct conf_rule *rule;

	fprintf(out, "log directory \"%s\"\n", conf->log_directory);
	fprintf(out, "control socket \"%s\"", conf->control);
	if (conf->control_group[0] != '\0')
		fprintf(out, " group \"%s\"", conf->control_group);
	fprintf(out, "\nevents %s\n", events_names[conf->events]);
	TAILQ_FOREACH(vm, &conf->vms, entry) {
		fprintf(out, "vm \"%s\" qmp \"%s\"", vm->msg.name, vm->qmp);
		if (vm->msg.bus[0] != '\0')
			fprintf(out, " bus \"%s\"", vm->msg.bus);
		fputc('\n', out);
	}
	TAILQ_FOREACH(rule, &conf->rules, entry)
		print_rule(conf, &rule->msg, out);
}
