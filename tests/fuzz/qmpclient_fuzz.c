/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any QEMUs, over real connections, against the whole QMP client, between a
 * parent and an engine that are honest or not: no answer and no event ends
 * the process, each request is answered once, and a device goes to the
 * machine that it was asked for and no other, with the descriptors that were
 * judged.  Parents and engines that are not honest only must not harm memory.
 *
 * An input is a list of acts.  The QEMUs answer as real ones do unless an act
 * says otherwise.
 */

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "again.h"
#include "attach.h"
#include "chan.h"
#include "child.h"
#include "input.h"
#include "qmpid.h"
#include "shared.h"
#include "standin_log.h"
#include "standin_loop.h"
#include "usbfs.h"
#include "usbnode.h"
#include "vm.h"

int LLVMFuzzerInitialize(int *, char ***);
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int qmpclient_main(int, char *[]);
static void sent(enum msg_type, const void *);

#define main qmpclient_main
#define chan_is_open(c) ((void)(c), 1)
#define chan_close(c) ((void)(c))
#define chan_open(c, fd, me, p, dispatch, lost, arg) \
	((void)(c), (void)(fd), (void)(dispatch))
#define chan_send(c, type, payload, fd) ((void)(c), sent(type, payload))
#include "qmpclient.c"
#undef main

#define MACHINES 3
#define REQUESTS 32
#define ACTS_MAX 64
#define QUEUE_SIZE 65536
#define ANSWER_MAX 20000

static jmp_buf ended;
static int all_are_honest;

static void
process_ends(void)
{
	must(!all_are_honest);
	longjmp(ended, 1);
}

/* In the place of common/child.c. */
void
child_init(enum proc_id proc, int argc, char *argv[], const char *const *roots,
    void (*prepare)(void), struct chan *c,
    void (*dispatch)(struct chan *, enum msg_type, const void *, int))
{
	(void)proc;
	(void)argc;
	(void)argv;
	(void)roots;
	(void)prepare;
	(void)c;
	(void)dispatch;
}

int
child_dispatch(enum msg_type type, const void *payload, int fd)
{
	(void)payload;
	if (type != MSG_LOG && type != MSG_VERBOSE && type != MSG_PING)
		return 0;
	if (fd != -1)
		close(fd);
	return 1;
}

/* In the place of common/usbnode.c: files with descriptors stand for nodes. */
int
usbnode_is(int fd, unsigned int busnum, unsigned int devnum)
{
	(void)fd;
	return busnum != 0 && devnum != 0;
}

/* What parent and engine know */

static struct machine {
	int fd; /* QEMU's end, or -1 */
	int known; /* the QMP client was told of it */
	int connected; /* as the parent knows it */
	int released; /* it let go of the connection */
	int wanted; /* and asked for it again */
	uint32_t conns;
	uint32_t ready; /* the connection that is, or 0 */
	uint32_t handover; /* of it */
	char queue[QUEUE_SIZE]; /* commands that came */
	size_t len;
} machines[MACHINES + 1];

static struct request {
	uint32_t vm; /* 0: none */
	uint32_t conn;
	int attaches; /* not yet answered */
	int detaches;
	int has_device; /* the parent sent one for it, or need not */
	int device_is_good;
	int is_in; /* attached, as the engine knows it */
	ino_t ino; /* of the node that was sent */
	char id[MSG_ID_MAX];
} requests[REQUESTS + 1];
static uint32_t nrequests;

static int good_device, bad_device;
static uint8_t digest[USBDEV_DIGEST_LEN];

static void
on_result(const struct msg_result *m)
{
	struct request *r = &requests[m->request];

	must(m->result < RESULT_MAX);
	must(m->request > 0 && m->request <= nrequests && r->vm == m->vm);
	must(r->attaches + r->detaches == 1);
	if (r->attaches > 0)
		r->is_in = m->result == RESULT_OK;
	else if (m->result == RESULT_OK)
		r->is_in = 0;
	r->attaches = r->detaches = 0;
}

