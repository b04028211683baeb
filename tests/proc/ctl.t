#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""usbmgrctl as people use it: words cut short, wrong usage, JSON, tables of
80 columns, completion; and who may do what on the control socket."""

import fcntl
import hashlib
import json
import os
import pty
import re
import socket
import stat
import struct
import subprocess
import sys
import termios

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, CHILDREN, ROOT, USERS, Service,   # noqa: E402
                     equal, matches, run, test, wait_for)

CTL = BUILD + "/usbmgrctl"
TWO = ('vm "a" qmp "DIR/a"\nvm "%s" qmp "DIR/b"\n' % ("long" * 15) +
       'block all\npass port 3:9 to "a"\n'
       'pass product 045e:0823 serial "A*" to { "a" "%s" } '
       'pledge "mouse"\n' % ("long" * 15))
WRONG = [
    (("frobnicate",), 'unknown command "frobnicate": expected show, explain, '
     "monitor, attach, detach, policy, reload, log, audit, check, replay or "
     "generate"),
    (("re",), 'unclear command "re": it could be reload or replay'),
    (("show",), "show: expected devices, vms, rules, processes or counters"),
    (("show", "it"), 'unknown command "it": expected devices, vms, rules, '
     "processes or counters"),
    (("sh", "vms", "more"), 'show vms: "more" is too much: expected no '
     "argument"),
    (("show", "counters", "x"), 'show counters: "x" is too much: expected '
     "[-o]"),
    (("show", "counters", "-j", "-o"), "show counters: -j and -o together: "
     "expected [-o]"),
    (("show", "devices", "-o"), "show devices: it has no -o: expected no "
     "argument"),
    (("explain",), "explain: expected device | -f file events device"),
    (("explain", "3:9", "x"), 'explain: "x" is too much: expected device | '
     "-f file events device"),
    (("explain", "-f"), "explain: -f without its argument: expected device "
     "| -f file events device"),
    (("explain", "-f", "x", "y"), "explain: expected device | -f file "
     "events device"),
    (("attach",), "attach: expected [-f] device vm"),
    (("attach", "3:9"), "attach: expected [-f] device vm"),
    (("attach", "3:9", "a", "b"), 'attach: "b" is too much: expected [-f] '
     "device vm"),
    (("detach",), "detach: expected [-f] device"),
    (("policy",), "policy: expected device"),
    (("policy", "-f", "3:9"), "policy: it has no -f: expected device"),
    (("reload", "now"), 'reload: "now" is too much: expected no argument'),
    (("log",), "log: expected verbose or brief"),
    (("log", "loud"), 'unknown command "loud": expected verbose or brief'),
    (("audit",), "audit: expected verify or trace"),
    (("audit", "verify"), "audit verify: expected file ..."),
    (("audit", "trace"), "audit trace: expected [-d directory] request "
     "[file ...]"),
    (("audit", "trace", "x"), 'audit trace: "x" is no number of a request: '
     "expected [-d directory] request [file ...]"),
    (("monitor", "x"), 'monitor: "x" is too much: expected no argument'),
    (("check",), "check: expected file"),
    (("replay",), "replay: expected [-f file] events ..."),
    (("generate", "x"), 'generate: "x" is too much: expected no argument'),
    (("show", "vms", "-s"), "show vms: -s without its argument: expected "
     "no argument"),
]


def ctl(*arguments, **options):
    return subprocess.run([CTL, *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=10, **options)


def says(service, arguments, status, pattern):
    result = service.ctl(*arguments)
    equal((arguments, result.returncode), (arguments, status))
    matches(result.stdout + result.stderr, pattern)


@test("wrong usage is status 2 and one line that says what was expected")
def wrong():
    for arguments, message in WRONG:
        result = ctl(*arguments)
        equal((arguments, result.stderr),
              (arguments, "usbmgrctl: %s\n" % message))
        equal((result.returncode, result.stdout), (2, ""))
    for arguments in (), ("-s",), ("-h",), ("--help",):
        result = ctl(*arguments)
        lines = result.stderr.splitlines()
        equal((result.returncode, result.stdout, len(lines)), (2, "", 19))
        equal(lines[0][:16], "usage: usbmgrctl")
        equal("       audit trace [-d directory] request [file ...]" in lines,
              True)


@test("status 3 when nobody is there, for each command that asks")
def not_running():
    for arguments in (("show", "devices"), ("show", "vms"), ("show", "rules"),
                      ("show", "processes"), ("show", "counters"),
                      ("explain", "3:9"), ("attach", "3:9", "a"),
                      ("detach", "3:9"), ("policy", "3:9"), ("reload",),
                      ("log", "brief"), ("monitor",)):
        result = ctl("-s", "/nonexistent/sock", *arguments)
        equal((arguments, result.returncode, result.stdout, result.stderr),
              (arguments, 3, "", "usbmgrctl: usbmgrd is not running: nobody "
               "serves /nonexistent/sock\n"))


@test("words may be cut short as long as they are clear")
def short():
    service = Service(TWO).start()
    full = service.ctl("show", "vms").stdout
    for words in (("sh", "v"), ("s", "vm"), ("show", "-j", "vms", ),
                  ("-j", "show", "vms"), ("show", "vms", "-j")):
        got = service.ctl(*words)
        equal((words, got.returncode), (words, 0))
        equal((words, "-j" in words or got.stdout == full), (words, True))
    says(service, ("l", "v"), 0, "logs are verbose")
    says(service, ("log", "b"), 0, "logs are brief")
    service.stop()


@test("every list as JSON, with the members that the manual names")
def as_json():
    service = Service(TWO).start()
    page = open(ROOT + "/docs/usbmgrctl.8").read()
    for what in "vms", "rules", "processes", "counters":
        items = json.loads(service.ctl("show", what, "-j").stdout)
        equal((what, len(items) > 1), (what, True))
        for item in items:
            for member in item:
                equal((member, re.search(r"\b%s\b" % member, page)
                       is not None), (member, True))
    processes = json.loads(service.ctl("show", "processes", "-j").stdout)
    equal([p["process"] for p in processes],
          ["usbmgrd", *CHILDREN, "spawner"])
    family = service.family()
    equal([p["pid"] for p in processes[1:]],
          [family[p["process"]] for p in processes[1:]])
    equal([p["user"] for p in processes], ["root", *USERS, "root"])
    equal({(p["filter"], p["no_new_privs"], p["restarts"])
           for p in processes}, {(True, True, 0)})
    equal([p["promises"] for p in processes],
          ["stdio sendfd beneath unix usbfs watch children",
           "stdio recvfd control",
           "stdio rpath uevent", "stdio recvfd qmp",
           "stdio rpath recvfd control uevent qmp proc exec prot_exec id "
           "rootdir netlink confine"])
    equal(json.loads(service.ctl("-j", "log", "brief").stdout),
          {"messages": [], "done": True, "text": "logs are brief"})
    service.rewrite("block all", "blok all")
    result = service.ctl("-j", "reload")
    answer = json.loads(result.stdout)
    equal((result.returncode, result.stderr, answer["done"],
           len(answer["messages"])), (1, "", False, 1))
    equal(json.loads(service.ctl("generate", "-j").stdout), [])
    result = service.ctl("audit", "verify", "-j", service.logs + "/engine.log")
    answer = json.loads(result.stdout)
    equal((answer["process"], answer["whole"], answer["lost"],
           answer["from_the_beginning"]), ("engine", True, 0, True))
    service.stop()


@test("rules are shown as they are understood, one for each choice of values")
def rules():
    service = Service(TWO).start()
    rules = json.loads(service.ctl("show", "rules", "-j").stdout)
    equal([(rule["rule"], rule["text"], rule["hits"]) for rule in rules], [
        ("usbmgrd.conf:6", "block all", 0),
        ("usbmgrd.conf:7", 'pass port 3:9 to "a"', 0),
        ("usbmgrd.conf:8", 'pass product 045e:0823 serial "A*" to { "a" "%s" '
         '} pledge "mouse"' % ("long" * 15), 0)])
    service.stop()


@test("OpenMetrics: every family has a type and a help text, once, then EOF")
def openmetrics():
    service = Service(TWO).start()
    service.is_well()
    lines = service.ctl("show", "counters", "-o").stdout.splitlines()
    equal(lines[-1], "# EOF")
    types = {}
    for line in lines[:-1]:
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            equal(name in types, False)
            types[name] = kind
            family = name
        elif line.startswith("#"):
            equal(line.split()[2], family)
        else:
            sample = re.fullmatch(
                r'(usbmgrd_\w+)(\{\w+="[^"]*"\})? (\d+(\.\d+)?)', line)
            equal((line, sample is not None), (line, True))
            equal(sample[1], family + ("_total" if types[family] == "counter"
                                       else ""))
    equal(types["usbmgrd_devices_plugged"], "counter")
    equal(types["usbmgrd_start_time_seconds"], "gauge")
    equal('usbmgrd_vms{state="absent"} 2' in lines, True)
    service.stop()


def in_terminal(columns, *command, **environment):
    """What it prints on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns,
                                                       0, 0))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
        env={"PATH": os.environ["PATH"], **environment})
    os.close(slave)
    text = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        text += data
    process.wait(5)
    os.close(master)
    return text.decode().replace("\r\n", "\n")


