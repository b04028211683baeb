/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory.h"
#include "log.h"
#include "qmpclient.h"

#define CONTROLLERS_MAX 16
#define SPEEDS_SLOW (1U << USB_SPEED_LOW | 1U << USB_SPEED_FULL)
#define SPEEDS_HIGH (1U << USB_SPEED_HIGH)
#define BUS_CHILDREN_MAX 128
#define QOM_PERIPHERAL "/machine/peripheral"

/*
 * QOM types (qemu -device help) with a USB bus of their own.  Where a
 * property tells how many ports there are, it is asked; else it is the
 * number that the hardware has.
 */
static const struct controller_type {
	const char *part; /* of the name of the type */
	const char *usb2; /* property with the number of ports */
	const char *usb3;
	unsigned int ports;
	unsigned int speeds; /* that they take, without super speed */
} controller_types[] = {
	{ "xhci", "p2", "p3", 4, SPEEDS_SLOW | SPEEDS_HIGH },
	{ "ehci", NULL, NULL, 6, SPEEDS_HIGH },
	{ "uhci", NULL, NULL, 2, SPEEDS_SLOW },
	{ "ohci", "num-ports", NULL, 3, SPEEDS_SLOW },
	{ "dwc2-usb", NULL, NULL, 1, SPEEDS_SLOW | SPEEDS_HIGH },
};

/* A controller of a type without SPEEDS_HIGH can serve an EHCI's ports. */
#define COMPANION_OF "masterbus"

/* A controller that was found, with its bus. */
struct controller {
	const struct controller_type *type;
	char path[QOM_PATH_MAX];
	char bus[QOM_NAME_MAX];
};

struct inventory {
	struct vm *vm;
	unsigned int waiting; /* questions without an answer */
	void (*next)(struct inventory *); /* when all are answered */
	struct controller controllers[CONTROLLERS_MAX];
	unsigned int ncontrollers;
	char companions[CONTROLLERS_MAX][QOM_NAME_MAX]; /* buses with some */
	unsigned int ncompanions;
	int whole; /* devices and controllers were asked for, too */
	int has_add_fd;
	int has_usb_host;
	int has_hostdevice;
	int migrating;
	struct msg_vm_foreign *foreigns;
	unsigned int nforeigns;
	struct ports ports;
	uint32_t listed; /* ports of any bus that x-query-usb names */
	int automatic; /* a device is in a port that QEMU chose */
};

struct question {
	struct inventory *inv;
	void (*handle)(struct inventory *, const struct question *, yajl_val);
	const struct controller_type *type;
	unsigned int *number;
	unsigned int foreign; /* index */
	char path[QOM_PATH_MAX];
	char name[QOM_NAME_MAX];
};

static void inventory_bus(struct inventory *);
static void inventory_finish(struct inventory *);
static void inventory_end(struct inventory *);

/* Answers that are errors are no answers: a path that is not there. */
static void
inventory_answer(void *owner, const struct reply *reply, void *arg)
{
	struct question *q = arg;
	struct inventory *inv = q->inv;
	struct vm *vm = owner;

	inv->waiting--;
	if (reply->type == REPLY_RETURN)
		q->handle(inv, q, reply->value);
	free(q);
	if (reply->type == REPLY_LOST)
		return;
	if (inv->waiting == 0)
		inv->next(inv);
	conn_send(&vm->conn, -1);
}

static struct question *
inventory_question(struct inventory *inv,
    void (*handle)(struct inventory *, const struct question *, yajl_val))
{
	struct question *q;

	if ((q = calloc(1, sizeof(*q))) == NULL)
		fatal("calloc");
	q->inv = inv;
	q->handle = handle;
	inv->waiting++;
	return q;
}

static void
inventory_ask(struct inventory *inv, const char *execute, struct question *q)
{
	conn_begin(&inv->vm->conn, execute);
	conn_add(&inv->vm->conn, 0, inventory_answer, q);
}

/* q->path is the object. */
static void
inventory_list(struct inventory *inv, struct question *q)
{
	struct json *j = conn_begin(&inv->vm->conn, "qom-list");

	json_str(j, "path", q->path);
	conn_add(&inv->vm->conn, 0, inventory_answer, q);
}

