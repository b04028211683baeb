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
#include <unistd.h>

#include <cmocka.h>

#include "qmp.h"

/* Framing. */

static void
put(struct qmp_input *in, const char *text, size_t len)
{
	size_t n;
	char *p;

	while (len > 0) {
		assert_non_null(p = qmp_input_space(in, &n));
		if (n > len)
			n = len;
		memcpy(p, text, n);
		qmp_input_added(in, n);
		text += n;
		len -= n;
	}
}

static void
lines_split_at_any_byte(void **state)
{
	static const char text[] = "{\"a\": 1}\r\n{}\n\r\nlast";
	static const char *const lines[] = { "{\"a\": 1}", "{}", "" };
	static const uint64_t offsets[] = { 0, 10, 13 };
	struct qmp_input in;
	size_t step, i, n, len;
	uint64_t offset;
	char *line;

	(void)state;
	for (step = 1; step < sizeof(text); step++) {
		qmp_input_init(&in);
		for (i = n = 0; i < sizeof(text) - 1; i += step) {
			len = sizeof(text) - 1 - i;
			put(&in, text + i, len < step ? len : step);
			while ((line = qmp_input_line(&in, &len, &offset)) !=
			       NULL) {
				assert_true(n < 3);
				assert_string_equal(line, lines[n]);
				assert_int_equal(len, strlen(lines[n]));
				assert_int_equal(offset, offsets[n]);
				n++;
			}
		}
		assert_int_equal(n, 3);
		assert_int_equal(qmp_input_partial(&in), 1);
		assert_int_equal(qmp_input_offset(&in), sizeof(text) - 1);
		qmp_input_free(&in);
	}
}

static void
line_is_bounded(void **state)
{
	struct qmp_input in;
	uint64_t offset;
	size_t n, len, total = 0;
	char *p;

	(void)state;
	qmp_input_init(&in);
	while ((p = qmp_input_space(&in, &n)) != NULL) {
		memset(p, 'x', n);
		qmp_input_added(&in, n);
		total += n;
		assert_null(qmp_input_line(&in, &len, &offset));
		assert_true(total <= QMP_LINE_MAX);
	}
	assert_int_equal(total, QMP_LINE_MAX);
	qmp_input_free(&in);
	/* Many short ones are not bounded. */
	for (total = 0; total < 4 * QMP_LINE_MAX; total += 4) {
		put(&in, "ab\r\n", 4);
		assert_non_null(p = qmp_input_line(&in, &len, &offset));
		assert_int_equal(offset, total);
		assert_string_equal(p, "ab");
	}
	assert_int_equal(qmp_input_partial(&in), 0);
	qmp_input_free(&in);
}

/* Messages. */

static int
parse(struct qmp_message *m, const char *text)
{
	const char *errstr;
	size_t at;

	return qmp_parse(m, text, strlen(text), &at, &errstr);
}

static void
kinds_of_messages(void **state)
{
	struct qmp_message m;
	char version[16];

	(void)state;
	assert_int_equal(
	    parse(&m, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, "
		      "\"minor\": 2, \"major\": 7}, \"package\": \"Debian\"},"
		      " \"capabilities\": [\"oob\"]}}"),
	    0);
	assert_int_equal(m.type, QMP_GREETING);
	assert_int_equal(qmp_version(&m, version, sizeof(version)), 0);
	assert_string_equal(version, "7.2.22");
	qmp_message_free(&m);

	assert_int_equal(parse(&m, "{\"QMP\": {}}"), 0);
	assert_int_equal(qmp_version(&m, version, sizeof(version)), -1);
	qmp_message_free(&m);

	assert_int_equal(parse(&m, "{\"return\": {}, \"id\": 17}"), 0);
	assert_int_equal(m.type, QMP_RETURN);
	assert_int_equal(m.id, 17);
	qmp_message_free(&m);

	assert_int_equal(parse(&m, "{\"id\": 0, \"error\": {\"class\": "
				   "\"DeviceNotFound\", \"desc\": \"no\"}}"),
	    0);
	assert_int_equal(m.type, QMP_ERROR);
	assert_int_equal(m.id, 0);
	assert_string_equal(m.class, "DeviceNotFound");
	assert_string_equal(m.desc, "no");
	qmp_message_free(&m);

	assert_int_equal(
	    parse(&m, "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2},"
		      " \"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"u1\", \"path\": \"/machine\"}}"),
	    0);
	assert_int_equal(m.type, QMP_EVENT);
	assert_string_equal(m.name, "DEVICE_DELETED");
	assert_string_equal(qmp_string(m.value, "device"), "u1");
	assert_null(qmp_string(m.value, "none"));
	qmp_message_free(&m);

	/* No data, no id. */
	assert_int_equal(parse(&m, "{\"event\": \"STOP\"}"), 0);
	assert_null(m.value);
	assert_null(qmp_string(m.value, "device"));
	assert_int_equal(m.id, -1);
	qmp_message_free(&m);
}

