/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <ctype.h>
#include <sha2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_tree.h>
#include "evename.h"
#include "events.h"
#include "jsonread.h"

#define LINE_MAX_BYTES 65536
#define DEPTH_MAX 8
#define TICK_MAX (INT64_C(1000) * 3600 * 24 * 3650)

struct parse {
	struct replay_event *ev;
	yajl_val value; /* of the key being read */
	const char *key;
	char *error;
	size_t n;
};

/* Reads the value of one key: 0, or -1 after parse_fail. */
typedef int reader(struct parse *);

struct member {
	const char *key;
	reader *read;
	int required;
};

static int parse_fail(struct parse *, const char *, ...)
    __attribute__((format(printf, 2, 3)));

static int
parse_fail(struct parse *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->error, p->n, fmt, ap);
	va_end(ap);
	return -1;
}

static int
expected(struct parse *p, const char *what)
{
	return parse_fail(p, "\"%s\": expected %s", p->key, what);
}

static int
get_number(struct parse *p, int64_t min, int64_t max, int64_t *number)
{
	if (!YAJL_IS_INTEGER(p->value) || YAJL_GET_INTEGER(p->value) < min ||
	    YAJL_GET_INTEGER(p->value) > max)
		return parse_fail(p,
		    "\"%s\": expected a number from %lld to %lld", p->key,
		    (long long)min, (long long)max);
	*number = YAJL_GET_INTEGER(p->value);
	return 0;
}

static int
get_string(struct parse *p, char *buf, size_t size)
{
	const char *s = YAJL_GET_STRING(p->value);

	if (s == NULL)
		return expected(p, "a string");
	if (strlcpy(buf, s, size) >= size)
		return parse_fail(
		    p, "\"%s\": longer than %zu bytes", p->key, size - 1);
	return 0;
}

static int
get_hex(struct parse *p, uint16_t *number)
{
	const char *s = YAJL_GET_STRING(p->value);
	size_t len = s == NULL ? 0 : strlen(s);

	if (len < 1 || len > 4 || strspn(s, "0123456789abcdefABCDEF") != len)
		return expected(p, "1 to 4 hexadecimal digits in quotes");
	*number = (uint16_t)strtoul(s, NULL, 16);
	return 0;
}

static int
get_class(struct parse *p, yajl_val value, struct usbclass *class)
{
	static const char hex[] = "0123456789abcdefABCDEF";
	const char *s = YAJL_GET_STRING(value);
	unsigned int c[3];

	/* sscanf(3) alone would take blanks and signs, too. */
	if (s == NULL || strlen(s) != sizeof("03:01:02") - 1 ||
	    strspn(s, hex) != 2 || strspn(s + 3, hex) != 2 ||
	    strspn(s + 6, hex) != 2 ||
	    sscanf(s, "%2x:%2x:%2x", &c[0], &c[1], &c[2]) != 3)
		return expected(p, "a class such as \"03:01:02\"");
	*class =
	    (struct usbclass){ (uint8_t)c[0], (uint8_t)c[1], (uint8_t)c[2] };
	return 0;
}

/* What cannot be said to be true or false is said by name. */
static int
get_use(struct parse *p, char *buf, size_t size)
{
	if (YAJL_IS_TRUE(p->value)) {
		strlcpy(buf, "?", size);
		return 0;
	}
	if (YAJL_IS_FALSE(p->value)) {
		buf[0] = '\0';
		return 0;
	}
	if (!YAJL_IS_STRING(p->value))
		return expected(p, "true, false or a name");
	return get_string(p, buf, size);
}

static int
read_bus(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 1, USB_BUSNUM_MAX, &n) == -1)
		return -1;
	p->ev->device.port.busnum = p->ev->port.busnum = (uint16_t)n;
	return 0;
}

static int
read_port(struct parse *p)
{
	const char *errstr, *s = YAJL_GET_STRING(p->value);
	uint16_t bus = p->ev->port.busnum;

	if (s == NULL)
		return expected(p, "a string such as \"1.2\"");
	if (usbport_parse_chain(&p->ev->port, s, &errstr) == -1)
		return parse_fail(p, "\"%s\": %s", p->key, errstr);
	p->ev->device.port = p->ev->port;
	p->ev->device.port.busnum = bus;
	return 0;
}

