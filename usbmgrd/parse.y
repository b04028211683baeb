/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

%{
#include <sys/stat.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define LIBBSD_OPENBSD_VIS
#include <vis.h>
#include "conf.h"
#include "log.h"

#define WORD_MAX_LEN 1024

/* A machine named by a rule that may stand before the machine's own line. */
struct vm_ref {
	TAILQ_ENTRY(vm_ref) entry;
	struct conf_rule *rule;
	char *name;
	int line;
};

static struct {
	const char *path;
	const char *base; /* without directories, for rules' names */
	FILE *stream;
	int line;
	int errors;
	int line_has_error;      /* the line being read */
	char word[WORD_MAX_LEN]; /* last token, for messages */
	int at_newline;          /* the token was the end of the line */
	int ended;               /* so was the end of the file */
	int has_events;
	struct conf *conf;
	struct conf_vm *vm;     /* last one, being read */
	struct conf_rule *rule; /* last one, being read */
	TAILQ_HEAD(, vm_ref) refs;
} file;

static int yylex(void);
int yyparse(void);
static void yyerror(const char *);
static void error_at(int, const char *, ...)
    __attribute__((format(printf, 2, 3)));
static void rule_begin(enum rule_action);
static void rule_port(char *);
static void rule_product(char *);
static void rule_vm(char *);
static void vm_begin(char *);
static void vm_end(void);
static void vm_set(char *, size_t, char *, const char *);
static void set_path(char *, size_t, char *, const char *);
static void set_events(enum events_source);

typedef struct {
	char *string;
} YYSTYPE;
#define YYSTYPE_IS_DECLARED 1
%}

%token ALL AUTO BLOCK BUS CONTROL DIRECTORY EVENTS GROUP KERNEL LOG PASS PORT
%token PRODUCT QMP SOCKET TO UDEV VM
%token <string> STRING
%destructor { free($$); } <string>

%%

grammar	: /* empty */
	| grammar '\n'
	| grammar statement '\n'
	| grammar vm vm_options '\n' { vm_end(); }
	| grammar error '\n' { yyerrok; }
	;

statement: LOG DIRECTORY STRING {
		set_path(file.conf->log_directory,
		    sizeof(file.conf->log_directory), $3, "log directory");
	}
	| control control_group
	| EVENTS AUTO { set_events(EVENTS_AUTO); }
	| EVENTS UDEV { set_events(EVENTS_UDEV); }
	| EVENTS KERNEL { set_events(EVENTS_KERNEL); }
	| BLOCK { rule_begin(RULE_BLOCK); } matches
	| PASS { rule_begin(RULE_PASS); } matches TO STRING { rule_vm($5); }
	;

control	: CONTROL SOCKET STRING {
		set_path(file.conf->control, sizeof(file.conf->control), $3,
		    "control socket");
	}
	;

control_group: /* empty */
	| GROUP STRING {
		vm_set(file.conf->control_group,
		    sizeof(file.conf->control_group), $2, "group");
	}
	;

vm	: VM STRING { vm_begin($2); }
	;

vm_options: /* empty */
	| vm_options vm_option
	;

vm_option: QMP STRING {
		set_path(file.vm->qmp, sizeof(file.vm->qmp), $2, "qmp");
	}
	| BUS STRING {
		vm_set(file.vm->msg.bus, sizeof(file.vm->msg.bus), $2, "bus");
	}
	;

matches	: ALL
	| match
	| matches match
	;

match	: PORT STRING { rule_port($2); }
	| PRODUCT STRING { rule_product($2); }
	;

%%

static const struct keyword {
	const char *word;
	int token;
} keywords[] = {
	/* sorted, for bsearch */
	{ "all", ALL },
	{ "auto", AUTO },
	{ "block", BLOCK },
	{ "bus", BUS },
	{ "control", CONTROL },
	{ "directory", DIRECTORY },
	{ "events", EVENTS },
	{ "group", GROUP },
	{ "kernel", KERNEL },
	{ "log", LOG },
	{ "pass", PASS },
	{ "port", PORT },
	{ "product", PRODUCT },
	{ "qmp", QMP },
	{ "socket", SOCKET },
	{ "to", TO },
	{ "udev", UDEV },
	{ "vm", VM },
};

static void
error_at(int line, const char *fmt, ...)
{
	char text[WORD_MAX_LEN + 256], visible[4 * WORD_MAX_LEN];
	va_list ap;

	/* One message a line: what follows the first is mostly its echo. */
	if (file.line_has_error && line == file.line)
		return;
	file.line_has_error = 1;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strnvis(visible, text, sizeof(visible), VIS_SAFE | VIS_NOSLASH);
	fprintf(stderr, "%s:%d: %s\n", file.path, line, visible);
	file.errors++;
}

static void
yyerror(const char *msg)
{
	(void)msg;
	if (file.at_newline)
		error_at(file.line, "line ends too early");
	else
		error_at(file.line, "syntax error at \"%s\"", file.word);
}

static int
keyword_cmp(const void *word, const void *k)
{
	return strcmp(word, ((const struct keyword *)k)->word);
}

