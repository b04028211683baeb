/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any clients of the control sockets, over real connections, in an engine
 * with two machines and some devices: what they send costs them their own
 * connection at most.  An honest client still gets its answers, those who may
 * only look change nothing, no descriptor stays open.
 *
 * An input is a list of acts of clients, and of what happens meanwhile.
 */

#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "chan.h"
#include "child.h"
#include "input.h"
#include "log.h"
#include "standin_loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static int take_client(void);
static void sent(enum msg_type, const void *);

#define accept4(fd, addr, len, flags) take_client()
#include "control.c"
#define chan_send(c, type, payload, fd) \
	((void)(c), (void)(fd), sent(type, payload))
#include "engine.c"
#undef chan_send

#define SLOTS 24 /* more than a user may have */
#define DEVICES 3
#define ACTS_MAX 150

/* The ends of the clients, -1: not connected. */
static int slots[SLOTS];
static int accepted; /* what accept returns next */
static int somebody_may_change; /* a client of the socket that is for all */
static int unplugged; /* or another reason for a detach */
static struct msg_attach asked; /* last one, vm 0: none */
static int reload_is_asked;

static int
take_client(void)
{
	int fd = accepted;

	accepted = -1;
	return fd;
}

static void
sent(enum msg_type type, const void *payload)
{
	all_is_written(payload, msg_info(type)->size);
	if (type == MSG_RELOAD || type == MSG_WANT_VERBOSE)
		must(somebody_may_change);
	if (type == MSG_DETACH)
		must(somebody_may_change || unplugged);
	if (type == MSG_RELOAD)
		reload_is_asked = 1;
	if (type == MSG_ATTACH)
		asked = *(const struct msg_attach *)payload;
}

/* What there is */

static void
from_parent(enum msg_type type, const void *payload)
{
	engine_dispatch_parent(&engine.parent, type, payload, -1);
}

static void
device(unsigned int port, unsigned int devnum)
{
	struct usbdev d;

	memset(&d, 0, sizeof(d));
	d.port.busnum = 3;
	d.port.depth = 1;
	d.port.chain[0] = (uint8_t)port;
	d.devnum = (uint16_t)devnum;
	d.ninterfaces = 1;
	d.interfaces[0].class = 3;
	strlcpy(d.name, "M\xffuse", sizeof(d.name));
	engine_dispatch_monitor(&engine.monitor, MSG_DEVICE, &d, -1);
}

static void
machine(uint32_t number, enum vm_state state)
{
	struct msg_vm_state m = { .vm = number,
		.state = state,
		.handover = HANDOVER_FD,
		.told = 1,
		.conn = 1 };

	engine_dispatch_qmpclient(&engine.qmpclient, MSG_VM_STATE, &m, -1);
}

static void
send_policy(void)
{
	struct msg_conf_begin begin = { .vms = 2, .rules = 1 };
	struct msg_rule rule = { .action = RULE_PASS,
		.has = RULE_HAS_PORT,
		.port = { .busnum = 3, .depth = 1, .chain = { 1 } },
		.nvms = 2,
		.vms = { 1, 2 },
		.where = "t:1" };
	struct msg_vm vm = { .greeting_ms = 1, .reply_ms = 1 };

	from_parent(MSG_CONF_BEGIN, &begin);
	for (vm.vm = 1; vm.vm <= 2; vm.vm++) {
		snprintf(vm.name, sizeof(vm.name), "%c", 'a' + (int)vm.vm - 1);
		from_parent(MSG_CONF_VM, &vm);
	}
	from_parent(MSG_CONF_RULE, &rule);
	from_parent(MSG_CONF_END, &none);
}

static void
answer(uint8_t which)
{
	struct msg_result m = { .request = asked.request,
		.vm = asked.vm,
		.conn = asked.conn,
		.result = which % RESULT_MAX };

	if (asked.vm != 0 && core_check_result(engine.core, &m))
		engine_dispatch_qmpclient(
		    &engine.qmpclient, MSG_RESULT, &m, -1);
}

static void
reloaded(uint8_t which)
{
	struct msg_done done = { .error = which & 1, .text = "done" };
	struct msg_line line = { .text = "usbmgrd.conf:1: no" };

	if (!reload_is_asked)
		return;
	reload_is_asked = 0;
	if (which & 2)
		from_parent(MSG_RELOAD_TEXT, &line);
	from_parent(MSG_RELOAD_DONE, &done);
}