static void
not_messages(void **state)
{
	static const char *const texts[] = { "", " ", "x", "[]", "{}", "1",
		"null", "\"return\"", "{\"return\": {}", "{\"return\": {}}}",
		"{\"return\": {}} {}", "{\"return\": {}, \"error\": {}}",
		"{\"return\": {}, \"QMP\": {}}", "{\"error\": {}}",
		"{\"error\": \"text\"}", "{\"error\": {\"class\": \"x\"}}",
		"{\"error\": {\"class\": 1, \"desc\": \"x\"}}",
		"{\"event\": 7}", "{\"event\": null}",
		"{\"return\": {}, \"id\": \"1\"}",
		"{\"return\": {}, \"id\": 1.5}", "{\"return\": {}, \"id\": -1}",
		"{\"return\": {}, \"id\": 99999999999999999999}",
		"{\"return\": {}, \"id\": null}",
		"{\"return\": {}, \"id\": inf}", "{\"return\": \"\xff\"}",
		"{\"return\": \"\x01\"}", "{'return': {}}",
		"\xef\xbb\xbf{\"return\": {}}" };
	struct qmp_message m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (parse(&m, texts[i]) == 0)
			fail_msg("\"%s\" was taken for a message", texts[i]);
}

static void
nested(void **state)
{
	static const char start[] = "{\"return\": ";
	char *text = malloc(QMP_LINE_MAX);
	struct qmp_message m;
	const char *errstr;
	size_t at, n;

	(void)state;
	assert_non_null(text);
	/* One for the object itself. */
	n = QMP_DEPTH_MAX - 1;
	memcpy(text, start, sizeof(start) - 1);
	memset(text + sizeof(start) - 1, '[', n);
	memset(text + sizeof(start) - 1 + n, ']', n);
	strcpy(text + sizeof(start) - 1 + 2 * n, "}");
	assert_int_equal(parse(&m, text), 0);
	qmp_message_free(&m);

	memset(text + sizeof(start) - 1, '[', QMP_LINE_MAX - sizeof(start));
	text[QMP_LINE_MAX - 1] = '\0';
	assert_int_equal(qmp_parse(&m, text, strlen(text), &at, &errstr), -1);
	assert_string_equal(errstr, "nested too deep");
	assert_int_equal(at, sizeof(start) - 1 + QMP_DEPTH_MAX - 1);
	free(text);
	/* Brackets in a string are none, however they are quoted. */
	assert_int_equal(
	    parse(&m, "{\"return\": \"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
		      "\\\"[[[[\\\\\"}"),
	    0);
	qmp_message_free(&m);
}

static void
nul_is_found(void **state)
{
	static const char text[] = "{\"return\": \"\0\"}";
	static const char quoted[] = "{\"return\": \"\\\0\"}";
	struct qmp_message m;
	const char *errstr;
	size_t at;

	(void)state;
	assert_int_equal(
	    qmp_parse(&m, text, sizeof(text) - 1, &at, &errstr), -1);
	assert_string_equal(errstr, "NUL byte");
	assert_int_equal(at, 12);
	assert_int_equal(
	    qmp_parse(&m, quoted, sizeof(quoted) - 1, &at, &errstr), -1);
	assert_string_equal(errstr, "NUL byte");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_split_at_any_byte),
		cmocka_unit_test(line_is_bounded),
		cmocka_unit_test(kinds_of_messages),
		cmocka_unit_test(not_messages),
		cmocka_unit_test(nested),
		cmocka_unit_test(nul_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
