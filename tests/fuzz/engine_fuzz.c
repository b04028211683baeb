/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * A hostile monitor and a hostile QMP client against the engine's dispatch,
 * with an honest parent that has policies of two rules: whatever they send, in
 * whatever order, nothing is handed over that the policy does not pass, or
 * whose number and digest are not what the monitor has told.  A hostile
 * parent only must not harm memory.
 *
 * An input is a list of messages: sender, type, number of changes, and for
 * each change its place and value; the rest is as a good one has it.
 */

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "audit.h"
#include "chan.h"
#include "child.h"
#include "classes.h"
#include "control.h"
#include "input.h"
#include "log.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static jmp_buf ended;
static uint64_t now = 1;
static void sent(struct chan *, enum msg_type, const void *);

static void __attribute__((__noreturn__)) engine_ends(void)
{
	longjmp(ended, 1);
}

/* What ends the process, or leaves it, is caught here. */
#define fatal(...) engine_ends()
#define fatalx(...) engine_ends()
#define chan_fail(c, why) ((void)(c), engine_ends())
#define chan_send(c, type, payload, fd) sent(c, type, payload)
#define chan_open(c, fd, me, p, dispatch, lost, arg) \
	((void)(fd), (void)(dispatch))
#define chan_close(c) ((void)(c))
#define chan_lost_fatal(c, why) ((void)(c), (void)(why))
#define control_listen(fd, core, readonly) ((void)(fd))
#define loop_now() (now)
#define loop_timer_set(timer, ms, cb, arg) ((void)(cb))
#include "engine.c"

#define MACHINES 2
#define PORT_OF_A                                       \
	{                                               \
		.busnum = 3, .depth = 1, .chain = { 9 } \
	}
#define VENDOR_OF_B 0x046d
#define PRODUCT_OF_B 0xc077

static int parent_is_honest;
static unsigned int in_policy; /* machines, as bits */
/* What the monitor has told, by port: the last counts. */
#define TOLD_MAX 64
static struct usbdev told[TOLD_MAX];
static size_t ntold;

static const struct usbdev *
told_of(const struct usbport *port)
{
	size_t i;

	for (i = 0; i < ntold; i++)
		if (usbport_cmp(&told[i].port, port) == 0)
			return &told[i];
	return NULL;
}

static void
tell(const struct usbdev *dev)
{
	struct usbdev *d = (struct usbdev *)(uintptr_t)told_of(&dev->port);

	if (d == NULL && ntold == TOLD_MAX)
		engine_ends();
	if (d == NULL)
		d = &told[ntold++];
	*d = *dev;
}

static int
is_port_of_a(const struct usbport *port)
{
	static const struct usbport a = PORT_OF_A;

	return usbport_cmp(port, &a) == 0;
}

/* The policy, said a second time; see send_policy. */
static int
may_have(uint32_t vm, const struct usbdev *d)
{
	unsigned int i;

	if (vm > MACHINES || !(in_policy >> (vm - 1) & 1))
		return 0;
	if (usbdev_is_hub(d) || d->odd_descriptors || d->netif[0] != '\0' ||
	    d->busy[0] != '\0')
		return 0;
	if (vm == 1)
		return is_port_of_a(&d->port) || is_port_of_a(&d->peer);
	if (vm != 2 || d->vendor != VENDOR_OF_B || d->product != PRODUCT_OF_B)
		return 0;
	for (i = 0; i < d->ninterfaces; i++)
		if (d->interfaces[i].class != 3)
			return 0;
	return 1;
}

static void
check_attach(const struct msg_attach *m)
{
	const struct usbdev *d = told_of(&m->port);

	must(m->request != 0 && m->request < REQUEST_MAX);
	must(msg_string_ok(m->id, sizeof(m->id)));
	must(d != NULL && d->devnum == m->devnum);
	must(memcmp(d->digest, m->digest, sizeof(m->digest)) == 0);
	must(may_have(m->vm, d));
}

static void
check_open(unsigned int busnum, unsigned int devnum)
{
	size_t i;

	must(busnum != 0 && busnum <= USB_BUSNUM_MAX);
	must(devnum != 0 && devnum <= USB_DEVNUM_MAX);
	for (i = 0; i < ntold; i++)
		if (told[i].port.busnum == busnum && told[i].devnum == devnum)
			return;
	abort();
}

static void
sent(struct chan *c, enum msg_type type, const void *payload)
{
	const struct msg_open_device *open = payload;

	(void)c;
	must(msg_info(type)->from >> PROC_ENGINE & 1);
	all_is_written(payload, msg_info(type)->size);
	if (!parent_is_honest)
		return;
	if (type == MSG_ATTACH)
		check_attach(payload);
	else if (type == MSG_OPEN_DEVICE)
		check_open(open->busnum, open->devnum);
}

/* Messages of the honest */

static void
from_parent(enum msg_type type, const void *payload)
{
	engine_dispatch_parent(&engine.parent, type, payload, -1);
}

/* Of those machines, as bits. */
static void
send_policy(unsigned int which)
{
	struct msg_conf_begin begin = { .vms = 0, .rules = 2 };
	struct msg_rule a = { .action = RULE_PASS,
		.has = RULE_HAS_PORT,
		.port = PORT_OF_A,
		.nvms = 1,
		.vms = { 1 },
		.where = "t:1" };
	struct msg_rule b = { .action = RULE_PASS,
		.has = RULE_HAS_VENDOR | RULE_HAS_PRODUCT,
		.vendor = VENDOR_OF_B,
		.product = PRODUCT_OF_B,
		.nvms = 1,
		.vms = { 2 },
		.where = "t:2" };
	struct msg_vm vm = { .greeting_ms = 1, .reply_ms = 1 };

	in_policy = which;
	b.pledge = class_word_bit("hid");
	begin.vms = begin.rules = (which & 1) + (which >> 1);
	from_parent(MSG_CONF_BEGIN, &begin);
	for (vm.vm = 1; vm.vm <= MACHINES; vm.vm++) {
		if (!(which >> (vm.vm - 1) & 1))
			continue;
		snprintf(vm.name, sizeof(vm.name), "%c", 'a' + (int)vm.vm - 1);
		from_parent(MSG_CONF_VM, &vm);
	}
	if (which & 1)
		from_parent(MSG_CONF_RULE, &a);
	if (which & 2)
		from_parent(MSG_CONF_RULE, &b);
	from_parent(MSG_CONF_END, &none);
}