static int
read_full_port(struct parse *p, struct usbport *port)
{
	const char *errstr, *s = YAJL_GET_STRING(p->value);

	if (s == NULL)
		return expected(p, "a string such as \"3:1.2\"");
	if (usbport_parse(port, s, &errstr) == -1)
		return parse_fail(p, "\"%s\": %s", p->key, errstr);
	return 0;
}

static int
read_device(struct parse *p)
{
	return read_full_port(p, &p->ev->port);
}

static int
read_peer(struct parse *p)
{
	if (YAJL_IS_NULL(p->value) ||
	    (YAJL_IS_STRING(p->value) && *YAJL_GET_STRING(p->value) == '\0'))
		return 0;
	return read_full_port(p, &p->ev->device.peer);
}

static int
read_devnum(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 1, USB_DEVNUM_MAX, &n) == -1)
		return -1;
	p->ev->device.devnum = (uint16_t)n;
	return 0;
}

static int
read_vendor(struct parse *p)
{
	return get_hex(p, &p->ev->device.vendor);
}

static int
read_product(struct parse *p)
{
	return get_hex(p, &p->ev->device.product);
}

#define STRING_READER(name, member)                                         \
	static int read_##name(struct parse *p)                             \
	{                                                                   \
		return get_string(p, p->ev->member, sizeof(p->ev->member)); \
	}
STRING_READER(serial, device.serial)
STRING_READER(name, device.name)
STRING_READER(manufacturer, device.manufacturer)
STRING_READER(vm, vm)
STRING_READER(error, error)
STRING_READER(domain_name, domain_name)

/* Rules have it in lower case, as sysfs does. */
static int
read_controller(struct parse *p)
{
	char *s = p->ev->device.controller;

	if (get_string(p, s, sizeof(p->ev->device.controller)) == -1)
		return -1;
	for (; *s != '\0'; s++)
		*s = (char)tolower((unsigned char)*s);
	return 0;
}

static int
read_speed(struct parse *p)
{
	const char *s = YAJL_GET_STRING(p->value);

	p->ev->device.speed =
	    (uint8_t)(s == NULL ? USB_SPEED_UNKNOWN : usbspeed_parse(s));
	if (p->ev->device.speed == USB_SPEED_UNKNOWN)
		return expected(p, "\"1.5\", \"12\", \"480\" or \"5000\"");
	return 0;
}

static int
read_class(struct parse *p)
{
	return get_class(p, p->value, &p->ev->device.class);
}

static int
read_interfaces(struct parse *p)
{
	struct usbclass class;
	size_t i;

	if (!YAJL_IS_ARRAY(p->value))
		return expected(p, "an array of classes");
	p->ev->device.ninterfaces = 0;
	for (i = 0; i < p->value->u.array.len; i++) {
		if (get_class(p, p->value->u.array.values[i], &class) == -1)
			return -1;
		usbdev_add_interface(&p->ev->device, &class);
	}
	return 0;
}

static int
read_net(struct parse *p)
{
	return get_use(p, p->ev->device.netif, sizeof(p->ev->device.netif));
}

static int
read_busy(struct parse *p)
{
	return get_use(p, p->ev->device.busy, sizeof(p->ev->device.busy));
}

static int
read_ms(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, TICK_MAX, &n) == -1)
		return -1;
	p->ev->ms = (uint64_t)n;
	return 0;
}

static const struct member device_add[] = { { "bus", read_bus, 1 },
	{ "port", read_port, 1 }, { "devnum", read_devnum, 1 },
	{ "vendor", read_vendor, 1 }, { "product", read_product, 1 },
	{ "serial", read_serial, 0 }, { "name", read_name, 0 },
	{ "manufacturer", read_manufacturer, 0 },
	{ "controller", read_controller, 0 }, { "speed", read_speed, 0 },
	{ "class", read_class, 0 }, { "interfaces", read_interfaces, 0 },
	{ "peer", read_peer, 0 }, { "net", read_net, 0 },
	{ "busy", read_busy, 0 }, { NULL, NULL, 0 } };
static const struct member device_remove[] = { { "bus", read_bus, 1 },
	{ "port", read_port, 1 }, { NULL, NULL, 0 } };
static const struct member vm_change[] = { { "vm", read_vm, 1 },
	{ NULL, NULL, 0 } };
static const struct member attach_failed[] = { { "device", read_device, 1 },
	{ "error", read_error, 1 }, { NULL, NULL, 0 } };
