/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "client.h"
#include "explain.h"
#include "log.h"
#include "output.h"
#include "replay.h"

#define DEFAULT_SOCKET RUNDIR "/usbmgrd.sock"

static const struct list {
	const char *name;
	enum msg_type request;
	enum msg_type answer;
	const struct output *table;
	const struct output *json;
} lists[] = {
	{ "devices", MSG_CTL_SHOW_DEVICES, MSG_CTL_DEVICE, &output_devices,
	    &output_devices_json },
	{ "vms", MSG_CTL_SHOW_VMS, MSG_CTL_VM, &output_vms, &output_vms_json },
};

static const char *socket_path = DEFAULT_SOCKET;
static int as_json;
static const struct list *list;

static void
usage(void)
{
	fprintf(stderr, "usage: usbmgrctl [-j] [-s socket] show devices | vms\n"
			"       usbmgrctl [-j] [-s socket] explain device\n"
			"       usbmgrctl [-j] explain -f file events device\n"
			"       usbmgrctl replay [-f file] events\n"
			"       usbmgrctl check file\n");
	exit(2);
}

static void
unexpected(enum msg_type type)
{
	fatalx("usbmgrd answered with %s", msg_name(type));
}

static void
show_item(enum msg_type type, const void *item)
{
	if (type != list->answer)
		unexpected(type);
	(as_json ? list->json : list->table)->item(item);
}

static int
show(int argc, char *argv[])
{
	static const struct msg_none none;
	const struct output *out;
	size_t i;
	int fd;

	if (argc != 2)
		usage();
	for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (strcmp(lists[i].name, argv[1]) == 0)
			list = &lists[i];
	if (list == NULL) {
		log_warnx("show %s: expected devices or vms", argv[1]);
		usage();
	}
	out = as_json ? list->json : list->table;
	fd = client_connect(socket_path);
	out->head();
	client_ask(fd, list->request, &none, show_item);
	out->tail();
	return 0;
}

static void
explain_item(enum msg_type type, const void *item)
{
	if (type == MSG_CTL_RULE)
		explain_rule(item);
	else if (type == MSG_CTL_DEVICE)
		explain_device(item);
	else
		unexpected(type);
}

static void
parse_device(const char *word, struct ctl_port *m)
{
	const char *errstr;

	memset(m, 0, sizeof(*m));
	if (usbport_parse(&m->port, word, &errstr) == -1)
		fatalx("device \"%s\": %s", word, errstr);
}

static int
explain(int argc, char *argv[], const char *file)
{
	struct ctl_port m;

	if (argc != (file == NULL ? 2 : 3))
		usage();
	parse_device(argv[argc - 1], &m);
	if (file == NULL)
		client_ask(client_connect(socket_path), MSG_CTL_EXPLAIN, &m,
		    explain_item);
	else if (replay_explain(file, argv[1], &m.port) == -1)
		return 1;
	return explain_print(&m.port, as_json) == 0 ? 0 : 1;
}

int
main(int argc, char *argv[])
{
	const char *file = NULL;
	int ch, status;

	log_init(PROC_CLIENT, 1);
	/* "show devices -j" is as good as "-j show devices". */
	while ((ch = getopt(argc, argv, "f:js:")) != -1) {
		switch (ch) {
		case 'f':
			file = optarg;
			break;
		case 'j':
			as_json = 1;
			break;
		case 's':
			socket_path = optarg;
			break;
		default:
			usage();
		}
	}
	argc -= optind;
	argv += optind;
	if (argc == 0)
		usage();
	if (strcmp(argv[0], "show") == 0 && file == NULL)
		status = show(argc, argv);
	else if (strcmp(argv[0], "explain") == 0)
		status = explain(argc, argv, file);
	else if (strcmp(argv[0], "replay") == 0 && argc == 2)
		status = replay_events(file, argv[1]);
	else if (strcmp(argv[0], "check") == 0 && argc == 2 && file == NULL)
		status = check_file(argv[1]);
	else
		usage();
	if (fflush(stdout) == EOF)
		fatal("standard output");
	return status;
}
