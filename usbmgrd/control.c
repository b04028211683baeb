/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "audit.h"
#include "control.h"
#include "ctlint.h"
#include "enginelog.h"
#include "log.h"

#define CLIENTS_MAX 48
#define CLIENTS_OF_UID_MAX 16
#define ACCEPT_PAUSE 1000 /* ms, when descriptors are short */
/* What waits for a client: a list of 2,000 devices, and all of it fits. */
#define ANSWER_MAX (4U * 1024 * 1024)

static struct listener {
	struct loop_fd watch;
	struct loop_timer pause;
	int readonly;
} listeners[2] = { { .watch.fd = -1 }, { .watch.fd = -1 } };

static uint32_t last_number;

struct control control;

struct json *
control_audit(const char *event, const struct client *client)
{
	struct json *j = audit_begin(event);

	json_num(j, "client", client->number);
	json_num(j, "uid", client->who.uid);
	json_num(j, "pid", client->who.pid);
	return j;
}

static void
client_lost(struct chan *c, const char *why)
{
	struct client *client = c->arg;

	if (why != NULL) {
		log_warnx("control client %u (uid %u, pid %d): %s",
		    client->number, client->who.uid, client->who.pid, why);
		json_str(
		    control_audit("client-refused", client), "reason", why);
		audit_end();
		enginelog_count(COUNT_REFUSED);
	}
	ctlreq_forget(client);
	chan_close(c);
	TAILQ_REMOVE(&control.clients, client, entry);
	control.nclients--;
	free(client);
}

static void
client_dispatch(struct chan *c, enum msg_type type, const void *payload, int fd)
{
	(void)fd;
	core_clock(control.core, loop_now());
	ctlreq_serve(c->arg, type, payload);
}

static void
accept_again(void *arg)
{
	struct listener *l = arg;

	loop_events(&l->watch, EPOLLIN);
}

static void
accept_pause(struct listener *l)
{
	loop_events(&l->watch, 0);
	loop_timer_set(&l->pause, ACCEPT_PAUSE, accept_again, l);
}

/* Whoever only holds connections must not keep others out. */
static void
make_room(uid_t uid)
{
	struct client *client, *oldest = NULL;
	unsigned int n = 0;

	TAILQ_FOREACH(client, &control.clients, entry)
		if (client->who.uid == uid) {
			if (oldest == NULL)
				oldest = client;
			n++;
		}
	if (n > CLIENTS_OF_UID_MAX)
		client_lost(
		    &oldest->chan, "oldest of too many connections of a user");
	else if (control.nclients > CLIENTS_MAX)
		client_lost(&TAILQ_FIRST(&control.clients)->chan,
		    "oldest of too many connections");
}

static void
client_new(int fd, int readonly)
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
	client->number = ++last_number;
	client->readonly = readonly;
	chan_open(&client->chan, fd, PROC_ENGINE, PROC_CLIENT, client_dispatch,
	    client_lost, client);
	imsgbuf_set_queuemax(&client->chan.ibuf, ANSWER_MAX);
	TAILQ_INSERT_TAIL(&control.clients, client, entry);
	control.nclients++;
	make_room(client->who.uid);
}

static void
control_accept(uint32_t events, void *arg)
{
	struct listener *l = arg;
	int fd;

	(void)events;
	fd = accept4(l->watch.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd != -1)
		client_new(fd, l->readonly);
	else if (errno == EMFILE || errno == ENFILE)
		accept_pause(l);
	else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		fatal("accept on control socket");
}

void
control_listen(int fd, const struct msg_control *m, struct core *core)
{
	struct listener *l = &listeners[m->readonly != 0];

	if (l->watch.fd != -1)
		fatalx("second control socket of a kind");
	if (control.core == NULL)
		TAILQ_INIT(&control.clients);
	control.core = core;
	l->readonly = m->readonly != 0;
	loop_add(&l->watch, fd, EPOLLIN, control_accept, l);
}