static const struct member domain_delete[] = {
	{ "DomainName", read_domain_name, 1 }, { NULL, NULL, 0 }
};
static const struct member tick[] = { { "ms", read_ms, 1 }, { NULL, NULL, 0 } };

/* Members of audit lines */

static int
skip(struct parse *p)
{
	(void)p;
	return 0;
}

static int
get_unsigned(struct parse *p, uint32_t *number)
{
	int64_t n = 0;

	if (get_number(p, 0, UINT32_MAX, &n) == -1)
		return -1;
	*number = (uint32_t)n;
	return 0;
}

static int
get_flag(struct parse *p, int *flag)
{
	if (!YAJL_IS_TRUE(p->value) && !YAJL_IS_FALSE(p->value))
		return expected(p, "true or false");
	*flag = YAJL_IS_TRUE(p->value);
	return 0;
}

static int
read_at(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, INT64_MAX, &n) == -1)
		return -1;
	p->ev->at = (uint64_t)n;
	return 0;
}

static int
get_hash(struct parse *p, uint8_t *hash)
{
	static const char hexdigits[] = "0123456789abcdef";
	const char *s = YAJL_GET_STRING(p->value);
	size_t i;

	if (s == NULL || strlen(s) != (size_t)2 * AUDIT_HASH_LEN ||
	    strspn(s, hexdigits) != (size_t)2 * AUDIT_HASH_LEN)
		return expected(p, "64 hexadecimal digits in quotes");
	for (i = 0; i < AUDIT_HASH_LEN; i++)
		hash[i] =
		    (uint8_t)((strchr(hexdigits, s[2 * i]) - hexdigits) << 4 |
			      (strchr(hexdigits, s[2 * i + 1]) - hexdigits));
	return 0;
}

static int
read_sha256(struct parse *p)
{
	return get_hash(p, p->ev->hash);
}

static int
read_digest(struct parse *p)
{
	return get_hash(p, p->ev->device.digest);
}

static int
read_odd(struct parse *p)
{
	int odd = 0;

	if (get_flag(p, &odd) == -1)
		return -1;
	p->ev->device.odd_descriptors = (uint8_t)odd;
	return 0;
}

static int
read_audit_speed(struct parse *p)
{
	const char *s = YAJL_GET_STRING(p->value);

	if (s == NULL || s[0] != '\0')
		return read_speed(p);
	p->ev->device.speed = USB_SPEED_UNKNOWN;
	return 0;
}

static int
read_uevent(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, INT64_MAX, &n) == -1)
		return -1;
	p->ev->device.uevent = (uint64_t)n;
	return 0;
}

/* All kinds have what they need of the same event in one place. */
static int
read_request(struct parse *p)
{
	if (get_unsigned(p, &p->ev->has.request) == -1)
		return -1;
	p->ev->result.request = p->ev->has.request;
	return 0;
}

static int
read_any_devnum(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, USB_DEVNUM_MAX, &n) == -1)
		return -1;
	p->ev->device.devnum = p->ev->has.devnum = (uint16_t)n;
	return 0;
}

static int
read_guest_port(struct parse *p)
{
	if (get_unsigned(p, &p->ev->result.guest_port) == -1)
		return -1;
	p->ev->has.guest_port = (uint16_t)p->ev->result.guest_port;
	return 0;
}

static int
read_errno(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, INT32_MAX, &n) == -1)
		return -1;
	p->ev->socket.error = (int32_t)n;
	return 0;
}

/* The value whose name it is, of n. */
static int
get_name(
    struct parse *p, const char *(*name)(uint32_t), uint32_t n, uint32_t *value)
{
	const char *s = YAJL_GET_STRING(p->value);

	for (*value = 0; s != NULL && *value < n; ++*value)
		if (strcmp(name(*value), s) == 0)
			return 0;
	return expected(p, "a name that usbmgrd knows");
}

static int
read_vm_state(struct parse *p)
{
	return get_name(p, vm_state_string, VM_STATE_MAX, &p->ev->state.state);
}

static int
read_result(struct parse *p)
{
	return get_name(p, result_string, RESULT_MAX, &p->ev->result.result);
}

static int
get_bit(struct parse *p, uint32_t *bit)
{
	int flag = 0;

	if (get_flag(p, &flag) == -1)
		return -1;
	*bit = (uint32_t)flag;
	return 0;
}

