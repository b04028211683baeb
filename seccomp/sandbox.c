/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/prctl.h>
#include <sys/resource.h>
#include <errno.h>
#include <stdio.h>
#include "caps.h"
#include "filter.h"
#include "promises.h"
#include "sandbox.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(SANITIZED)
#define SANITIZED
#endif

static int landlocked;

#ifdef SANITIZED
#include <sanitizer/lsan_interface.h>

static int confined;

/* The search for leaks at exit takes a thread and ptrace(2). */
int
__lsan_is_turned_off(void)
{
	return confined;
}

static int
load_filter(enum proc_id proc, const char *promises, const char **errstr)
{
	confined = 1;
	return filter_enter(proc, promises, FILTER_SANITIZER, errstr);
}
#else
static int
load_filter(enum proc_id proc, const char *promises, const char **errstr)
{
	return filter_enter(proc, promises, 0, errstr);
}
#endif

int
sandbox_enter(enum proc_id proc, const char *promises,
    const struct landlock_dir *dirs, const char **errstr)
{
	char word[2];

	*errstr = "promises";
	if (promises != NULL &&
	    sandbox_check_promises(proc, promises, word, sizeof(word)) == -1) {
		errno = EINVAL;
		return -1;
	}
	*errstr = "no_new_privs";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return -1;
	*errstr = "capabilities";
	if (caps_cut(proc) == -1)
		return -1;
	if (proc != PROC_SPAWNER) {
		*errstr = "Landlock";
		/* The parent ends its children, which are not below it. */
		landlocked = landlock_enter(dirs, proc != PROC_PARENT);
		if (landlocked == -1)
			return -1;
	}
	return load_filter(proc, promises, errstr);
}

int
sandbox_no_dump(const char **errstr)
{
	static const struct rlimit none = { 0, 0 };

	*errstr = "not dumpable";
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		return -1;
	*errstr = "limit of core dumps";
	return setrlimit(RLIMIT_CORE, &none);
}

const char *
sandbox_landlock(void)
{
	return landlocked ? "Landlock"
			  : "no Landlock, which is not to be had here";
}

const char *
sandbox_promises(enum proc_id proc)
{
	return (unsigned int)proc < PROC_MAX ? profile_table[proc] : NULL;
}

/* The length of the first word that the list does not have, 0: it has all. */
static size_t
first_other(const char *list, const char *words, const char **word)
{
	size_t len;

	while ((len = promises_next(words, word, &words)) != 0)
		if (list == NULL || !promises_have(list, *word, len))
			break;
	return len;
}

int
sandbox_check_promises(
    enum proc_id proc, const char *words, char *word, size_t n)
{
	const char *w;
	size_t len = first_other(sandbox_promises(proc), words, &w);

	if (len == 0)
		return 0;
	snprintf(word, n, "%.*s", (int)len, w);
	return -1;
}

int
sandbox_same_promises(const char *a, const char *b)
{
	const char *w;

	return first_other(a, b, &w) == 0 && first_other(b, a, &w) == 0;
}
