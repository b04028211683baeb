/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "confint.h"

/* Each lets the rule compare with word: NULL, or what was expected. */

static const char *
match_port(char *word, struct conf_rule *r)
{
	const char *errstr;
	int rc;

	/* Without a bus it is a port of any bus of a controller. */
	if (strchr(word, ':') != NULL) {
		rc = usbport_parse(&r->msg.port, word, &errstr);
	} else {
		if (strchr(word, '-') != NULL)
			return "bus and port have a colon between them, as in "
			       "3:9";
		memset(&r->msg.port, 0, sizeof(r->msg.port));
		rc = usbport_parse_chain(&r->msg.port, word, &errstr);
	}
	if (rc == -1)
		return errstr;
	r->msg.has |= RULE_HAS_PORT;
	return NULL;
}

static const char *
match_below(char *word, struct conf_rule *r)
{
	const char *errstr;

	if (usbport_parse(&r->msg.below, word, &errstr) == -1)
		return errstr;
	if (r->msg.below.depth == USB_CHAIN_MAX)
		return "nothing can be below a port that deep";
	r->msg.has |= RULE_HAS_BELOW;
	return NULL;
}

/* One to four hexadecimal digits or "*"; returns what is behind, or NULL. */
static const char *
parse_id(const char *s, uint16_t *id, uint32_t *has, uint32_t bit)
{
	size_t n;

	if (*s == '*')
		return s + 1;
	n = strspn(s, "0123456789abcdefABCDEF");
	if (n == 0 || n > 4)
		return NULL;
	*id = (uint16_t)strtoul(s, NULL, 16);
	*has |= bit;
	return s + n;
}

static const char *
match_product(char *word, struct conf_rule *r)
{
	static const char expected[] = "expected vendor and product, as in "
				       "045e:0823 or 045e:*";
	struct msg_rule *m = &r->msg;
	const char *s;

	s = parse_id(word, &m->vendor, &m->has, RULE_HAS_VENDOR);
	if (s == NULL || *s++ != ':')
		return expected;
	s = parse_id(s, &m->product, &m->has, RULE_HAS_PRODUCT);
	if (s == NULL || *s != '\0')
		return expected;
	r->has_product = 1;
	return NULL;
}

static const char *
set_text(struct conf_rule *r, enum rule_text which, uint32_t bit, char *word)
{
	if (strlen(word) >= USBDEV_STRING_MAX)
		return "expected a shorter string, as no device has one of "
		       "that length";
	r->text[which] = word;
	r->msg.has |= bit;
	return NULL;
}

static const char *
match_serial(char *word, struct conf_rule *r)
{
	return set_text(r, TEXT_SERIAL, RULE_HAS_SERIAL, word);
}

static const char *
match_device_name(char *word, struct conf_rule *r)
{
	return set_text(r, TEXT_NAME, RULE_HAS_NAME, word);
}

static const char *
match_manufacturer(char *word, struct conf_rule *r)
{
	return set_text(r, TEXT_MANUFACTURER, RULE_HAS_MANUFACTURER, word);
}

static int
parse_class_numbers(const char *s, struct msg_rule *m)
{
	uint8_t *parts[3] = { &m->class.class, &m->class.subclass,
		&m->class.protocol };

	for (m->class_parts = 0; m->class_parts < 3;) {
		if (!isxdigit((unsigned char)s[0]) ||
		    !isxdigit((unsigned char)s[1]))
			return -1;
		*parts[m->class_parts++] =
		    (uint8_t)strtoul((char[]){ s[0], s[1], '\0' }, NULL, 16);
		s += 2;
		if (*s == '\0')
			return 0;
		if (*s++ != ':')
			return -1;
	}
	return -1;
}

/* Numbers: words have become some by now. */
static const char *
match_class(char *word, struct conf_rule *r)
{
	r->msg.has |= RULE_HAS_CLASS;
	if (parse_class_numbers(word, &r->msg) == 0)
		return NULL;
	return "expected a class word such as storage, or numbers, as in 03 "
	       "or 03:01:02";
}

static const char *
match_controller(char *word, struct conf_rule *r)
{
	static const char expected[] = "expected a PCI address, as in "
				       "0000:00:14.0";
	static const char form[] = "xxxx:xx:xx.x";
	size_t i;

	if (strlen(word) != sizeof(form) - 1)
		return expected;
	for (i = 0; form[i] != '\0'; i++) {
		if (form[i] != 'x' ? word[i] != form[i]
				   : !isxdigit((unsigned char)word[i]))
			return expected;
		/* As sysfs writes them. */
		r->msg.controller[i] = (char)tolower((unsigned char)word[i]);
	}
	r->msg.controller[i] = '\0';
	r->msg.has |= RULE_HAS_CONTROLLER;
	return NULL;
}

static const char *
match_speed(char *word, struct conf_rule *r)
{
	enum usbspeed speed = usbspeed_parse(word);

	if (speed == USB_SPEED_UNKNOWN)
		return "expected 1.5, 12, 480 or 5000";
	r->msg.speed = (uint8_t)speed;
	r->msg.has |= RULE_HAS_SPEED;
	return NULL;
}

static const struct {
	const char *name;
	const char *(*apply)(char *, struct conf_rule *);
} matches[MATCH_MAX] = {
	[MATCH_CONTROLLER] = { "controller", match_controller },
	[MATCH_PORT] = { "port", match_port },
	[MATCH_BELOW] = { "below", match_below },
	[MATCH_PRODUCT] = { "product", match_product },
	[MATCH_SERIAL] = { "serial", match_serial },
	[MATCH_NAME] = { "name", match_device_name },
	[MATCH_MANUFACTURER] = { "manufacturer", match_manufacturer },
	[MATCH_CLASS] = { "class", match_class },
	[MATCH_SPEED] = { "speed", match_speed },
};

const char *
match_apply(enum match_kind kind, char *word, struct conf_rule *r)
{
	return matches[kind].apply(word, r);
}

const char *
match_name(enum match_kind kind)
{
	return matches[kind].name;
}