static int
read_release(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, RELEASE_NOBODY, &n) == -1)
		return -1;
	p->ev->release = (uint32_t)n;
	return 0;
}

static int
read_ended(struct parse *p)
{
	return get_bit(p, &p->ev->socket.ended);
}

/* All kinds that have it have it in one place, too. */
static int
read_conn(struct parse *p)
{
	if (get_unsigned(p, &p->ev->socket.conn) == -1)
		return -1;
	p->ev->state.conn = p->ev->result.conn = p->ev->socket.conn;
	return 0;
}

static int
read_migrating(struct parse *p)
{
	return get_bit(p, &p->ev->state.migrating);
}

static int
read_told(struct parse *p)
{
	return get_bit(p, &p->ev->state.told);
}

static int
read_handover(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, HANDOVER_MAX - 1, &n) == -1)
		return -1;
	p->ev->state.handover = (uint32_t)n;
	return 0;
}

/* What a machine was given by somebody else: any part may be missing. */

static int
read_on_bus(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, USB_BUSNUM_MAX, &n) == -1)
		return -1;
	p->ev->foreign.busnum = (uint16_t)n;
	return 0;
}

static int
read_port_bus(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, USB_BUSNUM_MAX, &n) == -1)
		return -1;
	p->ev->foreign.port.busnum = (uint16_t)n;
	return 0;
}

static int
read_on_port(struct parse *p)
{
	const char *errstr, *s = YAJL_GET_STRING(p->value);

	if (s == NULL)
		return expected(p, "a string such as \"1.2\"");
	if (s[0] != '\0' &&
	    usbport_parse_chain(&p->ev->foreign.port, s, &errstr) == -1)
		return parse_fail(p, "\"%s\": %s", p->key, errstr);
	return 0;
}

static int
read_foreign_devnum(struct parse *p)
{
	int64_t n = 0;

	if (get_number(p, 0, USB_DEVNUM_MAX, &n) == -1)
		return -1;
	p->ev->foreign.devnum = (uint16_t)n;
	return 0;
}

static int
read_foreign_vendor(struct parse *p)
{
	return get_hex(p, &p->ev->foreign.vendor);
}

static int
read_foreign_product(struct parse *p)
{
	return get_hex(p, &p->ev->foreign.product);
}

static int
read_left(struct parse *p)
{
	return get_flag(p, &p->ev->left);
}

static int
read_force(struct parse *p)
{
	return get_flag(p, &p->ev->force);
}

static int
read_uid(struct parse *p)
{
	return get_unsigned(p, &p->ev->uid);
}

STRING_READER(state_reason, state.text)
STRING_READER(text, result.text)
STRING_READER(command, command)
STRING_READER(reason, reason)
STRING_READER(busy_why, device.busy_why)
STRING_READER(foreign_id, foreign.id)

static int
read_count(struct parse *p)
{
	return get_number(p, 0, BUNDLES_MAX, &p->ev->count);
}

static int
read_adapter_count(struct parse *p)
{
	return get_number(p, 0, EVE_ADAPTERS_MAX, &p->ev->count);
}

static int
read_eve_state(struct parse *p)
{
	return get_number(p, INT64_MIN, INT64_MAX, &p->ev->eve_state);
}

STRING_READER(eve_file, eve_file)
STRING_READER(eve_label, eve_text[BUNDLE_LABEL])
STRING_READER(eve_logical, eve_text[BUNDLE_LOGICAL])
STRING_READER(eve_group, eve_text[BUNDLE_GROUP])
STRING_READER(eve_parent, eve_text[BUNDLE_PARENT])
STRING_READER(eve_usbaddr, eve_text[BUNDLE_USBADDR])
STRING_READER(eve_usbproduct, eve_text[BUNDLE_USBPRODUCT])
STRING_READER(eve_pci, eve_text[BUNDLE_PCI])

/* What each line of an audit log has. */
#define AUDIT_MEMBERS                                                     \
	{ "time", skip, 1 }, { "mono", skip, 1 }, { "process", skip, 1 }, \
	    { "seq", skip, 1 }, { "cut", skip, 0 },                       \
	{                                                                 \
		"prev", skip, 1                                           \
	}
#define AUDIT_EVENT              \
	AUDIT_MEMBERS,           \
	{                        \
		"at", read_at, 1 \
	}

static const struct member audit_start[] = { AUDIT_MEMBERS,
	{ "version", skip, 0 }, { "pid", skip, 0 }, { NULL, NULL, 0 } };