static void
inventory_get(struct inventory *inv, struct question *q, const char *property)
{
	struct json *j = conn_begin(&inv->vm->conn, "qom-get");

	json_str(j, "path", q->path);
	json_str(j, "property", property);
	conn_add(&inv->vm->conn, 0, inventory_answer, q);
}

/* path/name, or -1 when that is longer than any that we want. */
static int
inventory_path(struct question *q, const char *path, const char *name)
{
	int n;

	n = snprintf(q->path, sizeof(q->path), "%s/%s", path, name);
	if (n < 0 || (size_t)n >= sizeof(q->path))
		return -1;
	return strlcpy(q->name, name, sizeof(q->name)) < sizeof(q->name) ? 0
									 : -1;
}

/* Drops a question that was not asked. */
static void
inventory_forget(struct inventory *inv, struct question *q)
{
	inv->waiting--;
	free(q);
}

/*
 * The i-th element of what qom-list returned, if it is name with a type of
 * the form kind<type>: its name, the type in buf; else NULL.
 */
static const char *
inventory_element(
    yajl_val list, size_t i, const char *kind, char *buf, size_t size)
{
	const char *name, *type;
	size_t n = strlen(kind);

	name = qmp_string(list->u.array.values[i], "name");
	type = qmp_string(list->u.array.values[i], "type");
	if (name == NULL || type == NULL || strncmp(type, kind, n) != 0 ||
	    type[n] != '<' || strlcpy(buf, type + n + 1, size) >= size)
		return NULL;
	buf[strcspn(buf, ">")] = '\0';
	return name;
}

static size_t
inventory_length(yajl_val list)
{
	return YAJL_IS_ARRAY(list) ? list->u.array.len : 0;
}

/* Devices of ours. */

static void
inventory_device_port(
    struct inventory *inv, const struct question *q, yajl_val v)
{
	struct device *dev = vm_device_find(inv->vm, q->name);

	if (dev != NULL && dev->guest_port == 0 && YAJL_IS_STRING(v))
		dev->guest_port = ports_parse(YAJL_GET_STRING(v));
}

/* Devices that others gave to the machine. */

static void
foreign_hostdevice(struct msg_vm_foreign *f, const char *path)
{
	unsigned int bus, dev;
	char end;

	/* Another path, as of a set of descriptors, says nothing. */
	if (sscanf(path, "/dev/bus/usb/%3u/%3u%c", &bus, &dev, &end) != 2)
		return;
	f->busnum = (uint16_t)bus;
	f->devnum = (uint16_t)dev;
}

/* q->name is the property. */
static void
inventory_foreign_property(
    struct inventory *inv, const struct question *q, yajl_val v)
{
	struct msg_vm_foreign *f = &inv->foreigns[q->foreign];
	const char *text = YAJL_GET_STRING(v), *errstr;
	struct usbport port;
	uint16_t n = 0;

	if (YAJL_IS_INTEGER(v) && YAJL_GET_INTEGER(v) > 0 &&
	    YAJL_GET_INTEGER(v) <= UINT16_MAX)
		n = (uint16_t)YAJL_GET_INTEGER(v);
	memset(&port, 0, sizeof(port));
	if (strcmp(q->name, "hostbus") == 0 && n != 0)
		f->busnum = n;
	else if (strcmp(q->name, "hostaddr") == 0 && n != 0)
		f->devnum = n;
	else if (strcmp(q->name, "vendorid") == 0)
		f->vendor = n;
	else if (strcmp(q->name, "productid") == 0)
		f->product = n;
	else if (text != NULL && strcmp(q->name, "hostdevice") == 0)
		foreign_hostdevice(f, text);
	else if (text != NULL && strcmp(q->name, "hostport") == 0 &&
		 usbport_parse_chain(&port, text, &errstr) == 0)
		f->port = port;
}

