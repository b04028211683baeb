/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "confbuild.h"
#include "confint.h"
#include "damping.h"
#include "log.h"
#include "sandbox.h"
#include "xalloc.h"

#define GUEST_PORT_MAX 15 /* qemu-xhci has no more */

struct build build;

void
build_start(void)
{
	memset(&build, 0, sizeof(build));
	build.conf = xcalloc(1, sizeof(*build.conf));
	TAILQ_INIT(&build.conf->vms);
	TAILQ_INIT(&build.conf->rules);
	TAILQ_INIT(&build.conf->sources);
	TAILQ_INIT(&build.conf->adapters);
	TAILQ_INIT(&build.refs);
	build_rule_init();
}

/* Takes value; to is what it goes to, once. */
static void
set_string(char *to, size_t size, char *value, const char *what)
{
	if (to[0] != '\0')
		lex_error(lex_here(), "second %s \"%s\"", what, value);
	else if (value[0] == '\0')
		lex_error(lex_here(), "%s is empty", what);
	else if (strlcpy(to, value, size) >= size)
		lex_error(lex_here(), "%s \"%s\" is longer than %zu bytes",
		    what, value, size - 1);
	free(value);
}

void
build_set_path(char *to, size_t size, char *value, const char *what)
{
	if (value[0] == '/') {
		set_string(to, size, value, what);
		return;
	}
	lex_error(
	    lex_here(), "%s \"%s\": expected an absolute path", what, value);
	free(value);
}

void
build_log_directory(char *value)
{
	build_set_path(build.conf->log_directory,
	    sizeof(build.conf->log_directory), value, "log directory");
}

void
build_log_required(void)
{
	build.conf->log_required = 1;
}

/* A line that ended in an error has left something. */
void
build_control(char *value)
{
	free(build.control.path);
	free(build.control.group);
	memset(&build.control, 0, sizeof(build.control));
	build.control.path = value;
}

void
build_control_group(char *value)
{
	if (build.control.group != NULL)
		lex_error(lex_here(), "second group \"%s\"", value);
	free(build.control.group);
	build.control.group = value;
}

void
build_control_readonly(void)
{
	build.control.readonly = 1;
}

void
build_control_end(void)
{
	struct conf *conf = build.conf;
	int ro = build.control.readonly;

	build_set_path(ro ? conf->readonly : conf->control,
	    sizeof(conf->control), build.control.path,
	    ro ? "readonly control socket" : "control socket");
	if (build.control.group != NULL)
		set_string(ro ? conf->readonly_group : conf->control_group,
		    sizeof(conf->control_group), build.control.group, "group");
	memset(&build.control, 0, sizeof(build.control));
	if (strcmp(conf->readonly, conf->control) == 0)
		lex_error(lex_here(),
		    "control socket \"%s\": the readonly one needs a path of "
		    "its own",
		    conf->readonly);
}

void
build_events(enum events_source source)
{
	if (build.has_events)
		lex_error(lex_here(), "second events");
	build.has_events = 1;
	build.conf->events = source;
}

/* Processes */

void
build_process(char *name)
{
	enum proc_id proc;

	build.process = NULL;
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		if (strcmp(proc_name(proc), name) == 0) {
			build.process = &build.conf->processes[proc];
			build.process_id = proc;
		}
	if (build.process == NULL)
		lex_error(lex_here(),
		    "process \"%s\": expected engine, monitor or qmpclient",
		    name);
	free(name);
}

/* One that has the user of another could signal and trace it. */
static void
check_own_user(const char *user)
{
	const char *other;
	enum proc_id proc;

	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		other = build.conf->processes[proc].user;
		if (other[0] == '\0')
			other = proc_table[proc].user;
		if (proc != build.process_id && strcmp(user, other) == 0)
			lex_error(lex_here(),
			    "user \"%s\" is that of process %s: each needs "
			    "its own",
			    user, proc_name(proc));
	}
}

void
build_process_user(char *value)
{
	if (build.process == NULL) {
		free(value);
		return;
	}
	check_own_user(value);
	set_string(
	    build.process->user, sizeof(build.process->user), value, "user");
}

void
build_process_pledge(char *value)
{
	struct conf_process *p = build.process;
	char word[64];

	if (p == NULL)
		;
	else if (p->has_promises)
		lex_error(lex_here(), "second pledge \"%s\"", value);
	else if (sandbox_check_promises(
		     build.process_id, value, word, sizeof(word)) == -1)
		lex_error(lex_here(),
		    "pledge \"%s\": %s has no promise \"%s\", only \"%s\"",
		    value, proc_name(build.process_id), word,
		    sandbox_promises(build.process_id));
	else if (strlcpy(p->promises, value, sizeof(p->promises)) >=
		 sizeof(p->promises))
		lex_error(lex_here(), "pledge is longer than %zu bytes",
		    sizeof(p->promises) - 1);
	else
		p->has_promises = 1;
	free(value);
}

/* Machines */

static struct conf_vm *
vm_find(const char *name)
{
	struct conf_vm *vm;

	TAILQ_FOREACH(vm, &build.conf->vms, entry)
		if (strcmp(vm->msg.name, name) == 0)
			return vm;
	return NULL;
}

