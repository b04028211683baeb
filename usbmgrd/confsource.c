/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "confint.h"
#include "log.h"
#include "xalloc.h"

/* Where EVE has them: pkg/pillar types/locationconsts.go, hypervisor/kvm.go */
#define EVE_ADAPTERS "/run/domainmgr/AssignableAdapters/global.json"
#define EVE_DOMAINS "/run/domainmgr/DomainStatus"
#define EVE_QMP "/run/hypervisor/kvm/%s/qmp"
#define EVE_RUNNING 115 /* types.RUNNING */

static char *
where_here(void)
{
	struct lex_place place = lex_here();
	char *where;

	if (asprintf(&where, "%s:%d", place.path, place.line) == -1)
		fatal("asprintf");
	return where;
}

/* Building */

static struct conf_source *
new_source(void)
{
	struct conf_source *source = xcalloc(1, sizeof(*source)), *s;
	unsigned int n = 0;

	source->fd = -1;
	source->where = where_here();
	TAILQ_FOREACH(s, &build.conf->sources, entry)
		n++;
	if (n == POLICY_SOURCES_MAX)
		lex_error(
		    lex_here(), "more than %d manifests", POLICY_SOURCES_MAX);
	TAILQ_INSERT_TAIL(&build.conf->sources, source, entry);
	build.source = source;
	return source;
}

/* Beside the file that names it, as with include. */
void
build_manifest(char *name)
{
	struct conf_source *source = new_source();
	struct lex_place place = lex_here();
	int n;

	if (name[0] == '\0')
		lex_error(place, "manifest is empty");
	if (name[0] == '/')
		n = snprintf(source->path, sizeof(source->path), "%s", name);
	else
		n = snprintf(source->path, sizeof(source->path), "%.*s%s",
		    (int)(place.base - place.path), place.path, name);
	if (n < 0 || (size_t)n >= sizeof(source->path))
		lex_error(place, "manifest \"%s\": path is too long", name);
	free(name);
}

void
build_eve(void)
{
	struct conf_eve *eve = &build.conf->eve;

	if (eve->is_set)
		lex_error(lex_here(), "second eve");
	build.eve_place = lex_here();
	new_source()->is_eve = 1;
	eve->is_set = 1;
	eve->vm.msg.monitor = MONITOR_SHARED;
	build.vm = &eve->vm;
	build.vm_has_handover = 0;
	build.vm_has_monitor = 0;
	build.vm_has_release = 0;
}

void
build_eve_adapters(char *value)
{
	build_set_path(build.conf->eve.adapters,
	    sizeof(build.conf->eve.adapters), value, "adapters");
}

void
build_eve_domains(char *value)
{
	build_set_path(build.conf->eve.domains, sizeof(build.conf->eve.domains),
	    value, "domains");
}

void
build_eve_running(char *value)
{
	struct conf_eve *eve = &build.conf->eve;
	const char *errstr;
	uint32_t state, i;

	state = (uint32_t)strtonum(value, 0, 9999, &errstr);
	if (errstr != NULL)
		lex_error(lex_here(),
		    "running \"%s\": expected the number of a state, as in "
		    "%d",
		    value, EVE_RUNNING);
	for (i = 0; i < eve->nstates; i++)
		if (eve->states[i] == state)
			lex_error(lex_here(), "state %s stands twice", value);
	if (eve->nstates == EVE_STATES_MAX)
		lex_error(lex_here(), "more than %d states", EVE_STATES_MAX);
	else
		eve->states[eve->nstates++] = state;
	free(value);
}

void
build_vm_adapter(char *name)
{
	struct conf_adapter *a;

	TAILQ_FOREACH(a, &build.conf->adapters, entry)
		if (a->msg.vm == build.vm->msg.vm &&
		    strcasecmp(a->msg.name, name) == 0)
			lex_error(
			    lex_here(), "adapter \"%s\" stands twice", name);
	a = xcalloc(1, sizeof(*a));
	a->msg.vm = build.vm->msg.vm;
	a->where = where_here();
	if (name[0] == '\0' ||
	    strlcpy(a->msg.name, name, sizeof(a->msg.name)) >= MSG_ADAPTER_MAX)
		lex_error(lex_here(), "adapter \"%s\": expected 1 to %d bytes",
		    name, MSG_ADAPTER_MAX - 1);
	TAILQ_INSERT_TAIL(&build.conf->adapters, a, entry);
	if (build.adapter_place.path == NULL)
		build.adapter_place = lex_here();
	free(name);
}

