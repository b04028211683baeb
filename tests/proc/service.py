# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Starts usbmgrd and whom it talks to, for the tests beside this file.

A test file says which functions are tests with @test("what is true") and ends
with run(). Everything happens in a mount namespace of its own, in which
/etc/passwd and /etc/group have the accounts that usbmgrd wants. Whatever a
test started is ended by its process id when the test is over.
"""

import contextlib
import ctypes
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
USERS = ["_usbmgrd-engine", "_usbmgrd-monitor", "_usbmgrd-qmp"]
GROUPS = USERS + ["usbmgrd"]
FIRST_ID = 64100
CHILDREN = ["engine", "monitor", "qmpclient"]
LOGS = ["usbmgrd"] + CHILDREN
TEST_SECONDS = 40           # for one test
SOON = 5                    # for what should come at once

tests = []
started = []                # processes, to be ended
directories = []
accounts = {}               # what was in /etc/passwd and /etc/group


def test(text):
    def add(function):
        tests.append((text, function))
        return function
    return add


def run(*namespaces):
    """The tests of the file; options of unshare(1) for more namespaces."""
    if os.geteuid() != 0:
        print("Bail out! must be run by root: usbmgrd drops from there")
        sys.exit(1)
    if os.environ.get("USBMGRD_TEST_NAMESPACE") is None:
        os.environ["USBMGRD_TEST_NAMESPACE"] = "private"
        os.execvp("unshare", ["unshare", "-m", *namespaces, "--propagation",
                              "private", sys.executable, *sys.argv])
    os.umask(0o022)
    for name in "passwd", "group":
        hide_account_file(name)
    set_accounts()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, lambda signo, frame: sys.exit(1))
    failed = 0
    print("1..%d" % len(tests), flush=True)
    for number, (text, function) in enumerate(tests, 1):
        ok = attempt(function)
        failed += not ok
        print("%s %d - %s" % ("ok" if ok else "not ok", number, text),
              flush=True)
    sys.exit(failed != 0)


def attempt(function):
    signal.alarm(TEST_SECONDS)
    try:
        function()
        return True
    except Exception:
        comment(traceback.format_exc())
        for service in directories:
            service.comment()
        return False
    finally:
        signal.alarm(0)
        end_all()


def out_of_time(signo, frame):
    raise TimeoutError("took more than %d seconds" % TEST_SECONDS)


def comment(text):
    """To standard error, which prove(1) shows."""
    for line in text.splitlines():
        print("# " + line, file=sys.stderr)


def end_all():
    for service in directories:
        for pid in service.family().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
    for service in directories:
        shutil.rmtree(service.dir)
    started.clear()
    directories.clear()


# Accounts

def hide_account_file(name):
    accounts[name] = open("/etc/" + name).read()
    handle, path = tempfile.mkstemp()
    os.close(handle)
    os.chmod(path, 0o644)
    subprocess.run(["mount", "--bind", path, "/etc/" + name], check=True)
    os.unlink(path)


def set_accounts(users=USERS, groups=GROUPS, first=FIRST_ID):
    """From now on there are these accounts of ours and no others."""
    lines = {"passwd": "", "group": ""}
    for number, name in enumerate(users, first):
        lines["passwd"] += ("%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n"
                            % (name, number, number))
    for number, name in enumerate(groups, first):
        lines["group"] += "%s:x:%d:\n" % (name, number)
    for name, text in lines.items():
        others = [line for line in accounts[name].splitlines(True)
                  if line.split(":")[0] not in GROUPS]
        with open("/etc/" + name, "w") as out:
            out.write("".join(others) + text)


# Processes

def die_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG


def start(command, **options):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                               preexec_fn=die_with_us, **options)
    started.append(process)
    return process


def wait_for(what, condition, seconds=SOON):
    """What condition returns, once it is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not in %s seconds: %s" % (seconds, what))
        time.sleep(0.02)


def equal(got, want):
    if got != want:
        raise AssertionError("got %r, want %r" % (got, want))


def matches(text, pattern):
    """The whole text, without the last line end, matches the pattern."""
    if not re.fullmatch(pattern.rstrip("\n"), text.rstrip("\n")):
        raise AssertionError("got %r, want %r" % (text, pattern))


def stat_of(pid):
    """Name, state and parent of a process; None if there is no such."""
    try:
        text = open("/proc/%d/stat" % pid).read()
    except OSError:
        return None
    name, rest = text.split("(", 1)[1].rsplit(")", 1)
    state, parent = rest.split()[:2]
    return name, state, int(parent)


def is_alive(pid):
    stat = stat_of(pid)
    return stat is not None and stat[1] != "Z"


