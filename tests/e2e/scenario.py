# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""What a scenario is written with, and what runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import inside
from inside import Trouble, wait

SECONDS = 90        # the longest that a scenario may take
LOAD_SECONDS = 900  # and one that is about numbers

POLICY = """\
log directory "%s"
control socket "%s" group "usbmgrd"
events auto
vm "win10" qmp "%s/win10.qmp" bus "xhci.0" %%s
vm "linux" qmp "%s/linux.qmp" bus "xhci.0" %%s
block all
""" % (inside.LOGS, inside.CONTROL_SOCKET, inside.MACHINES, inside.MACHINES)
ALL = []


def scenario(function):
    ALL.append(function)
    return function


def load(function):
    """Takes long, and is run only when that is asked for."""
    function.load = True
    function.seconds = LOAD_SECONDS
    return function


def is_load(function):
    return hasattr(function, "load")


def rule(number):
    """The place of a scenario's rule, counted from 1."""
    return "usbmgrd.conf:%d" % (POLICY.count("\n") + number)


class Scenario:
    """What a scenario may use, and the checks that several of them make."""

    count = 0
    failed = 0
    hopeless = False

    def __init__(self, function, build):
        self.name = function.__name__
        self.ports = inside.Ports()
        self.service = inside.Usbmgrd(build)
        self.machines = []
        self.mounts = []
        self.others = []        # processes that pose as machines, or help
        self.plug = self.ports.plug
        self.unplug = self.ports.unplug

    def ok(self, true, text):
        Scenario.count += 1
        Scenario.failed += not true
        print("%s %d - %s: %s" % ("ok" if true else "not ok", self.count,
                                  self.name, " ".join(text.split())),
              flush=True)

    def machine(self, name, *options, **attributes):
        machine = inside.Machine(name, options)
        vars(machine).update(attributes)
        self.machines.append(machine)
        machine.start()
        return machine

    def usbmgrd(self, *rules, win10="", linux=""):
        """With these rules, and more options for the machines."""
        self.service.write_policy(POLICY % (win10, linux)
                                  + "\n".join(rules) + "\n")
        self.service.start()

    def policy(self, *lines):
        """With these lines alone."""
        self.service.write_policy("".join(
            line + "\n" for line in POLICY.splitlines()[:2] + list(lines)))
        self.service.start()

    # The host's disks

    def mount(self, disk):
        directory = "/run/mount" + disk.replace("/", ".")
        os.makedirs(directory, exist_ok=True)
        inside.run("mount", disk, directory)
        self.mounts.append(directory)

    def release_disks(self):
        """Also those that a machine has by now."""
        for directory in filter(os.path.ismount, self.mounts):
            inside.run("umount", "-l", directory)
        inside.run("swapoff", "-a")

    def may_open(self, port):
        """May QEMU's user open the device?"""
        return subprocess.run(
            ["setpriv", "--reuid", inside.QEMU_USER, "--regid",
             inside.QEMU_USER, "--clear-groups", "test", "-r",
             inside.usbfs_path(port)],
            check=False).returncode == 0

    def holders(self, port):
        """Names of the machines that have the device open."""
        return [machine.name for machine in self.machines if machine.process
                and inside.address(port) in machine.holds()]

    # Checks

    def attached(self, port, machine, product, count=1):
        """usbmgrd, QEMU's process and QEMU's guest side agree."""
        said = self.service.device(port, state="attached", vm=machine.name)
        bus, number = inside.address(port)
        self.ok(said["devnum"] == number and said["rule"] and said["reason"],
                "%s (device %d) is attached to %s: %s"
                % (port, number, machine.name, said["reason"]))
        self.ok(self.holders(port) == [machine.name],
                "%s's process has 189:%d open, no other has"
                % (machine.name, (bus - 1) * 128 + number - 1))
        products = [name for _, name in machine.guest_ports()]
        self.ok(product in products and
                (count is None or len(machine.devices()) == count),
                "%s's guest has a port with %s" % (machine.name, product))

    def refused(self, port, because=""):
        """No machine has it, and usbmgrd says why."""
        self.service.device(port, vm=None)
        said = wait("%s has a reason with %r" % (port, because),
                    lambda: self.refusal(port, because))
        self.ok(not self.holders(port), "%s is %s, no machine has it: %s"
                % (port, said["state"], said["reason"]))

    def refused_by(self, port, reason):
        """The same, in exactly these words; a machine may have it."""
        said = self.service.device(port, state="held", reason=reason)
        self.ok(True, "%s is held: %s" % (port, said["reason"]))

    def refusal(self, port, because):
        said = self.service.devices().get(port, {})
        return said.get("state") in ("held", "unassigned") and \
            because in said.get("reason", "") and said["reason"] and said

    def gone(self, port, machine, others=0, leaked=False):
        wait("usbmgrd forgets %s" % port,
             lambda: port not in self.service.devices())
        wait("%s loses the device of %s" % (machine.name, port),
             lambda: len(machine.devices()) == others)
        wait("%s's process closes it" % machine.name,
             lambda: len(machine.holds()) == others and
             (leaked or not machine.holds(unplugged=True)))
        self.ok(True, "%s was emptied, %s has %s" %
                (port, machine.name, others or "nothing"))

    def emptied(self, machine):
        wait("%s is empty" % machine.name,
             lambda: not machine.devices() and not machine.holds())
        self.empty(machine)

    def empty(self, machine):
        self.ok(not machine.devices() and not machine.holds(),
                "%s has no device" % machine.name)

    def ready(self, vm):
        wait("usbmgrd is ready with %s" % vm,
             lambda: self.service.vms()[vm]["state"] == "ready")

    def soon(self, what, cause, check):
        """The check is good within seconds: nobody looks now and then."""
        start = time.monotonic()
        cause()
        check()
        seconds = time.monotonic() - start
        self.ok(seconds < 5, "%.1f s after %s" % (seconds, what))

    def explained(self, port, state, *rules):
        """By usbmgrctl explain -j: these rules match, the last decides."""
        said = json.loads(self.service.usbmgrctl("explain", port, "-j"))
        self.ok([(entry["rule"], entry["decides"]) for entry in said["rules"]]
                == [(name, name == rules[-1]) for name in rules]
                and said["state"] == state and said["rule"] == rules[-1],
                "explain %s: %s by %s: %s" % (port, said["state"],
                                              said["rule"], said["reason"]))

    def one_request_number(self, port):
        number = self.service.device(port)["request"]
        told = {record["process"] for record in self.service.trail(number)}
        self.ok(number and told == set(inside.LOG_NAMES),
                "request %s of %s is in the logs of %s" %
                (number, port, ", ".join(sorted(told))))

    # Running it

    def run(self, function, seconds=None):
        start = time.monotonic()
        failed = Scenario.failed
        print("# %s: %s" % (self.name, function.__doc__), flush=True)
        self.attempt(lambda: function(self),
                     seconds or getattr(function, "seconds", SECONDS))
        if Scenario.failed > failed:
            self.explain()
        self.attempt(self.clear)
        print("# %s: %.1f s" % (self.name, time.monotonic() - start),
              flush=True)

    def attempt(self, step, seconds=SECONDS):
        def too_long(*_):
            raise Trouble("not done after %d s" % seconds)

        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(seconds)
        try:
            step()
        except Exception as error:      # one scenario must not end the others
            Scenario.hopeless |= isinstance(error, inside.NoStart)
            self.ok(False, "%s: %s" % (type(error).__name__, error))
        finally:
            signal.alarm(0)

    def clear(self):
        try:
            status = self.service.stop()
        finally:
            for machine in self.machines:
                machine.kill()
            for process in self.others:
                process.kill()
                process.wait()
            self.release_disks()
            self.ports.clear()
            self.ports.close()
        if status:
            raise Trouble("usbmgrd ended with status %d" % status)
        if self.service.policies:
            whole, text = self.service.accounts()
            self.ok(whole, "the logs account for it: %s" % text)

    def explain(self):
        errors = [(machine.path("err"), inside.read(machine.path("err")))
                  for machine in self.machines]
        for title, text in list(self.service.evidence()) + errors:
            print("# ----- %s" % title)
            for line in text.splitlines()[-12:]:
                print("#   " + line)
        sys.stdout.flush()
