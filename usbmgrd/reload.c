/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "audit.h"
#include "children.h"
#include "lex.h"
#include "log.h"
#include "notify.h"
#include "parent.h"
#include "parent_eve.h"
#include "reload.h"

static struct {
	const char *path;
	struct conf *conf; /* in force, or on its way to the engine */
	struct conf *old; /* then the one before */
	uint32_t last_vm; /* highest number that a machine ever had */
	int pending; /* the engine has not yet said that it has it */
	int tell; /* the engine waits for the result of this one, */
	int again; /* and another one is to follow, */
	int tell_again; /* for whose result it waits */
	unsigned int errors;
	struct msg_vm *leaving; /* left the policy, but may have devices */
	size_t nleaving;
	size_t left_before; /* of them, without those of this reload */
} reload;

void
reload_init(const char *path, struct conf *conf)
{
	reload.path = path;
	reload.conf = conf;
	reload.last_vm = conf->nvms;
}

void
reload_audit(const struct conf *conf)
{
	uint8_t hash[AUDIT_HASH_LEN];
	struct json *j;

	conf_hash(conf, hash);
	j = audit_begin("policy");
	json_str(j, "file", reload.path);
	json_hex(j, "sha256", hash, sizeof(hash));
	json_num(j, "vms", conf->nvms);
	json_num(j, "rules", conf->nrules);
	audit_end();
}

static void say(const char *, ...) __attribute__((format(printf, 1, 2)));

/* To the log, and to whoever asked. */
static void
tell_line(const char *line)
{
	struct msg_line m;

	log_warnx("%s", line);
	reload.errors++;
	if (!reload.tell)
		return;
	memset(&m, 0, sizeof(m));
	strlcpy(m.text, line, sizeof(m.text));
	children_send(PROC_ENGINE, MSG_RELOAD_TEXT, &m, -1);
}

static void
say(const char *fmt, ...)
{
	char line[MSG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	tell_line(line);
}

static void
result(uint32_t error, const char *text)
{
	struct msg_done m;

	if (!reload.tell)
		return;
	memset(&m, 0, sizeof(m));
	m.error = error;
	strlcpy(m.text, text, sizeof(m.text));
	children_send(PROC_ENGINE, MSG_RELOAD_DONE, &m, -1);
	reload.tell = 0;
}

/* What was made of them at the start cannot be made anew. */

static void
check_fixed(int same, const char *statement)
{
	if (!same)
		say("warning: %s has changed: that counts from the next start "
		    "of usbmgrd on",
		    statement);
}

static void
check_statements(const struct conf *a, const struct conf *b)
{
	char name[64];
	enum proc_id proc;

	check_fixed(
	    strcmp(a->log_directory, b->log_directory) == 0, "log directory");
	check_fixed(a->log_required == b->log_required, "log required");
	check_fixed(strcmp(a->control, b->control) == 0 &&
			strcmp(a->control_group, b->control_group) == 0,
	    "control socket");
	check_fixed(strcmp(a->readonly, b->readonly) == 0 &&
			strcmp(a->readonly_group, b->readonly_group) == 0,
	    "the readonly control socket");
	check_fixed(a->events == b->events, "events");
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++) {
		snprintf(
		    name, sizeof(name), "process %s user", proc_name(proc));
		check_fixed(strcmp(a->processes[proc].user,
				b->processes[proc].user) == 0,
		    name);
	}
}

/*
 * A child that is started again is to be as the others are, and the next
 * reload is to say the same.
 */
static void
keep_statements(const struct conf *from, struct conf *to)
{
	enum proc_id proc;

	memcpy(
	    to->log_directory, from->log_directory, sizeof(to->log_directory));
	to->log_required = from->log_required;
	memcpy(to->control, from->control, sizeof(to->control));
	memcpy(
	    to->control_group, from->control_group, sizeof(to->control_group));
	memcpy(to->readonly, from->readonly, sizeof(to->readonly));
	memcpy(to->readonly_group, from->readonly_group,
	    sizeof(to->readonly_group));
	to->events = from->events;
	for (proc = PROC_FIRST_CHILD; proc <= PROC_LAST_CHILD; proc++)
		memcpy(to->processes[proc].user, from->processes[proc].user,
		    sizeof(to->processes[proc].user));
}

/* Machines */

static const struct conf_vm *
find_number(const struct conf *conf, uint32_t number)
{
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &conf->vms, entry)
		if (vm->msg.vm == number)
			return vm;
	return NULL;
}

const char *
reload_vm_name(uint32_t number)
{
	const struct conf_vm *vm = find_number(reload.conf, number);

	return vm == NULL ? "" : vm->msg.name;
}

static void
send_machines(const struct conf *old, const struct conf *conf)
{
	const struct conf_vm *vm, *before;

	TAILQ_FOREACH(vm, &conf->vms, entry) {
		before = find_number(old, vm->msg.vm);
		if (before == NULL ||
		    memcmp(&before->msg, &vm->msg, sizeof(vm->msg)) != 0)
			children_vm(&vm->msg);
	}
}

