/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * A filter that kills tells nobody why: the call is in the kernel's log, if
 * anywhere.  So it traps (SECCOMP_RET_TRAP), which does not make the call
 * either, and what follows is as deadly, also for whoever has taken the
 * process over, because he cannot
 *
 *  - put another handler in the place of this one: no rt_sigaction(2);
 *  - be spared by blocking or ignoring SIGSYS: the kernel then kills;
 *  - change these instructions: no PROT_EXEC, no mremap(2); where they are
 *    gone, SIGSEGV kills;
 *  - divert them: they read no function pointer that can be written to, there
 *    is no second thread, all signals are blocked meanwhile;
 *  - come back from them: they end with a call that is trapped while SIGSYS
 *    is blocked, which kills.
 *
 * What he can do is to make the message wrong.
 */

#include <sys/syscall.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "trap.h"

/* SYS_SECCOMP of the kernel (asm-generic/siginfo.h), which libc lacks. */
#define FROM_FILTER 1

static struct chan *channel;

/* In the middle of a message that has been sent in part it would be lost. */
static int
tell_parent(const struct msg_trapped *m)
{
	struct {
		struct imsg_hdr hdr;
		struct msg_trapped payload;
	} message = { .hdr = { .type = MSG_TRAPPED,
			  .len = sizeof(message),
			  .pid = (uint32_t)-1 },
		.payload = *m };

	if (channel == NULL || channel->dead ||
	    imsgbuf_queuelen(&channel->ibuf) != 0)
		return -1;
	return write(PROC_PARENT_FD, &message, sizeof(message)) ==
		       (ssize_t)sizeof(message)
		   ? 0
		   : -1;
}

/* No function of stdio(3) here. */
static void
tell_stderr(unsigned int nr)
{
	char line[64] = "usbmgrd: filter does not have system call ";
	char digits[12];
	size_t n = sizeof(digits), len = strlen(line);

	digits[--n] = '\n';
	do {
		digits[--n] = (char)('0' + nr % 10);
		nr /= 10;
	} while (nr != 0);
	memcpy(line + len, digits + n, sizeof(digits) - n);
	if (write(STDERR_FILENO, line, len + sizeof(digits) - n) == -1)
		return;
}

static void
trapped(int signo, siginfo_t *info, void *context)
{
	struct msg_trapped m = { .arch = info->si_arch,
		.nr = info->si_syscall };

	(void)signo;
	(void)context;
	/* Else somebody has sent it. */
	if (info->si_code == FROM_FILTER && tell_parent(&m) == -1)
		tell_stderr((unsigned int)m.nr);
	for (;;)
		syscall(SYS_setns, -1, 0); /* which no process has */
}

int
trap_install(struct chan *parent)
{
	struct sigaction sa = { .sa_sigaction = trapped,
		.sa_flags = SA_SIGINFO };

	channel = parent;
	sigfillset(&sa.sa_mask);
	return sigaction(SIGSYS, &sa, NULL);
}
