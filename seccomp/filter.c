/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "filter.h"
#include "promises.h"

static char filter_error[64];

static int
add_rule(scmp_filter_ctx ctx, uint32_t action, const char *call, unsigned int n,
    const struct scmp_arg_cmp *cmp)
{
	int nr, error;

	nr = seccomp_syscall_resolve_name(call);
	if (nr == __NR_SCMP_ERROR)
		return 0;
	error = seccomp_rule_add_array(ctx, action, nr, n, cmp);
	if (error == 0)
		return 0;
	snprintf(
	    filter_error, sizeof(filter_error), "filter rule for %s", call);
	errno = -error;
	return -1;
}

static int
add_calls(scmp_filter_ctx ctx, uint32_t action, const char *const *calls)
{
	for (; *calls != NULL; calls++)
		if (add_rule(ctx, action, *calls, 0, NULL) == -1)
			return -1;
	return 0;
}

static int
add_arg(scmp_filter_ctx ctx, const struct promise_arg *row)
{
	struct scmp_arg_cmp cmp[PROMISE_CONDS];
	const struct promise_cond *c = row->conds;
	unsigned int n;

	for (n = 0; n < PROMISE_CONDS && c[n].mask != 0; n++) {
		cmp[n].arg = c[n].arg;
		cmp[n].op = SCMP_CMP_MASKED_EQ;
		cmp[n].datum_a = c[n].mask;
		cmp[n].datum_b = c[n].value == PROMISE_OWN_PID
				     ? (uint64_t)getpid()
				     : c[n].value;
	}
	return add_rule(ctx, SCMP_ACT_ALLOW, row->call, n, cmp);
}

static int
add_promise(scmp_filter_ctx ctx, const char *word, size_t len)
{
	const struct promise *p = promise_find(word, len);
	const struct promise_arg *row;

	if (p == NULL) {
		snprintf(filter_error, sizeof(filter_error), "promise %.*s",
		    (int)len, word);
		errno = EINVAL;
		return -1;
	}
	if (add_calls(ctx, SCMP_ACT_ALLOW, p->calls) == -1)
		return -1;
	for (row = promise_args; row->promise != NULL; row++)
		if (strcmp(row->promise, p->name) == 0 &&
		    add_arg(ctx, row) == -1)
			return -1;
	return 0;
}

/* Is there a rule that allows call, with or without conditions? */
static int
is_promised(const char *promises, const char *call)
{
	const struct promise_arg *row;
	const struct promise *p;
	const char *word;
	size_t i, len;

	for (row = promise_args; row->promise != NULL; row++)
		if (strcmp(row->call, call) == 0 &&
		    promises_have(promises, row->promise, strlen(row->promise)))
			return 1;
	while ((len = promises_next(promises, &word, &promises)) != 0) {
		if ((p = promise_find(word, len)) == NULL)
			continue;
		for (i = 0; p->calls[i] != NULL; i++)
			if (strcmp(p->calls[i], call) == 0)
				return 1;
	}
	return 0;
}

/* A refusal must not stand beside a rule that allows: it would win. */
static int
add_refusals(scmp_filter_ctx ctx, const char *promises,
    const char *const *calls, uint16_t error)
{
	for (; *calls != NULL; calls++)
		if (!is_promised(promises, *calls) &&
		    add_rule(ctx, SCMP_ACT_ERRNO(error), *calls, 0, NULL) == -1)
			return -1;
	return 0;
}

static int
set_arch(scmp_filter_ctx ctx, uint32_t arch)
{
	int error;

	if (arch == 0 || arch == seccomp_arch_native())
		return 0;
	if ((error = seccomp_arch_add(ctx, arch)) == 0)
		error = seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE);
	errno = -error;
	return error == 0 ? 0 : -1;
}

static int
set_attributes(scmp_filter_ctx ctx)
{
	static const struct {
		enum scmp_filter_attr attr;
		uint32_t value;
	} attrs[] = {
		{ SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS },
		{ SCMP_FLTATR_CTL_NNP, 0 }, /* set by the caller */
		{ SCMP_FLTATR_CTL_OPTIMIZE, 2 }, /* binary tree */
		{ SCMP_FLTATR_API_SYSRAWRC, 1 }, /* errno of load */
	};
	size_t i;
	int error;

	for (i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
		error = seccomp_attr_set(ctx, attrs[i].attr, attrs[i].value);
		if (error != 0) {
			errno = -error;
			return -1;
		}
	}
	return 0;
}

static int
add_all(scmp_filter_ctx ctx, const char *promises, int flags)
{
	const char *word, *rest = promises;
	size_t len;

	if (add_calls(ctx, SCMP_ACT_ALLOW, promise_always) == -1)
		return -1;
	while ((len = promises_next(rest, &word, &rest)) != 0)
		if (add_promise(ctx, word, len) == -1)
			return -1;
	if (add_refusals(ctx, promises, promise_absent, ENOSYS) == -1)
		return -1;
	if ((flags & FILTER_SANITIZER) == 0)
		return 0;
	if (add_calls(ctx, SCMP_ACT_ALLOW, promise_sanitizer_calls) == -1)
		return -1;
	return add_refusals(ctx, promises, promise_sanitizer_denied, EACCES);
}

scmp_filter_ctx
filter_build(enum proc_id proc, const char *promises, uint32_t arch, int flags,
    const char **errstr)
{
	scmp_filter_ctx ctx;
	int saved;

	if (promises == NULL)
		promises = profile_table[proc];
	if (promises == NULL) {
		*errstr = "no promises for this process";
		errno = EINVAL;
		return NULL;
	}
	if ((ctx = seccomp_init(SCMP_ACT_TRAP)) == NULL) {
		*errstr = "seccomp_init";
		errno = ENOMEM;
		return NULL;
	}
	*errstr = "filter attributes";
	if (set_attributes(ctx) == 0 && set_arch(ctx, arch) == 0) {
		*errstr = filter_error;
		if (add_all(ctx, promises, flags) == 0)
			return ctx;
	}
	saved = errno;
	seccomp_release(ctx);
	errno = saved;
	return NULL;
}

void
filter_call_name(uint32_t arch, int nr, char *buf, size_t size)
{
	char *name = seccomp_syscall_resolve_num_arch(arch, nr);

	if (name != NULL)
		snprintf(buf, size, "%s", name);
	else
		snprintf(buf, size, "system call %d", nr);
	free(name);
}

int
filter_enter(
    enum proc_id proc, const char *promises, int flags, const char **errstr)
{
	scmp_filter_ctx ctx;
	int error;

	if ((ctx = filter_build(proc, promises, 0, flags, errstr)) == NULL)
		return -1;
	error = seccomp_load(ctx);
	seccomp_release(ctx);
	if (error == 0)
		return 0;
	*errstr = "loading the system call filter";
	errno = -error;
	return -1;
}