static void *
xcalloc(size_t size)
{
	void *p = calloc(1, size);

	if (p == NULL)
		fatal("calloc");
	return p;
}

static int
lex_char(void)
{
	int c, next;

	while ((c = getc(file.stream)) == '\\') {
		while ((next = getc(file.stream)) == '\r')
			;
		if (next != '\n') {
			ungetc(next, file.stream);
			return c;
		}
		file.line++;
	}
	return c;
}

static int
is_control(int c)
{
	return c < ' ' || c == 0x7f;
}

static void
lex_add(size_t *len, int c)
{
	if (is_control(c))
		error_at(file.line, "control character 0x%02x in string", c);
	else if (*len + 1 == sizeof(file.word))
		error_at(file.line, "string longer than %zu bytes",
		    sizeof(file.word) - 1);
	else
		file.word[(*len)++] = (char)c;
}

static int
lex_end(size_t len)
{
	file.word[len] = '\0';
	if ((yylval.string = strdup(file.word)) == NULL)
		fatal("strdup");
	return STRING;
}

static int
lex_string(void)
{
	size_t len = 0;
	int c;

	while ((c = getc(file.stream)) != '"') {
		if (c == EOF || c == '\n') {
			ungetc(c, file.stream);
			error_at(file.line, "string without closing quote");
			break;
		}
		lex_add(&len, c);
	}
	return lex_end(len);
}

static int
is_word(int c)
{
	return !is_control(c) && c != ' ' &&
	    strchr("\"#{}=,\\", c) == NULL;
}

static int
lex_word(int c)
{
	const struct keyword *k;
	size_t len = 0;

	do
		lex_add(&len, c);
	while (is_word(c = lex_char()));
	ungetc(c, file.stream);
	file.word[len] = '\0';
	k = bsearch(file.word, keywords, sizeof(keywords) / sizeof(keywords[0]),
	    sizeof(keywords[0]), keyword_cmp);
	return k != NULL ? k->token : lex_end(len);
}

static int
lex_other(int c)
{
	if (is_control(c)) {
		error_at(file.line, "control character 0x%02x", c);
		return 0x7f;
	}
	snprintf(file.word, sizeof(file.word), "%c", c);
	return c;
}

static int
yylex(void)
{
	int c;

	if (file.at_newline) {
		file.at_newline = 0;
		file.line_has_error = 0;
		file.line++;
	}
	while ((c = lex_char()) == ' ' || c == '\t' || c == '\r')
		;
	if (c == '#')
		while ((c = getc(file.stream)) != '\n' && c != EOF)
			;
	if (c == EOF) {
		/* A last line without newline is a line, too. */
		if (file.ended)
			return 0;
		file.ended = 1;
		c = '\n';
	}
	if (c == '\n') {
		file.at_newline = 1;
		return c;
	}
	if (c == '"')
		return lex_string();
	if (is_word(c))
		return lex_word(c);
	return lex_other(c);
}

static void
rule_begin(enum rule_action action)
{
	struct conf_rule *rule = xcalloc(sizeof(*rule));

	rule->msg.action = action;
	snprintf(rule->msg.where, sizeof(rule->msg.where), "%.40s:%d",
	    file.base, file.line);
	TAILQ_INSERT_TAIL(&file.conf->rules, rule, entry);
	file.conf->nrules++;
	file.rule = rule;
}

static void
rule_port(char *word)
{
	struct msg_rule *msg = &file.rule->msg;
	const char *errstr;

	if (msg->has & RULE_HAS_PORT)
		error_at(file.line, "second port \"%s\" in one rule", word);
	else if (usbport_parse(&msg->port, word, &errstr) == -1)
		error_at(file.line, "port \"%s\": %s", word, errstr);
	else
		msg->has |= RULE_HAS_PORT;
	free(word);
}

/* One to four hexadecimal digits; returns what is behind them or NULL. */
static const char *
hex16(const char *s, uint16_t *value)
{
	unsigned int n = 0, digits;

	for (digits = 0; isxdigit((unsigned char)*s) && digits < 4; digits++) {
		n = n * 16 +
		    (unsigned int)(isdigit((unsigned char)*s) ?
				    *s - '0' :
				    tolower((unsigned char)*s) - 'a' + 10);
		s++;
	}
	*value = (uint16_t)n;
	return digits == 0 ? NULL : s;
}

static void
rule_product(char *word)
{
	struct msg_rule *msg = &file.rule->msg;
	const char *s;

	if (msg->has & RULE_HAS_PRODUCT) {
		error_at(file.line, "second product \"%s\" in one rule", word);
	} else if ((s = hex16(word, &msg->vendor)) == NULL || *s != ':' ||
	    (s = hex16(s + 1, &msg->product)) == NULL || *s != '\0') {
		error_at(file.line,
		    "product \"%s\": expected vendor and product, as in "
		    "045e:0823",
		    word);
	} else
		msg->has |= RULE_HAS_VENDOR | RULE_HAS_PRODUCT;
	free(word);
}