static const struct member audit_policy[] = { AUDIT_EVENT,
	{ "sha256", read_sha256, 1 }, { "vms", skip, 0 }, { "rules", skip, 0 },
	{ NULL, NULL, 0 } };
static const struct member audit_device_add[] = { AUDIT_EVENT,
	{ "uevent", read_uevent, 1 }, { "bus", read_bus, 1 },
	{ "port", read_port, 1 }, { "devnum", read_devnum, 1 },
	{ "vendor", read_vendor, 1 }, { "product", read_product, 1 },
	{ "serial", read_serial, 1 }, { "name", read_name, 1 },
	{ "manufacturer", read_manufacturer, 1 },
	{ "controller", read_controller, 1 }, { "speed", read_audit_speed, 1 },
	{ "class", read_class, 1 }, { "interfaces", read_interfaces, 1 },
	{ "peer", read_peer, 1 }, { "net", read_net, 1 },
	{ "busy", read_busy, 1 }, { "busy_why", read_busy_why, 1 },
	{ "odd_descriptors", read_odd, 1 }, { "digest", read_digest, 1 },
	{ NULL, NULL, 0 } };
static const struct member audit_device_remove[] = { AUDIT_EVENT,
	{ "uevent", skip, 1 }, { "bus", read_bus, 1 }, { "port", read_port, 1 },
	{ "devnum", read_any_devnum, 1 }, { NULL, NULL, 0 } };
static const struct member audit_plain[] = { AUDIT_EVENT, { NULL, NULL, 0 } };
static const struct member audit_requests[] = { AUDIT_EVENT,
	{ "last", read_request, 1 }, { NULL, NULL, 0 } };
static const struct member audit_vm_socket[] = { AUDIT_EVENT,
	{ "vm", read_vm, 0 }, { "left", read_left, 0 },
	{ "error", read_errno, 1 }, { "ended", read_ended, 1 },
	{ "conn", read_conn, 1 }, { "reason", skip, 0 }, { NULL, NULL, 0 } };
static const struct member audit_vm_leaving[] = { AUDIT_EVENT,
	{ "vm", read_vm, 1 }, { "release", read_release, 1 },
	{ NULL, NULL, 0 } };
static const struct member audit_vm_device[] = { AUDIT_EVENT,
	{ "vm", read_vm, 0 }, { "left", read_left, 0 },
	{ "request", read_request, 1 }, { "device", read_device, 1 },
	{ "devnum", read_any_devnum, 1 }, { "guest_port", read_guest_port, 1 },
	{ NULL, NULL, 0 } };
static const struct member audit_vm_state[] = { AUDIT_EVENT,
	{ "vm", read_vm, 0 }, { "left", read_left, 0 },
	{ "state", read_vm_state, 1 }, { "handover", read_handover, 1 },
	{ "migrating", read_migrating, 1 }, { "told", read_told, 1 },
	{ "conn", read_conn, 1 }, { "reason", read_state_reason, 1 },
	{ NULL, NULL, 0 } };
static const struct member audit_vm_foreign[] = { AUDIT_EVENT,
	{ "vm", read_vm, 0 }, { "left", read_left, 0 },
	{ "id", read_foreign_id, 1 }, { "on_bus", read_on_bus, 1 },
	{ "port_bus", read_port_bus, 1 }, { "devnum", read_foreign_devnum, 1 },
	{ "vendor", read_foreign_vendor, 1 },
	{ "product", read_foreign_product, 1 }, { "on_port", read_on_port, 1 },
	{ NULL, NULL, 0 } };
static const struct member audit_vm_port[] = { AUDIT_EVENT,
	{ "vm", read_vm, 0 }, { "left", read_left, 0 }, { NULL, NULL, 0 } };
static const struct member audit_result[] = { AUDIT_EVENT,
	{ "request", read_request, 1 }, { "vm", read_vm, 0 },
	{ "left", read_left, 0 }, { "device", skip, 0 }, { "devnum", skip, 0 },
	{ "of", skip, 0 }, { "conn", read_conn, 1 },
	{ "result", read_result, 1 }, { "guest_port", read_guest_port, 1 },
	{ "text", read_text, 1 }, { NULL, NULL, 0 } };
static const struct member audit_eve_adapters[] = { AUDIT_EVENT,
	{ "bundles", read_count, 1 }, { NULL, NULL, 0 } };
