/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "acts.h"
#include "audit.h"
#include "child.h"
#include "log.h"
#include "rootdir.h"
#include "sandbox.h"
#include "trap.h"

/* Private writable memory; see RLIMIT_DATA in setrlimit(2). */
#define DATA_MAX (256U * 1024 * 1024)

#define ROOTS_MAX 4

static int child_debug;
static int child_is_confined;
static struct chan *child_parent;
static const char *option;
static const char *option_user;
static const char *option_promises;

/*
 * Descriptors that a process may have at most: the engine has its control
 * clients, the QMP client a connection a machine and devices on their way.
 */
static const rlim_t nofile_max[PROC_MAX] = {
	[PROC_ENGINE] = 128,
	[PROC_MONITOR] = 64,
	[PROC_QMPCLIENT] = 1024,
};

static void
check_channel(enum proc_id me)
{
	socklen_t len = sizeof(int);
	int domain;

	if (getsockopt(PROC_PARENT_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) ==
		0 &&
	    domain == AF_UNIX)
		return;
	fprintf(stderr, "%s is started by usbmgrd(8), not by hand\n",
	    me == PROC_ENGINE ? "usbmgrd -E" : proc_table[me].file);
	exit(1);
}

static void
parse_options(int argc, char *argv[])
{
	int ch;

	while ((ch = getopt(argc, argv, "do:p:u:v")) != -1) {
		switch (ch) {
		case 'd':
			child_debug = 1;
			break;
		case 'v':
			log_set_verbose(1);
			break;
		case 'o':
			option = optarg;
			break;
		case 'p':
			option_promises = optarg;
			break;
		case 'u':
			option_user = optarg;
			break;
		default:
			fatalx("started with an option that it does not know");
		}
	}
	if (optind != argc)
		fatalx("started with an argument: %s", argv[optind]);
}

const char *
child_option(void)
{
	return option;
}

struct ids {
	uid_t uid;
	gid_t gid;
};

/* "UID:GID": the parent looked it up, which a filter may not let us do. */
static int
parse_ids(const char *text, struct ids *ids)
{
	char more;

	return sscanf(text, "%u:%u%c", &ids->uid, &ids->gid, &more) == 2;
}

static struct ids
find_user(enum proc_id me)
{
	const char *user = proc_table[me].user;
	const struct passwd *pw;
	struct ids ids;

	if (option_user != NULL) {
		user = option_user;
		if (!parse_ids(user, &ids))
			fatalx("user %s, which is not UID:GID", user);
	} else if ((pw = getpwnam(user)) != NULL) {
		ids.uid = pw->pw_uid;
		ids.gid = pw->pw_gid;
	} else
		fatalx("user %s does not exist", user);
	if (ids.uid == 0 || ids.gid == 0)
		fatalx("user %s must not have the user or group number of root",
		    user);
	return ids;
}

/* The engine was executed as /proc/self/exe, which would be its name. */
static void
set_name(enum proc_id me)
{
	char name[16];

	snprintf(name, sizeof(name), "usbmgrd-%s", proc_name(me));
	if (prctl(PR_SET_NAME, name, 0, 0, 0) == -1)
		fatal("prctl");
}

static void
drop_descriptors(void)
{
	int fd;

	closefrom(PROC_PARENT_FD + 1);
	/* Reading is all that it is for: nobody writes to 1. */
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd == -1 || dup2(fd, STDIN_FILENO) == -1 ||
	    dup2(fd, STDOUT_FILENO) == -1)
		fatal("/dev/null");
	close(fd);
}

static void
drop_user(uid_t uid, gid_t gid)
{
	if (setgroups(1, &gid) == -1 || setresgid(gid, gid, gid) == -1 ||
	    setresuid(uid, uid, uid) == -1)
		fatal("change to user %u, group %u", uid, gid);
	/* A change of user undoes both of these (prctl(2)). */
	if (prctl(PR_SET_DUMPABLE, child_debug, 0, 0, 0) == -1 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == -1)
		fatal("prctl");
}

static void
limit(unsigned int resource, const char *name, rlim_t max)
{
	struct rlimit now, want = { .rlim_cur = max, .rlim_max = max };

	if (getrlimit(resource, &now) == -1)
		fatal("getrlimit %s", name);
	if (now.rlim_max < max)
		want.rlim_cur = want.rlim_max = now.rlim_max;
	if (setrlimit(resource, &want) == -1)
		fatal("setrlimit %s", name);
}

static void
set_limits(enum proc_id me)
{
	limit(RLIMIT_NOFILE, "nofile", nofile_max[me]);
	limit(RLIMIT_NPROC, "nproc", 0);
	limit(RLIMIT_MEMLOCK, "memlock", 0);
	if (!child_debug)
		limit(RLIMIT_CORE, "core", 0);
#ifndef __SANITIZE_ADDRESS__
	limit(RLIMIT_DATA, "data", DATA_MAX);
#endif
}

/*
 * What a terminal or a service manager sends to the whole group is for the
 * parent to act on; the children end when it closes their channels.
 */
static void
ignore_signals(void)
{
	static const int list[] = { SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1 };
	size_t i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (signal(list[i], SIG_IGN) == SIG_ERR)
			fatal("signal");
}

static const struct landlock_dir *
readable(const char *const *roots)
{
	static struct landlock_dir dirs[ROOTS_MAX + 1];
	size_t i;

	for (i = 0; roots != NULL && roots[i] != NULL; i++) {
		if (i == ROOTS_MAX)
			fatalx("too many directories");
		dirs[i].path = roots[i];
		dirs[i].rights = LANDLOCK_DIR_READ;
	}
	return dirs;
}

void
child_init(enum proc_id me, int argc, char *argv[], const char *const *roots,
    void (*prepare)(void), struct chan *parent,
    void (*dispatch)(struct chan *, enum msg_type, const void *, int))
{
	const char *errstr;
	struct ids ids;

	check_channel(me);
	log_init(me, 1);
	parse_options(argc, argv);
	ids = find_user(me);
	acts_prepare(me);
	set_name(me);
	drop_descriptors();
	umask(077);
	ignore_signals();
	loop_init();
	if (rootdir_enter(roots, &errstr) == -1)
		fatal("%s", errstr);
	if (prepare != NULL)
		prepare();
	drop_user(ids.uid, ids.gid);
	set_limits(me);
	if (trap_install(parent) == -1)
		fatal("sigaction");
	if (sandbox_enter(me, option_promises, readable(roots), &errstr) == -1)
		fatal("%s", errstr);
	child_parent = parent;
	chan_open(parent, PROC_PARENT_FD, me, PROC_PARENT, dispatch,
	    chan_lost_fatal, NULL);
}

static void
take_log(const struct msg_log *m, int fd)
{
	audit_open(fd);
	audit_continue(&m->chain);
	audit_require(m->required != 0);
	log_set_stderr(child_debug);
	log_opened(!child_is_confined);
	if (child_is_confined)
		return;
	child_is_confined = 1;
	log_info("confined by system call filter (%s) and %s",
	    option_promises != NULL ? option_promises
				    : sandbox_promises(log_proc()),
	    sandbox_landlock());
}

int
child_dispatch(enum msg_type type, const void *payload, int fd)
{
	static const struct msg_none none;
	const struct msg_verbose *verbose = payload;

	switch (type) {
	case MSG_LOG:
		take_log(payload, fd);
		acts_run(log_proc());
		return 1;
	case MSG_VERBOSE:
		log_set_verbose(verbose->verbose != 0);
		return 1;
	case MSG_PING:
		chan_send(child_parent, MSG_PONG, &none, -1);
		return 1;
	default:
		return 0;
	}
}