static void
inventory_foreign(struct inventory *inv, const char *path, const char *name)
{
	static const char *const properties[] = { "hostbus", "hostaddr",
		"vendorid", "productid", "hostport", "hostdevice" };
	struct msg_vm_foreign *f;
	struct question *q;
	size_t i;

	if (inv->nforeigns == VM_FOREIGNS_MAX) {
		log_warnx("%s: more than %d devices that others gave it",
		    inv->vm->conf.name, VM_FOREIGNS_MAX);
		return;
	}
	if (strlen(path) + 1 + strlen(name) >= QOM_PATH_MAX) {
		log_warnx("%s: a device that others gave it has too long an id",
		    inv->vm->conf.name);
		return;
	}
	if (inv->foreigns == NULL &&
	    (inv->foreigns = calloc(VM_FOREIGNS_MAX, sizeof(*f))) == NULL)
		fatal("calloc");
	f = &inv->foreigns[inv->nforeigns];
	f->vm = inv->vm->conf.vm;
	/* What has no id of its own has a name like device[3]. */
	if (strcmp(path, QOM_PERIPHERAL) != 0) {
		strlcpy(f->id, path, sizeof(f->id));
		strlcat(f->id, "/", sizeof(f->id));
	}
	strlcat(f->id, name, sizeof(f->id));
	for (i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		q = inventory_question(inv, inventory_foreign_property);
		q->foreign = inv->nforeigns;
		/* It has room: see above. */
		(void)inventory_path(q, path, name);
		strlcpy(q->name, properties[i], sizeof(q->name));
		inventory_get(inv, q, properties[i]);
	}
	inv->nforeigns++;
}

static void
inventory_device(struct inventory *inv, const char *path, const char *name)
{
	struct question *q;
	struct device *dev;
	struct qmpid parts;

	if (strcmp(path, QOM_PERIPHERAL) != 0 ||
	    qmpid_parse(&parts, name) == -1) {
		inventory_foreign(inv, path, name);
		return;
	}
	if ((dev = vm_device_find(inv->vm, name)) != NULL) {
		dev->seen = DEVICE_KNOWN;
		return;
	}
	dev = vm_device_add(inv->vm, name, &parts, DEVICE_ATTACHED);
	if (dev == NULL) {
		log_warnx("%s: more than %d devices, %s is left alone",
		    inv->vm->conf.name, VM_DEVICES_MAX, name);
		return;
	}
	dev->seen = DEVICE_NEW;
	q = inventory_question(inv, inventory_device_port);
	if (inventory_path(q, path, name) == -1)
		inventory_forget(inv, q);
	else
		inventory_get(inv, q, "port");
}

/* Controllers and their buses. */

static void
inventory_controller_bus(
    struct inventory *inv, const struct question *q, yajl_val list)
{
	struct controller *c;
	char type[QOM_NAME_MAX];
	const char *name;
	size_t i;

	for (i = 0; i < inventory_length(list); i++) {
		name = inventory_element(list, i, "child", type, sizeof(type));
		if (name == NULL || strcmp(type, "usb-bus") != 0 ||
		    inv->ncontrollers == CONTROLLERS_MAX)
			continue;
		c = &inv->controllers[inv->ncontrollers];
		c->type = q->type;
		strlcpy(c->path, q->path, sizeof(c->path));
		if (strlcpy(c->bus, name, sizeof(c->bus)) < sizeof(c->bus))
			inv->ncontrollers++;
	}
}

static void
inventory_companion(struct inventory *inv, const struct question *q, yajl_val v)
{
	(void)q;
	if (YAJL_IS_STRING(v) && YAJL_GET_STRING(v)[0] != '\0' &&
	    inv->ncompanions < CONTROLLERS_MAX)
		strlcpy(inv->companions[inv->ncompanions++], YAJL_GET_STRING(v),
		    QOM_NAME_MAX);
}

static void
inventory_ask_companion(
    struct inventory *inv, const char *path, const char *name)
{
	struct question *q = inventory_question(inv, inventory_companion);

	if (inventory_path(q, path, name) == -1)
		inventory_forget(inv, q);
	else
		inventory_get(inv, q, COMPANION_OF);
}

static void
inventory_controller(
    struct inventory *inv, const char *path, const char *name, const char *type)
{
	struct question *q;
	size_t i;