static void
happens(uint8_t what)
{
	struct msg_device_gone gone = {
		.port = { .busnum = 3, .depth = 1, .chain = { 1 } }, .devnum = 1
	};

	switch (what % 4) {
	case 0:
		unplugged = 1;
		engine_dispatch_monitor(
		    &engine.monitor, MSG_DEVICE_GONE, &gone, -1);
		break;
	case 1:
		unplugged = 1;
		device(1, 1 + what / 4 % 3);
		break;
	case 2:
		unplugged = 1;
		machine(1 + (what >> 2 & 1), what & 8 ? VM_READY : VM_LOST);
		break;
	default:
		answer(what / 4);
	}
}

static void
begin(void)
{
	static const struct msg_control all = { 0 }, readonly = { 1 };
	struct msg_process process = { .proc = PROC_PARENT, .pid = 1 };
	unsigned int i;

	memset(&engine, 0, sizeof(engine));
	memset(slots, 0xff, sizeof(slots));
	somebody_may_change = unplugged = reload_is_asked = 0;
	accepted = -1;
	asked.vm = 0;
	if ((engine.core = core_new()) == NULL)
		abort();
	/* They are never ready: clients come when they are said to. */
	control_listen(
	    open("/dev/null", O_RDONLY | O_CLOEXEC), &all, engine.core);
	control_listen(
	    open("/dev/null", O_RDONLY | O_CLOEXEC), &readonly, engine.core);
	listeners[0].watch.events = listeners[1].watch.events = 0;
	from_parent(MSG_PROCESS, &process);
	send_policy();
	machine(1, VM_READY);
	machine(2, VM_READY);
	for (i = 1; i <= DEVICES; i++)
		device(i, i);
	engine_dispatch_monitor(&engine.monitor, MSG_SCAN_DONE, &none, -1);
}

/* Clients */

static void
hang_up(unsigned int slot)
{
	if (slots[slot] != -1)
		close(slots[slot]);
	slots[slot] = -1;
}

static void
connect_client(unsigned int slot, int readonly)
{
	int fds[2];

	hang_up(slot);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		 fds) == 0);
	slots[slot] = fds[0];
	accepted = fds[1];
	somebody_may_change |= !readonly;
	control_accept(EPOLLIN, &listeners[readonly]);
}

static void
say(unsigned int slot, const void *bytes, size_t len)
{
	if (slots[slot] != -1)
		(void)!send(slots[slot], bytes, len, MSG_NOSIGNAL);
}

static void
say_message(unsigned int slot, uint32_t type, const void *payload, size_t size)
{
	uint8_t buf[sizeof(struct imsg_hdr) + 512];
	struct imsg_hdr hdr = { .type = type,
		.len = (uint32_t)(sizeof(hdr) + size) };

	memcpy(buf, &hdr, sizeof(hdr));
	memcpy(buf + sizeof(hdr), payload, size);
	say(slot, buf, sizeof(hdr) + size);
}

static void
request(struct input *in, unsigned int slot)
{
	static const uint32_t types[] = { MSG_CTL_SHOW_DEVICES,
		MSG_CTL_SHOW_VMS, MSG_CTL_SHOW_RULES, MSG_CTL_SHOW_PROCESSES,
		MSG_CTL_SHOW_COUNTERS, MSG_CTL_EXPLAIN, MSG_CTL_MONITOR,
		MSG_CTL_OVERRIDE, MSG_CTL_RELOAD, MSG_CTL_LOG };
	uint8_t payload[512] = { 0 }, which = input_byte(in);
	uint32_t type = types[which % (sizeof(types) / sizeof(types[0]))];
	struct ctl_override *override = (void *)payload;
	size_t size = msg_info(type)->size;

	must(size <= sizeof(payload));
	/* Both begin with a port. */
	if (type == MSG_CTL_EXPLAIN || type == MSG_CTL_OVERRIDE) {
		override->port.busnum = 3;
		override->port.depth = 1;
		override->port.chain[0] = 1 + which / 16 % 4;
	}
	if (type == MSG_CTL_OVERRIDE) {
		override->command = which / 64 % OVERRIDE_MAX;
		override->vm[0] = override->command == OVERRIDE_ATTACH
				      ? 'a' + (which >> 4 & 1)
				      : '\0';
	}
	input_changes(in, payload, size);
	say_message(slot, type, payload, size);
}

