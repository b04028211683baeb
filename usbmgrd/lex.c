/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/openat2.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define LIBBSD_OPENBSD_VIS
#include <vis.h>
#include "lex.h"
#include "log.h"
#include "xalloc.h"

#define INCLUDE_DEPTH_MAX 16
#define MACRO_DEPTH_MAX 16
/* Macros that use others several times would make a short file endless. */
#ifndef EXPANSIONS_MAX
#define EXPANSIONS_MAX 1000000
#endif

/* A file or, in a file, a macro that is being read. */
struct source {
	struct source *below; /* what is read when this one ends */
	FILE *stream; /* NULL for a macro */
	const struct macro *macro;
	const char *text; /* rest of the macro */
	struct lex_place place;
	dev_t dev;
	ino_t ino;
	int at_newline; /* the line ended with the token that was returned */
	int ended;
};

struct macro {
	TAILQ_ENTRY(macro) entry;
	char *name;
	char *value;
};

struct path {
	TAILQ_ENTRY(path) entry;
	char name[PATH_MAX];
};

struct note {
	struct lex_place place;
	int warning;
	int order;
	char *text;
};

static struct {
	enum conf_owner owner;
	const struct lex_keyword *keywords;
	size_t nkeywords;
	struct source *source;
	struct lex_place last;
	int depth;
	int macro_depth;
	int expansions;
	int files;
	int at_end_of_line;
	char word[LEX_WORD_MAX];
	TAILQ_HEAD(, macro) macros;
	TAILQ_HEAD(, path) paths;
	struct note *notes;
	int nnotes;
	int maxnotes;
} lex;

static void (*tell)(const char *); /* NULL: print */