@test("tables fit 80 columns; colour on a terminal only, and not if unwanted")
def terminal():
    service = Service(TWO).start()
    shown = ("show", "vms"), ("show", "rules"), ("show", "processes"), \
        ("show", "counters"), ("show", "devices"), ("generate",)
    for words in shown:
        command = CTL, "-s", service.socket, *words
        plain = service.ctl(*words).stdout
        equal("\033" in plain, False)
        for line in plain.splitlines():
            # A name of 60 bytes is not cut.
            equal((line, len(line) <= 80 or "longlong" in line), (line, True))
        coloured = in_terminal(80, *command, TERM="xterm")
        # Pids and counters differ from one call to the next.
        blank = re.compile(r"\d+")
        equal(blank.sub("N", re.sub(r"\033\[\d+m", "", coloured)),
              blank.sub("N", plain))
        for environment in ({"TERM": "dumb"}, {},
                            {"TERM": "xterm", "NO_COLOR": "1"}):
            equal("\033" in in_terminal(80, *command, **environment), False)
    qmp = socket.socket(socket.AF_UNIX)
    qmp.bind(service.path("a"))
    qmp.listen()
    wait_for("greeting", lambda: service.machines()["a"][0] == "greeting")
    text = in_terminal(80, CTL, "-s", service.socket, "show", "vms",
                       TERM="xterm", NO_COLOR="")
    equal("\033[33mgreeting  \033[0m" in text, True)
    service.stop()


