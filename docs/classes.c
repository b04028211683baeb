/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Prints the class words of common/classes.c for docs/usbmgrd.conf.5. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "classes.h"

static void
print_class(const struct class_word *w)
{
	printf("%02x", w->class.class);
	if (w->parts > 1)
		printf(":%02x", w->class.subclass);
	if (w->parts > 2)
		printf(":%02x", w->class.protocol);
}

int
main(void)
{
	const struct class_word *w;
	const char *last = "";

	printf(".Bl -column \"application\" \"03:01:01\" \"text\" "
	       "-offset indent -compact\n");
	printf(".It Em Word Ta Em Class Ta Em Devices\n");
	for (w = class_words; w->word != NULL; w++) {
		printf(
		    ".It %s Ta ", strcmp(w->word, last) == 0 ? "\\&" : w->word);
		print_class(w);
		/* On a line of its own no word of it is a macro. */
		printf(" Ta\n%s\n", w->text);
		last = w->word;
	}
	printf(".El\n");
	return fflush(stdout) == EOF ? EXIT_FAILURE : EXIT_SUCCESS;
}
