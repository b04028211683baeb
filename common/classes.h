/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CLASSES_H
#define CLASSES_H

#include <stdint.h>
#include "usbdev.h"

/*
 * Words for interface classes (USB-IF, "Defined Class Codes"), for rules and
 * for promises of devices.  A word may have several rows.
 */
struct class_word {
	const char *word;
	struct usbclass class;
	uint8_t parts; /* how many of class, subclass, protocol must agree */
	const char *text;
};

/* Ends with a row whose word is NULL. */
extern const struct class_word class_words[];

/* class_agree: 1 if the first parts numbers of both are the same. */
int class_agree(
    const struct usbclass *, const struct usbclass *, unsigned int parts);

/*
 * class_word_bit: the bit that stands for a word in a promise, 0 if there is
 * no such word.
 */
uint64_t class_word_bit(const char *word);

/* class_bits: of all words that the class is meant by. */
uint64_t class_bits(const struct usbclass *);

/*
 * classes_promised: does each interface of the device have a class that the
 * bits promise?  1; or 0 with *breach the first one that has not, or NULL
 * for a device that shows no interfaces.
 */
int classes_promised(
    const struct usbdev *, uint64_t bits, const struct usbclass **breach);

#endif