def as_user(uid, gid, *command):
    def drop():
        os.setgroups([gid])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    return subprocess.run(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=10, preexec_fn=drop)


@test("root and the group may change; others may look, on a socket for that")
def rights():
    service = Service('control socket "DIR/ro.sock" readonly\n'
                      'vm "a" qmp "DIR/a"\n', group="usbmgrd").start()
    gid = os.stat(service.socket).st_gid
    readonly = service.path("ro.sock")
    equal([stat.S_IMODE(os.stat(path).st_mode)
           for path in (service.socket, readonly)], [0o660, 0o666])
    tool = service.path("usbmgrctl")        # where others may execute it
    subprocess.run(["cp", CTL, tool], check=True)
    member = as_user(12345, gid, tool, "-s", service.socket, "log", "verbose")
    equal((member.returncode, member.stdout), (0, "logs are verbose\n"))
    other = as_user(12346, 12346, tool, "-s", service.socket, "show", "vms")
    equal((other.returncode, other.stderr),
          (1, "usbmgrctl: socket %s: Permission denied\n" % service.socket))
    other = as_user(12346, 12346, tool, "-s", readonly, "show", "vms", "-j")
    equal((other.returncode, json.loads(other.stdout)[0]["vm"]), (0, "a"))
    denied = "usbmgrctl: this socket is only for those who look\n"
    for words in (("reload",), ("log", "brief")):
        for user in 12346, 0:
            result = as_user(user, user, tool, "-s", readonly, *words)
            equal((result.returncode, result.stdout, result.stderr),
                  (1, "", denied))
    log = service.log("engine")
    equal([(line["uid"], line["request_type"]) for line in log
           if line["event"] == "denied"],
          [(12346, "MSG_CTL_RELOAD"), (0, "MSG_CTL_RELOAD"),
           (12346, "MSG_CTL_LOG"), (0, "MSG_CTL_LOG")])
    equal([line["uid"] for line in log if line["event"] == "control"
           and line["request_type"] == "MSG_CTL_LOG"
           and not line["readonly"]], [12345])
    equal(len([line for line in service.log("usbmgrd")
               if line["event"] == "policy"]), 1)
    service.is_well()
    equal(service.stop(), 0)
    equal(os.path.lexists(readonly), False)