static const struct member audit_eve_bundle[] = { AUDIT_MEMBERS,
	{ "Phylabel", read_eve_label, 1 },
	{ "Logicallabel", read_eve_logical, 1 },
	{ "AssignmentGroup", read_eve_group, 1 },
	{ "ParentAssignmentGroup", read_eve_parent, 1 },
	{ "UsbAddr", read_eve_usbaddr, 1 },
	{ "UsbProduct", read_eve_usbproduct, 1 },
	{ "PciLong", read_eve_pci, 1 }, { NULL, NULL, 0 } };
static const struct member audit_eve_domain[] = { AUDIT_EVENT,
	{ "file", read_eve_file, 1 }, { "vm", read_vm, 1 },
	{ "state", read_eve_state, 1 }, { "adapters", read_adapter_count, 1 },
	{ NULL, NULL, 0 } };
static const struct member audit_eve_adapter[] = { AUDIT_MEMBERS,
	{ "name", read_eve_label, 1 }, { NULL, NULL, 0 } };
static const struct member audit_eve_file[] = { AUDIT_EVENT,
	{ "file", read_eve_file, 1 }, { NULL, NULL, 0 } };
static const struct member audit_override[] = { AUDIT_EVENT,
	{ "device", read_device, 1 }, { "devnum", read_any_devnum, 1 },
	{ "command", read_command, 1 }, { "vm", read_vm, 0 },
	{ "force", read_force, 1 }, { "uid", read_uid, 1 }, { "pid", skip, 1 },
	{ NULL, NULL, 0 } };
static const struct member audit_action[] = { AUDIT_MEMBERS,
	{ "device", read_device, 1 }, { "devnum", read_any_devnum, 1 },
	{ "request", read_request, 0 }, { "vm", read_vm, 0 },
	{ "vendor", skip, 0 }, { "product", skip, 0 }, { "uevent", skip, 0 },
	{ "rule", skip, 0 }, { "reason", read_reason, 1 },
	{ "matched", skip, 0 }, { NULL, NULL, 0 } };

static const struct event_kind {
	const char *name;
	enum replay_type type;
	const struct member *members;
} kinds[] = {
	{ "device-add", REPLAY_DEVICE_ADD, device_add },
	{ "device-remove", REPLAY_DEVICE_REMOVE, device_remove },
	{ "vm-up", REPLAY_VM_UP, vm_change },
	{ "vm-down", REPLAY_VM_DOWN, vm_change },
	{ "attach-failed", REPLAY_ATTACH_FAILED, attach_failed },
	{ "tick", REPLAY_TICK, tick },
	{ "domain-delete", REPLAY_DOMAIN_DELETE, domain_delete },
	{ NULL, REPLAY_SKIP, NULL },
};

static const struct event_kind audit_kinds[] = {
	{ "start", REPLAY_START, audit_start },
	{ "policy", REPLAY_POLICY, audit_policy },
	{ "device-add", REPLAY_DEVICE_ADD, audit_device_add },
	{ "device-remove", REPLAY_DEVICE_REMOVE, audit_device_remove },
	{ "scan-done", REPLAY_SCAN_DONE, audit_plain },
	{ "eve-begin", REPLAY_EVE_BEGIN, audit_plain },
	{ "eve-end", REPLAY_EVE_END, audit_plain },
	{ "eve-adapters", REPLAY_EVE_ADAPTERS, audit_eve_adapters },
	{ "eve-bundle", REPLAY_EVE_BUNDLE, audit_eve_bundle },
	{ "eve-adapters-gone", REPLAY_EVE_ADAPTERS_GONE, audit_plain },
	{ "eve-adapters-unread", REPLAY_EVE_ADAPTERS_UNREAD, audit_plain },
	{ "eve-domain", REPLAY_EVE_DOMAIN, audit_eve_domain },
	{ "eve-adapter", REPLAY_EVE_ADAPTER, audit_eve_adapter },
	{ "eve-domain-gone", REPLAY_EVE_DOMAIN_GONE, audit_eve_file },
	{ "eve-domain-unread", REPLAY_EVE_DOMAIN_UNREAD, audit_eve_file },
	{ "vm-leaving", REPLAY_VM_LEAVING, audit_vm_leaving },
	{ "vm-socket", REPLAY_VM_SOCKET, audit_vm_socket },
	{ "vm-has", REPLAY_VM_HAS, audit_vm_device },
	{ "vm-dropped", REPLAY_VM_DROPPED, audit_vm_device },
	{ "vm-state", REPLAY_VM_STATE, audit_vm_state },
	{ "vm-foreign", REPLAY_VM_FOREIGN, audit_vm_foreign },
	{ "vm-port", REPLAY_VM_PORT, audit_vm_port },
	{ "scan", REPLAY_SCAN, audit_plain },
	{ "qmpclient-lost", REPLAY_QMPCLIENT_LOST, audit_plain },
	{ "requests", REPLAY_REQUESTS, audit_requests },
	{ "result", REPLAY_RESULT, audit_result },
	{ "tick", REPLAY_TICK, audit_plain },
	{ "override", REPLAY_OVERRIDE, audit_override },
	{ "attach", REPLAY_ACTION, audit_action },
	{ "detach", REPLAY_ACTION, audit_action },
	{ "hold", REPLAY_ACTION, audit_action },
	{ "release", REPLAY_ACTION, audit_action },
	{ NULL, REPLAY_SKIP, NULL },
};