/* The name of a domain stands in it once. */
static void
check_template(const char *qmp)
{
	const char *percent = strchr(qmp, '%');

	if (percent == NULL || percent[1] != 's' ||
	    strchr(percent + 1, '%') != NULL)
		lex_error(build.eve_place,
		    "qmp \"%s\": expected one %%s, for the name of the "
		    "machine, as in %s",
		    qmp, EVE_QMP);
	else if (strlen(qmp) + MSG_VM_NAME_MAX >= PATH_MAX)
		lex_error(build.eve_place, "qmp is too long");
}

static void
default_path(char *path, const char *value)
{
	if (path[0] == '\0')
		strlcpy(path, value, PATH_MAX);
}

void
build_sources_finish(void)
{
	struct conf_eve *eve = &build.conf->eve;
	struct conf_source *source;
	int manifests = 0;

	TAILQ_FOREACH(source, &build.conf->sources, entry)
		manifests += !source->is_eve;
	if (!TAILQ_EMPTY(&build.conf->adapters) && manifests == 0)
		lex_error(build.adapter_place,
		    "adapters without a manifest: no line says manifest "
		    "\"...\"");
	if (!eve->is_set)
		return;
	default_path(eve->adapters, EVE_ADAPTERS);
	default_path(eve->domains, EVE_DOMAINS);
	default_path(eve->vm.qmp, EVE_QMP);
	check_template(eve->vm.qmp);
	if (eve->nstates == 0)
		eve->states[eve->nstates++] = EVE_RUNNING;
}

/* The whole */

void
conf_free_sources(struct conf *conf)
{
	struct conf_source *source;
	struct conf_adapter *a;

	conf_close(conf);
	while ((source = TAILQ_FIRST(&conf->sources)) != NULL) {
		TAILQ_REMOVE(&conf->sources, source, entry);
		bundles_free(source->bundles);
		free(source->where);
		free(source);
	}
	while ((a = TAILQ_FIRST(&conf->adapters)) != NULL) {
		TAILQ_REMOVE(&conf->adapters, a, entry);
		free(a->where);
		free(a);
	}
}

/* Only what is not as it is anyway. */
static void
print_eve(const struct conf_eve *eve, FILE *out)
{
	uint32_t i;

	fputs("eve {", out);
	if (strcmp(eve->adapters, EVE_ADAPTERS) != 0)
		fprintf(out, " adapters \"%s\"", eve->adapters);
	if (strcmp(eve->domains, EVE_DOMAINS) != 0)
		fprintf(out, " domains \"%s\"", eve->domains);
	if (strcmp(eve->vm.qmp, EVE_QMP) != 0)
		fprintf(out, " qmp \"%s\"", eve->vm.qmp);
	conf_print_vm_options(&eve->vm.msg, MONITOR_SHARED, out);
	if (eve->nstates != 1 || eve->states[0] != EVE_RUNNING) {
		fputs(" running {", out);
		for (i = 0; i < eve->nstates; i++)
			fprintf(out, " %u", eve->states[i]);
		fputs(" }", out);
	}
	fputs(" }", out);
}

void
conf_print_source(
    const struct conf *conf, const struct conf_source *source, FILE *out)
{
	if (source->is_eve)
		print_eve(&conf->eve, out);
	else
		fprintf(out, "manifest \"%s\"", source->path);
}

void
conf_print_adapters(const struct conf *conf, uint32_t vm, FILE *out)
{
	const struct conf_adapter *a;
	int n = 0;

	TAILQ_FOREACH(a, &conf->adapters, entry)
		if (a->msg.vm == vm)
			fprintf(out, "%s \"%s\"", n++ == 0 ? " adapters {" : "",
			    a->msg.name);
	if (n > 0)
		fputs(" }", out);
}

/* For the engine */

void
conf_eve_msg(const struct conf *conf, struct msg_eve *m)
{
	memset(m, 0, sizeof(*m));
	m->vm = conf->eve.vm.msg;
	m->nstates = conf->eve.nstates;
	memcpy(m->states, conf->eve.states, sizeof(m->states));
}

const char *
conf_add_source(
    const struct conf *conf, struct conf_source *source, struct policy *policy)
{
	struct bundles *bundles = source->bundles;
	const char *slash = strrchr(source->path, '/');
	struct msg_eve m;

	if (source->is_eve) {
		conf_eve_msg(conf, &m);
		return policy_add_eve(policy, &m);
	}
	source->bundles = NULL;
	if (bundles == NULL)
		bundles = bundles_new(slash == NULL ? source->path : slash + 1);
	return policy_add_manifest(policy, bundles);
}

const char *
conf_add_adapters(const struct conf *conf, struct policy *policy)
{
	const struct conf_adapter *a;
	const char *wrong = NULL;

	TAILQ_FOREACH(a, &conf->adapters, entry)
		if (wrong == NULL)
			wrong = policy_add_adapter(policy, &a->msg);
	return wrong;
}