/* A machine whose line has an error is known all the same: one message. */
void
build_vm(char *name)
{
	struct conf_vm *vm = xcalloc(1, sizeof(*vm));

	if (name[0] == '\0' || strlen(name) >= MSG_VM_NAME_MAX)
		lex_error(lex_here(), "vm name \"%s\": expected 1 to %d bytes",
		    name, MSG_VM_NAME_MAX - 1);
	else if (vm_find(name) != NULL)
		lex_error(lex_here(), "vm \"%s\" is there already", name);
	strlcpy(vm->msg.name, name, sizeof(vm->msg.name));
	vm->msg.vm = ++build.conf->nvms;
	TAILQ_INSERT_TAIL(&build.conf->vms, vm, entry);
	build.vm = vm;
	build.vm_has_handover = 0;
	build.vm_has_monitor = 0;
	build.vm_has_release = 0;
	free(name);
}

void
build_vm_qmp(char *value)
{
	struct conf_vm *vm;

	TAILQ_FOREACH(vm, &build.conf->vms, entry)
		if (vm != build.vm && vm->qmp[0] != '\0' &&
		    strcmp(vm->qmp, value) == 0)
			lex_error(lex_here(),
			    "qmp \"%s\" is the socket of vm \"%s\"", value,
			    vm->msg.name);
	build_set_path(build.vm->qmp, sizeof(build.vm->qmp), value, "qmp");
}

void
build_vm_bus(char *value)
{
	set_string(build.vm->msg.bus, sizeof(build.vm->msg.bus), value, "bus");
}

/* One or two digits; what is behind them, or NULL. */
static const char *
parse_guest_port(const char *s, unsigned int *port)
{
	size_t n = strspn(s, "0123456789");

	*port = (unsigned int)strtoul(s, NULL, 10);
	return n == 1 || n == 2 ? s + n : NULL;
}

void
build_vm_ports(char *value)
{
	struct msg_vm *m = &build.vm->msg;
	unsigned int first, last;
	const char *end;

	end = parse_guest_port(value, &first);
	last = first;
	if (end != NULL && *end == '-')
		end = parse_guest_port(end + 1, &last);
	if (end == NULL || *end != '\0')
		first = 0;
	if (m->first_port != 0)
		lex_error(lex_here(), "second port \"%s\"", value);
	else if (first == 0 || last < first || last > GUEST_PORT_MAX)
		lex_error(lex_here(),
		    "port \"%s\": expected ports of the guest's bus from 1 "
		    "to %d, as in 3 or 5-8",
		    value, GUEST_PORT_MAX);
	m->first_port = (uint16_t)first;
	m->last_port = (uint16_t)last;
	free(value);
}

/* Words to bits; 0 after an error. */
uint64_t
build_pledge_bits(const char *words)
{
	char copy[LEX_WORD_MAX], *rest = copy, *word;
	uint64_t bits = 0, bit;

	strlcpy(copy, words, sizeof(copy));
	while ((word = strsep(&rest, " \t")) != NULL) {
		if (word[0] == '\0')
			continue;
		if ((bit = class_word_bit(word)) == 0) {
			lex_error(lex_here(),
			    "pledge \"%s\": \"%s\" is no class word; "
			    "usbmgrd.conf(5) lists them",
			    words, word);
			return 0;
		}
		bits |= bit;
	}
	if (bits == 0)
		lex_error(lex_here(), "pledge is empty");
	return bits;
}

void
build_vm_pledge(char *value)
{
	if (build.vm->msg.pledge != 0)
		lex_error(lex_here(), "second pledge \"%s\"", value);
	else
		build.vm->msg.pledge = build_pledge_bits(value);
	free(value);
}

void
build_vm_handover(char *value)
{
	if (build.vm_has_handover)
		lex_error(lex_here(), "second handover \"%s\"", value);
	else if (strcmp(value, "auto") == 0)
		build.vm->msg.handover = HANDOVER_AUTO;
	else if (strcmp(value, "fd") == 0)
		build.vm->msg.handover = HANDOVER_FD;
	else if (strcmp(value, "address") == 0)
		build.vm->msg.handover = HANDOVER_ADDRESS;
	else
		lex_error(lex_here(),
		    "handover \"%s\": expected auto, fd or address", value);
	build.vm_has_handover = 1;
	free(value);
}

void
build_vm_monitor(char *value)
{
	if (build.vm_has_monitor)
		lex_error(lex_here(), "second monitor \"%s\"", value);
	else if (strcmp(value, "persistent") == 0)
		build.vm->msg.monitor = MONITOR_PERSISTENT;
	else if (strcmp(value, "shared") == 0)
		build.vm->msg.monitor = MONITOR_SHARED;
	else
		lex_error(lex_here(),
		    "monitor \"%s\": expected persistent or shared", value);
	build.vm_has_monitor = 1;
	free(value);
}