	for (i = 0; i < sizeof(controller_types) / sizeof(controller_types[0]);
	     i++) {
		if (strstr(type, controller_types[i].part) == NULL)
			continue;
		if ((controller_types[i].speeds & SPEEDS_HIGH) == 0)
			inventory_ask_companion(inv, path, name);
		q = inventory_question(inv, inventory_controller_bus);
		q->type = &controller_types[i];
		if (inventory_path(q, path, name) == -1)
			inventory_forget(inv, q);
		else
			inventory_list(inv, q);
		return;
	}
}

static void
inventory_container(
    struct inventory *inv, const struct question *q, yajl_val list)
{
	char type[QOM_NAME_MAX];
	const char *name;
	size_t i;

	for (i = 0; i < inventory_length(list); i++) {
		name = inventory_element(list, i, "child", type, sizeof(type));
		if (name == NULL)
			continue;
		if (strcmp(type, "usb-host") == 0)
			inventory_device(inv, q->path, name);
		else
			inventory_controller(inv, q->path, name, type);
	}
}

/* What QEMU is able to, and what it is doing. */

/* MigrationStatus of qapi/migration.json, those that come before an end. */
int
inventory_is_migrating(const char *status)
{
	static const char *const over[] = { "none", "completed", "failed",
		"cancelled", NULL };
	size_t i;

	for (i = 0; over[i] != NULL; i++)
		if (strcmp(status, over[i]) == 0)
			return 0;
	return 1;
}

static void
inventory_status(struct inventory *inv, const struct question *q, yajl_val v)
{
	const char *status = qmp_string(v, "status");

	(void)q;
	inv->vm->running = YAJL_IS_TRUE(qmp_member(v, "running"));
	if (status != NULL && strcmp(status, "inmigrate") == 0)
		inv->migrating = 1;
}

static void
inventory_migration(struct inventory *inv, const struct question *q, yajl_val v)
{
	const char *status = qmp_string(v, "status");

	(void)q;
	if (status != NULL && inventory_is_migrating(status))
		inv->migrating = 1;
}

static int
list_has_name(yajl_val list, const char *name)
{
	const char *found;
	size_t i;

	for (i = 0; i < inventory_length(list); i++) {
		found = qmp_string(list->u.array.values[i], "name");
		if (found != NULL && strcmp(found, name) == 0)
			return 1;
	}
	return 0;
}

static void
inventory_commands(struct inventory *inv, const struct question *q, yajl_val v)
{
	(void)q;
	inv->has_add_fd = list_has_name(v, "add-fd");
}

static void
inventory_usb_host(struct inventory *inv, const struct question *q, yajl_val v)
{
	(void)q;
	inv->has_usb_host = 1; /* else the answer is an error */
	inv->has_hostdevice = list_has_name(v, "hostdevice");
}

static void
inventory_ask_abilities(struct inventory *inv)
{
	struct json *j;

	inventory_ask(
	    inv, "query-commands", inventory_question(inv, inventory_commands));
	j = conn_begin(&inv->vm->conn, "device-list-properties");
	json_str(j, "typename", "usb-host");
	conn_add(&inv->vm->conn, 0, inventory_answer,
	    inventory_question(inv, inventory_usb_host));
}

static void
inventory_choose_handover(struct inventory *inv)
{
	struct vm *vm = inv->vm;

	strlcpy(vm->unable,
	    inv->has_usb_host ? "" : "it has no device usb-host",
	    sizeof(vm->unable));
	vm->handover = (enum handover)vm->conf.handover;
	if (vm->handover == HANDOVER_AUTO)
		vm->handover = inv->has_add_fd && inv->has_hostdevice
				   ? HANDOVER_FD
				   : HANDOVER_ADDRESS;
}

static struct inventory *
inventory_new(struct vm *vm, void (*next)(struct inventory *))
{
	struct inventory *inv;

	if ((inv = calloc(1, sizeof(*inv))) == NULL)
		fatal("calloc");
	inv->vm = vm;
	inv->next = next;
	vm->inventory = inv;
	return inv;
}

