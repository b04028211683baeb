# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""The service as a unit of systemd, in the bed made with -i."""

import os
import signal
import subprocess

import inside
from inside import Trouble, read
from scenario import ALL, POLICY, Scenario

ROOT = os.path.realpath(inside.HERE + "/../..")
CHILDREN = ["engine", "monitor", "qmpclient"]


def call(*argv):
    """Exit status and output."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=180,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return done.returncode, done.stdout


def shown(name):
    return call("systemctl", "show", "--value", "-p", name, "usbmgrd")[1].strip()


def journal():
    return call("journalctl", "-q", "-o", "cat", "-u", "usbmgrd")[1]


def ours(*directories):
    """What has our name there."""
    return [os.path.join(directory, name) for top in directories
            for directory, names, files in os.walk(top)
            for name in names + files if "usbmgr" in name]


class Unit(inside.Usbmgrd):
    """The service, when systemd has it."""

    def _install(self, build):
        pass

    def start(self):
        status, text = call("systemctl", "start", "usbmgrd")
        if status:
            raise Trouble("systemctl start: %s%s" % (text, journal()))

    def stop(self, signum=signal.SIGTERM):
        if shown("LoadState") == "not-found":
            return None
        return call("systemctl", "stop", "usbmgrd")[0]

    def main(self):
        return int(shown("MainPID"))

    def children(self):
        """Process ids by name."""
        found = {}
        for pid in self.cgroup():
            command = read("/proc/%d/comm" % pid) or ""
            if command.startswith("usbmgrd-"):
                # A name has 15 characters, so one is cut off.
                name = command[len("usbmgrd-"):]
                found["qmpclient" if name == "qmpclie" else name] = pid
        return found

    def cgroup(self):
        group = shown("ControlGroup")
        if not group:
            return []
        procs = read("/sys/fs/cgroup%s/cgroup.procs" % group) or ""
        return [int(pid) for pid in procs.split()]

    def evidence(self):
        yield from super().evidence()
        yield "journal", journal()


class Installed(Scenario):
    def policy(self, *rules):
        self.service.write_policy(POLICY % ("", "") + "\n".join(rules) + "\n")

    def active(self, restarts=0):
        self.ok((shown("ActiveState"), shown("NRestarts"), shown("Result")) ==
                ("active", str(restarts), "success"),
                "it is active after %d restarts" % restarts)


def main(programs):
    """Runs all scenarios, one after the other, until one fails; programs is
    the directory that the service's are in. Returns the exit status.
    """
    inside.BINARIES, inside.Usbmgrd = programs, Unit
    inside.prepare()
    for function in ALL:
        Installed(function, ROOT + "/build").run(function)
        if Scenario.failed:
            break
    print("1..%d" % Scenario.count, flush=True)
    return Scenario.failed != 0
