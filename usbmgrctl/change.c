/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include "client.h"
#include "json.h"
#include "log.h"
#include "names.h"

/* What changes something: usbmgrd answers when it is done. */

static char json_buf[1 << 20];
static struct json json;
static int as_json;

static void
print_line(enum msg_type type, const void *item)
{
	const struct msg_line *m = item;

	if (type != MSG_CTL_TEXT || !msg_string_ok(m->text, sizeof(m->text)))
		client_unexpected(type);
	if (as_json)
		json_str(&json, NULL, m->text);
	else
		fprintf(stderr, "%s\n", m->text);
}

static void
print_done(const struct msg_done *done)
{
	if (!msg_string_ok(done->text, sizeof(done->text)))
		fatalx("usbmgrd sent a text without end");
	if (as_json) {
		json_end(&json, ']');
		json_bool(&json, "done", done->error == 0);
		json_str(&json, "text", done->text);
		json_end(&json, '}');
		if (json_finish(&json) != 0)
			puts(json_buf);
	} else if (done->error != 0)
		log_warnx("%s", done->text);
	else
		puts(done->text);
}

static int
change(const struct arguments *a, enum msg_type request, const void *payload)
{
	struct msg_done done;

	as_json = a->json;
	json_init(&json, json_buf, sizeof(json_buf));
	json_object(&json, NULL);
	json_array(&json, "messages");
	client_ask(client_connect(a), request, payload, print_line, &done);
	print_done(&done);
	return done.error == 0 ? 0 : 1;
}

static int
override(const struct arguments *a, enum override command, const char *vm)
{
	struct ctl_override m;
	struct ctl_device device;

	memset(&m, 0, sizeof(m));
	if (vm != NULL && strlcpy(m.vm, vm, sizeof(m.vm)) >= sizeof(m.vm))
		fatalx("machine \"%s\": longer than %zu bytes", vm,
		    sizeof(m.vm) - 1);
	names_device(a, a->argv[0], &device);
	m.port = device.dev.port;
	m.devnum = device.dev.devnum;
	m.command = command;
	m.force = (uint32_t)a->force;
	return change(a, MSG_CTL_OVERRIDE, &m);
}

int
attach_command(const struct arguments *a)
{
	return override(a, OVERRIDE_ATTACH, a->argv[1]);
}

int
detach_command(const struct arguments *a)
{
	return override(a, OVERRIDE_DETACH, NULL);
}

int
policy_command(const struct arguments *a)
{
	return override(a, OVERRIDE_NONE, NULL);
}

int
reload_command(const struct arguments *a)
{
	static const struct msg_none none;

	return change(a, MSG_CTL_RELOAD, &none);
}

static int
set_log(const struct arguments *a, uint32_t verbose)
{
	struct msg_verbose m = { .verbose = verbose };

	return change(a, MSG_CTL_LOG, &m);
}

int
log_verbose_command(const struct arguments *a)
{
	return set_log(a, 1);
}

int
log_brief_command(const struct arguments *a)
{
	return set_log(a, 0);
}
