/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/resource.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "acts.h"
#include "audit.h"
#include "children.h"
#include "conf.h"
#include "confconfined.h"
#include "engine.h"
#include "log.h"
#include "loop.h"
#include "notify.h"
#include "parent.h"
#include "reload.h"
#include "sandbox.h"
#include "spawner.h"
#include "trap.h"
#include "watchdog.h"

#define DEFAULT_CONF SYSCONFDIR "/usbmgrd.conf"

static int parent_stop; /* SIGTERM or SIGINT came */
static int parent_serves; /* the start is over */
static int parent_hangup; /* SIGHUP came before that */

static void
usage(void)
{
	fprintf(stderr, "usage: usbmgrd [-dnVv] [-f file]\n");
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
		acts_run(PROC_PARENT);
		break;
	case SIGHUP:
		if (parent_serves)
			reload_now(0);
		else
			parent_hangup = 1;
		break;
	}
}

static void
open_own_log(void)
{
	struct auditchain chain;
	int fd = logs_open(PROC_PARENT, &chain);

	if (fd == -1)
		fatal("log file %s", proc_table[PROC_PARENT].log);
	audit_open(fd);
	audit_continue(&chain);
	log_opened(1);
}

/* buf holds it; a path from / on. */
static const char *
directory_of(const char *path, char buf[static PATH_MAX])
{
	strlcpy(buf, path, PATH_MAX);
	return dirname(buf);
}

/* However it is written. */
static int
is_root(const char *path)
{
	struct stat root, st;

	return stat("/", &root) == 0 && stat(path, &st) == 0 &&
	       st.st_dev == root.st_dev && st.st_ino == root.st_ino;
}

/*
 * A reload may name any file, to read it.  Nodes of USB devices come and go
 * with all of /dev/bus.  The log directory may be made anew.
 */
static void
confine(const struct conf *conf, int debug)
{
	char logs[PATH_MAX], control[PATH_MAX], readonly[PATH_MAX];
	const char *parent = directory_of(conf->log_directory, logs);
	const struct landlock_dir dirs[] = {
		{ "/", LANDLOCK_DIR_READ },
		{ "/dev", LANDLOCK_DIR_WRITE },
		{ is_root(parent) ? conf->log_directory : parent,
		    LANDLOCK_DIR_WRITE | LANDLOCK_DIR_CREATE },
		{ directory_of(conf->control, control), LANDLOCK_DIR_REMOVE },
		{ conf->readonly[0] == '\0'
			? NULL
			: directory_of(conf->readonly, readonly),
		    LANDLOCK_DIR_REMOVE },
		{ NULL, 0 },
	};
	const char *errstr;

	if (trap_install(NULL) == -1)
		fatal("sigaction");
	if ((!debug && sandbox_no_dump(&errstr) == -1) ||
	    sandbox_enter(PROC_PARENT, NULL, dirs, &errstr) == -1)
		fatal("%s", errstr);
	/* As the others' line, in the log alone. */
	log_set_stderr(debug);
	log_info("confined by system call filter (%s) and %s",
	    sandbox_promises(PROC_PARENT), sandbox_landlock());
	log_set_stderr(1);
}

/*
 * From here on every way out is through children_stop, and the policy may be
 * another one at the end.
 */
static int
serve(const struct conf *conf, int control_fd, int readonly_fd, int debug,
    int verbose)
{
	int status = 1;

	reload_audit(conf);
	if (children_start(conf, debug, verbose) == 0 && !parent_stop) {
		confine(conf, debug);
		children_serve(control_fd, readonly_fd);
		parent_serves = 1;
		log_info(
		    "started: %u machines, %u rules", conf->nvms, conf->nrules);
		notify("READY=1\nSTATUS=%u machines, %u rules", conf->nvms,
		    conf->nrules);
		watchdog_start();
		log_set_stderr(debug);
		if (parent_hangup)
			reload_now(0);
		status = loop_run();
	}
	notify("STOPPING=1");
	children_stop();
	if (parent_stop)
		status = 0;
	log_info("ended%s; devices stay in their machines",
	    status == 0 ? "" : " after a failure");
	json_num(audit_begin("end"), "status", status);
	audit_end();
	return status;
}

/* Else a socket would be in the place of one, and messages go there. */
static void
open_standard(void)
{
	int fd;

	do
		if ((fd = open("/dev/null", O_RDWR)) == -1)
			fatal("/dev/null");
	while (fd <= STDERR_FILENO);
	close(fd);
}

/* A machine that runs takes two, and is only one of many. */
static void
raise_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == -1)
		fatal("getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) == -1)
		fatal("setrlimit");
}

static int
run(const char *path, struct conf *conf, int debug, int verbose)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGCHLD, SIGUSR1,
		SIGHUP, 0 };
	int control_fd, readonly_fd = -1;

	closefrom(STDERR_FILENO + 1);
	open_standard();
	if (users_find(conf) == -1)
		return 1;
	acts_prepare(PROC_PARENT);
	spawner_init(conf, debug, verbose);
	raise_limit();
	notify_init();
	signal(SIGPIPE, SIG_IGN);
	loop_init();
	loop_signals(signals, parent_signal);
	reload_init(path, conf);
	control_fd = ctlsock_listen(conf->control, conf->control_group, 0);
	if (control_fd == -1)
		return 1;
	if (conf->readonly[0] != '\0') {
		readonly_fd =
		    ctlsock_listen(conf->readonly, conf->readonly_group, 1);
		if (readonly_fd == -1)
			return 1;
	}
	if (logs_init(conf->log_directory) == -1)
		return 1;
	audit_require(conf->log_required);
	open_own_log();
	usbfs_init();
	return serve(conf, control_fd, readonly_fd, debug, verbose);
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
	while ((ch = getopt(argc, argv, "df:nVv")) != -1) {
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
		case 'V':
			puts("usbmgrd " VERSION);
			return 0;
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
	if ((conf = conf_parse(path, CONF_ROOT_ONLY)) == NULL ||
	    conf_check_manifests(conf) == -1)
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
	return run(path, conf, debug, verbose);
}