void
inventory_start(struct vm *vm)
{
	static const char *const containers[] = { QOM_PERIPHERAL,
		"/machine/peripheral-anon", "/machine/unattached" };
	struct inventory *inv = inventory_new(vm, inventory_bus);
	struct question *q;
	struct device *dev;
	size_t i;

	inv->whole = 1;
	vm->looked = loop_now();
	TAILQ_FOREACH(dev, &vm->devices, entry)
		dev->seen = DEVICE_UNSEEN;
	inventory_ask(
	    inv, "query-status", inventory_question(inv, inventory_status));
	inventory_ask(
	    inv, "query-migrate", inventory_question(inv, inventory_migration));
	inventory_ask_abilities(inv);
	for (i = 0; i < sizeof(containers) / sizeof(containers[0]); i++) {
		q = inventory_question(inv, inventory_container);
		strlcpy(q->path, containers[i], sizeof(q->path));
		inventory_list(inv, q);
	}
}

/* The bus that the policy names, or else the only one, xHCI before others. */
static struct controller *
inventory_choose(struct inventory *inv)
{
	struct vm *vm = inv->vm;
	struct controller *c, *best = NULL;
	unsigned int i, n = 0;

	for (i = 0; i < inv->ncontrollers; i++) {
		c = &inv->controllers[i];
		if (vm->conf.bus[0] != '\0') {
			if (strcmp(c->bus, vm->conf.bus) == 0)
				return c;
		} else if (n == 0 || (c->type->usb3 != NULL &&
					 best->type->usb3 == NULL)) {
			best = c;
			n = 1;
		} else if ((c->type->usb3 == NULL) ==
			   (best->type->usb3 == NULL))
			n++;
	}
	if (n == 1)
		return best;
	if (vm->conf.bus[0] != '\0')
		snprintf(vm->problem, sizeof(vm->problem),
		    "it has no USB bus \"%s\"", vm->conf.bus);
	else if (n == 0)
		strlcpy(vm->problem, "it has no USB controller",
		    sizeof(vm->problem));
	else
		snprintf(vm->problem, sizeof(vm->problem),
		    "it has %u USB buses, name one in the policy", n);
	return NULL;
}

/* Ports. */

static void
inventory_number(struct inventory *inv, const struct question *q, yajl_val v)
{
	(void)inv;
	if (YAJL_IS_INTEGER(v) && YAJL_GET_INTEGER(v) >= 0)
		*q->number = YAJL_GET_INTEGER(v) > PORTS_MAX
				 ? PORTS_MAX
				 : (unsigned int)YAJL_GET_INTEGER(v);
}

static void
inventory_child_port(
    struct inventory *inv, const struct question *q, yajl_val v)
{
	(void)q;
	if (!YAJL_IS_STRING(v) || YAJL_GET_STRING(v)[0] == '\0')
		inv->automatic = 1;
	else
		inv->ports.taken |= ports_bit(ports_parse(YAJL_GET_STRING(v)));
}

static void
inventory_children(
    struct inventory *inv, const struct question *q, yajl_val list)
{
	char type[QOM_NAME_MAX];
	struct question *child;
	const char *name;
	size_t i, n = 0;

	for (i = 0; i < inventory_length(list); i++) {
		name = inventory_element(list, i, "link", type, sizeof(type));
		if (name == NULL || strncmp(name, "child[", 6) != 0)
			continue;
		if (++n > BUS_CHILDREN_MAX) {
			inv->automatic = 1;
			return;
		}
		child = inventory_question(inv, inventory_child_port);
		if (inventory_path(child, q->path, name) == -1)
			inventory_forget(inv, child);
		else
			inventory_get(inv, child, "port");
	}
}

static void
inventory_usb(struct inventory *inv, const struct question *q, yajl_val v)
{
	const char *text = qmp_string(v, "human-readable-text");

	(void)q;
	if (text != NULL)
		inv->listed = ports_parse_list(text);
}

static void
inventory_ask_taken(struct inventory *inv)
{
	struct question *q;

	inv->next = inventory_finish;
	q = inventory_question(inv, inventory_usb);
	inventory_ask(inv, "x-query-usb", q);
	q = inventory_question(inv, inventory_children);
	strlcpy(q->path, inv->vm->bus_path, sizeof(q->path));
	inventory_list(inv, q);
}

