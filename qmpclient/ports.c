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

/* How many ports the bus has for a device of that speed. */
static unsigned int
ports_for(const struct ports *ports, enum usbspeed speed)
{
	unsigned int n;

	n = speed == USB_SPEED_SUPER && ports->usb3 > 0 ? ports->usb3
							: ports->usb2;
	return n <= PORTS_MAX ? n : PORTS_MAX;
}

unsigned int
ports_choose(const struct ports *ports, const struct port_range *range,
    enum usbspeed speed)
{
	unsigned int i = range->first == 0 ? 1 : range->first;
	unsigned int last = ports_for(ports, speed);

	if (range->first != 0 && range->last < last)
		last = range->last;
	for (; i <= last; i++)
		if ((ports->taken & ports_bit(i)) == 0)
			return i;
	return 0;
}

void
ports_why_none(const struct ports *ports, const struct port_range *range,
    enum usbspeed speed, const char *bus, char *buf, size_t size)
{
	unsigned int n = ports_for(ports, speed);
	char policy[64];

	if (range->first == 0) {
		snprintf(buf, size, "no free port on bus %s", bus);
		return;
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
