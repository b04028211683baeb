/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CORE_WORLD_H
#define CORE_WORLD_H

#include "core_bed.h"

/*
 * A world of chance around the engine's core: a host with its ports, QEMUs
 * with what is in them, and the processes between, whose messages are under
 * way for a while, in order on each channel, in any order between channels.
 * chance_step() lets something happen, world_come_to_rest() ends it.
 */

#define REST_MAX 5000 /* events until all is at rest */
#define NVMS 3
#define INSIDE_MAX 32
#define CAPACITY 2 /* ports of machine c */
#define QUEUE_MAX 512
#define RULES_MAX 6
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const ports[] = { "1:1", "1:2", "2:1", "2:1.1", "2:1.10",
	"2:1.2" };
/* The last one is too fast for machine b. */
static const char *const products[] = { "046d:c077", "046d:c31c", "0781:5567",
	"0403:6001" };
#define TOO_FAST 3

struct place {
	int plugged;
	int product;
	int dropped; /* perhaps: the word may have come too late */
	int failures; /* that are left */
	int conflicts; /* another machine had it */
	struct usbdev dev;
};

/* A device in a QEMU. */
struct inside {
	uint32_t request;
	struct usbport port;
	uint16_t devnum;
	int failures; /* of its detach that are left */
};

struct machine {
	int connected;
	uint32_t conn; /* number of the last connection */
	struct inside in[INSIDE_MAX];
	size_t n;
};

struct news {
	enum core_event_type type;
	union {
		struct usbdev device;
		struct msg_device_gone gone;
		struct msg_vm_has has;
		struct msg_vm_state vm_state;
		struct msg_result result;
	} u;
};

struct channel {
	struct news queue[QUEUE_MAX];
	size_t first;
	size_t n;
};

struct chance_rule {
	int port; /* -1: any */
	int product; /* -1: any */
	int vms[NVMS];
	int nvms; /* 0: block */
};

/* What the core was told, or asked for, and has not been told to be over. */
struct view {
	uint32_t vm;
	uint32_t request;
	struct usbport port;
	uint16_t devnum;
	int detaching;
};

static struct {
	uint64_t seed;
	uint64_t random;
	struct place places[COUNT(ports)];
	struct machine machines[NVMS];
	uint32_t told_conn[NVMS]; /* as delivered */
	struct channel monitor;
	struct channel qmpclient;
	struct chance_rule rules[RULES_MAX];
	size_t nrules;
	uint16_t last_devnum;
	struct view views[128];
	size_t nviews;
	struct core *old; /* while another one is told the same */
	char trace[65536];
	size_t traced;
} world;

static uint32_t
chance(uint32_t n)
{
	/* xorshift64* (G. Marsaglia, S. Vigna) */
	world.random ^= world.random >> 12;
	world.random ^= world.random << 25;
	world.random ^= world.random >> 27;
	return (uint32_t)((world.random * 0x2545f4914f6cdd1dULL) >> 32) % n;
}

static void trace(const char *, ...) __attribute__((format(printf, 1, 2)));

static void
trace(const char *fmt, ...)
{
	size_t left = sizeof(world.trace) - world.traced;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(world.trace + world.traced, left, fmt, ap);
	va_end(ap);
	world.traced += n < 0 ? 0 : (size_t)n < left ? (size_t)n : left - 1;
}

/* The core. */

static void
view_add(uint32_t vm, uint32_t request, struct usbport port, uint16_t devnum)
{
	assert_true(world.nviews < COUNT(world.views));
	world.views[world.nviews++] =
	    (struct view){ vm, request, port, devnum, 0 };
}

static void
view_remove(size_t i)
{
	world.views[i] = world.views[--world.nviews];
}

static size_t
view_find(uint32_t vm, uint32_t request)
{
	size_t i;

	for (i = 0; i < world.nviews; i++)
		if (world.views[i].vm == vm &&
		    world.views[i].request == request)
			break;
	return i;
}

/* A device is given to nobody while somebody has it, or may have it. */
static void
view_asked(const struct ask *ask)
{
	size_t i;

	if (ask->detach) {
		i = view_find(ask->vm, ask->request);
		assert_true(i < world.nviews);
		assert_false(world.views[i].detaching);
		world.views[i].detaching = 1;
		return;
	}
	for (i = 0; i < world.nviews; i++)
		assert_false(
		    world.views[i].devnum == ask->devnum &&
		    usbport_cmp(&world.views[i].port, &ask->port) == 0);
	view_add(ask->vm, ask->request, ask->port, ask->devnum);
}

