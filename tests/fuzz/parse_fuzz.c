/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any text as a policy file.  What is accepted must be printed so that it
 * parses again to the same, and must be a policy that the engine takes.
 */

#include <sys/mman.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "conf.h"

int LLVMFuzzerInitialize(int *, char ***);
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static char path[64]; /* of the policy file that is rewritten */
static int fd;

/* Messages go nowhere; the sanitizers' write to the descriptor itself. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fd = memfd_create("conf", MFD_CLOEXEC);
	stderr = fopen("/dev/null", "we");
	if (fd == -1 || stderr == NULL)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return 0;
}

static struct conf *
parse(const void *text, size_t len)
{
	if (ftruncate(fd, 0) == -1 || pwrite(fd, text, len, 0) != (ssize_t)len)
		abort();
	return conf_parse(path, CONF_ANYBODY);
}

static char *
print(const struct conf *conf, size_t *len)
{
	char *text = NULL;
	FILE *out;

	if ((out = open_memstream(&text, len)) == NULL)
		abort();
	conf_print(conf, out);
	if (fclose(out) == EOF)
		abort();
	return text;
}

static void
check_decision(const struct conf *conf)
{
	struct policy *policy;
	struct usbdev d;
	const char *why;

	memset(&d, 0, sizeof(d));
	d.port.busnum = d.port.depth = d.port.chain[0] = 1;
	d.peer = d.port;
	d.peer.busnum = 2;
	if ((policy = conf_policy(conf, &why)) == NULL ||
	    policy_finish(policy) == -1)
		abort();
	policy_decide(policy, &d);
	policy_free(policy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *conf, *again;
	char *text, *text_again;
	size_t len, len_again;

	if ((conf = parse(data, size)) == NULL)
		return 0;
	check_decision(conf);
	text = print(conf, &len);
	conf_free(conf);
	if ((again = parse(text, len)) == NULL)
		abort();
	text_again = print(again, &len_again);
	conf_free(again);
	if (len != len_again || memcmp(text, text_again, len) != 0)
		abort();
	free(text);
	free(text_again);
	return 0;
}
