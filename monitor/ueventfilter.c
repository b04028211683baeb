/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <linux/filter.h>
#include <sys/socket.h>
#include <stdint.h>
#include "ueventfilter.h"

/*
 * "ACTION@DEVPATH" and a NUL, then ACTION=, DEVPATH= and SUBSYSTEM=, each
 * with a NUL.  So the length of the first string tells where the last one is:
 * it is twice that, and what "ACTION=", "DEVPATH=" and the NULs add.
 */
#define FIRST_MAX 300 /* longer ones pass */
#define PLUS 17
#define NAME_AT 10 /* in "SUBSYSTEM=" */

#define STEP 4 /* instructions a byte of the first string */
#define REST 32
#define PASS UINT32_MAX
#define DROP 0

struct program {
	struct sock_filter code[FIRST_MAX * STEP + REST];
	unsigned short len;
};

static void
emit(struct program *p, int code, unsigned int jt, unsigned int jf, uint32_t k)
{
	p->code[p->len++] = (struct sock_filter){ .code = (uint16_t)code,
		.jt = (uint8_t)jt,
		.jf = (uint8_t)jf,
		.k = k };
}

static uint32_t
word(const char *s)
{
	uint32_t w = 0;
	int i;

	for (i = 0; i < 4; i++) {
		w = w << 8 | (uint8_t)*s;
		if (*s != '\0')
			s++;
	}
	return w;
}

/* Pass, unless the bytes at X + at are those. */
static void
must_be(struct program *p, uint32_t at, int size, uint32_t value)
{
	emit(p, BPF_LD | BPF_IND | size, 0, 0, at);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value);
	emit(p, BPF_RET | BPF_K, 0, 0, PASS);
}

/* X becomes the length of the first string; there are no loops. */
static void
find_first(struct program *p)
{
	uint32_t i;

	for (i = 0; i < FIRST_MAX; i++) {
		emit(p, BPF_LD | BPF_B | BPF_ABS, 0, 0, i);
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0);
		emit(p, BPF_LDX | BPF_W | BPF_IMM, 0, 0, i);
		emit(p, BPF_JMP | BPF_JA, 0, 0, (FIRST_MAX - i - 1) * STEP + 1);
	}
	emit(p, BPF_RET | BPF_K, 0, 0, PASS);
}

/* X becomes where SUBSYSTEM= is, which has to be there. */
static void
find_subsystem(struct program *p)
{
	emit(p, BPF_MISC | BPF_TXA, 0, 0, 0);
	emit(p, BPF_ALU | BPF_LSH | BPF_K, 0, 0, 1);
	emit(p, BPF_ALU | BPF_ADD | BPF_K, 0, 0, PLUS);
	emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
	emit(p, BPF_LD | BPF_W | BPF_LEN, 0, 0, 0);
	emit(p, BPF_ALU | BPF_SUB | BPF_K, 0, 0, NAME_AT + 4);
	emit(p, BPF_JMP | BPF_JGE | BPF_X, 1, 0, 0);
	emit(p, BPF_RET | BPF_K, 0, 0, PASS);
	must_be(p, 0, BPF_W, word("SUBS"));
	must_be(p, 4, BPF_W, word("YSTE"));
	must_be(p, 8, BPF_H, word("M=") >> 16);
}

int
ueventfilter_attach(int fd, const char *const *names, unsigned int n)
{
	struct program p = { .len = 0 };
	struct sock_fprog fprog = { .filter = p.code };
	unsigned int i;

	find_first(&p);
	find_subsystem(&p);
	emit(&p, BPF_LD | BPF_W | BPF_IND, 0, 0, NAME_AT);
	for (i = 0; i < n; i++) {
		emit(&p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, word(names[i]));
		emit(&p, BPF_RET | BPF_K, 0, 0, PASS);
	}
	emit(&p, BPF_RET | BPF_K, 0, 0, DROP);
	fprog.len = p.len;
	return setsockopt(
	    fd, SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof(fprog));
}