static void
view_result(const struct msg_result *m)
{
	size_t i = view_find(m->vm, m->request);

	if (i == world.nviews || m->conn != world.told_conn[m->vm - 1])
		return;
	if ((m->result == RESULT_OK) == world.views[i].detaching)
		view_remove(i);
	else
		world.views[i].detaching = 0;
}

static void
view_lost(uint32_t vm)
{
	size_t i;

	for (i = world.nviews; i > 0; i--)
		if (world.views[i - 1].vm == vm)
			view_remove(i - 1);
}

static void
tell_core(struct core_event *ev)
{
	size_t i, n = bed.nasks;

	happens(ev);
	trace("%s", bed.did);
	for (i = n; i < bed.nasks; i++)
		view_asked(&bed.asks[i]);
}

/* Channels. */

static struct news *
news_add(struct channel *c, enum core_event_type type)
{
	struct news *news;

	assert_true(c->n < QUEUE_MAX);
	news = &c->queue[(c->first + c->n++) % QUEUE_MAX];
	memset(news, 0, sizeof(*news));
	news->type = type;
	return news;
}

static void
deliver_qmpclient(struct news *news)
{
	struct core_event ev = { .type = news->type };
	size_t i;

	if (news->type == EV_RESULT) {
		ev.u.result = &news->u.result;
		trace("result %u of %u: %s\n", news->u.result.request,
		    news->u.result.vm, result_string(news->u.result.result));
		assert_true(core_check_result(bed.core, &news->u.result));
		view_result(&news->u.result);
	} else if (news->type == EV_VM_STATE) {
		ev.u.vm_state = &news->u.vm_state;
		trace("vm %u %s\n", news->u.vm_state.vm,
		    vm_state_string(news->u.vm_state.state));
		world.told_conn[news->u.vm_state.vm - 1] =
		    news->u.vm_state.conn;
		if (news->u.vm_state.state == VM_LOST)
			view_lost(news->u.vm_state.vm);
	} else {
		ev.u.has = &news->u.has;
		trace("vm %u %s %s\n", news->u.has.vm,
		    news->type == EV_VM_HAS ? "has" : "dropped",
		    news->u.has.id);
		if (news->u.has.request > bed.last_request)
			bed.last_request = news->u.has.request;
		i = view_find(news->u.has.vm, news->u.has.request);
		if (news->type == EV_VM_HAS)
			view_add(news->u.has.vm, news->u.has.request,
			    news->u.has.port, news->u.has.devnum);
		else if (i < world.nviews && !world.views[i].detaching)
			view_remove(i);
	}
	tell_core(&ev);
}

static void
deliver_monitor(struct news *news)
{
	struct core_event ev = { .type = news->type };
	char port[USBPORT_STRLEN];

	if (news->type == EV_DEVICE) {
		ev.u.device = &news->u.device;
		trace("device %s/%u\n",
		    usbport_string(&news->u.device.port, port),
		    news->u.device.devnum);
		assert_null(usbdev_check(&news->u.device));
	} else if (news->type == EV_DEVICE_GONE) {
		ev.u.gone = &news->u.gone;
		trace("gone %s/%u\n", usbport_string(&news->u.gone.port, port),
		    news->u.gone.devnum);
	} else
		trace("scan done\n");
	tell_core(&ev);
}

static int
deliver(struct channel *c)
{
	struct news *news = &c->queue[c->first];

	if (c->n == 0)
		return 0;
	c->first = (c->first + 1) % QUEUE_MAX;
	c->n--;
	if (c == &world.monitor)
		deliver_monitor(news);
	else
		deliver_qmpclient(news);
	return 1;
}

/* The host. */

static void
world_unplug(struct place *p)
{
	struct news *news;

	news = news_add(&world.monitor, EV_DEVICE_GONE);
	news->u.gone.port = p->dev.port;
	news->u.gone.devnum = p->dev.devnum;
	p->plugged = 0;
}

static void
world_say(const struct place *p)
{
	news_add(&world.monitor, EV_DEVICE)->u.device = p->dev;
}

