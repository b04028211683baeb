/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "audit.h"
#include "chan.h"
#include "control.h"
#include "log.h"

#define CLIENTS_MAX 32
#define ACCEPT_PAUSE 1000 /* ms, when descriptors are short */

struct client {
	TAILQ_ENTRY(client) entry;
	struct chan chan;
	uint32_t number;
	struct ucred who;
};

static struct {
	struct loop_fd watch;
	struct loop_timer pause;
	TAILQ_HEAD(clients, client) clients; /* oldest first */
	uint32_t nclients;
	uint32_t last_number;
	struct core *core;
} control = { .watch.fd = -1 };

static void
client_lost(struct chan *c, const char *why)
{
	struct client *client = c->arg;
	struct json *j;

	if (why != NULL) {
		log_warnx("control client %u (uid %u, pid %d): %s",
		    client->number, client->who.uid, client->who.pid, why);
		j = audit_begin("client-refused");
		json_num(j, "client", client->number);
		json_num(j, "uid", client->who.uid);
		json_num(j, "pid", client->who.pid);
		json_str(j, "reason", why);
		audit_end();
	}
	chan_close(c);
	TAILQ_REMOVE(&control.clients, client, entry);
	control.nclients--;
	free(client);
}

static void
send_device(const struct ctl_device *device, void *arg)
{
	chan_send(arg, MSG_CTL_DEVICE, device, -1);
}

static void
send_vm(const struct ctl_vm *vm, void *arg)
{
	chan_send(arg, MSG_CTL_VM, vm, -1);
}

static void
send_rule(const struct ctl_rule *rule, void *arg)
{
	chan_send(arg, MSG_CTL_RULE, rule, -1);
}

static void
client_explain(struct chan *c, const struct ctl_port *m)
{
	if (!usbport_valid(&m->port)) {
		chan_fail(c, "port that is none");
		return;
	}
	core_explain(control.core, &m->port, send_rule, send_device, c);
}

static void
client_dispatch(struct chan *c, enum msg_type type, const void *payload, int fd)
{
	static const struct msg_none none;
	struct client *client = c->arg;
	struct json *j;

	(void)fd;
	j = audit_begin("control");
	json_num(j, "client", client->number);
	json_num(j, "uid", client->who.uid);
	json_num(j, "pid", client->who.pid);
	json_str(j, "request_type", msg_name(type));
	audit_end();
	core_clock(control.core, loop_now());
	switch (type) {
	case MSG_CTL_EXPLAIN:
		client_explain(c, payload);
		break;
	case MSG_CTL_SHOW_DEVICES:
		core_devices(control.core, send_device, c);
		break;
	case MSG_CTL_SHOW_VMS:
		core_vms(control.core, send_vm, c);
		break;
	default:
		chan_fail(c, "request that is not served");
		return;
	}
	chan_send(c, MSG_CTL_END, &none, -1);
}

static void
accept_again(void *arg)
{
	(void)arg;
	loop_events(&control.watch, EPOLLIN);
}

static void
accept_pause(void)
{
	loop_events(&control.watch, 0);
	loop_timer_set(&control.pause, ACCEPT_PAUSE, accept_again, NULL);
}

static void
client_new(int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	socklen_t len = sizeof(client->who);

	if (client == NULL ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &client->who, &len) == -1) {
		log_warn("control client");
		free(client);
		close(fd);
		return;
	}
	client->number = ++control.last_number;
	chan_open(&client->chan, fd, PROC_ENGINE, PROC_CLIENT, client_dispatch,
	    client_lost, client);
	TAILQ_INSERT_TAIL(&control.clients, client, entry);
	/* Whoever only holds connections must not keep others out. */
	if (++control.nclients > CLIENTS_MAX)
		client_lost(&TAILQ_FIRST(&control.clients)->chan,
		    "oldest of too many connections");
}

static void
control_accept(uint32_t events, void *arg)
{
	int fd;

	(void)events;
	(void)arg;
	fd =
	    accept4(control.watch.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd != -1)
		client_new(fd);
	else if (errno == EMFILE || errno == ENFILE)
		accept_pause();
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		fatal("accept on control socket");
}

void
control_listen(int fd, struct core *core)
{
	TAILQ_INIT(&control.clients);
	control.core = core;
	loop_add(&control.watch, fd, EPOLLIN, control_accept, NULL);
}
