/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "audit.h"
#include "children.h"
#include "conf.h"
#include "engine.h"
#include "log.h"
#include "loop.h"
#include "notify.h"
#include "parent.h"
#include "sandbox.h"
#include "spawner.h"
#include "watchdog.h"

#define DEFAULT_CONF SYSCONFDIR "/usbmgrd.conf"

static int parent_stop; /* SIGTERM or SIGINT came */

static void
usage(void)
{
	fprintf(stderr, "usage: usbmgrd [-dnv] [-f file]\n");
	exit(2);
}

static void
parent_signal(int signo)
{
	switch (signo) {
	case SIGTERM:
	case SIGINT:
		parent_stop = 1;
		loop_end(0);
		break;
	case SIGCHLD:
		if (children_reap() == -1)
			loop_end(1);
		break;
	case SIGUSR1:
		children_reopen_logs();
		break;
	}
}

static void
open_own_log(void)
{
	int fd = logs_open(PROC_PARENT);

	if (fd == -1)
		fatal("log file %s", proc_table[PROC_PARENT].log);
	audit_open(fd);
}

static void
confine(void)
{
	const char *errstr;

	if (sandbox_enter(PROC_PARENT, NULL, NULL, &errstr) == -1)
		fatal("%s", errstr);
}

/* From here on every way out is through children_stop. */
static int
serve(const struct conf *conf, int control_fd, int debug, int verbose)
{
	int status = 1;

	if (children_start(conf, debug, verbose) == 0 && !parent_stop) {
		confine();
		children_serve(control_fd);
		log_info(
		    "started: %u machines, %u rules", conf->nvms, conf->nrules);
		notify("READY=1\nSTATUS=%u machines, %u rules", conf->nvms,
		    conf->nrules);
		watchdog_start();
		log_set_stderr(debug);
		status = loop_run();
	}
	notify("STOPPING=1");
	children_stop();
	if (parent_stop)
		status = 0;
	log_info("ended%s; devices stay in their machines",
	    status == 0 ? "" : " after a failure");
	return status;
}

static int
run(const struct conf *conf, int debug, int verbose)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGCHLD, SIGUSR1,
		SIGHUP, 0 };
	int control_fd;

	closefrom(STDERR_FILENO + 1);
	if (users_find(conf) == -1)
		return 1;
	spawner_init(conf, debug, verbose);
	notify_init();
	signal(SIGPIPE, SIG_IGN);
	loop_init();
	loop_signals(signals, parent_signal);
	control_fd = ctlsock_listen(conf->control, conf->control_group);
	if (control_fd == -1 || logs_init(conf->log_directory) == -1)
		return 1;
	open_own_log();
	usbfs_init();
	return serve(conf, control_fd, debug, verbose);
}

int
main(int argc, char *argv[], char *envp[])
{
	const char *path = DEFAULT_CONF;
	int ch, debug = 0, check = 0, verbose = 0;
	struct conf *conf;

	setproctitle_init(argc, argv, envp);
	if (argc > 1 && strcmp(argv[1], "-E") == 0)
		return engine_main(argc - 1, argv + 1);
	log_init(PROC_PARENT, 1);
	while ((ch = getopt(argc, argv, "df:nv")) != -1) {
		switch (ch) {
		case 'd':
			debug = 1;
			break;
		case 'f':
			path = optarg;
			break;
		case 'n':
			check = 1;
			break;
		case 'v':
			verbose = 1;
			break;
		default:
			usage();
		}
	}
	if (optind != argc)
		usage();
	if (!check && geteuid() != 0)
		fatalx("must be started by root");
	if ((conf = conf_parse(path, CONF_ROOT_ONLY)) == NULL)
		return 1;
	if (check) {
		if (verbose)
			conf_print(conf, stdout);
		if (fflush(stdout) == EOF)
			fatal("standard output");
		fprintf(stderr, "configuration OK\n");
		return 0;
	}
	log_set_verbose(verbose);
	return run(conf, debug, verbose);
}