static void
good(enum msg_type type, uint8_t which, void *payload)
{
	struct usbport port = PORT_OF_A;
	struct msg_device_gone *gone = payload;
	struct msg_vm_state *state = payload;
	struct msg_result *result = payload;
	struct msg_vm_has *has = payload;
	struct usbdev *dev = payload;

	if (which & 1)
		port.chain[0] = 8;
	switch (type) {
	case MSG_DEVICE:
		dev->port = port;
		dev->devnum = 1 + (which >> 1 & 7);
		dev->vendor = VENDOR_OF_B;
		dev->product = PRODUCT_OF_B;
		dev->ninterfaces = 1;
		dev->interfaces[0].class = which & 0x10 ? 8 : 3;
		if ((which & 0xe0) == 0xe0)
			dev->class.class = 9;
		else if ((which & 0xe0) == 0xc0)
			strlcpy(dev->busy, "sda", sizeof(dev->busy));
		dev->digest[0] = which;
		break;
	case MSG_DEVICE_GONE:
		gone->port = port;
		gone->devnum = 1 + (which >> 1 & 7);
		break;
	case MSG_VM_STATE:
		state->vm = 1 + (which & 1);
		state->state = VM_READY;
		state->handover = HANDOVER_FD;
		state->told = 1;
		state->conn = 1 + (which >> 1 & 3);
		break;
	case MSG_VM_HAS:
	case MSG_VM_DROPPED:
		has->vm = 1 + (which & 1);
		has->port = port;
		has->devnum = 1 + (which >> 1 & 7);
		has->request = 1 + (which >> 4);
		break;
	case MSG_RESULT:
		result->vm = 1 + (which & 1);
		result->request = 1 + (which >> 1 & 15);
		result->conn = 1 + (which >> 5 & 3);
		break;
	default:
		break;
	}
}

static enum msg_type
next_type(struct input *in, enum proc_id from)
{
	unsigned int i, n = input_byte(in);
	enum msg_type type = MSG_FIRST_UNUSED;

	for (i = 0; i <= n % 16;) {
		type = type + 1 == MSG_MAX ? MSG_FIRST_UNUSED + 1 : type + 1;
		i += msg_check(from, PROC_ENGINE, type, msg_info(type)->size,
			 msg_info(type)->fd) == NULL;
	}
	return type;
}

/* Not what has a descriptor, nor what other files than engine.c handle. */
static int
is_tried(enum msg_type type)
{
	return type == MSG_PEER || type == MSG_START || type == MSG_VM_SOCKET ||
	       (type >= MSG_CONF_BEGIN && type <= MSG_CONF_END);
}

static void
one_message(struct input *in)
{
	static const enum proc_id senders[] = { PROC_MONITOR, PROC_QMPCLIENT,
		PROC_MONITOR, PROC_PARENT };
	_Alignas(uint64_t) uint8_t payload[4096] = { 0 };
	const void *m;
	enum proc_id from = senders[input_byte(in) % 4];
	enum msg_type type;
	unsigned int n;
	size_t at;

	if (from == PROC_PARENT && parent_is_honest) {
		send_policy(input_byte(in) & 3);
		return;
	}
	type = next_type(in, from);
	good(type, input_byte(in), payload);
	if ((n = input_byte(in)) >= INPUT_FILL && msg_info(type)->size > 0) {
		input_fill(in, payload, msg_info(type)->size);
		n -= INPUT_FILL;
	}
	for (; n > 0 && n <= 16; n--) {
		at = input_byte(in);
		at |= (size_t)input_byte(in) << 8;
		payload[at % msg_info(type)->size] = input_byte(in);
	}
	if (from == PROC_PARENT && !is_tried(type))
		return;
	/* As much memory as it wants: the limit of the process bounds it. */
	if (type == MSG_CONF_BEGIN)
		payload[1] = payload[2] = payload[3] = payload[5] = payload[6] =
		    payload[7] = 0;
	if (type == MSG_DEVICE && usbdev_check((void *)payload) == NULL)
		tell((void *)payload);
	m = exactly(payload, msg_info(type)->size);
	if (from == PROC_MONITOR)
		engine_dispatch_monitor(&engine.monitor, type, m, -1);
	else if (from == PROC_QMPCLIENT)
		engine_dispatch_qmpclient(&engine.qmpclient, type, m, -1);
	else
		from_parent(type, m);
	now += (uint64_t)input_byte(in) * 100;
	engine_tick(NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct msg_start start = { .verbose = 0 };
	struct input in = { data, size };

	memset(&engine, 0, sizeof(engine));
	ntold = 0;
	now = 1;
	log_set_stderr(0);
	if ((engine.core = core_new()) == NULL)
		abort();
	parent_is_honest = (input_byte(&in) & 3) != 0;
	if (setjmp(ended) == 0) {
		send_policy(3);
		from_parent(MSG_START, &start);
		while (in.size > 0)
			one_message(&in);
	}
	policy_free(engine.incoming);
	core_free(engine.core);
	return 0;
}