/* What of a device may change while it is plugged. */
static void
world_vary(struct place *p)
{
	struct usbdev *d = &p->dev;

	d->netif[0] = d->busy[0] = '\0';
	if (chance(8) == 0)
		strlcpy(d->netif, "eth1", sizeof(d->netif));
	if (chance(8) == 0) {
		strlcpy(d->busy, "sdb", sizeof(d->busy));
		strlcpy(d->busy_why, "mounted", sizeof(d->busy_why));
	}
	d->odd_descriptors = chance(20) == 0;
	if (chance(4) == 0)
		d->digest[0] ^= 0xff;
}

static void
world_plug(size_t i)
{
	struct place *p = &world.places[i];

	p->plugged = 1;
	p->dropped = 0;
	p->failures = 2;
	p->conflicts = 0;
	p->product = (int)chance(COUNT(products));
	world.last_devnum = (uint16_t)(world.last_devnum % 127 + 1);
	p->dev = mkdev(ports[i], world.last_devnum, products[p->product]);
	if (chance(10) == 0)
		p->dev.class.class = USB_CLASS_HUB;
	world_vary(p);
	world_say(p);
}

static void
chance_device(void)
{
	size_t i = chance(COUNT(ports));
	struct place *p = &world.places[i];

	if (!p->plugged) {
		world_plug(i);
	} else if (chance(2) == 0) {
		world_vary(p);
		world_say(p);
	} else if (chance(2) == 0) {
		world_plug(i); /* the next word is of the next device */
	} else
		world_unplug(p);
}

/* Machines. */

static struct inside *
inside_find(struct machine *m, struct usbport port, uint16_t devnum)
{
	size_t i;

	for (i = 0; i < m->n; i++)
		if (m->in[i].devnum == devnum &&
		    usbport_cmp(&m->in[i].port, &port) == 0)
			return &m->in[i];
	return NULL;
}

static void
say_inside(enum core_event_type type, uint32_t vm, const struct inside *in)
{
	struct news *news = news_add(&world.qmpclient, type);
	char port[USBPORT_STRLEN];

	news->u.has.vm = vm;
	news->u.has.request = in->request;
	news->u.has.port = in->port;
	news->u.has.devnum = in->devnum;
	usbport_string(&in->port, port);
	*strchr(port, ':') = '-';
	snprintf(news->u.has.id, sizeof(news->u.has.id), "usbmgrd-%s-%u-%u",
	    port, in->devnum, in->request);
}

static void
say_state(uint32_t vm, enum vm_state state)
{
	struct news *news = news_add(&world.qmpclient, EV_VM_STATE);

	news->u.vm_state.vm = vm;
	news->u.vm_state.state = state;
	news->u.vm_state.conn = world.machines[vm - 1].conn;
}

static int
refuses(uint32_t vm, const struct place *p)
{
	return vm == 2 && p->product == TOO_FAST;
}

static int
is_full(uint32_t vm)
{
	return world.machines[vm - 1].n >=
	       (vm == 3 ? CAPACITY : INSIDE_MAX - 1);
}

static struct place *
place_of(const struct ask *ask)
{
	size_t i;

	for (i = 0; i < COUNT(ports); i++)
		if (world.places[i].plugged &&
		    world.places[i].dev.devnum == ask->devnum &&
		    usbport_cmp(&world.places[i].dev.port, &ask->port) == 0)
			return &world.places[i];
	return NULL;
}

static enum result
machine_attach(struct machine *m, const struct ask *ask)
{
	static const enum result passing[] = { RESULT_GONE, RESULT_PERMISSION,
		RESULT_PORT_TAKEN, RESULT_DUPLICATE, RESULT_MIGRATING,
		RESULT_BUSY, RESULT_OTHER };
	struct place *p = place_of(ask);
	size_t i;

	if (p == NULL)
		return RESULT_GONE;
	if (p->dev.digest[0] != ask->digest)
		return RESULT_CHANGED;
	if (refuses(ask->vm, p))
		return RESULT_SPEED;
	for (i = 0; i < NVMS; i++)
		if (inside_find(&world.machines[i], ask->port, ask->devnum)) {
			p->conflicts++;
			return RESULT_OTHER;
		}
	if (is_full(ask->vm))
		return RESULT_BUS_FULL;
	if (p->failures > 0 && chance(3) == 0) {
		p->failures--;
		return passing[chance(COUNT(passing))];
	}
	m->in[m->n++] =
	    (struct inside){ ask->request, ask->port, ask->devnum, 2 };
	return RESULT_OK;
}

