/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "qmpid.h"

void
qmpid_format(const struct qmpid *id, char *buf, size_t size)
{
	char port[USBPORT_STRLEN];
	char *colon;

	usbport_string(&id->port, port);
	if ((colon = strchr(port, ':')) != NULL)
		*colon = '-';
	snprintf(buf, size, QMPID_PREFIX "%s-%u-%u", port,
	    (unsigned int)id->devnum, (unsigned int)id->request);
}

/* Cuts the last "-NUMBER" off; the number, or 0. */
static uint32_t
qmpid_cut(char *text, long long max)
{
	const char *errstr;
	long long n;
	char *dash;

	if ((dash = strrchr(text, '-')) == NULL)
		return 0;
	n = strtonum(dash + 1, 1, max, &errstr);
	*dash = '\0';
	return errstr == NULL ? (uint32_t)n : 0;
}

int
qmpid_parse(struct qmpid *id, const char *text)
{
	char copy[MSG_ID_MAX], again[MSG_ID_MAX];

	memset(id, 0, sizeof(*id));
	if (strncmp(text, QMPID_PREFIX, sizeof(QMPID_PREFIX) - 1) != 0)
		return -1;
	if (strlcpy(copy, text + sizeof(QMPID_PREFIX) - 1, sizeof(copy)) >=
	    sizeof(copy))
		return -1;
	id->request = qmpid_cut(copy, UINT32_MAX);
	id->devnum = (uint16_t)qmpid_cut(copy, USB_DEVNUM_MAX);
	if (id->request == 0 || id->devnum == 0 ||
	    usbport_parse_sysfs(&id->port, copy) == -1)
		return -1;
	/* What the parts allow more of, such as "03", is not ours. */
	qmpid_format(id, again, sizeof(again));
	return strcmp(again, text) == 0 ? 0 : -1;
}