static void
on_state(const struct msg_vm_state *m)
{
	struct machine *vm = &machines[m->vm];

	must(m->state < VM_STATE_MAX && m->handover < HANDOVER_MAX);
	vm->handover = m->handover;
	if (m->state == VM_READY)
		vm->ready = m->conn;
	else if (m->state == VM_LOST)
		vm->ready = 0;
}

static void
sent(enum msg_type type, const void *payload)
{
	const struct msg_vm_number *number = payload;
	const struct msg_vm_has *has = payload;

	must(msg_info(type)->from >> PROC_QMPCLIENT & 1);
	all_is_written(payload, msg_info(type)->size);
	if (!all_are_honest)
		return;
	if (type != MSG_RESULT && type != MSG_READY && type != MSG_PONG)
		must(number->vm >= 1 && number->vm <= MACHINES &&
		     machines[number->vm].known);
	if (type == MSG_RESULT)
		on_result(payload);
	else if (type == MSG_VM_STATE)
		on_state(payload);
	else if (type == MSG_QMP_LOST)
		machines[number->vm].connected = machines[number->vm].released =
		    machines[number->vm].wanted = 0;
	else if (type == MSG_QMP_RELEASE)
		machines[number->vm].released = 1;
	else if (type == MSG_QMP_WANT)
		machines[number->vm].wanted = 1;
	else if (type == MSG_VM_HAS || type == MSG_VM_DROPPED)
		must(usbport_valid(&has->port) && has->devnum != 0 &&
		     has->request != 0 &&
		     msg_string_ok(has->id, sizeof(has->id)));
}

static void
by_parent(enum msg_type type, const void *payload, int fd)
{
	qmpclient_dispatch_parent(&parent, type, payload, fd);
}

static void
by_engine(enum msg_type type, const void *payload)
{
	qmpclient_dispatch_engine(&engine, type, payload, -1);
}

/* QEMU */

static void
qemu_says(struct machine *vm, const char *text, size_t len)
{
	if (vm->fd != -1)
		(void)!send(vm->fd, text, len, MSG_NOSIGNAL);
}

/* A descriptor that comes must be one for this machine, and a good one. */
static void
qemu_has_descriptor(const struct machine *vm, int fd)
{
	struct stat st;
	uint32_t i;

	must(fstat(fd, &st) == 0);
	close(fd);
	if (!all_are_honest)
		return;
	for (i = 1; i <= nrequests; i++)
		if (requests[i].vm == (uint32_t)(vm - machines) &&
		    requests[i].device_is_good && requests[i].ino == st.st_ino)
			return;
	abort();
}

static void
qemu_reads(struct machine *vm)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov;
	struct msghdr msg;
	struct cmsghdr *cmsg;
	ssize_t n;
	int fd;

	while (vm->fd != -1 && vm->len < QUEUE_SIZE - 1) {
		memset(&msg, 0, sizeof(msg));
		iov.iov_base = vm->queue + vm->len;
		iov.iov_len = QUEUE_SIZE - 1 - vm->len;
		msg.msg_iov = &iov;
		msg.msg_iovlen = 1;
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		n = recvmsg(vm->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n <= 0)
			break;
		if ((cmsg = CMSG_FIRSTHDR(&msg)) != NULL) {
			memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
			qemu_has_descriptor(vm, fd);
		}
		vm->len += (size_t)n;
	}
	vm->queue[vm->len] = '\0';
}

