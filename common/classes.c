/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stddef.h>
#include <string.h>
#include "classes.h"

const struct class_word class_words[] = {
	{ "audio", { 0x01, 0, 0 }, 1, "sound cards, headsets, MIDI" },
	{ "comm", { 0x02, 0, 0 }, 1, "modems, serial and network adapters" },
	{ "comm", { 0x0a, 0, 0 }, 1, "and their data interfaces" },
	{ "hid", { 0x03, 0, 0 }, 1, "all human interface devices" },
	{ "keyboard", { 0x03, 0x01, 0x01 }, 3, "boot keyboards" },
	{ "mouse", { 0x03, 0x01, 0x02 }, 3, "boot mice" },
	{ "physical", { 0x05, 0, 0 }, 1, "force feedback" },
	{ "image", { 0x06, 0, 0 }, 1, "still cameras, scanners, phones" },
	{ "printer", { 0x07, 0, 0 }, 1, "printers" },
	{ "storage", { 0x08, 0, 0 }, 1, "disks, sticks, card readers" },
	{ "smartcard", { 0x0b, 0, 0 }, 1, "smart card readers and tokens" },
	{ "security", { 0x0d, 0, 0 }, 1, "content security" },
	{ "video", { 0x0e, 0, 0 }, 1, "webcams, capture devices" },
	{ "health", { 0x0f, 0, 0 }, 1, "personal healthcare" },
	{ "av", { 0x10, 0, 0 }, 1, "audio and video devices" },
	{ "billboard", { 0x11, 0, 0 }, 1, "USB-C alternate mode notes" },
	{ "diagnostic", { 0xdc, 0, 0 }, 1, "diagnostic devices" },
	{ "wireless", { 0xe0, 0, 0 }, 1, "Bluetooth and other radios" },
	{ "misc", { 0xef, 0, 0 }, 1, "miscellaneous" },
	{ "application", { 0xfe, 0, 0 }, 1, "firmware update, test, IrDA" },
	{ "vendor", { 0xff, 0, 0 }, 1, "classes of the vendor's own" },
	{ NULL, { 0, 0, 0 }, 0, NULL },
};

int
class_agree(
    const struct usbclass *a, const struct usbclass *b, unsigned int parts)
{
	return a->class == b->class &&
	       (parts < 2 || a->subclass == b->subclass) &&
	       (parts < 3 || a->protocol == b->protocol);
}

uint64_t
class_word_bit(const char *word)
{
	unsigned int i;

	for (i = 0; class_words[i].word != NULL; i++)
		if (strcmp(class_words[i].word, word) == 0)
			return UINT64_C(1) << i;
	return 0;
}

uint64_t
class_bits(const struct usbclass *class)
{
	const struct class_word *w;
	uint64_t bits = 0;

	for (w = class_words; w->word != NULL; w++)
		if (class_agree(&w->class, class, w->parts))
			bits |= class_word_bit(w->word);
	return bits;
}

int
classes_promised(
    const struct usbdev *d, uint64_t bits, const struct usbclass **breach)
{
	unsigned int i;

	*breach = NULL;
	for (i = 0; i < d->ninterfaces; i++)
		if ((class_bits(&d->interfaces[i]) & bits) == 0) {
			*breach = &d->interfaces[i];
			return 0;
		}
	return d->ninterfaces > 0;
}