def status_of(pid, key):
    for line in open("/proc/%d/status" % pid):
        if line.startswith(key + ":"):
            return line.split(":")[1].split()
    raise KeyError(key)


class Service:
    """One usbmgrd with a directory of its own."""

    def __init__(self, policy="block all\n", group=None):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="usbmgrd-test."))
        directories.append(self)
        os.chmod(self.dir, 0o755)
        self.conf = self.path("usbmgrd.conf")
        self.socket = self.path("ctl.sock")
        self.logs = self.path("log")
        self.programs = BUILD
        self.process = None
        with open(self.conf, "w") as out:
            out.write('log directory "%s"\n' % self.logs)
            out.write('control socket "%s"' % self.socket)
            out.write(' group "%s"\n' % group if group else "\n")
            out.write('events kernel\n')
            out.write(policy.replace("DIR", self.dir))

    def path(self, name):
        return os.path.join(self.dir, name)

    def rewrite(self, old, new):
        """Changes the policy file, which is never seen half written."""
        text = open(self.conf).read()
        with open(self.conf + ".new", "w") as out:
            out.write(text.replace(old, new))
        os.rename(self.conf + ".new", self.conf)

    def replace_program(self, name, source):
        """The service is to use another file in the place of a program."""
        if self.programs == BUILD:
            self.programs = self.path("programs")
            os.mkdir(self.programs)
            for program in glob.glob(BUILD + "/usbmgr*"):
                shutil.copy2(program, self.programs)
        path = os.path.join(self.programs, name)
        if os.path.exists(path):
            os.unlink(path)
        if source is not None:
            shutil.copy2(source, path)

    def launch(self, *options):
        with open(self.path("stderr"), "ab") as out:
            self.process = start(
                [self.programs + "/usbmgrd", "-f", self.conf, *options],
                stdout=out, stderr=out, cwd="/")
        self.pids = {}
        return self

    def start(self, *options):
        """Launches it and waits until it is at work."""
        self.launch(*options)
        wait_for("usbmgrd has started", self.has_started, 15)
        self.pids = self.children()
        equal(sorted(self.pids), CHILDREN)
        return self

    def has_started(self):
        if self.process.poll() is not None:
            raise AssertionError("usbmgrd ended with status %d:\n%s" % (
                self.process.returncode, self.stderr()))
        return any(line.get("message", "").startswith("started: ")
                   for line in self.log("usbmgrd"))

    def children(self):
        """Process ids by name, without the one that starts them."""
        return {name: pid for name, pid in self.family().items()
                if name != "spawner"}

    def family(self):
        """Process ids of all that the parent has started, by name."""
        pids = {}
        if self.process is None:
            return pids
        for entry in os.listdir("/proc"):
            stat = stat_of(int(entry)) if entry.isdigit() else None
            if stat is not None and stat[2] == self.process.pid:
                # A name has 15 characters, so one is cut off.
                name = stat[0].replace("usbmgrd-", "")
                name = "qmpclient" if name == "qmpclie" else name
                pids[name] = int(entry)
        return pids

    def stop(self):
        """As the service manager does it; the exit status."""
        self.process.terminate()
        return self.end()

    def end(self, seconds=20):
        """Waits for the end, after which nothing may be left; the status."""
        self.pids.update(self.family())
        status = self.process.wait(seconds)
        for name, pid in self.pids.items():
            wait_for("end of " + name, lambda: not is_alive(pid))
        equal(os.path.lexists(self.socket), False)
        return status

    def is_well(self):
        """Still the same processes, and they answer."""
        equal(self.process.poll(), None)
        equal(self.children(), self.pids)
        equal(self.ctl("show", "devices").returncode, 0)

    def stderr(self):
        return open(self.path("stderr"), errors="replace").read()

    def log(self, process):
        """What is in one of the audit logs, an object a line.

        A line is one write, of which a reader may see the first part alone.
        """
        try:
            text = open("%s/%s.log" % (self.logs, process)).read()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(True)
                if line.endswith("\n")]

    def ctl(self, *arguments):
        return subprocess.run(
            [BUILD + "/usbmgrctl", "-s", self.socket, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=SOON)

    def devices(self):
        return json.loads(self.ctl("show", "devices", "-j").stdout)

    def machines(self):
        """Name of each machine: its state and reason."""
        return {vm["vm"]: (vm["state"], vm["reason"]) for vm in
                json.loads(self.ctl("show", "vms", "-j").stdout)}

    def comment(self):
        """For people who want to know why a test failed."""
        for path in [self.path("stderr")] + glob.glob(self.logs + "/*"):
            if os.path.exists(path):
                comment("%s:" % path)
                comment("".join(open(path, errors="replace")
                                .readlines()[-15:]))
