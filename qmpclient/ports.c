/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports.h"

uint32_t
ports_bit(unsigned int n)
{
	return n >= 1 && n <= PORTS_MAX ? 1U << n : 0;
}

int
ports_range_ok(const struct port_range *range)
{
	if (range->first == 0)
		return range->last == 0;
	return range->first <= range->last && range->last <= PORTS_MAX;
}

/* Speeds that port number n takes, as bits. */
static unsigned int
port_speeds(const struct ports *ports, unsigned int n)
{
	return (n <= ports->usb2 ? ports->speeds : 0) |
	       (n <= ports->usb3 ? 1U << USB_SPEED_SUPER : 0);
}

/* How many ports the bus has for one of those speeds. */
static unsigned int
ports_for(const struct ports *ports, unsigned int speeds)
{
	unsigned int n;

	for (n = PORTS_MAX; n > 0; n--)
		if (port_speeds(ports, n) & speeds)
			break;
	return n;
}

static unsigned int
lowest_free(const struct ports *ports, const struct port_range *range,
    unsigned int speeds)
{
	unsigned int i = range->first == 0 ? 1 : range->first;
	unsigned int last = range->first == 0 ? PORTS_MAX : range->last;

	for (; i <= last; i++)
		if ((port_speeds(ports, i) & speeds) != 0 &&
		    (ports->taken & ports_bit(i)) == 0)
			return i;
	return 0;
}

unsigned int
ports_choose(const struct ports *ports, const struct port_range *range,
    enum usbspeed speed, unsigned int speeds)
{
	unsigned int port = lowest_free(ports, range, 1U << speed);

	return port != 0 ? port : lowest_free(ports, range, speeds);
}

static void
speed_names(unsigned int speeds, char *buf, size_t size)
{
	static const char *const names[USB_SPEED_MAX] = {
		[USB_SPEED_LOW] = "low",
		[USB_SPEED_FULL] = "full",
		[USB_SPEED_HIGH] = "high",
		[USB_SPEED_SUPER] = "super",
	};
	unsigned int i;

	buf[0] = '\0';
	for (i = USB_SPEED_LOW; i < USB_SPEED_MAX; i++) {
		if ((speeds & 1U << i) == 0)
			continue;
		if (buf[0] != '\0')
			strlcat(buf, " or ", size);
		strlcat(buf, names[i], size);
	}
	strlcat(buf, " speed", size);
}

static void
why_no_speed(const struct ports *ports, unsigned int speeds, const char *bus,
    char *buf, size_t size)
{
	char takes[64], runs[64];
	unsigned int n, all = 0;

	for (n = 1; n <= PORTS_MAX; n++)
		all |= port_speeds(ports, n);
	speed_names(all, takes, sizeof(takes));
	speed_names(speeds, runs, sizeof(runs));
	snprintf(buf, size, "bus %s takes %s only, the device runs at %s", bus,
	    takes, runs);
}

enum result
ports_why_none(const struct ports *ports, const struct port_range *range,
    unsigned int speeds, const char *bus, char *buf, size_t size)
{
	unsigned int n = ports_for(ports, speeds);
	char policy[64];

	if (n == 0) {
		why_no_speed(ports, speeds, bus, buf, size);
		return RESULT_SPEED;
	}
	if (range->first == 0) {
		snprintf(buf, size, "no free port on bus %s", bus);
		return RESULT_BUS_FULL;
	}
	if (range->first == range->last)
		snprintf(policy, sizeof(policy), "port %u", range->first);
	else
		snprintf(policy, sizeof(policy), "ports %u-%u", range->first,
		    range->last);
	if (range->first > n)
		snprintf(buf, size,
		    "bus %s has %u ports, the policy allows %s only", bus, n,
		    policy);
	else
		snprintf(buf, size,
		    "no free port on bus %s, the policy allows %s only", bus,
		    policy);
	return RESULT_BUS_FULL;
}

unsigned int
ports_parse(const char *path)
{
	unsigned long n;
	char *end;

	if (path[0] < '1' || path[0] > '9')
		return 0;
	n = strtoul(path, &end, 10);
	if (n > 255 || (*end != '\0' && *end != '.'))
		return 0;
	return (unsigned int)n;
}

/* One line: "  Device 0.2, Port 1, Speed 480 Mb/s, Product ..." */
static uint32_t
ports_parse_line(const char *line, size_t len)
{
	static const char start[] = "  Device ", port[] = ", Port ";
	char path[64];
	const char *p, *end;

	if (len < sizeof(start) - 1 ||
	    strncmp(line, start, sizeof(start) - 1) != 0)
		return 0;
	if ((p = memmem(line, len, port, sizeof(port) - 1)) == NULL)
		return 0;
	p += sizeof(port) - 1;
	end = memchr(p, ',', len - (size_t)(p - line));
	if (end == NULL || (size_t)(end - p) >= sizeof(path))
		return 0;
	memcpy(path, p, (size_t)(end - p));
	path[end - p] = '\0';
	return ports_bit(ports_parse(path));
}

uint32_t
ports_parse_list(const char *text)
{
	uint32_t mask = 0;
	size_t n;

	while (*text != '\0') {
		n = strcspn(text, "\r\n");
		mask |= ports_parse_line(text, n);
		text += n;
		text += strspn(text, "\r\n");
	}
	return mask;
}
