/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Prints when what failed is tried again, for docs/usbmgrd.conf.5. */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "retry.h"

#define TRIES_MAX 10000

/* What usbmgrd/retry.c does is asked of it, not repeated here. */
static void
print_result(enum result result)
{
	struct retry_list list;
	struct retry r;
	uint64_t delay;
	unsigned int tries = 0;

	memset(&r, 0, sizeof(r));
	retry_init(&list);
	retry_failed(&list, &r, 0, result);
	delay = retry_next(&list);
	printf(".It %s Ta ", result_string(result));
	if (delay != 0) {
		while (retry_due(&list, UINT64_MAX) != NULL) {
			if (++tries > TRIES_MAX)
				errx(1, "%s: tried for ever",
				    result_string(result));
			retry_failed(&list, &r, 0, result);
		}
		printf("%u, from %g s", tries, (double)delay / 1000);
	}
	printf(" Ta %s\n", retry_event(result));
}

int
main(void)
{
	uint32_t result;

	printf(".Bl -column \"connection to the machine lost\" "
	       "\"1000, from 1 s\" \"text\" -compact\n");
	printf(".It Em Class Ta Em Tries Ta Em Or else\n");
	for (result = RESULT_OK + 1; result < RESULT_MAX; result++)
		print_result((enum result)result);
	printf(".El\n");
	return fflush(stdout) == EOF ? EXIT_FAILURE : EXIT_SUCCESS;
}
