#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""docs/examples/X.conf is a policy that usbmgrd takes without a warning, does
with the events of X.jsonl what X.out says, and is shown in usbmgrd.conf(5).
X.shown is what a shell shows that is given the commands in it. That the pages
show what is in the files is seen to by `make check-docs`."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

os.chdir(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
BUILD = os.path.realpath(os.environ.get("B", "build"))
TIMEOUT = 60
PAGE = open("docs/usbmgrd.conf.5").read()


def call(program, *arguments):
    return subprocess.run([os.path.join(BUILD, program), *arguments],
                          cwd=directory, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=TIMEOUT)


def is_taken(name):
    """A checkout may belong to anybody; a policy must be root's."""
    policy = os.path.join(directory, name + ".conf")
    shutil.copyfile("docs/examples/%s.conf" % name, policy)
    os.chown(policy, 0, 0)
    os.chmod(policy, 0o644)
    result = call("usbmgrd", "-n", "-f", policy)
    return (result.returncode, result.stdout + result.stderr), (
        0, "configuration OK\n")


def decides(name):
    events = os.path.realpath("docs/examples/%s.jsonl" % name)
    result = call("usbmgrctl", "replay", "-f", name + ".conf", events)
    text = "".join(
        " ".join([a["action"], a["device"], a.get("vm", "-"), a["reason"]])
        + "\n" for a in map(json.loads, result.stdout.splitlines()))
    want = open("docs/examples/%s.out" % name).read()
    return (result.returncode, result.stderr, text), (0, "", want)


def is_shown(name):
    """The policy, and what it does, are blocks of the page."""
    return [suffix for suffix in ("conf", "out") if
            '\n.\\" begin examples/%s.%s\n' % (name, suffix) not in PAGE], []


def shows(name):
    """As in a terminal: commands behind a $, and what they print."""
    want = open("docs/examples/%s.shown" % name).read()
    got = ""
    for command in re.findall(r"(?m)^\$ (.*)$", want):
        result = subprocess.run(
            ["sh", "-c", command], cwd="docs/examples", text=True,
            timeout=TIMEOUT, env={"PATH": BUILD + ":" + os.environ["PATH"]},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        got += "$ %s\n%s" % (command, result.stdout)
    return got, want


def names(suffix):
    return [os.path.basename(path)[:-len(suffix)]
            for path in sorted(glob.glob("docs/examples/*" + suffix))]


if os.geteuid() != 0:
    print("Bail out! must be run by root: policy files must be root's")
    sys.exit(1)
tests = [(test, name) for name in names(".conf")
         for test in (is_taken, decides, is_shown)]
tests += [(shows, name) for name in names(".shown")]
failed = 0
print("1..%d" % len(tests))
with tempfile.TemporaryDirectory() as directory:
    for number, (test, name) in enumerate(tests, 1):
        got, want = test(name)
        failed += got != want
        print("%s %d - %s %s" % ("ok" if got == want else "not ok", number,
                                 name, test.__name__.replace("_", " ")))
        if got != want:
            print("# got %r\n# want %r" % (got, want))
sys.exit(failed != 0 or not tests)
