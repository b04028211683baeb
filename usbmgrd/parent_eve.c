/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/queue.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "audit.h"
#include "children.h"
#include "evename.h"
#include "evewatch.h"
#include "log.h"
#include "parent.h"
#include "parent_eve.h"

static const struct msg_none none;
static struct conf_eve eve; /* of the policy */
static uint32_t last_vm = EVE_VM_FIRST; /* the highest number yet */

/* A machine that the engine named. */
struct eve_vm {
	TAILQ_ENTRY(eve_vm) entry;
	struct msg_vm msg;
};

static TAILQ_HEAD(, eve_vm) vms = TAILQ_HEAD_INITIALIZER(vms);

/* Files */

static void
parent_eve_begin(void)
{
	children_send(PROC_ENGINE, MSG_EVE_BEGIN, &none, -1);
}

static void
parent_eve_end(void)
{
	children_send(PROC_ENGINE, MSG_EVE_END, &none, -1);
}

static void
parent_eve_adapters(int fd)
{
	children_send(PROC_ENGINE, MSG_EVE_ADAPTERS, &none, fd);
}

static void
parent_eve_adapters_gone(void)
{
	children_send(PROC_ENGINE, MSG_EVE_ADAPTERS_GONE, &none, -1);
}

/* Each holds a descriptor until it is sent: there may be many. */
static void
parent_eve_domain(const char *key, int fd)
{
	struct msg_key m;

	memset(&m, 0, sizeof(m));
	strlcpy(m.key, key, sizeof(m.key));
	children_send(PROC_ENGINE, MSG_EVE_DOMAIN, &m, fd);
	children_flush(PROC_ENGINE);
}

static void
parent_eve_domain_gone(const char *key)
{
	struct msg_key m;

	memset(&m, 0, sizeof(m));
	strlcpy(m.key, key, sizeof(m.key));
	children_send(PROC_ENGINE, MSG_EVE_DOMAIN_GONE, &m, -1);
}

static const struct evewatch_ops ops = {
	.begin = parent_eve_begin,
	.end = parent_eve_end,
	.adapters = parent_eve_adapters,
	.adapters_gone = parent_eve_adapters_gone,
	.domain = parent_eve_domain,
	.domain_gone = parent_eve_domain_gone,
};

void
parent_eve_init(const struct conf *conf)
{
	eve = conf->eve;
	evewatch_init(&ops);
}

void
parent_eve_policy(const struct conf *conf)
{
	int same = memcmp(&eve, &conf->eve, sizeof(eve)) == 0;

	eve = conf->eve;
	if (same)
		return;
	evewatch_start(
	    eve.is_set ? eve.adapters : NULL, eve.is_set ? eve.domains : NULL);
}

void
parent_eve_serve(void)
{
	if (eve.is_set)
		evewatch_start(eve.adapters, eve.domains);
}

/* The policy */

void
parent_eve_send_adapters(const struct conf *conf)
{
	const struct conf_adapter *a;

	TAILQ_FOREACH(a, &conf->adapters, entry)
		children_send(PROC_ENGINE, MSG_CONF_ADAPTER, &a->msg, -1);
	children_flush(PROC_ENGINE);
}

/*
 * It is held as long as its policy: an engine in the place of one that died is
 * to have what is in force, whatever has that name by then.
 */
static int
open_manifest(const struct conf *conf, struct conf_source *source)
{
	char why[PATH_MAX + 128];
	int fd;

	if (source->fd == -1)
		source->fd = conf_open_manifest(conf, source, why, sizeof(why));
	if (source->fd == -1) {
		log_warnx("%s", why);
		return -1;
	}
	/* A copy has its position, where an engine has stopped to read. */
	if (lseek(source->fd, 0, SEEK_SET) == -1 ||
	    (fd = fcntl(source->fd, F_DUPFD_CLOEXEC, 0)) == -1) {
		log_warn("manifest \"%s\"", source->path);
		return -1;
	}
	return fd;
}