static void
rule_vm(char *name)
{
	struct vm_ref *ref = xcalloc(sizeof(*ref));

	ref->rule = file.rule;
	ref->name = name;
	ref->line = file.line;
	TAILQ_INSERT_TAIL(&file.refs, ref, entry);
}

static struct conf_vm *
vm_find(const char *name)
{
	struct conf_vm *vm;

	TAILQ_FOREACH(vm, &file.conf->vms, entry)
		if (strcmp(vm->msg.name, name) == 0)
			return vm;
	return NULL;
}

/* A machine whose line has an error is known all the same: one message. */
static void
vm_begin(char *name)
{
	struct conf_vm *vm = xcalloc(sizeof(*vm));

	if (name[0] == '\0' || strlen(name) >= MSG_VM_NAME_MAX)
		error_at(file.line, "vm name \"%s\": expected 1 to %d bytes",
		    name, MSG_VM_NAME_MAX - 1);
	else if (vm_find(name) != NULL)
		error_at(file.line, "vm \"%s\" is there already", name);
	strlcpy(vm->msg.name, name, sizeof(vm->msg.name));
	vm->msg.vm = ++file.conf->nvms;
	TAILQ_INSERT_TAIL(&file.conf->vms, vm, entry);
	file.vm = vm;
	free(name);
}

static void
vm_end(void)
{
	if (file.vm->qmp[0] == '\0')
		error_at(file.line,
		    "vm \"%s\" without qmp: expected qmp \"/path/of/socket\"",
		    file.vm->msg.name);
}

static void
vm_set(char *to, size_t size, char *value, const char *what)
{
	if (to[0] != '\0')
		error_at(file.line, "second %s \"%s\"", what, value);
	else if (value[0] == '\0')
		error_at(file.line, "%s is empty", what);
	else if (strlcpy(to, value, size) >= size)
		error_at(file.line, "%s \"%s\" is longer than %zu bytes", what,
		    value, size - 1);
	free(value);
}

static void
set_path(char *to, size_t size, char *value, const char *what)
{
	if (value[0] != '/') {
		error_at(file.line, "%s \"%s\": expected an absolute path",
		    what, value);
		free(value);
		return;
	}
	vm_set(to, size, value, what);
}

static void
set_events(enum events_source source)
{
	if (file.has_events)
		error_at(file.line, "second events");
	file.has_events = 1;
	file.conf->events = source;
}

static void
resolve_refs(void)
{
	struct conf_vm *vm;
	struct vm_ref *ref;

	while ((ref = TAILQ_FIRST(&file.refs)) != NULL) {
		TAILQ_REMOVE(&file.refs, ref, entry);
		vm = vm_find(ref->name);
		file.line_has_error = 0;
		if (vm == NULL)
			error_at(ref->line,
			    "unknown vm \"%s\": no line says vm \"%s\" "
			    "qmp \"...\"",
			    ref->name, ref->name);
		else
			ref->rule->msg.vms[ref->rule->msg.nvms++] = vm->msg.vm;
		free(ref->name);
		free(ref);
	}
}

/* Opens the file and checks who may have written it. */
static FILE *
open_secure(const char *path)
{
	struct stat st;
	FILE *stream;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1 || fstat(fd, &st) == -1) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		fprintf(stderr, "%s: not a regular file\n", path);
	} else if (st.st_uid != 0) {
		fprintf(stderr,
		    "%s: must be owned by root, is owned by uid %u\n", path,
		    st.st_uid);
	} else if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		fprintf(stderr,
		    "%s: must be writable by root only (chmod go-w %s)\n",
		    path, path);
	} else if ((stream = fdopen(fd, "r")) == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	} else
		return stream;
	if (fd != -1)
		close(fd);
	return NULL;
}

static struct conf *
conf_new(void)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL)
		return NULL;
	TAILQ_INIT(&conf->vms);
	TAILQ_INIT(&conf->rules);
	return conf;
}

static void
conf_defaults(struct conf *conf)
{
	if (conf->log_directory[0] == '\0')
		strlcpy(conf->log_directory, "/var/log/usbmgrd",
		    sizeof(conf->log_directory));
	if (conf->control[0] == '\0')
		strlcpy(conf->control, RUNDIR "/usbmgrd.sock",
		    sizeof(conf->control));
}

struct conf *
conf_parse(const char *path)
{
	struct conf *conf;
	const char *slash = strrchr(path, '/');

	memset(&file, 0, sizeof(file));
	file.path = path;
	file.base = slash == NULL ? path : slash + 1;
	file.line = 1;
	TAILQ_INIT(&file.refs);
	if ((file.stream = open_secure(path)) == NULL)
		return NULL;
	if ((conf = file.conf = conf_new()) == NULL) {
		fclose(file.stream);
		return NULL;
	}
	if (yyparse() != 0 && file.errors == 0)
		error_at(file.line, "cannot be parsed: out of memory");
	resolve_refs();
	if (ferror(file.stream))
		error_at(file.line, "read error");
	fclose(file.stream);
	if (file.errors > 0) {
		conf_free(conf);
		return NULL;
	}
	conf_defaults(conf);
	return conf;
}
