/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define LIBBSD_OPENBSD_VIS
#include <vis.h>
#include "conf.h"
#include "manifest.h"
#include "parent.h"

/* One message, so that it can be seen what is meant whatever is in it. */
static void
say(const char *where, const char *text)
{
	char visible[4096];

	strnvis(visible, text, sizeof(visible), VIS_NOSLASH | VIS_NL);
	fprintf(stderr, "%s: %s\n", where, visible);
}

/* Opening */

static const char *
wrong_file(const struct conf *conf, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "not a regular file";
	if (st->st_size > JSONREAD_SIZE_MAX)
		return "larger than 16 MiB";
	if (conf->root_only && st->st_uid != 0)
		return "must be owned by root";
	if (conf->root_only && (st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return "must be writable by root only";
	return NULL;
}

int
conf_open_manifest(const struct conf *conf, const struct conf_source *source,
    char *why, size_t n)
{
	const char *wrong;
	struct stat st;
	int fd;

	fd = parent_open_beneath(
	    AT_FDCWD, source->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd == -1 && errno == ELOOP)
		wrong = "a symbolic link is in its path";
	else if (fd == -1 || fstat(fd, &st) == -1)
		wrong = strerror(errno);
	else
		wrong = wrong_file(conf, &st);
	if (wrong == NULL)
		return fd;
	snprintf(why, n, "manifest \"%s\": %s", source->path, wrong);
	if (fd != -1)
		close(fd);
	return -1;
}

int
conf_open(struct conf *conf)
{
	struct conf_source *source;
	char why[PATH_MAX + 128];
	int rc = 0;

	TAILQ_FOREACH(source, &conf->sources, entry) {
		if (source->is_eve)
			continue;
		source->fd = conf_open_manifest(conf, source, why, sizeof(why));
		if (source->fd != -1)
			continue;
		say(source->where, why);
		rc = -1;
	}
	return rc;
}

void
conf_close(struct conf *conf)
{
	struct conf_source *source;

	TAILQ_FOREACH(source, &conf->sources, entry) {
		if (source->fd != -1)
			close(source->fd);
		source->fd = -1;
	}
}

/* Reading */

static void
note(struct jsonread_place place, int is_error, const char *text, void *arg)
{
	const struct conf_source *source = arg;
	char where[PATH_MAX + 32], line[512];

	snprintf(line, sizeof(line), "%s%s", is_error ? "" : "warning: ", text);
	if (place.line == 0)
		snprintf(where, sizeof(where), "%s", source->path);
	else
		snprintf(where, sizeof(where), "%s:%u:%u", source->path,
		    place.line, place.column);
	say(where, line);
}

static void
note_refused(const struct bundle *b, const char *why, void *arg)
{
	struct jsonread_place place = { .line = b->line, .column = b->column };
	char text[512];

	snprintf(text, sizeof(text), "bundle \"%.128s\" never matches: %s",
	    bundle_name(b), why);
	note(place, 0, text, arg);
}

static int
load_source(struct conf_source *source)
{
	const char *slash = strrchr(source->path, '/');
	struct bundle_list *list;

	if ((list = manifest_read(source->fd, note, source)) == NULL)
		return -1;
	source->bundles = bundles_new(slash == NULL ? source->path : slash + 1);
	bundles_replace(source->bundles, list);
	bundles_refused(source->bundles, note_refused, source);
	return 0;
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

static int
check_adapter(const struct conf *conf, const struct conf_adapter *a)
{
	enum bundles_found found = BUNDLES_NO_SUCH;
	const struct conf_source *source;
	char text[MSG_REFUSED_MAX];
	struct bundles_named named;

	memset(&named, 0, sizeof(named));
	TAILQ_FOREACH(source, &conf->sources, entry)
		if (source->bundles != NULL)
			found =
			    bundles_find(source->bundles, a->msg.name, &named);
	if (found == BUNDLES_ONE)
		return 0;
	bundles_not_one(vm_name(conf, a->msg.vm), a->msg.name, found, &named,
	    text, sizeof(text));
	say(a->where, text);
	return -1;
}

int
conf_load(struct conf *conf)
{
	const struct conf_adapter *a;
	struct conf_source *source;
	int rc = 0;

	TAILQ_FOREACH(source, &conf->sources, entry)
		if (source->fd != -1 && load_source(source) == -1)
			rc = -1;
	conf_close(conf);
	/* What is in a manifest that cannot be read is not known. */
	if (rc == -1)
		return -1;
	TAILQ_FOREACH(a, &conf->adapters, entry)
		if (check_adapter(conf, a) == -1)
			rc = -1;
	return rc;
}
