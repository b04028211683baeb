/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"

static char buf[4096];
static struct json j;

static int
setup(void **state)
{
	(void)state;
	memset(buf, 'x', sizeof(buf));
	json_init(&j, buf, sizeof(buf));
	return 0;
}

static void
finishes_as(const char *expected)
{
	assert_int_equal(json_finish(&j), strlen(expected));
	assert_string_equal(buf, expected);
}

/* The n bytes at s as a string of JSON, without the quotes. */
static void
writes_as(const char *s, size_t n, const char *expected)
{
	char quoted[1024];

	json_init(&j, buf, sizeof(buf));
	json_strn(&j, NULL, s, n);
	snprintf(quoted, sizeof(quoted), "\"%s\"", expected);
	finishes_as(quoted);
}

static void
objects_arrays_and_commas(void **state)
{
	static const uint8_t digest[] = { 0x00, 0x9f, 0xf0, 0xff };

	(void)state;
	json_object(&j, NULL);
	json_str(&j, "a", "text");
	json_num(&j, "b", -1);
	json_object(&j, "c");
	json_end(&j, '}');
	json_array(&j, "d");
	json_num(&j, NULL, 1);
	json_array(&j, NULL);
	json_end(&j, ']');
	json_object(&j, NULL);
	json_bool(&j, "yes", 7);
	json_bool(&j, "no", 0);
	json_end(&j, '}');
	json_null(&j, NULL);
	json_end(&j, ']');
	json_null(&j, "e");
	json_hex(&j, "f", digest, sizeof(digest));
	json_hex(&j, "g", digest, 0);
	json_hex16(&j, "h", 0x46d);
	json_end(&j, '}');
	finishes_as("{\"a\":\"text\",\"b\":-1,\"c\":{},\"d\":[1,[],"
		    "{\"yes\":true,\"no\":false},null],\"e\":null,"
		    "\"f\":\"009ff0ff\",\"g\":\"\",\"h\":\"046d\"}");
}

static void
numbers(void **state)
{
	(void)state;
	json_array(&j, NULL);
	json_num(&j, NULL, 0);
	json_num(&j, NULL, INT64_MAX);
	json_num(&j, NULL, INT64_MIN);
	json_end(&j, ']');
	finishes_as("[0,9223372036854775807,-9223372036854775808]");
}

static void
ascii_is_escaped_where_json_asks(void **state)
{
	(void)state;
	writes_as("", 0, "");
	writes_as("plain /'<>&~ text", 17, "plain /'<>&~ text");
	writes_as("\"\\", 2, "\\\"\\\\");
	writes_as("\n\r\t\b\f", 5, "\\u000a\\u000d\\u0009\\u0008\\u000c");
	writes_as("a\0b", 3, "a\\u0000b");
	writes_as("\x1b[2J\x7f", 5, "\\u001b[2J\\u007f");
}

static void
names_are_escaped_too(void **state)
{
	(void)state;
	json_object(&j, NULL);
	json_num(&j, "a\"\n", 1);
	json_end(&j, '}');
	finishes_as("{\"a\\\"\\u000a\":1}");
}

static void
utf8_is_escaped(void **state)
{
	(void)state;
	writes_as("\xc3\xa9", 2, "\\u00e9");
	writes_as("\xe2\x82\xac", 3, "\\u20ac");
	writes_as("\xf0\x9f\x96\xb1", 4, "\\ud83d\\uddb1");
	/* The least and the greatest of each length. */
	writes_as("\xc2\x80\xdf\xbf", 4, "\\u0080\\u07ff");
	writes_as("\xe0\xa0\x80\xef\xbf\xbf", 6, "\\u0800\\uffff");
	writes_as("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8,
	    "\\ud800\\udc00\\udbff\\udfff");
	/* Around the surrogates. */
	writes_as("\xed\x9f\xbf\xee\x80\x80", 6, "\\ud7ff\\ue000");
}

/* C1 controls do to some terminals what ESC does. */
static void
c1_controls_are_escaped(void **state)
{
	char s[2] = { '\xc2', 0 }, expected[8];
	unsigned int c;

	(void)state;
	for (c = 0x80; c < 0xa0; c++) {
		s[1] = (char)c;
		snprintf(expected, sizeof(expected), "\\u00%02x", c);
		writes_as(s, 2, expected);
		writes_as(&s[1], 1, "\\ufffd");
	}
}