static const char *
usual_answer(const char *line)
{
	static const struct {
		const char *part; /* of the command */
		const char *answer;
	} table[] = {
		{ "\"query-status\"",
		    "{\"status\":\"running\",\"running\":true}" },
		{ "\"query-commands\"", "[{\"name\":\"add-fd\"}]" },
		{ "\"device-list-properties\"",
		    "[{\"name\":\"hostdevice\",\"type\":\"str\"}]" },
		{ "\"path\":\"/machine/peripheral\"}",
		    "[{\"name\":\"x\",\"type\":\"child<qemu-xhci>\"},"
		    "{\"name\":\"usbmgrd-3-9-5-7\","
		    "\"type\":\"child<usb-host>\"}]" },
		{ "\"path\":\"/machine/peripheral/x\"}",
		    "[{\"name\":\"x.0\",\"type\":\"child<usb-bus>\"}]" },
		{ "\"path\":\"/machine/peripheral/x/x.0\"}",
		    "[{\"name\":\"child[0]\",\"type\":\"link<usb-host>\"}]" },
		{ "\"qom-list\"", "[]" },
		{ "\"property\":\"p", "4" },
		{ "\"qom-get\"", "\"\"" },
		{ "\"x-query-usb\"",
		    "{\"human-readable-text\":\"  Device 0.1, Port 1, "
		    "Speed 480 Mb/s, Product a\\n\"}" },
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strstr(line, table[i].part) != NULL)
			return table[i].answer;
	return "{}";
}

#define GENERIC(desc) "{\"class\":\"GenericError\",\"desc\":\"" desc "\"}"

static const char *const errors[] = {
	"{\"class\":\"DeviceNotFound\",\"desc\":\"Device 'x' not found\"}",
	GENERIC("usb port 1 (bus x.0) not found (in use?)"),
	GENERIC("Duplicate device ID 'x'"),
	GENERIC("no"),
	GENERIC("failed to open host usb device"),
};

/*
 * The command that has waited longest is answered: NULL as usual, else value
 * or an error.  0 if there was none.
 */
static int
qemu_answers(struct machine *vm, const char *value, int is_error)
{
	char text[ANSWER_MAX], *end, *id;
	int n;

	qemu_reads(vm);
	if ((end = memchr(vm->queue, '\n', vm->len)) == NULL)
		return 0;
	*end = '\0';
	id = strrchr(vm->queue, ':'); /* it is the last member */
	must(id != NULL);
	if (value == NULL)
		value = usual_answer(vm->queue);
	n = snprintf(text, sizeof(text), "{\"%s\":%s,\"id\":%lld}\n",
	    is_error ? "error" : "return", value, strtoll(id + 1, NULL, 10));
	qemu_says(
	    vm, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text));
	vm->len -= (size_t)(end + 1 - vm->queue);
	memmove(vm->queue, end + 1, vm->len + 1);
	return 1;
}

static void
qemu_event(struct machine *vm, uint8_t which)
{
	static const char *const events[] = {
		"STOP\"",
		"RESUME\"",
		"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"x\"}",
		"DEVICE_DELETED\",\"data\":{\"device\":\"mine\"}",
		"MIGRATION\",\"data\":{\"status\":\"setup\"}",
		"MIGRATION\",\"data\":{\"status\":\"completed\"}",
	};
	char head[128], text[512];
	const char *id = requests[1 + which / 7 % REQUESTS].id;

	if (which % 7 == 6)
		snprintf(head, sizeof(head),
		    "DEVICE_DELETED\",\"data\":{\"device\":\"%.40s\"}", id);
	else
		strlcpy(head, events[which % 7], sizeof(head));
	snprintf(text, sizeof(text),
	    "{\"timestamp\":{\"seconds\":1},\"event\":\"%s}\n", head);
	qemu_says(vm, text, strlen(text));
}

static void
qemu_greets(struct machine *vm)
{
	static const char greeting[] =
	    "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":2,\"minor\":2,"
	    "\"major\":7},\"package\":\"\"},\"capabilities\":[\"oob\"]}}\n";

	qemu_says(vm, greeting, sizeof(greeting) - 1);
}

static void
qemu_ends(struct machine *vm)
{
	if (vm->fd != -1)
		close(vm->fd);
	vm->fd = -1;
	vm->len = 0;
}

/* Parent and engine */