static void say(const char *, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *fmt, ...)
{
	char line[PATH_MAX + 4 * LEX_WORD_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (tell != NULL)
		tell(line);
	else
		fprintf(stderr, "%s\n", line);
}

void
lex_tell(void (*fn)(const char *))
{
	tell = fn;
}

/* Errors */

static void note(struct lex_place, int, const char *, va_list)
    __attribute__((format(printf, 3, 0)));

static void
note(struct lex_place place, int warning, const char *fmt, va_list ap)
{
	char text[LEX_WORD_MAX + 512], visible[4 * LEX_WORD_MAX];
	struct note *n;
	int i;

	/* One error a line: what follows the first is mostly its echo. */
	for (i = lex.nnotes - 1; i >= 0 && !warning; i--)
		if (!lex.notes[i].warning &&
		    lex.notes[i].place.file == place.file &&
		    lex.notes[i].place.line == place.line)
			return;
	if (lex.nnotes == lex.maxnotes) {
		lex.maxnotes = lex.maxnotes * 2 + 16;
		lex.notes = reallocarray(
		    lex.notes, (size_t)lex.maxnotes, sizeof(*lex.notes));
		if (lex.notes == NULL)
			fatal("reallocarray");
	}
	vsnprintf(text, sizeof(text), fmt, ap);
	strnvis(visible, text, sizeof(visible), VIS_NOSLASH | VIS_NL);
	n = &lex.notes[lex.nnotes];
	n->place = place;
	n->warning = warning;
	n->order = lex.nnotes++;
	n->text = xstrdup(visible);
}

void
lex_error(struct lex_place place, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(place, 0, fmt, ap);
	va_end(ap);
}

void
lex_warn(struct lex_place place, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note(place, 1, fmt, ap);
	va_end(ap);
}

int
lex_has_errors(void)
{
	int i;

	for (i = 0; i < lex.nnotes; i++)
		if (!lex.notes[i].warning)
			return 1;
	return 0;
}

static int
note_cmp(const void *va, const void *vb)
{
	const struct note *a = va, *b = vb;

	if (a->place.file != b->place.file)
		return a->place.file - b->place.file;
	if (a->place.line != b->place.line)
		return a->place.line - b->place.line;
	return a->order - b->order;
}

static int
print_notes(void)
{
	const struct note *n;
	int i, errors = 0;

	if (lex.nnotes > 0)
		qsort(lex.notes, (size_t)lex.nnotes, sizeof(*lex.notes),
		    note_cmp);
	for (i = 0; i < lex.nnotes; i++) {
		n = &lex.notes[i];
		say("%s:%d: %s%s", n->place.path, n->place.line,
		    n->warning ? "warning: " : "", n->text);
		errors += !n->warning;
		free(n->text);
	}
	free(lex.notes);
	lex.notes = NULL;
	lex.nnotes = lex.maxnotes = 0;
	return errors;
}

/* Files */

static const char *
wrong_file(int fd, const char *path, struct stat *st, char *buf, size_t size)
{
	if (fstat(fd, st) == -1)
		return strerror(errno);
	if (!S_ISREG(st->st_mode))
		return "not a regular file";
	if (lex.owner == CONF_ANYBODY)
		return NULL;
	if (st->st_uid != 0) {
		snprintf(buf, size, "must be owned by root, is owned by uid %u",
		    st->st_uid);
		return buf;
	}
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return NULL;
	snprintf(
	    buf, size, "must be writable by root only (chmod go-w %s)", path);
	return buf;
}

static int
is_being_read(const struct stat *st)
{
	const struct source *s;

	for (s = lex.source; s != NULL; s = s->below)
		if (s->stream != NULL && s->dev == st->st_dev &&
		    s->ino == st->st_ino)
			return 1;
	return 0;
}

static void
push_file(FILE *stream, const char *path, const struct stat *st)
{
	struct source *s = xcalloc(1, sizeof(*s));
	struct path *p = xcalloc(1, sizeof(*p));
	const char *slash;

	strlcpy(p->name, path, sizeof(p->name));
	TAILQ_INSERT_TAIL(&lex.paths, p, entry);
	slash = strrchr(p->name, '/');
	s->stream = stream;
	s->place.path = p->name;
	s->place.base = slash == NULL ? p->name : slash + 1;
	s->place.file = lex.files++;
	s->place.line = 1;
	s->dev = st->st_dev;
	s->ino = st->st_ino;
	s->below = lex.source;
	lex.source = s;
	lex.depth++;
}

/* By the call that usbmgrd may make when it reads its policy again. */
static int
open_path(const char *path)
{
	struct open_how how;

	memset(&how, 0, sizeof(how));
	how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

/* NULL, or why the file cannot be read. */
static const char *
open_file(const char *path, char *buf, size_t size)
{
	const char *wrong;
	struct stat st;
	FILE *stream;
	int fd;

	fd = open_path(path);
	if (fd == -1)
		return strerror(errno);
	if ((wrong = wrong_file(fd, path, &st, buf, size)) == NULL) {
		if (is_being_read(&st))
			wrong = "the file includes itself";
		else if (lex.depth == INCLUDE_DEPTH_MAX)
			wrong = "too many files inside one another";
		else if ((stream = fdopen(fd, "r")) == NULL)
			wrong = strerror(errno);
		else
			push_file(stream, path, &st);
	}
	if (wrong != NULL)
		close(fd);
	return wrong;
}

int
lex_start(const char *path, enum conf_owner owner,
    const struct lex_keyword *keywords, size_t n)
{
	const char *wrong;
	char buf[PATH_MAX + 64];

	memset(&lex, 0, sizeof(lex));
	TAILQ_INIT(&lex.macros);
	TAILQ_INIT(&lex.paths);
	lex.owner = owner;
	lex.keywords = keywords;
	lex.nkeywords = n;
	if ((wrong = open_file(path, buf, sizeof(buf))) == NULL)
		return 0;
	say("%s: %s", path, wrong);
	return -1;
}

void
lex_include(const char *name)
{
	const char *base = lex.last.base, *path = lex.last.path, *wrong;
	char full[PATH_MAX], buf[PATH_MAX + 64];
	struct lex_place place = lex.last;
	int n;

	if (name[0] == '/')
		n = snprintf(full, sizeof(full), "%s", name);
	else
		n = snprintf(full, sizeof(full), "%.*s%s", (int)(base - path),
		    path, name);
	if (n < 0 || (size_t)n >= sizeof(full))
		wrong = "path is too long";
	else
		wrong = open_file(full, buf, sizeof(buf));
	if (wrong != NULL)
		lex_error(place, "include \"%s\": %s", name, wrong);
}

/* Leaves what has ended. */
static void
pop(void)
{
	struct source *s = lex.source;

	lex.source = s->below;
	if (s->stream == NULL)
		lex.macro_depth--;
	else {
		if (ferror(s->stream))
			lex_error(s->place, "cannot be read");
		fclose(s->stream);
		lex.depth--;
	}
	free(s);
}

int
lex_finish(void)
{
	struct macro *m;
	struct path *p;
	int errors;

	errors = print_notes();
	while (lex.source != NULL)
		pop();
	while ((m = TAILQ_FIRST(&lex.macros)) != NULL) {
		TAILQ_REMOVE(&lex.macros, m, entry);
		free(m->name);
		free(m->value);
		free(m);
	}
	while ((p = TAILQ_FIRST(&lex.paths)) != NULL) {
		TAILQ_REMOVE(&lex.paths, p, entry);
		free(p);
	}
	return errors;
}

/* Macros */

static struct macro *
macro_find(const char *name)
{
	struct macro *m;

	TAILQ_FOREACH(m, &lex.macros, entry)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

static int
is_macro_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz"
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	return n > 0 && s[n] == '\0';
}

void
lex_define(const char *name, const char *value)
{
	struct macro *m;

	if (!is_macro_name(name)) {
		lex_error(lex.last,
		    "macro name \"%s\": expected letters, digits and _", name);
		return;
	}
	if (macro_find(name) != NULL) {
		lex_error(lex.last, "macro \"%s\" is there already", name);
		return;
	}
	m = xcalloc(1, sizeof(*m));
	m->name = xstrdup(name);
	m->value = xstrdup(value);
	TAILQ_INSERT_TAIL(&lex.macros, m, entry);
}

static int
is_being_expanded(const struct macro *m)
{
	const struct source *s;

	for (s = lex.source; s != NULL && s->stream == NULL; s = s->below)
		if (s->macro == m)
			return 1;
	return 0;
}

static int
may_expand(const char *name, const struct macro *m)
{
	if (m == NULL)
		lex_error(lex.last,
		    "unknown macro \"$%s\": no line before says "
		    "%s = \"...\"",
		    name, name);
	else if (is_being_expanded(m))
		lex_error(lex.last, "macro \"$%s\" contains itself", name);
	else if (lex.macro_depth == MACRO_DEPTH_MAX)
		lex_error(lex.last,
		    "macro \"$%s\": too many inside one another", name);
	else if (lex.expansions == EXPANSIONS_MAX)
		lex_error(lex.last, "macros are used more than %d times",
		    EXPANSIONS_MAX);
	else
		return 1;
	return 0;
}

static void
expand(const char *name)
{
	const struct macro *m = macro_find(name);
	struct source *s;

	if (!may_expand(name, m))
		return;
	s = xcalloc(1, sizeof(*s));
	s->macro = m;
	s->text = m->value;
	s->place = lex.source->place;
	s->below = lex.source;
	lex.source = s;
	lex.macro_depth++;
	lex.expansions++;
}

/* Characters */

static int
get(void)
{
	struct source *s = lex.source;

	if (s->stream != NULL)
		return getc(s->stream);
	return *s->text == '\0' ? EOF : (unsigned char)*s->text++;
}

static void
unget(int c)
{
	struct source *s = lex.source;

	if (c == EOF)
		return;
	if (s->stream != NULL)
		ungetc(c, s->stream);
	else
		s->text--;
}

/* Lines that end in a backslash go on. */
static int
get_joined(void)
{
	int c, next;

	while ((c = get()) == '\\') {
		while ((next = get()) == '\r')
			;
		if (next != '\n') {
			unget(next);
			return c;
		}
		lex.source->place.line++;
	}
	return c;
}

static int
is_control(int c)
{
	return c < ' ' || c == 0x7f;
}

static int
is_word(int c)
{
	return !is_control(c) && c != ' ' && strchr("\"#{}=,\\", c) == NULL;
}

static void
add(size_t *len, int c)
{
	if (is_control(c))
		lex_error(lex.last, "control character 0x%02x in string", c);
	else if (*len + 1 == sizeof(lex.word))
		lex_error(lex.last, "string longer than %zu bytes",
		    sizeof(lex.word) - 1);
	else
		lex.word[(*len)++] = (char)c;
}

static void
read_quoted(void)
{
	size_t len = 0;
	int c;

	while ((c = get()) != '"') {
		if (c == EOF || c == '\n') {
			unget(c);
			lex_error(lex.last, "string without closing quote");
			break;
		}
		add(&len, c);
	}
	lex.word[len] = '\0';
}

static void
read_word(int c)
{
	size_t len = 0;

	do
		add(&len, c);
	while (is_word(c = get_joined()));
	unget(c);
	lex.word[len] = '\0';
}

/* Tokens */

static int
keyword_cmp(const void *word, const void *k)
{
	return strcmp(word, ((const struct lex_keyword *)k)->word);
}

static int
word_token(int string, char **value)
{
	const struct lex_keyword *k;

	k = bsearch(lex.word, lex.keywords, lex.nkeywords,
	    sizeof(lex.keywords[0]), keyword_cmp);
	if (k != NULL)
		return k->token;
	*value = xstrdup(lex.word);
	return string;
}

static void
skip_comment(void)
{
	int c;

	while ((c = get()) != '\n' && c != EOF)
		;
	unget(c);
}

/* The next character that matters: blanks, comments, ended macros do not. */
static int
next_char(void)
{
	struct source *s = lex.source;
	int c;

	if (s->at_newline) {
		s->at_newline = 0;
		s->place.line++;
	}
	for (;;) {
		c = get_joined();
		if (c == '#')
			skip_comment();
		else if (c == EOF && lex.source->stream == NULL)
			pop();
		else if (c != ' ' && c != '\t' && c != '\r' && c != '#')
			return c;
	}
}

/* The end of a file ends its last line, too. */
static int
end_of_line(int c)
{
	struct source *s = lex.source;

	if (c == EOF && s->ended) {
		if (s->below == NULL)
			return 0;
		pop();
		return -1;
	}
	if (c == EOF)
		s->ended = 1;
	s->at_newline = 1;
	lex.at_end_of_line = 1;
	return '\n';
}

int
lex_token(int string, char **value)
{
	int c, token;

	lex.at_end_of_line = 0;
	for (;;) {
		c = next_char();
		lex.last = lex.source->place;
		if (c == '\n' || c == EOF) {
			if ((token = end_of_line(c)) != -1)
				return token;
		} else if (c == '"') {
			read_quoted();
			*value = xstrdup(lex.word);
			return string;
		} else if (is_word(c)) {
			read_word(c);
			if (lex.word[0] != '$')
				return word_token(string, value);
			expand(lex.word + 1);
		} else
			break;
	}
	if (is_control(c)) {
		lex_error(lex.last, "control character 0x%02x", c);
		return 0x7f;
	}
	snprintf(lex.word, sizeof(lex.word), "%c", c);
	return c;
}

struct lex_place
lex_here(void)
{
	return lex.last;
}

const char *
lex_word(void)
{
	return lex.word;
}

int
lex_at_end_of_line(void)
{
	return lex.at_end_of_line;
}
