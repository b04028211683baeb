/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * usage: TARGET file ...
 *
 * Runs a fuzzing target once for each file, where there is no libFuzzer.
 */

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX (1 << 20)

int LLVMFuzzerInitialize(int *, char ***) __attribute__((weak));
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
run(const char *path)
{
	static uint8_t text[INPUT_MAX];
	uint8_t *copy;
	size_t len;
	FILE *f;

	if ((f = fopen(path, "re")) == NULL)
		err(1, "%s", path);
	len = fread(text, 1, sizeof(text), f);
	if (ferror(f))
		err(1, "%s", path);
	fclose(f);
	/* Of exactly that size, so that a byte too far is seen. */
	if ((copy = malloc(len == 0 ? 1 : len)) == NULL)
		err(1, "malloc");
	for (size_t i = 0; i < len; i++)
		copy[i] = text[i];
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

int
main(int argc, char *argv[])
{
	int i;

	if (argc < 2)
		errx(2, "usage: %s file ...", argv[0]);
	if (LLVMFuzzerInitialize != NULL)
		LLVMFuzzerInitialize(&argc, &argv);
	for (i = 1; i < argc; i++)
		run(argv[i]);
	printf("%s: %d inputs\n", argv[0], argc - 1);
	return 0;
}
