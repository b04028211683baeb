/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * syscall(2) for what runs under valgrind, which may not know openat2(2):
 * it is openat(2) then, that follows symbolic links.  Linked with
 * --wrap=syscall.
 */

#include <sys/syscall.h>
#include <sys/types.h>
#include <linux/openat2.h>
#include <stdarg.h>

long __real_syscall(long, ...);
long __wrap_syscall(long, ...);

long
__wrap_syscall(long nr, ...)
{
	const struct open_how *how;
	long args[6];
	va_list ap;
	size_t i;

	va_start(ap, nr);
	for (i = 0; i < sizeof(args) / sizeof(args[0]); i++)
		args[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_openat2) {
		how = (const struct open_how *)args[2];
		return __real_syscall(
		    SYS_openat, args[0], args[1], how->flags, how->mode);
	}
	return __real_syscall(
	    nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}