static void
tell_of_machine(uint32_t number, uint8_t how)
{
	struct msg_vm m = { .vm = number,
		.handover = how % HANDOVER_MAX,
		.monitor = how >> 2 & 1,
		.greeting_ms = 1000,
		.reply_ms = 1000,
		.name = "a" };
	const struct vm *before = vm_find(number);

	/* What it is cannot change but by a restart. */
	if (before != NULL)
		m.monitor = before->conf.monitor;
	if (how & 8)
		strlcpy(m.bus, "x.0", sizeof(m.bus));
	if (how & 16)
		m.first_port = m.last_port = 2;
	machines[number].known = 1;
	by_parent(MSG_QMP_VM, &m, -1);
}

static void
forget_machine(uint32_t number)
{
	struct msg_vm_number m = { .vm = number };
	struct machine *vm = &machines[number];

	if (!vm->known)
		return;
	by_parent(MSG_QMP_VM_GONE, &m, -1);
	qemu_ends(vm);
	vm->known = vm->connected = vm->released = vm->wanted = 0;
	vm->ready = 0;
}

static void
connect_machine(uint32_t number, int32_t pid)
{
	struct machine *vm = &machines[number];
	struct msg_qmp_socket m = { .vm = number, .pid = pid };
	int fds[2];

	if (!vm->known || (vm->connected && !vm->wanted))
		return;
	qemu_ends(vm);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		 fds) == 0);
	m.conn = ++vm->conns;
	vm->fd = fds[0];
	vm->connected = 1;
	vm->released = vm->wanted = 0;
	by_parent(MSG_QMP_SOCKET, &m, fds[1]);
}

/* A machine that is released has ended. */
static void
machine_ended(uint32_t number)
{
	struct msg_vm_number m = { .vm = number };

	if (machines[number].released || machines[number].wanted)
		by_parent(MSG_QMP_GONE, &m, -1);
}

static void
attach(uint32_t number, uint8_t how)
{
	struct qmpid id = { .port = { .busnum = 3, .depth = 1, .chain = { 9 } },
		.devnum = 5 };
	struct msg_attach m;
	struct request *r;

	if (nrequests == REQUESTS || machines[number].ready == 0)
		return;
	r = &requests[++nrequests];
	id.request = nrequests;
	qmpid_format(&id, r->id, sizeof(r->id));
	r->vm = number;
	r->conn = machines[number].ready;
	r->attaches = 1;
	memset(&m, 0, sizeof(m));
	m.request = nrequests;
	m.vm = number;
	m.conn = r->conn;
	m.port = id.port;
	m.devnum = id.devnum;
	m.speed = how % USB_SPEED_MAX;
	m.speeds = (uint16_t)(1U << m.speed);
	m.handover = machines[number].handover;
	r->has_device = m.handover == HANDOVER_ADDRESS;
	memcpy(m.digest, digest, sizeof(m.digest));
	strlcpy(m.id, r->id, sizeof(m.id));
	by_engine(MSG_ATTACH, &m);
}

/* Each device is a file of its own, so that it is known again. */
static int
node(int is_good)
{
	char text[64];
	ssize_t len;
	int fd = memfd_create("node", MFD_CLOEXEC);

	len = pread(is_good ? good_device : bad_device, text, sizeof(text), 0);
	must(fd != -1 && pwrite(fd, text, (size_t)len, 0) == len);
	return fd;
}

static void
open_device(uint32_t request, uint8_t how)
{
	struct msg_open_device m = {
		.request = request, .busnum = 3, .devnum = how & 8 ? 6 : 5
	};
	struct msg_open_failed failed = { .request = request, .error = ENODEV };
	struct request *r = &requests[request];
	struct stat st;
	int fd;

	if (request > nrequests || r->has_device)
		return;
	r->has_device = 1;
	if (how & 4) {
		by_parent(MSG_OPEN_FAILED, &failed, -1);
		return;
	}
	fd = node(how & 3);
	must(fstat(fd, &st) == 0);
	r->ino = st.st_ino;
	r->device_is_good = (how & 3) != 0 && m.devnum == 5;
	by_parent(MSG_DEVICE_FD, &m, fd);
}