static yajl_val
find(yajl_val object, const char *key, size_t *count)
{
	yajl_val found = NULL;
	size_t i;

	*count = 0;
	for (i = 0; i < object->u.object.len; i++)
		if (strcmp(object->u.object.keys[i], key) == 0) {
			found = object->u.object.values[i];
			++*count;
		}
	return found;
}

static int
check_keys(struct parse *p, yajl_val object, const struct member *members)
{
	const struct member *m;
	const char *key;
	size_t i;

	for (i = 0; i < object->u.object.len; i++) {
		key = object->u.object.keys[i];
		for (m = members; m->key != NULL; m++)
			if (strcmp(key, m->key) == 0)
				break;
		if (m->key == NULL && strcmp(key, "event") != 0)
			return parse_fail(p, "unknown key \"%.64s\"", key);
	}
	return 0;
}

static int
read_members(struct parse *p, yajl_val object, const struct member *members)
{
	const struct member *m;
	size_t count;

	if (check_keys(p, object, members) == -1)
		return -1;
	for (m = members; m->key != NULL; m++) {
		p->key = m->key;
		p->value = find(object, m->key, &count);
		if (count > 1)
			return parse_fail(p, "\"%s\" stands twice", m->key);
		if (count == 0 && m->required)
			return parse_fail(p, "\"%s\" is missing", m->key);
		if (count == 1 && m->read(p) == -1)
			return -1;
	}
	return 0;
}

static const struct event_kind *
find_kind(struct parse *p, yajl_val object)
{
	const struct event_kind *k = p->ev->audit ? audit_kinds : kinds;
	const char *name;
	size_t count;

	name = YAJL_GET_STRING(find(object, "event", &count));
	if (name == NULL || count != 1) {
		parse_fail(p, "\"event\": expected one string");
		return NULL;
	}
	strlcpy(p->ev->command, name, sizeof(p->ev->command));
	for (; k->name != NULL; k++)
		if (strcmp(k->name, name) == 0)
			return k;
	if (p->ev->audit)
		return k;
	parse_fail(p, "unknown event \"%.64s\"", name);
	return NULL;
}

/* Deeper than an event can be, yajl's tree would be freed by recursion. */
static int
check_text(struct parse *p, const char *line, size_t len)
{
	unsigned int depth = 0;
	size_t i;

	if (len > LINE_MAX_BYTES)
		return parse_fail(
		    p, "line longer than %d bytes", LINE_MAX_BYTES);
	/* In a string of ours it would be its end. */
	if (memchr(line, '\0', len) != NULL ||
	    memmem(line, len, "\\u0000", 6) != NULL)
		return parse_fail(p, "NUL byte");
	for (i = 0; i < len; i++)
		if ((line[i] == '{' || line[i] == '[') &&
		    ++depth > DEPTH_MAX * 8)
			return parse_fail(p, "too many brackets");
	return 0;
}

static void
set_defaults(struct replay_event *ev)
{
	memset(ev, 0, sizeof(*ev));
	ev->device.speed = USB_SPEED_FULL;
	ev->device.ninterfaces = 1;
	ev->device.interfaces[0].class = 0xff;
}

/* The digest stands for all that a device says of itself. */
static void
set_digest(struct usbdev *d, const char *line, size_t len)
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, (const uint8_t *)line, len);
	SHA256Final(d->digest, &ctx);
}

