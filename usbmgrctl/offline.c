/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include "client.h"
#include "explain.h"
#include "log.h"
#include "names.h"
#include "replay.h"

/* explain, check and replay: with the daemon, or without. */

static void
explain_item(enum msg_type type, const void *item)
{
	if (type == MSG_CTL_RULE)
		explain_rule(item);
	else if (type == MSG_CTL_DEVICE)
		explain_device(item);
	else
		client_unexpected(type);
}

static int
explain_running(const struct arguments *a)
{
	struct ctl_device device;
	struct ctl_port m;

	if (a->argc != 1)
		command_usage(a->command, "\"%s\" is too much", a->argv[1]);
	names_device(a, a->argv[0], &device);
	memset(&m, 0, sizeof(m));
	m.port = device.dev.port;
	client_ask(client_connect(a), MSG_CTL_EXPLAIN, &m, explain_item, NULL);
	return explain_print(&m.port, a->json) == 0 ? 0 : 1;
}

static int
explain_replay(const struct arguments *a)
{
	struct replay_input in = { a->policies, a->npolicies, a->argv, 1 };
	const char *errstr;
	struct usbport port;

	if (a->argc != 2)
		command_usage(a->command, "%s", "");
	if (names_port(a->argv[1], &port, &errstr) == -1)
		fatalx("\"%s\" is no port: expected one such as 3:9 or 3-9",
		    a->argv[1]);
	if (replay_explain(&in, &port) == -1)
		return 1;
	return explain_print(&port, a->json) == 0 ? 0 : 1;
}

int
explain_command(const struct arguments *a)
{
	return a->npolicies == 0 ? explain_running(a) : explain_replay(a);
}

int
replay_command(const struct arguments *a)
{
	struct replay_input in = { a->policies, a->npolicies, a->argv,
		a->argc };

	return replay_events(&in);
}

int
check_command(const struct arguments *a)
{
	return check_file(a->argv[0]);
}