static void
note_leaving(const struct conf *old, const struct conf *conf)
{
	const struct conf_vm *vm;

	reload.left_before = reload.nleaving;
	TAILQ_FOREACH(vm, &old->vms, entry) {
		if (find_number(conf, vm->msg.vm) != NULL)
			continue;
		reload.leaving = reallocarray(reload.leaving,
		    reload.nleaving + 1, sizeof(*reload.leaving));
		if (reload.leaving == NULL)
			fatal("reallocarray");
		reload.leaving[reload.nleaving++] = vm->msg;
	}
}

static void
find_sockets(const struct conf *old, const struct conf *conf)
{
	const struct conf_vm *vm;

	TAILQ_FOREACH(vm, &conf->vms, entry)
		if (find_number(old, vm->msg.vm) == NULL)
			qmpsock_add(vm->msg.vm, vm->qmp,
			    vm->msg.monitor == MONITOR_SHARED);
}

int
reload_vm_has_left(uint32_t vm)
{
	size_t i;

	for (i = 0; i < reload.nleaving; i++)
		if (reload.leaving[i].vm == vm)
			return 0;
	return vm > 0 && vm <= reload.last_vm &&
	       find_number(reload.conf, vm) == NULL;
}

void
reload_vm_left(uint32_t vm)
{
	struct msg_vm_number gone = { .vm = vm };
	size_t i;

	for (i = 0; i < reload.nleaving; i++)
		if (reload.leaving[i].vm == vm)
			break;
	if (i == reload.nleaving)
		return;
	reload.leaving[i] = reload.leaving[--reload.nleaving];
	qmpsock_remove(vm);
	children_send(PROC_QMPCLIENT, MSG_QMP_VM_GONE, &gone, -1);
}

void
reload_each_leaving(void (*cb)(const struct msg_vm *))
{
	size_t i;

	for (i = 0; i < reload.nleaving; i++)
		cb(&reload.leaving[i]);
}

/* The whole */

static void
take(struct conf *conf)
{
	struct conf *old = reload.conf;

	check_statements(old, conf);
	keep_statements(old, conf);
	conf_renumber(old, conf, &reload.last_vm);
	reload.conf = conf;
	reload.old = old;
	reload.pending = 1;
	note_leaving(old, conf);
	children_policy(conf);
}

/* The engine reads them; what cannot be opened it is spared. */
static int
check_manifests(const struct conf *conf)
{
	const struct conf_source *source;
	char why[PATH_MAX + 128];
	int fd, rc = 0;

	TAILQ_FOREACH(source, &conf->sources, entry) {
		if (source->is_eve)
			continue;
		fd = conf_open_manifest(conf, source, why, sizeof(why));
		if (fd != -1) {
			close(fd);
			continue;
		}
		say("%s: %s", source->where, why);
		rc = -1;
	}
	return rc;
}

static void
refuse(void)
{
	char text[MSG_TEXT_MAX];

	snprintf(text, sizeof(text),
	    "the policy was not loaded, the one before stays in force: "
	    "%.128s has errors",
	    reload.path);
	log_warnx("%s", text);
	notify("READY=1\nSTATUS=%s", text);
	result(1, text);
}

void
reload_now(int tell)
{
	struct conf *conf;

	if (reload.pending) {
		reload.again = 1;
		reload.tell_again |= tell;
		return;
	}
	reload.tell = tell;
	reload.errors = 0;
	notify_reloading();
	lex_tell(tell_line);
	conf = conf_parse(reload.path, CONF_ROOT_ONLY);
	lex_tell(NULL);
	if (conf != NULL && check_manifests(conf) == 0) {
		take(conf);
		return;
	}
	conf_free(conf);
	refuse();
}

int
reload_is_pending(void)
{
	return reload.pending;
}

/* Whoever waits for the next one waits at the engine that there is. */
static void
again(void)
{
	int tell = reload.tell_again;

	if (reload.again) {
		reload.again = reload.tell_again = 0;
		reload_now(tell);
	}
	if (!reload.pending)
		children_renew();
}

static void
warn_of_renewal(void)
{
	if (children_renews(PROC_ENGINE))
		say("warning: process engine has other promises: it is started "
		    "again, and what was attached and detached by hand is "
		    "forgotten");
}

void
reload_refused(const char *why)
{
	struct conf *conf = reload.conf;

	if (!reload.pending)
		return;
	reload.pending = 0;
	reload.conf = reload.old;
	reload.nleaving = reload.left_before;
	children_policy_stays(reload.conf);
	conf_free(conf);
	tell_line(why);
	refuse();
	again();
}

void
reload_done(void)
{
	char text[MSG_TEXT_MAX];

	if (!reload.pending)
		return;
	reload.pending = 0;
	send_machines(reload.old, reload.conf);
	find_sockets(reload.old, reload.conf);
	parent_eve_policy(reload.conf);
	conf_free(reload.old);
	reload_audit(reload.conf);
	snprintf(text, sizeof(text), "policy loaded: %u machines, %u rules",
	    reload.conf->nvms, reload.conf->nrules);
	log_info("%s", text);
	notify("READY=1\nSTATUS=%s", text);
	warn_of_renewal();
	result(0, text);
	again();
}