static void
inventory_ask_number(struct inventory *inv, const struct controller *c,
    const char *property, unsigned int *number)
{
	struct question *q;

	if (property == NULL)
		return;
	q = inventory_question(inv, inventory_number);
	q->number = number;
	strlcpy(q->path, c->path, sizeof(q->path));
	inventory_get(inv, q, property);
}

static int
inventory_has_companion(const struct inventory *inv, const char *bus)
{
	unsigned int i;

	for (i = 0; i < inv->ncompanions; i++)
		if (strcmp(inv->companions[i], bus) == 0)
			return 1;
	return 0;
}

static void
inventory_bus(struct inventory *inv)
{
	const struct controller *c;
	struct vm *vm = inv->vm;
	int n;

	vm->problem[0] = '\0';
	inventory_choose_handover(inv);
	if ((c = inventory_choose(inv)) == NULL) {
		vm->bus_path[0] = '\0';
		vm->had_bus = 0;
		inventory_end(inv);
		return;
	}
	n = snprintf(
	    vm->bus_path, sizeof(vm->bus_path), "%s/%s", c->path, c->bus);
	if (n < 0 || (size_t)n >= sizeof(vm->bus_path)) {
		conn_fail(&vm->conn, QMP_END_PROTOCOL,
		    "path of its USB bus is too long");
		return;
	}
	strlcpy(vm->bus_name, c->bus, sizeof(vm->bus_name));
	inv->ports.usb2 = c->type->ports;
	inv->ports.speeds = c->type->speeds;
	if (inventory_has_companion(inv, c->bus))
		inv->ports.speeds |= SPEEDS_SLOW;
	inventory_ask_number(inv, c, c->type->usb2, &inv->ports.usb2);
	inventory_ask_number(inv, c, c->type->usb3, &inv->ports.usb3);
	inventory_ask_taken(inv);
}

/* What was found goes to the machine, and the inventory is no more. */
static void
inventory_end(struct inventory *inv)
{
	struct msg_vm_foreign *foreigns = inv->foreigns;
	unsigned int n = inv->nforeigns;
	struct vm *vm = inv->vm;
	int whole = inv->whole;

	if (whole) {
		/* What it said meanwhile counts until it is asked again. */
		vm->migrating =
		    inv->migrating || (vm->migrating && vm->recheck);
		inv->foreigns = NULL;
	}
	inventory_stop(vm);
	if (whole)
		vm_inventory_done(vm, foreigns, n);
	if (vm->recheck)
		vm_look_again(vm);
}

static void
inventory_finish(struct inventory *inv)
{
	struct msg_vm_number m = { .vm = inv->vm->conf.vm };
	struct vm *vm = inv->vm;
	uint32_t before = vm->ready ? vm->ports.taken : 0;
	int had_bus = vm->had_bus;
	struct device *dev;

	vm->ports = inv->ports;
	if (inv->automatic)
		vm->ports.taken |= inv->listed;
	TAILQ_FOREACH(dev, &vm->devices, entry)
		vm->ports.taken |= ports_bit(dev->guest_port);
	vm->had_bus = 1;
	if (vm->ready && (!had_bus || (before & ~vm->ports.taken) != 0))
		tell_engine(MSG_VM_PORT, &m);
	inventory_end(inv);
}

void
inventory_recount(struct vm *vm)
{
	struct inventory *inv;

	if (vm->inventory != NULL || vm->migrating)
		return;
	/* What others gave it is found with all the rest only. */
	if (vm->bus_path[0] == '\0' || vm->nforeigns > 0)
		inventory_start(vm);
	else {
		inv = inventory_new(vm, inventory_finish);
		inv->ports = vm->ports;
		inv->ports.taken = 0;
		inventory_ask_taken(inv);
	}
	conn_send(&vm->conn, -1);
}

void
inventory_stop(struct vm *vm)
{
	if (vm->inventory != NULL)
		free(vm->inventory->foreigns);
	free(vm->inventory);
	vm->inventory = NULL;
}

void
inventory_port_free(struct vm *vm, unsigned int port)
{
	if (vm->inventory == NULL)
		return;
	vm->inventory->ports.taken &= ~ports_bit(port);
	vm->inventory->listed &= ~ports_bit(port);
}
