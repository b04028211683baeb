/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/socket.h>
#include <sys/un.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "imsg.h"
#include "log.h"
#include "msg.h"
#include "output.h"
#include "replay.h"

#define DEFAULT_SOCKET RUNDIR "/usbmgrd.sock"
#define EXIT_NOT_RUNNING 3

static const struct command {
	const char *words[2];
	enum msg_type request;
	enum msg_type answer;
	const struct output *table;
	const struct output *json;
} commands[] = {
	{ { "show", "devices" }, MSG_CTL_SHOW_DEVICES, MSG_CTL_DEVICE,
	    &output_devices, &output_devices_json },
	{ { "show", "vms" }, MSG_CTL_SHOW_VMS, MSG_CTL_VM, &output_vms,
	    &output_vms_json },
};

static void
usage(void)
{
	fprintf(stderr, "usage: usbmgrctl [-j] [-s socket] show devices | vms\n"
			"       usbmgrctl replay [-f file] events\n"
			"       usbmgrctl check file\n");
	exit(2);
}

static int
connect_daemon(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path))
		fatalx("socket %s: path is too long", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		fatal("socket");
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED) {
		log_warnx("usbmgrd is not running: nobody serves %s", path);
		exit(EXIT_NOT_RUNNING);
	}
	fatal("socket %s", path);
}

/* The next message of the answer; its payload fits what the table says. */
static enum msg_type
receive(struct imsgbuf *ibuf, void *payload, size_t size)
{
	struct imsg imsg;
	const char *why;
	uint32_t type;
	int n;

	while ((n = imsgbuf_get(ibuf, &imsg)) == 0)
		if ((n = imsgbuf_read(ibuf)) != 1)
			break;
	if (n != 1)
		fatalx("usbmgrd ended the connection%s%s", n == 0 ? "" : ": ",
		    n == 0 ? "" : strerror(errno));
	type = imsg_get_type(&imsg);
	why = msg_check(PROC_ENGINE, PROC_CLIENT, type, imsg_get_len(&imsg), 0);
	if (why != NULL || imsg_get_len(&imsg) > size ||
	    imsg_get_data(&imsg, payload, imsg_get_len(&imsg)) == -1)
		fatalx("usbmgrd sent something odd (%s): is it of another "
		       "version?",
		    why == NULL ? msg_name(type) : why);
	imsg_free(&imsg);
	return (enum msg_type)type;
}

static void
ask(const char *path, const struct command *cmd, const struct output *out)
{
	static const struct msg_none none;
	union {
		struct ctl_device device;
		struct ctl_vm vm;
	} item;
	struct imsgbuf ibuf;
	enum msg_type type;

	if (imsgbuf_init(&ibuf, connect_daemon(path)) == -1)
		fatal("imsgbuf_init");
	if (imsg_compose(&ibuf, cmd->request, 0, -1, -1, &none, sizeof(none)) ==
		-1 ||
	    imsgbuf_flush(&ibuf) == -1)
		fatal("cannot ask usbmgrd");
	out->head();
	while ((type = receive(&ibuf, &item, sizeof(item))) != MSG_CTL_END) {
		if (type != cmd->answer)
			fatalx("usbmgrd answered with %s", msg_name(type));
		out->item(&item);
	}
	out->tail();
}

static const struct command *
find_command(int argc, char *argv[])
{
	size_t i;

	if (argc != 2)
		usage();
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].words[0], argv[0]) == 0 &&
		    strcmp(commands[i].words[1], argv[1]) == 0)
			return &commands[i];
	log_warnx("unknown command: %s %s", argv[0], argv[1]);
	usage();
	return NULL;
}

int
main(int argc, char *argv[])
{
	const char *path = DEFAULT_SOCKET;
	const struct command *cmd;
	int ch, json = 0;

	log_init(PROC_CLIENT, 1);
	/* What needs no daemon has options of its own. */
	if (argc > 1 && strcmp(argv[1], "replay") == 0)
		return replay_main(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "check") == 0)
		return check_main(argc - 1, argv + 1);
	/* "show devices -j" is as good as "-j show devices". */
	while ((ch = getopt(argc, argv, "js:")) != -1) {
		switch (ch) {
		case 'j':
			json = 1;
			break;
		case 's':
			path = optarg;
			break;
		default:
			usage();
		}
	}
	cmd = find_command(argc - optind, argv + optind);
	ask(path, cmd, json ? cmd->json : cmd->table);
	if (fflush(stdout) == EOF)
		fatal("standard output");
	return 0;
}
