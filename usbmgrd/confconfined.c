/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/wait.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>
#include "confconfined.h"
#include "log.h"
#include "sandbox.h"

#define NOBODY 65534

static int
has_manifest(const struct conf *conf)
{
	const struct conf_source *source;

	TAILQ_FOREACH(source, &conf->sources, entry)
		if (!source->is_eve)
			return 1;
	return 0;
}

/* Whoever checks a policy may not have the users of the service. */
static void
drop(const struct conf *conf)
{
	const char *user = conf->processes[PROC_ENGINE].user;
	const struct passwd *pw;
	uid_t uid = NOBODY;
	gid_t gid = NOBODY;

	if (geteuid() != 0)
		return;
	pw = getpwnam(user[0] != '\0' ? user : proc_table[PROC_ENGINE].user);
	if (pw != NULL && pw->pw_uid != 0 && pw->pw_gid != 0) {
		uid = pw->pw_uid;
		gid = pw->pw_gid;
	}
	if (setgroups(0, NULL) == -1 || setresgid(gid, gid, gid) == -1 ||
	    setresuid(uid, uid, uid) == -1)
		fatal("cannot become uid %u", uid);
}

static void
load_confined(struct conf *conf)
{
	const char *errstr;

	drop(conf);
	if (sandbox_enter(PROC_ENGINE, NULL, NULL, &errstr) == -1)
		fatal("%s", errstr);
	_exit(conf_load(conf) == 0 ? 0 : 1);
}

int
conf_check_manifests(struct conf *conf)
{
	int status;
	pid_t pid;

	if (!has_manifest(conf))
		return 0;
	if (conf_open(conf) == -1)
		return -1;
	if ((pid = fork()) == -1)
		fatal("fork");
	if (pid == 0)
		load_confined(conf);
	conf_close(conf);
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			fatal("waitpid");
	if (WIFSIGNALED(status))
		log_warnx("the process that reads the manifests was killed by "
			  "signal %d",
		    WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}