static void
detach(uint32_t request)
{
	struct request *r = &requests[request];
	struct msg_detach m = { .request = request, .vm = r->vm };

	if (request > nrequests || !r->is_in || r->attaches || r->detaches ||
	    machines[r->vm].ready == 0)
		return;
	m.conn = machines[r->vm].ready;
	strlcpy(m.id, r->id, sizeof(m.id));
	r->detaches = 1;
	by_engine(MSG_DETACH, &m);
}

/* It knows what it is told anew, and is answered nothing of before. */
static void
new_engine(void)
{
	struct msg_peer m = { .proc = PROC_ENGINE };
	uint32_t i;

	for (i = 1; i <= nrequests; i++)
		requests[i].attaches = requests[i].detaches = 0;
	for (i = 1; i <= nrequests; i++)
		requests[i].is_in = 0;
	for (i = 1; i <= MACHINES; i++)
		machines[i].ready = 0;
	by_parent(MSG_PEER, &m, -1);
}

/* Whatever they like to say. */
static void
dishonest(struct input *in)
{
	_Alignas(uint64_t) uint8_t payload[4096] = { 0 };
	enum proc_id from = input_byte(in) & 1 ? PROC_PARENT : PROC_ENGINE;
	uint32_t type = input_byte(in) % MSG_MAX;
	const struct msg_info *info = msg_info(type);
	struct msg_attach *m = (void *)payload;
	int fd = -1;

	if (info == NULL ||
	    msg_check(from, PROC_QMPCLIENT, type, info->size, info->fd) != NULL)
		return;
	payload[0] = 1 + input_byte(in) % REQUESTS;
	if (type == MSG_ATTACH && m->request <= nrequests) {
		strlcpy(m->id, requests[m->request].id, sizeof(m->id));
		m->port.busnum = 3;
		m->port.depth = 1;
		m->port.chain[0] = 9;
		m->devnum = 5;
		m->vm = 1;
		m->conn = 1;
	}
	input_changes(in, payload, info->size);
	if (info->fd && type != MSG_PEER)
		fd = type == MSG_QMP_SOCKET
			 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
			 : node(1);
	if (from == PROC_PARENT)
		by_parent(
		    (enum msg_type)type, exactly(payload, info->size), fd);
	else
		by_engine((enum msg_type)type, exactly(payload, info->size));
}

/* A list of n that are alike; each % in them is the number of one. */
static void
make_list(char *list, size_t size, const char *element, unsigned int n)
{
	size_t len = 0;
	unsigned int i;
	const char *p;
	char number[16];

	list[len++] = '[';
	for (i = 0; i < n; i++) {
		snprintf(number, sizeof(number), "%u", i);
		for (p = element; *p != '\0' && len + 32 < size; p++)
			if (*p == '%')
				len += strlcpy(list + len, number, size - len);
			else
				list[len++] = *p;
		if (i + 1 < n && len + 32 < size)
			list[len++] = ',';
	}
	list[len++] = ']';
	list[len] = '\0';
}

