/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

%{
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "confbuild.h"
#include "lex.h"

#define EXPECTED_MAX 32

static int yylex(void);
int yyparse(void);
static void yyerror(const char *);

typedef struct {
	char *string;
	int number;
} YYSTYPE;
#define YYSTYPE_IS_DECLARED 1
%}

%define parse.error custom
%define parse.lac full

%token ADAPTERS "adapters" ALL "all" AUTO "auto" BELOW "below" BLOCK "block" BUS "bus"
%token BUSY "busy" CLASS "class" CONTROL "control" CONTROLLER "controller"
%token DAMPING "damping" DIRECTORY "directory" DOMAINS "domains" EVE "eve" EVEN "even" EVENTS "events" GROUP "group"
%token HANDOVER "handover" HOLD "hold" IF "if" INCLUDE "include" KERNEL "kernel"
%token LOG "log" MANIFEST "manifest" MANUFACTURER "manufacturer" MONITOR "monitor" NAME "name"
%token PASS "pass" PLEDGE "pledge" PORT "port" PROCESS "process"
%token PRODUCT "product" QMP "qmp" QUICK "quick" READONLY "readonly"
%token RELEASE "release" REQUIRED "required" RUNNING "running" SERIAL "serial"
%token SOCKET "socket" SPEED "speed" TIMEOUT "timeout" TO "to"
%token UDEV "udev" USER "user" VM "vm"
%token <string> STRING "a string"
%token NEWLINE 10 "the end of the line"
%token EQUALS 61 "="
%type <number> kind
%type <string> process_name
%destructor { free($$); } <string>

%%

grammar	: /* empty */
	| grammar NEWLINE
	| grammar statement NEWLINE
	| grammar vm vm_options NEWLINE { build_vm_end(); }
	| grammar rule NEWLINE { build_rule_end(); }
	| grammar INCLUDE STRING NEWLINE { lex_include($3); free($3); }
	| grammar error NEWLINE { build_rule_drop(); yyerrok; }
	;

statement: STRING EQUALS STRING { lex_define($1, $3); free($1); free($3); }
	| LOG DIRECTORY STRING { build_log_directory($3); }
	| LOG REQUIRED { build_log_required(); }
	| control control_options { build_control_end(); }
	| EVENTS AUTO { build_events(EVENTS_AUTO); }
	| EVENTS UDEV { build_events(EVENTS_UDEV); }
	| EVENTS KERNEL { build_events(EVENTS_KERNEL); }
	| DAMPING STRING { build_damping($2, NULL); }
	| DAMPING STRING HOLD STRING { build_damping($2, $4); }
	| process process_options
	| TIMEOUT { build_no_vm(); } timeout
	;

timeout	: STRING STRING { build_timeout($1, $2); }
	;

control	: CONTROL SOCKET STRING { build_control($3); }
	;

control_options: /* empty */
	| control_options GROUP STRING { build_control_group($3); }
	| control_options READONLY { build_control_readonly(); }
	;

process	: PROCESS process_name { build_process($2); }
	;

process_name: STRING
	| MONITOR { $$ = strdup("monitor"); }
	;

process_options: process_option
	| process_options process_option
	;

process_option: USER STRING { build_process_user($2); }
	| PLEDGE STRING { build_process_pledge($2); }
	;

vm	: VM STRING { build_vm($2); }
	;

vm_options: /* empty */
	| vm_options vm_option
	;

vm_option: vm_any
	| ADAPTERS adapters
	;

vm_any	: QMP STRING { build_vm_qmp($2); }
	| BUS STRING { build_vm_bus($2); }
	| PORT STRING { build_vm_ports($2); }
	| PLEDGE STRING { build_vm_pledge($2); }
	| HANDOVER AUTO { build_vm_handover(strdup("auto")); }
	| HANDOVER STRING { build_vm_handover($2); }
	| MONITOR STRING { build_vm_monitor($2); }
	| RELEASE STRING { build_vm_release($2); }
	| TIMEOUT timeout
	;

adapters: adapter
	| '{' comma '}' { build_list_empty(); }
	| '{' comma adapter_list '}'
	;

adapter_list: adapter comma
	| adapter_list adapter comma
	;

adapter	: STRING { build_vm_adapter($1); }
	;

rule	: BLOCK { build_rule(RULE_BLOCK); } quick matches
	| manifest busy pledge
	| eve '{' eve_options '}' busy pledge
	| eve '{' eve_options error '}' busy pledge { yyerrok; }
	| PASS { build_rule(RULE_PASS); } quick matches TO vms busy pledge
	;

/* A rule of its own, so that the string is off the stack when it is freed. */
manifest: MANIFEST STRING { build_rule(RULE_SOURCE); build_manifest($2); }
	;

eve	: EVE { build_rule(RULE_SOURCE); build_eve(); }
	;

eve_options: /* empty */
	| eve_options NEWLINE
	| eve_options eve_option
	| eve_options error NEWLINE { yyerrok; }
	;

eve_option: vm_any
	| ADAPTERS STRING { build_eve_adapters($2); }
	| DOMAINS STRING { build_eve_domains($2); }
	| RUNNING states
	;

states	: state
	| '{' comma '}' { build_list_empty(); }
	| '{' comma state_list '}'
	;

state_list: state comma
	| state_list state comma
	;

state	: STRING { build_eve_running($1); }
	;

quick	: /* empty */
	| QUICK { build_rule_flag(RULE_QUICK); }
	;

matches	: ALL
	| match_list
	;

match_list: match
	| match_list match
	;

match	: kind { build_match($1); } values
	;