static void
invalid_utf8_is_replaced(void **state)
{
	static const struct {
		const char *s;
		const char *expected;
	} table[] = {
		/* a byte that begins nothing */
		{ "\x80", "?" },
		{ "\xbf"
		  "a",
		    "?a" },
		{ "\xfe\xff", "??" },
		/* more bytes than needed */
		{ "\xc0\x80", "??" },
		{ "\xc1\xbf", "??" },
		{ "\xe0\x80\x80", "???" },
		{ "\xe0\x9f\xbf", "???" },
		{ "\xf0\x80\x80\x80", "????" },
		{ "\xf0\x8f\xbf\xbf", "????" },
		/* surrogates */
		{ "\xed\xa0\x80", "???" },
		{ "\xed\xbf\xbf", "???" },
		/* beyond U+10FFFF */
		{ "\xf4\x90\x80\x80", "????" },
		{ "\xf5\x80\x80\x80", "????" },
		{ "\xf8\x88\x80\x80\x80", "?????" },
		/* cut off, at the end and by something else */
		{ "\xc3", "?" },
		{ "\xe2\x82", "??" },
		{ "\xf0\x9f\x96", "???" },
		{ "\xc3"
		  "a",
		    "?a" },
		{ "\xe2\x82"
		  "a",
		    "??a" },
		{ "\xc3\"", "?\\\"" },
		{ "\xe2\xc3\xa9", "?\\u00e9" },
	};
	char expected[64];
	const char *s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		expected[0] = '\0';
		for (s = table[i].expected; *s != '\0'; s++)
			if (*s == '?')
				strlcat(expected, "\\ufffd", sizeof(expected));
			else
				strlcat(expected, (char[]){ *s, '\0' },
				    sizeof(expected));
		writes_as(table[i].s, strlen(table[i].s), expected);
	}
}

/* What is cut off is not completed with what lies behind the string. */
static void
nothing_behind_the_string_is_read(void **state)
{
	char *s = malloc(3);

	(void)state;
	assert_non_null(s);
	memcpy(s, "\xf0\x9f\x96", 3);
	writes_as(s, 3, "\\ufffd\\ufffd\\ufffd");
	writes_as(s, 0, "");
	free(s);
	writes_as("\xc3\xa9", 1, "\\ufffd");
}

static void
all_that_comes_out_is_printable(void **state)
{
	unsigned char s[512];
	unsigned int i;
	size_t n;

	(void)state;
	srandom(4711);
	for (i = 0; i < 200; i++) {
		for (n = 0; n < sizeof(s); n++)
			s[n] = (unsigned char)random();
		json_init(&j, buf, sizeof(buf));
		json_strn(&j, NULL, (const char *)s, sizeof(s));
		assert_true((n = json_finish(&j)) > 0);
		while (n-- > 0)
			assert_true(buf[n] >= 0x20 && buf[n] < 0x7f);
	}
}

/* Whatever the size, it is the whole text or none, and nothing beyond. */
static void
what_does_not_fit_is_found(void **state)
{
	static const char whole[] = "{\"a\":\"\\u00e9\",\"b\":[1,null]}";
	char small[64];
	size_t size, n;

	(void)state;
	for (size = 0; size < sizeof(small) - 1; size++) {
		memset(small, 'x', sizeof(small));
		json_init(&j, small, size);
		json_object(&j, NULL);
		json_str(&j, "a", "\xc3\xa9");
		json_array(&j, "b");
		json_num(&j, NULL, 1);
		json_null(&j, NULL);
		json_end(&j, ']');
		json_end(&j, '}');
		n = json_finish(&j);
		if (size < sizeof(whole))
			assert_int_equal(n, 0);
		else
			assert_string_equal(small, whole);
		for (n = size; n < sizeof(small); n++)
			assert_int_equal(small[n], 'x');
	}
}

/* Once something did not fit, nothing shorter slips in behind it. */
static void
overflow_is_final(void **state)
{
	char small[16];

	(void)state;
	json_init(&j, small, sizeof(small));
	json_array(&j, NULL);
	json_str(&j, NULL, "much too long for it");
	json_num(&j, NULL, 1);
	json_end(&j, ']');
	assert_int_equal(json_finish(&j), 0);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(objects_arrays_and_commas),
		TEST(numbers),
		TEST(ascii_is_escaped_where_json_asks),
		TEST(names_are_escaped_too),
		TEST(utf8_is_escaped),
		TEST(c1_controls_are_escaped),
		TEST(invalid_utf8_is_replaced),
		TEST(nothing_behind_the_string_is_read),
		TEST(all_that_comes_out_is_printable),
		TEST(what_does_not_fit_is_found),
		TEST(overflow_is_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
