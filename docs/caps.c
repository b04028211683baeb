/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Prints the capabilities that processes keep, for docs/SECURITY.md. */

#include <stdio.h>
#include "caps.h"

int
main(void)
{
	const struct cap_row *row;

	printf("| process | keeps | because |\n|---|---|---|\n");
	for (row = caps_table; row->name != NULL; row++)
		printf("| %s | `%s` | %s |\n",
		    row->proc == PROC_PARENT ? "parent" : proc_name(row->proc),
		    row->name, row->why);
	return fflush(stdout) == EOF;
}
