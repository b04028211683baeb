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
#define FIRST_MAX 320 /* longer ones pass */
#define PLUS 17
#define NAME_AT 10 /* in "SUBSYSTEM=" */

/*
 * Four bytes are looked at together: each instruction that loads becomes
 * some, and all have to fit into what a socket may have (optmem_max, which is
 * 20 KiB up to Linux 6.6).
 */
#define STEP 6
#define REST 48
#define PASS UINT32_MAX
#define DROP 0

struct program {
	struct sock_filter code[FIRST_MAX / 4 * STEP + REST];
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

/*
 * X becomes the length of the first string; there are no loops.  Less one, a
 * byte has its upper bit set if it was 0, or above 0x80, which passes.
 */
static void
find_first(struct program *p)
{
	uint32_t i;

	for (i = 0; i < FIRST_MAX; i += 4) {
		emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, i);
		emit(p, BPF_ALU | BPF_SUB | BPF_K, 0, 0, 0x01010101);
		emit(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, 0x80808080);
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 0);
		emit(p, BPF_LDX | BPF_W | BPF_IMM, 0, 0, i);
		emit(p, BPF_JMP | BPF_JA, 0, 0,
		    (FIRST_MAX - i - 4) / 4 * STEP + 1);
	}
	emit(p, BPF_RET | BPF_K, 0, 0, PASS);
	for (i = 0; i < 4; i++) {
		emit(p, BPF_LD | BPF_B | BPF_IND, 0, 0, 0);
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, (3 - i) * 5 + 4, 0, 0);
		emit(p, BPF_MISC | BPF_TXA, 0, 0, 0);
		emit(p, BPF_ALU | BPF_ADD | BPF_K, 0, 0, 1);
		emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
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
