/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "audit.h"
#include "engine_eve.h"
#include "evename.h"
#include "log.h"
#include "manifest.h"

/* Manifests */

struct notes {
	const char *name;
	char *why;
	size_t n;
};

static void
note(struct jsonread_place place, int is_error, const char *text, void *arg)
{
	struct notes *notes = arg;
	struct json *j = audit_begin("manifest");

	json_str(j, "file", notes->name);
	json_str(j, "level", is_error ? "error" : "warning");
	json_num(j, "line", place.line);
	json_num(j, "column", place.column);
	json_str(j, "message", text);
	audit_end();
	if (is_error)
		snprintf(notes->why, notes->n, "%s:%u:%u: %s", notes->name,
		    place.line, place.column, text);
}

static void
note_refused(const struct bundle *b, const char *why, void *arg)
{
	struct json *j = audit_begin("bundle-refused");

	json_str(j, "source", arg);
	json_str(j, "bundle", bundle_name(b));
	json_str(j, "reason", why);
	audit_end();
}

struct bundles *
engine_manifest(const struct msg_manifest *m, int fd, char *why, size_t n)
{
	struct notes notes = { .name = m->name, .why = why, .n = n };
	struct bundle_list *list;
	struct bundles *bundles;
	char name[sizeof(m->name)];

	if (!msg_string_ok(m->name, sizeof(m->name)))
		fatalx("manifest with a bad name");
	list = manifest_read(fd, note, &notes);
	close(fd);
	if (list == NULL)
		return NULL;
	bundles = bundles_new(m->name);
	bundles_replace(bundles, list);
	strlcpy(name, m->name, sizeof(name));
	bundles_refused(bundles, note_refused, name);
	return bundles;
}

/* Files of EVE, whose last good state stays if they cannot be read */

static void
refuse(const char *file, const struct jsonread_place *place, const char *why)
{
	log_warnx("eve: %s.json:%u:%u: %s; what was read of it before stays",
	    file, place->line, place->column, why);
}

static char *
load(const char *file, int fd, size_t *len)
{
	struct jsonread_place nowhere = { .line = 0, .column = 0 };
	char why[128], *text;

	text = jsonread_load(fd, len, why, sizeof(why));
	close(fd);
	if (text == NULL)
		refuse(file, &nowhere, why);
	return text;
}

static struct bundle_list *
read_adapters(int fd)
{
	struct bundle_list *list;
	struct jsonread_place place;
	char error[256], *text;
	size_t len;

	if ((text = load("AssignableAdapters", fd, &len)) == NULL)
		return NULL;
	list = evejson_adapters(text, len, &place, error, sizeof(error));
	jsonread_unload(text, len);
	if (list == NULL) {
		refuse("AssignableAdapters", &place, error);
		return NULL;
	}
	return list;
}

static struct domain *
read_domain(const char *key, int fd)
{
	struct jsonread_place place = { .line = 1, .column = 1 };
	char error[256], *text;
	struct domain *domain;
	size_t len;

	if ((text = load(key, fd, &len)) == NULL)
		return NULL;
	domain = evejson_domain(text, len, &place, error, sizeof(error));
	jsonread_unload(text, len);
	if (domain != NULL && domain->name[0] != '\0' &&
	    !evename_ok(domain->name)) {
		snprintf(error, sizeof(error),
		    "DomainName \"%s\" cannot be part of a path", domain->name);
		domain_free(domain);
		domain = NULL;
	}
	if (domain == NULL) {
		refuse(key, &place, error);
		return NULL;
	}
	return domain;
}

static void
read_key(const struct msg_key *m, struct core_domain *d)
{
	if (!msg_string_ok(m->key, sizeof(m->key)) || !evename_ok(m->key))
		fatalx("file of EVE with a bad name");
	strlcpy(d->key, m->key, sizeof(d->key));
}

void
engine_eve(enum msg_type type, const void *payload, int fd,
    const struct core *core, void (*event)(struct core_event *))
{
	static unsigned int told;
	static char source[] = "eve";
	struct core_domain d = { .status = NULL };
	struct core_event ev = { .type = EV_EVE_BEGIN, .u.domain = &d };

	switch (type) {
	case MSG_EVE_END:
		ev.type = EV_EVE_END;
		break;
	case MSG_EVE_ADAPTERS:
		ev.type = EV_EVE_ADAPTERS;
		ev.u.adapters = read_adapters(fd);
		break;
	case MSG_EVE_ADAPTERS_GONE:
		ev.type = EV_EVE_ADAPTERS_GONE;
		break;
	case MSG_EVE_DOMAIN:
		ev.type = EV_EVE_DOMAIN;
		read_key(payload, &d);
		d.status = read_domain(d.key, fd);
		break;
	case MSG_EVE_DOMAIN_GONE:
		ev.type = EV_EVE_DOMAIN_GONE;
		read_key(payload, &d);
		break;
	default:
		break;
	}
	event(&ev);
	told = core_eve_refused(core, told, note_refused, source);
}