void
build_vm_release(char *value)
{
	if (build.vm_has_release)
		lex_error(lex_here(), "second release \"%s\"", value);
	else if (strcmp(value, "host") == 0)
		build.vm->msg.release = RELEASE_HOST;
	else if (strcmp(value, "nobody") == 0)
		build.vm->msg.release = RELEASE_NOBODY;
	else
		lex_error(lex_here(), "release \"%s\": expected host or nobody",
		    value);
	build.vm_has_release = 1;
	free(value);
}

/* Timeouts */

/* hold is NULL where the file does not say it. */
void
build_damping(char *rate, char *hold)
{
	struct damping damping;
	const char *wrong = damping_parse(rate, hold, &damping);

	if (build.conf->has_damping)
		lex_error(lex_here(), "second damping \"%s\"", rate);
	else if (wrong != NULL)
		lex_error(lex_here(), "damping \"%s\": %s", rate, wrong);
	else
		build.conf->damping = damping;
	build.conf->has_damping = 1;
	free(rate);
	free(hold);
}

void
build_no_vm(void)
{
	build.vm = NULL;
}

static uint32_t *
timeout_place(const char *which)
{
	if (strcmp(which, "greeting") == 0)
		return build.vm != NULL ? &build.vm->msg.greeting_ms
					: &build.conf->greeting_ms;
	if (strcmp(which, "reply") == 0)
		return build.vm != NULL ? &build.vm->msg.reply_ms
					: &build.conf->reply_ms;
	return NULL;
}

void
build_timeout(char *which, char *seconds)
{
	uint32_t *place = timeout_place(which);
	const char *errstr;
	long long n;

	n = strtonum(seconds, 1, QMP_TIMEOUT_MAX / 1000, &errstr);
	if (place == NULL)
		lex_error(lex_here(),
		    "timeout \"%s\": expected greeting or reply", which);
	else if (*place != 0)
		lex_error(
		    lex_here(), "second timeout %s \"%s\"", which, seconds);
	else if (errstr != NULL)
		lex_error(lex_here(),
		    "timeout %s \"%s\": expected seconds, 1 to %d", which,
		    seconds, QMP_TIMEOUT_MAX / 1000);
	else
		*place = (uint32_t)n * 1000;
	free(which);
	free(seconds);
}

static uint32_t
timeout_of(uint32_t own, uint32_t common)
{
	if (own != 0)
		return own;
	return common != 0 ? common : QMP_TIMEOUT_DEFAULT;
}

static void
fill_timeouts_of(const struct conf *conf, struct msg_vm *m)
{
	m->greeting_ms = timeout_of(m->greeting_ms, conf->greeting_ms);
	m->reply_ms = timeout_of(m->reply_ms, conf->reply_ms);
}

static void
fill_timeouts(struct conf *conf)
{
	struct conf_vm *vm;

	TAILQ_FOREACH(vm, &conf->vms, entry)
		fill_timeouts_of(conf, &vm->msg);
	fill_timeouts_of(conf, &conf->eve.vm.msg);
}

void
build_vm_end(void)
{
	if (build.vm->qmp[0] == '\0')
		lex_error(lex_here(),
		    "vm \"%s\" without qmp: expected qmp \"/path/of/socket\"",
		    build.vm->msg.name);
}

/* The whole */

static void
set_vm(const struct vm_ref *ref, uint32_t number)
{
	struct conf_rule *rule;
	unsigned int i;

	for (rule = ref->first; rule != NULL; rule = TAILQ_NEXT(rule, entry)) {
		for (i = 0; i < rule->msg.nvms; i++)
			if (rule->msg.vms[i] == number)
				break;
		if (i < rule->msg.nvms)
			lex_error(
			    ref->place, "vm \"%s\" stands twice", ref->name);
		else if (i == MSG_RULE_VMS_MAX)
			lex_error(ref->place, "more than %d machines",
			    MSG_RULE_VMS_MAX);
		else
			rule->msg.vms[rule->msg.nvms++] = number;
		if (rule == ref->last)
			break;
	}
}

static void
resolve(void)
{
	struct conf_vm *vm;
	struct vm_ref *ref;

	while ((ref = TAILQ_FIRST(&build.refs)) != NULL) {
		TAILQ_REMOVE(&build.refs, ref, entry);
		vm = vm_find(ref->name);
		if (vm == NULL)
			lex_error(ref->place,
			    "unknown vm \"%s\": no line says vm \"%s\" "
			    "qmp \"...\"",
			    ref->name, ref->name);
		else if (ref->first != NULL)
			set_vm(ref, vm->msg.vm);
		free(ref->name);
		free(ref);
	}
}

struct conf *
build_finish(void)
{
	struct conf *conf = build.conf;

	build_rule_drop();
	free(build.control.path);
	free(build.control.group);
	resolve();
	build_sources_finish();
	if (conf->log_directory[0] == '\0')
		strlcpy(
		    conf->log_directory, LOGDIR, sizeof(conf->log_directory));
	if (conf->control[0] == '\0')
		strlcpy(conf->control, RUNDIR "/usbmgrd.sock",
		    sizeof(conf->control));
	if (!conf->has_damping)
		conf->damping = damping_default();
	fill_timeouts(conf);
	/* Of rules with errors it is not known what they are to match. */
	if (!lex_has_errors())
		conf_check_shadows(conf);
	return conf;
}
