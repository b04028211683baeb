/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
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

static int
send_manifest(const struct conf *conf, const struct conf_source *source)
{
	const char *slash = strrchr(source->path, '/');
	struct msg_manifest m;
	char why[PATH_MAX + 128];
	int fd;

	fd = conf_open_manifest(conf, source, why, sizeof(why));
	if (fd == -1) {
		log_warnx("%s", why);
		return -1;
	}
	memset(&m, 0, sizeof(m));
	strlcpy(
	    m.name, slash == NULL ? source->path : slash + 1, sizeof(m.name));
	children_send(PROC_ENGINE, MSG_CONF_MANIFEST, &m, fd);
	return 0;
}

int
parent_eve_send_source(
    const struct conf *conf, const struct conf_source *source)
{
	struct msg_eve m;

	if (!source->is_eve)
		return send_manifest(conf, source);
	conf_eve_msg(conf, &m);
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
	struct msg_vm vm = eve.vm.msg;
	char path[PATH_MAX];
	struct json *j;

	if (!eve.is_set || m->vm <= last_vm || m->vm > EVE_VM_LAST ||
	    !msg_string_ok(m->name, sizeof(m->name)) || !evename_ok(m->name)) {
		chan_fail(c, "a machine of EVE that cannot be");
		return;
	}
	last_vm = m->vm;
	vm.vm = m->vm;
	strlcpy(vm.name, m->name, sizeof(vm.name));
	socket_path(m->name, path);
	j = audit_begin("vm-new");
	json_str(j, "vm", m->name);
	json_num(j, "vm_number", m->vm);
	json_str(j, "path", path);
	audit_end();
	children_send(PROC_QMPCLIENT, MSG_QMP_VM, &vm, -1);
	qmpsock_add(m->vm, path, vm.monitor == MONITOR_SHARED);
}

int
parent_eve_left(uint32_t vm)
{
	return vm > EVE_VM_FIRST && vm <= last_vm && !qmpsock_has(vm);
}

void
parent_eve_vm_gone(struct chan *c, const struct msg_vm_number *m)
{
	struct json *j;

	if (m->vm <= EVE_VM_FIRST || !qmpsock_has(m->vm)) {
		chan_fail(c, "a machine of EVE that is not there");
		return;
	}
	qmpsock_del(m->vm);
	j = audit_begin("vm-gone");
	json_num(j, "vm_number", m->vm);
	audit_end();
	children_send(PROC_QMPCLIENT, MSG_QMP_VM_GONE, m, -1);
}