/* A head as it likes. */
static void
message(struct input *in, unsigned int slot)
{
	struct imsg_hdr hdr = { .type = input_byte(in),
		.len = sizeof(struct imsg_hdr) };
	uint8_t buf[512];
	size_t len;

	len = input_bytes(in, buf, input_byte(in));
	hdr.len += (uint32_t)len;
	input_changes(in, (uint8_t *)&hdr, sizeof(hdr));
	say(slot, &hdr, sizeof(hdr));
	say(slot, buf, len);
}

static void
descriptor(unsigned int slot)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} rights = { .buf = { 0 } };
	struct imsg_hdr hdr = { .type = MSG_CTL_SHOW_VMS, .len = sizeof(hdr) };
	struct iovec iov = { &hdr, sizeof(hdr) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = rights.buf,
		.msg_controllen = sizeof(rights.buf) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &slots[slot], sizeof(int));
	if (slots[slot] != -1)
		(void)!sendmsg(slots[slot], &msg, MSG_NOSIGNAL);
}

static void
read_some(unsigned int slot, size_t n)
{
	char buf[4096];

	while (n-- > 0 && slots[slot] != -1 &&
	       read(slots[slot], buf, sizeof(buf)) > 0)
		;
}

static void
act(struct input *in)
{
	uint8_t buf[256], what = input_byte(in);
	unsigned int slot = input_byte(in) % SLOTS;

	switch (what % 10) {
	case 0:
		connect_client(slot, what / 10 & 1);
		break;
	case 1:
	case 2:
		request(in, slot);
		break;
	case 3:
		message(in, slot);
		break;
	case 4:
		say(slot, buf, input_bytes(in, buf, input_byte(in)));
		break;
	case 5:
		hang_up(slot);
		break;
	case 6:
		read_some(slot, 1 + what / 10);
		break;
	case 7:
		standin_pass((uint64_t)input_byte(in) * 200);
		break;
	case 8:
		happens(input_byte(in));
		reloaded(what / 10);
		break;
	default:
		descriptor(slot);
	}
	if (what < 200) /* else more comes before it is looked at */
		standin_turn();
}

/* The last to come, so that it is nobody's oldest connection. */
static void
honest_client(void)
{
	struct imsgbuf buf;
	struct imsg imsg;
	unsigned int i;
	uint32_t type = 0;

	connect_client(0, 1);
	say_message(0, MSG_CTL_SHOW_DEVICES, &none, sizeof(none));
	must(imsgbuf_init(&buf, slots[0]) == 0);
	for (i = 0; i < 16 && type != MSG_CTL_END; i++) {
		standin_turn();
		must(imsgbuf_read(&buf) == 1);
		while (imsgbuf_get(&buf, &imsg) == 1) {
			must(type != MSG_CTL_END);
			type = imsg_get_type(&imsg);
			must(type == MSG_CTL_DEVICE || type == MSG_CTL_END);
			imsg_free(&imsg);
		}
	}
	must(type == MSG_CTL_END);
	imsgbuf_clear(&buf);
}

static void
end(void)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++)
		hang_up(i);
	for (i = 0; i < 8 && control.nclients > 0; i++)
		standin_turn();
	must(control.nclients == 0 && control.nwatching == 0);
	reloaded(0);
	for (i = 0; i < 2; i++) {
		loop_timer_del(&listeners[i].pause);
		close(listeners[i].watch.fd);
		loop_del(&listeners[i].watch);
	}
	control.core = NULL;
	loop_timer_del(&engine.tick);
	must(standin_nfds == 0 && standin_ntimers == 0);
	policy_free(engine.incoming);
	core_free(engine.core);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	int free_before = fcntl(2, F_DUPFD_CLOEXEC, 3), free_after;
	unsigned int i;

	close(free_before);
	log_set_stderr(0);
	begin();
	for (i = 0; i < ACTS_MAX && in.size > 0; i++)
		act(&in);
	honest_client();
	end();
	free_after = fcntl(2, F_DUPFD_CLOEXEC, 3);
	close(free_after);
	must(free_before == free_after);
	return 0;
}