static int
look_for_audit(struct parse *p, yajl_val object)
{
	const char *process;
	size_t seqs, prevs, n;

	find(object, "seq", &seqs);
	find(object, "prev", &prevs);
	p->ev->audit = seqs == 1 && prevs == 1;
	if (!p->ev->audit)
		return 0;
	process = YAJL_GET_STRING(find(object, "process", &n));
	if (process != NULL && strcmp(process, "engine") == 0)
		return 0;
	return parse_fail(p,
	    "this is the audit log of %.16s: only that of "
	    "the engine can be replayed",
	    process == NULL ? "nobody" : process);
}

static int
parse_object(struct parse *p, yajl_val object)
{
	const struct event_kind *kind;
	const char *wrong;

	if (!YAJL_IS_OBJECT(object))
		return parse_fail(p, "expected a JSON object");
	if (look_for_audit(p, object) == -1)
		return -1;
	if ((kind = find_kind(p, object)) == NULL)
		return -1;
	p->ev->type = kind->type;
	if (kind->type == REPLAY_SKIP)
		return 0;
	if (read_members(p, object, kind->members) == -1)
		return -1;
	if (kind->type == REPLAY_DEVICE_ADD &&
	    (wrong = usbdev_check(&p->ev->device)) != NULL)
		return parse_fail(p, "the device's %s is wrong", wrong);
	return 0;
}

/* What EVE publishes is long and is read by the engine's own readers. */

static int
event_value(struct jsonread *r, int id, const struct jsonread_value *value)
{
	char *name = r->arg;

	(void)id;
	snprintf(name, 16, "%.*s", (int)(value->len < 15 ? value->len : 15),
	    value->string);
	return 0;
}

/* "adapters", "domain" or something else. */
static void
eve_event(const char *line, size_t len, char name[16])
{
	static const struct jsonread_row rows[] = { { JSONREAD_TOP, NULL, 0,
							JSONREAD_OBJECT, 2, 0 },
		{ 2, "event", 0, JSONREAD_STRING, 0, 0 },
		{ 0, NULL, 0, 0, 0, 0 } };
	static const struct jsonread_ops ops = { .value = event_value };
	struct jsonread r = { .rows = rows, .ops = &ops, .arg = name };

	name[0] = '\0';
	if (memmem(line, len, "\"adapters\"", 10) != NULL ||
	    memmem(line, len, "\"domain\"", 8) != NULL)
		jsonread_text(&r, line, len);
}

static int
parse_adapters(struct parse *p, const char *line, size_t len)
{
	p->ev->type = REPLAY_ADAPTERS;
	p->ev->adapters = evejson_event_adapters(line, len, p->error, p->n);
	return p->ev->adapters == NULL ? -1 : 0;
}

static int
parse_domain(struct parse *p, const char *line, size_t len)
{
	p->ev->type = REPLAY_DOMAIN;
	p->ev->domain = evejson_event_domain(line, len, p->error, p->n);
	if (p->ev->domain == NULL)
		return -1;
	if (evename_ok(p->ev->domain->name))
		return 0;
	domain_free(p->ev->domain);
	p->ev->domain = NULL;
	return parse_fail(p, "\"DomainName\": expected letters, digits, "
			     "\".\", \"-\" and \"_\"");
}

int
events_parse(const char *line, size_t len, struct replay_event *ev, char *error,
    size_t n)
{
	struct parse p = { .ev = ev, .error = error, .n = n };
	char *text, why[128] = "", name[16];
	yajl_val object;
	int rc;

	set_defaults(ev);
	eve_event(line, len, name);
	if (strcmp(name, "adapters") == 0)
		return parse_adapters(&p, line, len);
	if (strcmp(name, "domain") == 0)
		return parse_domain(&p, line, len);
	if (check_text(&p, line, len) == -1)
		return -1;
	if ((text = strndup(line, len)) == NULL)
		return parse_fail(&p, "out of memory");
	object = yajl_tree_parse(text, why, sizeof(why));
	free(text);
	if (object == NULL) {
		why[strcspn(why, "\n")] = '\0';
		return parse_fail(&p, "not JSON: %s", why);
	}
	rc = parse_object(&p, object);
	yajl_tree_free(object);
	if (!ev->audit)
		set_digest(&ev->device, line, len);
	return rc;
}
