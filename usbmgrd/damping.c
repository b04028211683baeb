/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdlib.h>
#include <string.h>
#include "damping.h"

#define SECONDS_MAX 3600
#define EXPECTED "expected off or PLUGS/SECONDS, 1 to 32 and 1 to 3600"

_Static_assert(DAMPING_PLUGS_MAX == 32, "EXPECTED says so");

static const struct damping usual = { 8, 10000, 3000 };

struct damping
damping_default(void)
{
	return usual;
}

static uint32_t
number(const char *text, long long max, int *wrong)
{
	const char *errstr;
	long long n = strtonum(text, 1, max, &errstr);

	*wrong |= errstr != NULL;
	return (uint32_t)n;
}

const char *
damping_parse(const char *rate, const char *hold, struct damping *d)
{
	const char *slash = strchr(rate, '/');
	char plugs[16];
	int wrong = 0;

	*d = usual;
	if (strcmp(rate, "off") == 0 && hold == NULL) {
		memset(d, 0, sizeof(*d));
		return NULL;
	}
	if (slash == NULL || (size_t)(slash - rate) >= sizeof(plugs))
		return EXPECTED;
	strlcpy(plugs, rate, (size_t)(slash - rate) + 1);
	d->plugs = number(plugs, DAMPING_PLUGS_MAX, &wrong);
	d->window_ms = number(slash + 1, SECONDS_MAX, &wrong) * 1000;
	if (wrong)
		return EXPECTED;
	if (hold != NULL)
		d->hold_ms = number(hold, SECONDS_MAX, &wrong) * 1000;
	return wrong ? "expected seconds after hold, 1 to 3600" : NULL;
}

int
damping_valid(const struct damping *d)
{
	if (d->plugs == 0)
		return d->window_ms == 0 && d->hold_ms == 0;
	return d->plugs <= DAMPING_PLUGS_MAX && d->window_ms > 0 &&
	       d->window_ms <= SECONDS_MAX * 1000 && d->hold_ms > 0 &&
	       d->hold_ms <= SECONDS_MAX * 1000;
}

void
damping_print(const struct damping *d, FILE *out)
{
	if (d->plugs == 0)
		fputs("damping off\n", out);
	else if (d->plugs != usual.plugs || d->window_ms != usual.window_ms ||
		 d->hold_ms != usual.hold_ms)
		fprintf(out, "damping %u/%u hold %u\n", d->plugs,
		    d->window_ms / 1000, d->hold_ms / 1000);
}