static enum result
machine_detach(struct machine *m, const struct ask *ask)
{
	struct inside *in = inside_find(m, ask->port, ask->devnum);

	if (in == NULL || in->request != ask->request)
		return RESULT_OK;
	if (in->failures > 0 && chance(4) == 0) {
		in->failures--;
		return chance(2) == 0 ? RESULT_MIGRATING : RESULT_OTHER;
	}
	*in = m->in[--m->n];
	return RESULT_OK;
}

/* The first thing that this machine was asked. */
static int
machine_answer(uint32_t vm)
{
	struct machine *m = &world.machines[vm - 1];
	struct msg_result *r;
	struct ask ask;
	size_t i;

	for (i = 0; i < bed.nasks && bed.asks[i].vm != vm;)
		i++;
	if (i == bed.nasks)
		return 0;
	ask = take_ask(i);
	r = &news_add(&world.qmpclient, EV_RESULT)->u.result;
	r->vm = vm;
	r->request = ask.request;
	r->conn = ask.conn;
	if (!m->connected || ask.conn != m->conn)
		r->result = RESULT_VM_LOST;
	else if (ask.detach)
		r->result = machine_detach(m, &ask);
	else
		r->result = machine_attach(m, &ask);
	return 1;
}

/* The parent does not reach it. */
static void
machine_absent(uint32_t vm)
{
	struct msg_vm_socket sock = { vm, ENOENT, 1,
		world.machines[vm - 1].conn };
	struct core_event ev = { .type = EV_VM_SOCKET, .u.vm_socket = &sock };

	trace("vm %u absent\n", vm);
	tell_core(&ev);
}

static void
machine_connect(uint32_t vm)
{
	struct machine *m = &world.machines[vm - 1];
	size_t i;

	trace("vm %u socket\n", vm);
	m->conn++;
	say_state(vm, VM_GREETING);
	for (i = 0; i < m->n; i++)
		say_inside(EV_VM_HAS, vm, &m->in[i]);
	say_state(vm, VM_READY);
	m->connected = 1;
}

static void
machine_lose(uint32_t vm)
{
	struct machine *m = &world.machines[vm - 1];

	m->connected = 0;
	if (chance(2) == 0)
		m->n = 0;
	say_state(vm, VM_LOST);
}

static void
machine_drop(uint32_t vm)
{
	struct machine *m = &world.machines[vm - 1];
	struct inside *in;
	size_t i;

	if (!m->connected || m->n == 0)
		return;
	in = &m->in[chance((uint32_t)m->n)];
	for (i = 0; i < COUNT(ports); i++)
		if (world.places[i].dev.devnum == in->devnum)
			world.places[i].dropped = 1;
	say_inside(EV_VM_DROPPED, vm, in);
	*in = m->in[--m->n];
}

static void
chance_machine(void)
{
	uint32_t vm = chance(NVMS) + 1;

	if (!world.machines[vm - 1].connected)
		machine_connect(vm);
	else if (chance(2) == 0)
		machine_lose(vm);
	else
		machine_drop(vm);
}

/* Policies. */

static void
chance_rule(struct chance_rule *r, char *text, size_t size)
{
	int vm = (int)chance(NVMS), i;

	memset(r, 0, sizeof(*r));
	r->port = chance(2) == 0 ? (int)chance(COUNT(ports)) : -1;
	r->product = chance(2) == 0 ? (int)chance(COUNT(products)) : -1;
	if (chance(4) != 0)
		r->nvms = chance(2) == 0 ? 1 : (int)chance(NVMS) + 1;
	strlcpy(text, r->nvms == 0 ? "block" : "pass", size);
	if (r->port != -1) {
		strlcat(text, " ", size);
		strlcat(text, ports[r->port], size);
	}
	if (r->product != -1) {
		strlcat(text, " ", size);
		strlcat(text, products[r->product], size);
	}
	for (i = 0; i < r->nvms; i++) {
		r->vms[i] = (vm + i) % NVMS + 1;
		strlcat(text, " ", size);
		strlcat(text, &"a\0b\0c"[(r->vms[i] - 1) * 2], size);
	}
}

