/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * Any bytes as the descriptors of a device: what comes of them is a record
 * that the engine takes, whose digest is that of the bytes.
 */

#include <sha2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "descriptors.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
check_digest(const struct usbdev *dev, const uint8_t *data, size_t size)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, data, size);
	SHA256Final(digest, &ctx);
	if (memcmp(digest, dev->digest, sizeof(digest)) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct usbdev dev, before;

	memset(&dev, 0, sizeof(dev));
	dev.port.busnum = dev.port.depth = dev.port.chain[0] = 1;
	dev.devnum = 2;
	before = dev;
	if (descriptors_parse(&dev, data, size) == -1) {
		if (memcmp(&dev, &before, sizeof(dev)) != 0)
			abort();
		return 0;
	}
	if (usbdev_check(&dev) != NULL)
		abort();
	check_digest(&dev, data, size);
	return 0;
}