static int
send_manifest(const struct conf *conf, struct conf_source *source)
{
	const char *slash = strrchr(source->path, '/');
	struct msg_manifest m;
	int fd;

	if ((fd = open_manifest(conf, source)) == -1)
		return -1;
	memset(&m, 0, sizeof(m));
	strlcpy(
	    m.name, slash == NULL ? source->path : slash + 1, sizeof(m.name));
	children_send(PROC_ENGINE, MSG_CONF_MANIFEST, &m, fd);
	return 0;
}

int
parent_eve_send_source(const struct conf *conf, struct conf_source *source)
{
	struct msg_eve m;

	if (!source->is_eve)
		return send_manifest(conf, source);
	conf_eve_msg(conf, &m);
	m.last_vm = last_vm;
	children_send(PROC_ENGINE, MSG_CONF_EVE, &m, -1);
	return 0;
}

/* Machines */

/* The policy was checked: "%s" stands in it once, and there is room. */
static void
socket_path(const char *name, char path[PATH_MAX])
{
	const char *percent = strstr(eve.vm.qmp, "%s");

	snprintf(path, PATH_MAX, "%.*s%s%s", (int)(percent - eve.vm.qmp),
	    eve.vm.qmp, name, percent + 2);
}

void
parent_eve_vm(struct chan *c, const struct msg_vm_name *m)
{
	char path[PATH_MAX];
	struct eve_vm *vm;
	struct json *j;

	if (!eve.is_set || m->vm <= last_vm || m->vm > EVE_VM_LAST ||
	    !msg_string_ok(m->name, sizeof(m->name)) || !evename_ok(m->name)) {
		chan_fail(c, "a machine of EVE that cannot be");
		return;
	}
	if ((vm = calloc(1, sizeof(*vm))) == NULL)
		fatal("calloc");
	last_vm = m->vm;
	vm->msg = eve.vm.msg;
	vm->msg.vm = m->vm;
	strlcpy(vm->msg.name, m->name, sizeof(vm->msg.name));
	TAILQ_INSERT_TAIL(&vms, vm, entry);
	socket_path(m->name, path);
	j = audit_begin("vm-new");
	json_str(j, "vm", m->name);
	json_num(j, "vm_number", m->vm);
	json_str(j, "path", path);
	audit_end();
	children_send(PROC_QMPCLIENT, MSG_QMP_VM, &vm->msg, -1);
	qmpsock_add(m->vm, path, vm->msg.monitor == MONITOR_SHARED);
}

void
parent_eve_send_machines(void)
{
	const struct eve_vm *vm;

	TAILQ_FOREACH(vm, &vms, entry)
		children_send(PROC_QMPCLIENT, MSG_QMP_VM, &vm->msg, -1);
}

int
parent_eve_left(uint32_t vm)
{
	return vm > EVE_VM_FIRST && vm <= last_vm && !qmpsock_has(vm);
}

static struct eve_vm *
find_machine(uint32_t number)
{
	struct eve_vm *vm;

	TAILQ_FOREACH(vm, &vms, entry)
		if (vm->msg.vm == number)
			break;
	return vm;
}

const char *
parent_eve_vm_name(uint32_t number)
{
	const struct eve_vm *vm = find_machine(number);

	return vm == NULL ? "" : vm->msg.name;
}

static void
forget_machine(struct eve_vm *vm)
{
	struct msg_vm_number m = { .vm = vm->msg.vm };
	struct json *j = audit_begin("vm-gone");

	json_num(j, "vm_number", m.vm);
	audit_end();
	qmpsock_remove(m.vm);
	children_send(PROC_QMPCLIENT, MSG_QMP_VM_GONE, &m, -1);
	TAILQ_REMOVE(&vms, vm, entry);
	free(vm);
}

void
parent_eve_forget_machines(void)
{
	while (!TAILQ_EMPTY(&vms))
		forget_machine(TAILQ_FIRST(&vms));
}

void
parent_eve_vm_gone(struct chan *c, const struct msg_vm_number *m)
{
	struct eve_vm *vm = find_machine(m->vm);

	if (vm != NULL)
		forget_machine(vm);
	else
		chan_fail(c, "a machine of EVE that is not there");
}