static void
act(struct input *in)
{
	uint8_t what = input_byte(in), how = input_byte(in), n;
	uint32_t number = 1 + how % MACHINES;
	struct machine *vm = &machines[number];
	char text[512], list[ANSWER_MAX - 100];
	size_t len;

	how /= MACHINES;
	switch (what % 16) {
	case 0:
		tell_of_machine(number, how);
		break;
	case 1:
		connect_machine(number, how & 1);
		break;
	case 2:
		qemu_greets(vm);
		break;
	case 3:
		for (n = 0; n <= how && qemu_answers(vm, NULL, 0); n++)
			standin_turn();
		break;
	case 4:
		qemu_answers(vm, errors[how % 5], 1);
		break;
	case 5:
		len = input_bytes(in, text, input_byte(in));
		text[len] = '\0';
		if (how & 2)
			make_list(list, sizeof(list), text, input_byte(in));
		qemu_answers(vm, how & 2 ? list : text, how & 1);
		break;
	case 6:
		qemu_says(vm, text, input_bytes(in, text, input_byte(in)));
		if (how & 1)
			qemu_says(vm, "\n", 1);
		break;
	case 7:
		qemu_event(vm, input_byte(in));
		break;
	case 8:
		attach(number, how);
		break;
	case 9:
		open_device(1 + how % REQUESTS, input_byte(in));
		break;
	case 10:
		detach(1 + how % REQUESTS);
		break;
	case 11:
		qemu_ends(vm);
		break;
	case 12:
		standin_pass((uint64_t)how * 30);
		break;
	case 13:
		if (how < 4)
			forget_machine(number);
		else
			machine_ended(number);
		break;
	case 14:
		if (how < 4)
			new_engine();
		/* The usual: a machine becomes ready. */
		tell_of_machine(number, how);
		connect_machine(number, 0);
		qemu_greets(vm);
		standin_turn();
		for (n = 0; n < 64 && qemu_answers(vm, NULL, 0); n++)
			standin_turn();
		break;
	default:
		if (!all_are_honest)
			dishonest(in);
	}
	if (what < 200) /* else more comes before it is looked at */
		standin_turn();
}

static void
end(void)
{
	uint32_t i;

	for (i = 1; i <= MACHINES; i++)
		qemu_ends(&machines[i]);
	for (i = 0; i < 4; i++)
		standin_turn();
	standin_pass(120000);
	for (i = 1; i <= nrequests && all_are_honest; i++)
		must(requests[i].attaches == 0 && requests[i].detaches == 0);
}

static struct vm *some_machine;

static void
note_machine(struct vm *vm)
{
	some_machine = vm;
}

/* Also those that only the dishonest know of. */
static void
remove_machines(void)
{
	while (some_machine = NULL, vm_each(note_machine), some_machine != NULL)
		vm_remove(some_machine->conf.vm);
}

static void
begin(void)
{
	uint32_t i;

	for (i = 1; i <= MACHINES; i++) {
		machines[i].fd = -1;
		machines[i].known = machines[i].connected = 0;
		machines[i].released = machines[i].wanted = 0;
		machines[i].conns = machines[i].ready = 0;
		machines[i].len = 0;
	}
	memset(requests, 0, sizeof(requests));
	nrequests = 0;
}

/* A process that ends leaves none behind. */
static void
close_all_above(int fd)
{
	uint32_t i;

	for (i = 1; i <= MACHINES; i++)
		qemu_ends(&machines[i]);
	for (i = 0; i < 64; i++)
		if (fd + (int)i > bad_device)
			close(fd + (int)i);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char good[] = "\x12\x01good descriptors of a device";
	static const char bad[] = "\x12\x01other descriptors of it";

	(void)argc;
	(void)argv;
	good_device = memfd_create("good", MFD_CLOEXEC);
	bad_device = memfd_create("bad", MFD_CLOEXEC);
	must(write(good_device, good, sizeof(good)) == sizeof(good) &&
	     write(bad_device, bad, sizeof(bad)) == sizeof(bad) &&
	     usbfs_digest(good_device, digest) == 0);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int has_ended;
	struct input in = { data, size };
	int free_before = fcntl(2, F_DUPFD_CLOEXEC, 3), free_after;
	unsigned int i;

	close(free_before);
	begin();
	all_are_honest = (input_byte(&in) & 3) != 0;
	if (setjmp(ended) == 0) {
		has_ended = 0;
		for (i = 0; i < ACTS_MAX && in.size > 0; i++)
			act(&in);
		end();
	} else
		has_ended = 1;
	all_are_honest = 0;
	attach_forget();
	shared_forget();
	remove_machines();
	must(standin_nfds == 0 && standin_ntimers == 0);
	if (has_ended)
		close_all_above(free_before);
	free_after = fcntl(2, F_DUPFD_CLOEXEC, 3);
	close(free_after);
	must(free_before == free_after);
	return 0;
}
