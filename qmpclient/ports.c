/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "ports.h"

uint32_t
ports_bit(unsigned int n)
{
	return n >= 1 && n <= PORTS_MAX ? 1U << n : 0;
}

unsigned int
ports_choose(const struct ports *ports, enum usbspeed speed)
{
	unsigned int i, max;

	max = speed == USB_SPEED_SUPER && ports->usb3 > 0 ? ports->usb3
							  : ports->usb2;
	for (i = 1; i <= max && i <= PORTS_MAX; i++)
		if ((ports->taken & ports_bit(i)) == 0)
			return i;
	return 0;
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
