#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""usage: policy.t [FILE.cases [CASE]]
       policy.t -x DIRECTORY

Runs the cases in tests/policy/*.cases, or those of one file, or those of it
whose name has CASE in it.  With -x what they have becomes files, as seeds
for fuzzing: DIRECTORY/parse/*.conf, events/*.jsonl, manifest/*.json and
evejson/*.json.

    ;  a comment
    lines of policy that are added to every case of this file

    = the name of a case
    lines of policy, the file p.conf
    @ name [uid=1] [mode=664]   the lines that follow are in that file
    + a line that usbmgrd -nv prints; if there are any, all of them
    > events, with ; between them (see EVENTS, or JSON as it is)
    < an action that usbmgrctl replay prints, in the order of events
    ! 3: a message for p.conf:3 (! a.conf:3: for another file, a.conf)
    ! model.json:7:30: a message about a place in another file
    ! events:2: a message about the second event

A case is refused if it has a message for a file that is no warning.  Any
other must be printed so that it parses again to the same, decisions too.

EVENTS  up VM...  down VM...  plug 3:9[/DEVNUM] [045e:0823] [KEY=VALUE]...
        unplug 3:9  fail 3:9 QEMU'S WORDS  tick MILLISECONDS
        adapters LABEL [KEY=VALUE]... | LABEL...  EVE's AssignableAdapters
        domain NAME [ADAPTER]...  halt NAME  gone NAME  EVE's DomainStatus
        KEY serial name manufacturer controller speed class peer net busy,
        if=03:01:02,08:06:50 for interfaces; "net" alone is net=true;
        of an adapter: group parent usbaddr usbproduct pci logical
ACTIONS attach VM 3:9[/DEVNUM] REASON  detach VM 3:9[/DEVNUM] REASON
        hold 3:9[/DEVNUM] REASON; the reason :2 is p.conf:2
DEVNUM is 5 and the product 046d:c077 where none is given.
"""

import concurrent.futures
import difflib
import glob
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.path.realpath(os.environ.get('B') or HERE + '/../../build')
DEFAULTS = ['log directory "/var/log/usbmgrd"',
            'control socket "/run/usbmgrd.sock"', 'events auto']
TIMEOUT = 20


class Case:
    def __init__(self, where, name, common):
        self.where, self.name, self.common = where, name, common
        self.files = {'p.conf': []}
        self.modes = {}
        self.printed, self.events, self.actions, self.messages = [], [], [], []
        self.plugged = {}

    def refused(self):
        return any(not text.startswith('warning:') and file != 'events'
                   for file, _, text in self.messages)


def read_cases(path):
    cases, common, case, file = [], [], None, None
    for number, line in enumerate(open(path, encoding='utf-8'), 1):
        line = line.rstrip('\n')
        mark, rest = line[:2], line[2:]
        if line.startswith(';'):
            continue
        if mark == '= ':
            case = Case('%s:%d' % (os.path.basename(path), number), rest,
                        common)
            cases.append(case)
            file = case.files['p.conf']
        elif case is None:
            common.append(line)
        elif mark == '@ ':
            name, *options = rest.split()
            file = case.files.setdefault(name, [])
            case.modes[name] = dict(o.split('=') for o in options)
        elif mark == '+ ':
            case.printed.append(rest)
        elif mark == '> ':
            for event in split_events(rest):
                case.events.append(event_json(case, event))
        elif mark == '< ':
            case.actions.append(action_json(case, rest))
        elif mark == '! ':
            case.messages.append(message(rest))
        else:
            file.append(line)
    for case in cases:
        for content in case.files.values():
            while content and not content[-1]:
                content.pop()
        case.files['p.conf'] += common
    return cases


def split_events(line):
    return [line] if line.startswith('{') else line.split(';')


def message(text):
    file, line, rest = re.fullmatch(r'(?:([^ :]+):)?(\d+(?::\d+)?): (.*)',
                                    text).groups()
    return file or 'p.conf', line, rest


def compact(value):
    return json.dumps(value, separators=(',', ':'))


def place(word):
    port, _, devnum = word.partition('/')
    return port, int(devnum or 5)


def event_json(case, text):
    text = text.strip()
    if text.startswith('{'):
        note_plug(case, text)
        return [text]
    kind, rest = text.split(None, 1)
    if kind in ('up', 'down'):
        return [compact({'event': 'vm-' + kind, 'vm': vm})
                for vm in shlex.split(rest)]
    if kind in EVE:
        event = EVE[kind](shlex.split(rest))
    elif kind == 'tick':
        event = {'event': 'tick', 'ms': int(rest)}
    elif kind == 'fail':
        device, error = rest.split(None, 1)
        event = {'event': 'attach-failed', 'device': device, 'error': error}
    elif kind == 'unplug':
        bus, port = rest.split(':')
        event = {'event': 'device-remove', 'bus': int(bus), 'port': port}
    elif kind == 'plug':
        event = plug(shlex.split(rest))
    else:
        raise ValueError('%s: unknown event %s' % (case.where, kind))
    note_plug(case, compact(event))
    return [compact(event)]


MEMBERS = {'group': 'AssignmentGroup', 'parent': 'ParentAssignmentGroup',
           'usbaddr': 'UsbAddr', 'usbproduct': 'UsbProduct',
           'pci': 'PciLong', 'logical': 'Logicallabel'}


def adapters(words):
    bundles = []
    for word in words if words != ['none'] else []:
        if word == '|':
            continue
        key, equals, value = word.partition('=')
        if equals and bundles:
            bundles[-1][MEMBERS[key]] = value
        else:
            bundles.append({'Phylabel': word})
    return {'event': 'adapters', 'IoBundleList': bundles}


def domain(words, state=115):
    name, *names = words
    return {'event': 'domain', 'DomainStatus': {
        'DomainName': name, 'State': state,
        'IoAdapterList': [{'Type': 14, 'Name': n} for n in names] or None}}


EVE = {'adapters': adapters, 'domain': domain,
       'halt': lambda words: domain(words, 119),
       'gone': lambda words: {'event': 'domain-delete',
                              'DomainName': words[0]}}


def plug(words):
    where, devnum = place(words.pop(0))
    bus, port = where.split(':')
    product = '046d:c077'
    if words and re.fullmatch('[0-9a-fA-F]+:[0-9a-fA-F]+', words[0]):
        product = words.pop(0)
    event = {'event': 'device-add', 'bus': int(bus), 'port': port,
             'devnum': devnum, 'vendor': product.split(':')[0],
             'product': product.split(':')[1]}
    for word in words:
        key, equals, value = word.partition('=')
        if key == 'if':
            event['interfaces'] = value.split(',') if value else []
        else:
            event[key] = value if equals else True
    return event


def note_plug(case, text):
    """Remembers what is plugged, for the actions to come."""
    try:
        event = json.loads(text)
        if event.get('event') == 'device-add':
            chain = '.'.join(str(int(n)) for n in event['port'].split('.'))
            where = '%d:%s' % (event['bus'], chain)
            case.plugged[where, event['devnum']] = [
                '%04x' % int(event[k], 16) for k in ('vendor', 'product')]
    except (ValueError, KeyError, AttributeError, TypeError):
        pass


def action_json(case, text):
    if text.startswith('{'):
        return text
    action, rest = text.split(None, 1)
    out = {'action': action}
    if action != 'hold':
        out['vm'], rest = rest.split(None, 1)
    where, reason = rest.split(None, 1)
    out['device'], out['devnum'] = place(where)
    if action == 'attach':
        if place(where) not in case.plugged:
            raise ValueError('%s: %s is not plugged' % (case.where, where))
        out['vendor'], out['product'] = case.plugged[place(where)]
    out['reason'] = 'p.conf' + reason if reason[0] == ':' else reason
    return compact(out)


# Running


def run(directory, program, *arguments):
    done = subprocess.run([BUILD + '/' + program, *arguments], cwd=directory,
                          capture_output=True, timeout=TIMEOUT,
                          stdin=subprocess.DEVNULL, close_fds=False,
                          check=False, text=True, errors='surrogateescape')
    return done.returncode, done.stdout, done.stderr


def write(directory, name, content):
    path = os.path.join(directory, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(lines(content))
    os.chmod(path, 0o644)
    return path


def differ(what, want, got):
    lines = difflib.unified_diff(want.splitlines(), got.splitlines(),
                                 'wanted', 'got', lineterm='', n=99)
    return '' if want == got else what + '\n' + '\n'.join(lines)


def lines(of):
    return ''.join(line + '\n' for line in of)


def messages(case, of_events):
    return lines('%s:%s: %s' % (f.replace('events', 'events.jsonl'), n, t)
                 for f, n, t in case.messages
                 if (f == 'events') == of_events)


def check_refused(case, directory):
    want = messages(case, False)
    for name, argv in (('usbmgrd', ('-nv', '-f')), ('usbmgrctl', ('check',))):
        status, out, err = run(directory, name, *argv, 'p.conf')
        yield differ(name, 'status 1\n' + want,
                     'status %d\n%s%s' % (status, out, err))


def check_printed(case, directory):
    want = messages(case, False) + 'configuration OK\n'
    status, out, err = run(directory, 'usbmgrd', '-nv', '-f', 'p.conf')
    yield differ('usbmgrd', want, err)
    if status != 0:
        return
    if case.printed:
        got = out.splitlines()
        for line in DEFAULTS + case.common:
            if line in got and line not in case.printed:
                got.remove(line)
        yield differ('printed', lines(case.printed), lines(got))
    write(directory, 'again.conf', out.splitlines())
    _, again, err = run(directory, 'usbmgrd', '-nv', '-f', 'again.conf')
    yield differ('printed again', out, again)


def check_decisions(case, directory):
    want = lines(case.actions) + messages(case, True)
    write(directory, 'events.jsonl', sum(case.events, []))
    status, out, err = run(directory, 'usbmgrctl', 'replay', '-f', 'p.conf',
                           'events.jsonl')
    yield differ('replay', want, out + err.replace(messages(case, False), ''))
    yield differ('status', str(int(bool(messages(case, True)))), str(status))
    _, again, err = run(directory, 'usbmgrctl', 'replay', '-f', 'again.conf',
                        'events.jsonl')
    where = r'\b(p|again|[\w-]*).conf:\d+'
    yield differ('replay of what was printed', re.sub(where, '', out),
                 re.sub(where, '', again))


def extract(cases, directory):
    for number, case in enumerate(cases):
        write(directory, 'parse/%04d.conf' % number, case.files['p.conf'])
        for name, content in case.files.items():
            if name.endswith('.json'):
                write(directory, 'manifest/%04d.json' % number, content)
        if case.events:
            write(directory, 'events/%04d.jsonl' % number,
                  sum(case.events, []))
        for count, line in enumerate(sum(case.events, [])):
            for key in 'IoBundleList', 'DomainStatus':
                if line.startswith('{') and key in line:
                    write(directory, 'evejson/%04d.%d.json' % (number, count),
                          [line.split('"DomainStatus":')[-1]])


def check(case):
    wrong = []
    with tempfile.TemporaryDirectory() as directory:
        for name, content in case.files.items():
            path = write(directory, name, content)
            modes = case.modes.get(name, {})
            os.chmod(path, int(modes.get('mode', '644'), 8))
            os.chown(path, int(modes.get('uid', 0)), 0)
        if case.refused():
            wrong += check_refused(case, directory)
        else:
            wrong += check_printed(case, directory)
            if case.events:
                wrong += check_decisions(case, directory)
    return case, '\n'.join(w for w in wrong if w)


def main():
    arguments = sys.argv[1:]
    only = ''
    paths = sorted(glob.glob(HERE + '/*.cases'))
    if arguments[:1] == ['-x']:
        extract(sum(map(read_cases, paths), []), arguments[1])
        return 0
    if os.geteuid() != 0:
        print("Bail out! must be run by root: policy files must be root's")
        return 1
    if arguments:
        paths = [arguments[0]]
        only = ' '.join(arguments[1:])
    cases = [case for path in paths for case in read_cases(path)
             if only in case.name]
    failures = 0
    print('1..%d' % len(cases))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (case, wrong) in enumerate(pool.map(check, cases), 1):
            print('%sok %d - %s %s' % ('not ' if wrong else '', number,
                                       case.where, case.name))
            if wrong:
                failures += 1
                print('# ' + wrong.replace('\n', '\n# '))
    return 1 if failures or not cases else 0


sys.exit(main())