static struct policy *
world_policy(char texts[RULES_MAX][64])
{
	const char *rules[RULES_MAX + 1] = { NULL };
	size_t i;

	for (i = 0; i < world.nrules; i++)
		rules[i] = texts[i];
	return mkpolicy("a b c", rules);
}

static char rule_texts[RULES_MAX][64];

static void
chance_policy(void)
{
	struct core_event ev = { .type = EV_POLICY };
	size_t i;

	world.nrules = chance(RULES_MAX + 1);
	for (i = 0; i < world.nrules; i++) {
		chance_rule(
		    &world.rules[i], rule_texts[i], sizeof(rule_texts[i]));
		trace("rule t:%zu %s\n", i + 1, rule_texts[i]);
	}
	ev.u.policy = world_policy(rule_texts);
	tell_core(&ev);
}

/* Time. */

static int
world_tick(void)
{
	struct core_event ev = { .type = EV_TICK };
	uint64_t next = core_next(bed.core);

	if (next == 0)
		return 0;
	if (next > bed.now)
		bed.now = next;
	trace("tick %llu\n", (unsigned long long)bed.now);
	tell_core(&ev);
	return 1;
}

/* usbmgrd ends; machines and devices stay; it starts again. */
static void
world_restart(void)
{
	size_t i;

	trace("restart\n");
	core_free(bed.core);
	assert_non_null(bed.core = core_new());
	bed.nasks = 0;
	bed.last_request = 0;
	world.nviews = 0;
	world.qmpclient.n = world.monitor.n = 0;
	for (i = 0; i < NVMS; i++)
		world.machines[i].connected = 0;
	for (i = 0; i < COUNT(ports); i++) {
		world.places[i].dropped = 0;
		if (world.places[i].plugged)
			world_say(&world.places[i]);
	}
	news_add(&world.monitor, EV_SCAN_DONE);
	chance_policy();
}

/* What it has asked for may be done or not; another one connects anew. */
static void
world_qmpclient_dies(void)
{
	struct core_event ev = { .type = EV_QMPCLIENT_LOST };
	uint32_t vm;

	trace("qmpclient dies\n");
	for (vm = 1; vm <= NVMS; vm++) {
		while (chance(2) == 0 && machine_answer(vm))
			;
		world.machines[vm - 1].connected = 0;
		view_lost(vm);
	}
	bed.nasks = 0;
	world.qmpclient.n = 0;
	tell_core(&ev);
}

/* What it had not told yet, another one tells as it is now. */
static void
world_monitor_dies(void)
{
	struct core_event ev = { .type = EV_SCAN };
	size_t i;

	trace("monitor dies\n");
	world.monitor.n = 0;
	tell_core(&ev);
	for (i = 0; i < COUNT(ports); i++)
		if (world.places[i].plugged)
			world_say(&world.places[i]);
	news_add(&world.monitor, EV_SCAN_DONE);
}

static void
chance_step(void)
{
	uint32_t n = chance(100);

	bed.now += chance(1000);
	if (n < 15)
		chance_device();
	else if (n < 25)
		chance_machine();
	else if (n < 28)
		chance_policy();
	else if (n < 29)
		world_restart();
	else if (n < 30)
		world_qmpclient_dies();
	else if (n < 31)
		world_monitor_dies();
	else if (n < 55)
		machine_answer(chance(NVMS) + 1);
	else if (n < 75)
		deliver(&world.qmpclient);
	else if (n < 90)
		deliver(&world.monitor);
	else
		world_tick();
}

static void
world_come_to_rest(void)
{
	unsigned int n = 0;
	uint32_t vm;

	trace("come to rest\n");
	for (vm = 1; vm <= NVMS; vm++)
		if (!world.machines[vm - 1].connected && chance(2) == 0)
			machine_connect(vm);
		else if (!world.machines[vm - 1].connected) {
			world.machines[vm - 1].n = 0;
			machine_absent(vm);
		}
	while (deliver(&world.monitor) || deliver(&world.qmpclient) ||
	       machine_answer(1) || machine_answer(2) || machine_answer(3) ||
	       world_tick())
		assert_true(++n < REST_MAX);
	assert_int_equal(bed.nasks, 0);
}

#endif