@test("monitor goes on when usbmgrd is back, and ends with its reader")
def monitor():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    watcher = subprocess.Popen(
        [CTL, "-s", service.socket, "monitor", "-j"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        def next_event():
            return json.loads(watcher.stdout.readline())
        equal(next_event()["event"], "connected")
        wait_for("it asks", lambda: "MSG_CTL_MONITOR" in [
            line.get("request_type") for line in service.log("engine")])
        service.ctl("reload")
        event = next_event()
        equal((event["event"], event["reason"]),
              ("policy", "1 machines, 0 rules"))
        service.stop()
        equal(next_event()["event"], "ended")
        os.rename(service.logs, service.logs + ".old")
        service.start()
        equal(next_event()["event"], "connected")
        wait_for("it asks", lambda: "MSG_CTL_MONITOR" in [
            line.get("request_type") for line in service.log("engine")])
        service.ctl("reload")
        equal(next_event()["event"], "policy")
    finally:
        watcher.kill()
        watcher.wait()
    service.is_well()
    service.stop()


@test("generate gives a policy that check takes, with and without usbmgrd")
def generate():
    service = Service().start()
    for running in True, False:
        if not running:
            service.stop()
        result = service.ctl("generate")
        equal((result.returncode, result.stderr), (0, ""))
        with open(service.path("new.conf"), "w") as out:
            out.write(result.stdout)
        equal(ctl("check", service.path("new.conf")).stderr,
              "configuration OK\n")
        equal([line for line in result.stdout.splitlines()
               if line and not line.startswith("#")], ["block all"])


POLICY = """vm "a" qmp "/a"
vm "b" qmp "/b"
pass port 3:9 to { "a" "b" }
"""
LOG = [
    {"event": "start"},
    {"event": "log", "message": "of no interest"},
    {"event": "policy", "at": 10, "sha256": "HASH"},
    {"event": "vm-socket", "at": 20, "vm": "a", "error": 2, "ended": True,
     "conn": 0},
    {"event": "vm-socket", "at": 20, "vm": "b", "error": 2, "ended": True,
     "conn": 0},
    {"event": "scan-done", "at": 21},
    {"event": "vm-state", "at": 30, "vm": "b", "state": "ready",
     "handover": 1, "migrating": False, "told": True, "conn": 1,
     "reason": "QEMU"},
    {"event": "device-add", "at": 40, "uevent": 7, "bus": 3, "port": "9",
     "devnum": 5, "vendor": "045e", "product": "0823", "serial": "",
     "name": "Mouse", "manufacturer": "", "controller": "", "speed": "12",
     "class": "00:00:00", "interfaces": ["03:01:02"], "peer": "",
     "net": False, "busy": False, "busy_why": "", "odd_descriptors": False,
     "digest": "00" * 32},
    {"event": "attach", "device": "3:9", "devnum": 5, "request": 1, "vm": "b",
     "vendor": "045e", "product": "0823", "uevent": 7, "rule": "p.conf:3",
     "reason": "p.conf:3"},
    {"event": "result", "at": 50, "request": 1, "vm": "b", "conn": 1,
     "result": "guest port taken", "guest_port": 0, "text": "port 1"},
    {"event": "hold", "device": "3:9", "devnum": 5, "rule": "p.conf:3",
     "reason": "guest port taken: port 1"},
    {"event": "tick", "at": 550},
    {"event": "attach", "device": "3:9", "devnum": 5, "request": 2, "vm": "b",
     "vendor": "045e", "product": "0823", "uevent": 7, "rule": "p.conf:3",
     "reason": "p.conf:3"},
    {"event": "override", "at": 560, "device": "3:9", "devnum": 5,
     "command": "detach", "force": False, "uid": 4, "pid": 1},
    {"event": "result", "at": 570, "request": 2, "vm": "b", "conn": 1,
     "result": "ok", "guest_port": 2, "text": ""},
    {"event": "detach", "device": "3:9", "devnum": 5, "request": 2, "vm": "b",
     "reason": "detached by hand (uid 4)"},
    {"event": "end"},
]


@test("a log replays; a decision that is another one, or missing, is named")
def replay():
    service = Service()
    policy = service.path("p.conf")
    with open(policy, "w") as out:
        out.write(POLICY)
    printed = subprocess.run(
        [BUILD + "/usbmgrd", "-nv", "-f", policy], check=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    log = service.path("log.json")

    def replayed(lines):
        with open(log, "w") as out:
            for number, line in enumerate(lines, 1):
                line = {"time": "x", "mono": 1, "process": "engine",
                        "seq": number, **line, "prev": "x"}
                out.write(json.dumps(line).replace(
                    "HASH", hashlib.sha256(printed).hexdigest()) + "\n")
        return ctl("replay", "-f", policy, log)

    result = replayed(LOG)
    equal((result.stderr, result.returncode), ("", 0))
    equal([(action["action"], action["reason"]) for action in
           map(json.loads, result.stdout.splitlines())],
          [("attach", "p.conf:3"), ("hold", "guest port taken: port 1"),
           ("attach", "p.conf:3"), ("detach", "detached by hand (uid 4)")])
    equal(ctl("explain", "-f", policy, log, "3:9").stdout.splitlines()[-3],
          "It is detaching, machine \"b\", guest port 2: detached by hand "
          "(uid 4)")
    decisions = [n for n, line in enumerate(LOG)
                 if line["event"] in ("attach", "detach", "hold")]
    for n in decisions:
        for change in ({"reason": "another"}, {"devnum": 6},
                       {"device": "3:8"}, {"event": "hold" if "vm" in LOG[n]
                                           else "attach"}):
            result = replayed(LOG[:n] + [{**LOG[n], **change}] + LOG[n + 1:])
            equal(result.returncode, 1)
            matches(result.stderr, r".*:%d: replay gives another decision: "
                    r".*" % (n + 1))
        result = replayed(LOG[:n] + LOG[n + 1:])
        equal((n, result.returncode), (n, LOG[n + 1]["event"] != "end"))
        result = replayed(LOG[:n] + [LOG[n]] + LOG[n:])
        matches(result.stderr, r".*:%d: replay does not give this decision of "
                "the log" % (n + 2))
    for change, message in (
            ({"vm": 5}, '"vm": expected a string'),
            ({"at": 1}, '"at": time runs backwards'),
            ({"more": 1}, 'unknown key "more"'),
            ({"state": "odd"}, '"state": expected a name that usbmgrd '
             "knows")):
        result = replayed(LOG[:6] + [{**LOG[6], **change}] + LOG[7:])
        matches(result.stderr, ".*:7: " + re.escape(message))
    result = replayed(LOG[1:])
    matches(result.stderr, ".*:2: the beginning of this run of usbmgrd is "
            "missing: give the log before this one, too")


def completed(*words, tool=CTL):
    """What bash offers for the last one of these words."""
    script = """
        source %s/dist/usbmgrctl.bash
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _usbmgrctl; printf '%%s\\n' "${COMPREPLY[@]}"
    """ % ROOT
    result = subprocess.run(["bash", "-euc", script, "bash", tool, *words],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, timeout=10)
    equal((result.stderr, result.returncode), ("", 0))
    return result.stdout.split()


@test("bash completes commands, their words, devices and machines")
def completion():
    def named(arguments):
        line = ctl(*arguments).stderr.rstrip()
        line = line[line.rindex("expected ") + len("expected "):]
        return sorted(re.split(", | or ", line))
    equal(sorted(completed("")), named(("frobnicate",)))
    for word in "show", "log", "audit":
        equal(sorted(completed(word, "")), named((word,)))
    equal(completed("re"), ["reload", "replay"])
    equal(completed("show", "counters", "-"), ["-j", "-s", "-o"])
    service = Service('vm "win10" qmp "DIR/a"\nvm "linux" qmp "DIR/b"\n')
    equal(completed("-s", service.socket, "attach", "3:9", ""), [])
    service.start()
    equal(completed("-s", service.socket, "attach", "3", ":", "9", ""),
          ["win10", "linux"])
    equal(completed("-s", service.socket, "attach", "3:9", "w"), ["win10"])
    equal(completed("-s", service.socket, "detach", ""), [])
    service.stop()


@test("zsh takes its completion")
def zsh():
    try:
        subprocess.run(["zsh", "-n", ROOT + "/dist/_usbmgrctl"],
                       check=True, timeout=10)
    except FileNotFoundError:
        print("# zsh is not installed")
    text = open(ROOT + "/dist/_usbmgrctl").read()
    words = ctl("frobnicate").stderr.rstrip().split(": expected ")[1]
    for word in words.replace(" or ", ", ").split(", "):
        equal((word, "'%s:" % word in text), (word, True))


run()