kind	: PORT { $$ = MATCH_PORT; }
	| BELOW { $$ = MATCH_BELOW; }
	| PRODUCT { $$ = MATCH_PRODUCT; }
	| SERIAL { $$ = MATCH_SERIAL; }
	| NAME { $$ = MATCH_NAME; }
	| MANUFACTURER { $$ = MATCH_MANUFACTURER; }
	| CLASS { $$ = MATCH_CLASS; }
	| CONTROLLER { $$ = MATCH_CONTROLLER; }
	| SPEED { $$ = MATCH_SPEED; }
	;

values	: value
	| '{' comma '}' { build_list_empty(); }
	| '{' comma list '}'
	;

list	: value comma
	| list value comma
	;

comma	: /* empty */
	| comma ','
	;

value	: STRING { build_match_value($1); }
	;

vms	: vm_name
	| '{' comma '}' { build_list_empty(); }
	| '{' comma vm_list '}'
	;

vm_list	: vm_name comma
	| vm_list vm_name comma
	;

vm_name	: STRING { build_rule_vm($1); }
	;

busy	: /* empty */
	| EVEN IF BUSY { build_rule_flag(RULE_EVEN_IF_BUSY); }
	;

pledge	: /* empty */
	| PLEDGE STRING { build_rule_pledge($2); }
	;

%%

static const struct lex_keyword keywords[] = {
	/* sorted, for bsearch */
	{ "adapters", ADAPTERS },
	{ "all", ALL },
	{ "auto", AUTO },
	{ "below", BELOW },
	{ "block", BLOCK },
	{ "bus", BUS },
	{ "busy", BUSY },
	{ "class", CLASS },
	{ "control", CONTROL },
	{ "controller", CONTROLLER },
	{ "damping", DAMPING },
	{ "directory", DIRECTORY },
	{ "domains", DOMAINS },
	{ "eve", EVE },
	{ "even", EVEN },
	{ "events", EVENTS },
	{ "group", GROUP },
	{ "handover", HANDOVER },
	{ "hold", HOLD },
	{ "if", IF },
	{ "include", INCLUDE },
	{ "kernel", KERNEL },
	{ "log", LOG },
	{ "manifest", MANIFEST },
	{ "manufacturer", MANUFACTURER },
	{ "monitor", MONITOR },
	{ "name", NAME },
	{ "pass", PASS },
	{ "pledge", PLEDGE },
	{ "port", PORT },
	{ "process", PROCESS },
	{ "product", PRODUCT },
	{ "qmp", QMP },
	{ "quick", QUICK },
	{ "readonly", READONLY },
	{ "release", RELEASE },
	{ "required", REQUIRED },
	{ "running", RUNNING },
	{ "serial", SERIAL },
	{ "socket", SOCKET },
	{ "speed", SPEED },
	{ "timeout", TIMEOUT },
	{ "to", TO },
	{ "udev", UDEV },
	{ "user", USER },
	{ "vm", VM },
};

/* The word that a line starts with when it is no keyword. */
static char first_word[LEX_WORD_MAX];

static int
yylex(void)
{
	static int last = NEWLINE;
	int token = lex_token(STRING, &yylval.string);

	if (last == NEWLINE)
		strlcpy(first_word, lex_word(), sizeof(first_word));
	last = token == 0 ? NEWLINE : token;
	return token;
}

static void
yyerror(const char *msg)
{
	lex_error(lex_here(), "%s", msg);
}

/* "a, b or c" into buf. */
static void
join(char *buf, size_t size, const yysymbol_kind_t *symbols, int n)
{
	int i;

	buf[0] = '\0';
	for (i = 0; i < n; i++) {
		if (i > 0)
			strlcat(buf, i == n - 1 ? " or " : ", ", size);
		strlcat(buf, yysymbol_name(symbols[i]), size);
	}
}

static int
yyreport_syntax_error(const yypcontext_t *context)
{
	yysymbol_kind_t expected[EXPECTED_MAX];
	char what[512], found[LEX_WORD_MAX + 16];
	int n;

	n = yypcontext_expected_tokens(context, expected, EXPECTED_MAX);
	/* Where a statement may begin, nobody is told to end the file. */
	if (n > 1 && expected[0] == YYSYMBOL_YYEOF)
		memmove(expected, expected + 1,
		    (size_t)--n * sizeof(expected[0]));
	if (n == 1 && expected[0] == YYSYMBOL_EQUALS) {
		lex_error(lex_here(),
		    "unknown statement \"%s\", expected block, control, "
		    "damping, eve, events, include, log, manifest, pass, "
		    "process, timeout, vm or a macro, as in %s = \"...\"",
		    first_word, first_word);
		return 0;
	}
	join(what, sizeof(what), expected, n > 0 ? n : 0);
	if (lex_at_end_of_line())
		strlcpy(found, "the line ends too early", sizeof(found));
	else
		snprintf(found, sizeof(found), "unexpected \"%s\"", lex_word());
	if (n > 0)
		lex_error(lex_here(), "%s, expected %s", found, what);
	else
		lex_error(lex_here(), "%s", found);
	return 0;
}

struct conf *
conf_parse(const char *path, enum conf_owner owner)
{
	struct conf *conf;

	if (lex_start(path, owner, keywords,
		sizeof(keywords) / sizeof(keywords[0])) == -1)
		return NULL;
	build_start();
	if (yyparse() != 0)
		lex_error(lex_here(), "cannot be parsed");
	conf = build_finish();
	conf->root_only = owner == CONF_ROOT_ONLY;
	if (lex_finish() == 0)
		return conf;
	conf_free(conf);
	return NULL;
}
