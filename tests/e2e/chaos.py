# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Chaos: everything at once and at random, and all is where it belongs
whenever things have become quiet.
"""

import collections
import json
import os
import re
import signal
import socket
import subprocess
import time

import inside
import load
import oracle
import plan
import qmp
import recover
from inside import Trouble, wait
from scenario import scenario

SEED, CHECKS = 96, 5        # of the short one
KERNEL_SECONDS = 45         # until the kernel has read all devices
QUIET_SECONDS = 75          # until all is where it belongs, at the latest
MOMENT = 2                  # s until a device is handed over, or is not
SENT, ANSWERED = 0.1, 0.6   # until QEMU was told, and has answered
SLOW_SECONDS = 8            # and of what took longer is told
ANSWER_SECONDS = 45         # usbmgrctl waits 30 s for a machine
DEATHS, WINDOW = 7, 65      # of one child, in s: fewer than it may
LAST = 40                   # actions that are told of
FAMILY = 5                  # processes of the service
GROWTH = 256                # kB that a process may differ from itself
BOOKS = 6                   # checks from one look at the logs to the next
DROPPED = "taken out of its machine by somebody else"
ID = re.compile(r"usbmgrd-(\d+)-([\d.]+)-(\d+)-\d+$")


class Chaos:
    """Does what the plan says, and knows what has to come of it."""

    def __init__(self, s, seed, say=lambda text: None):
        self.s = s
        self.service = s.service
        self.seed = seed
        self.say = say
        self.step = 0
        self.checks = 0
        self.seen = 0           # devices in machines, at all checks
        self.last = collections.deque(maxlen=LAST)
        self.machines = {name: inside.Machine(name) for name in plan.MACHINES}
        s.machines += self.machines.values()
        self.stopped = set()
        self.plugged = {}       # port: what it says of itself
        self.kinds = {}         # port: its name in plan.py
        self.policy = None      # in force
        self.texts = []         # of all policies that were
        self.overrides = {}     # port: command line, of what is in force
        self.unsure = set()     # ports of which it is not known
        self.dropped = set()    # ports of what was stolen from a machine
        self.homes = {}         # port: the machine of a list that has it
        self.deaths = {child: collections.deque(maxlen=DEATHS)
                       for child in plan.CHILDREN}
        self.killed = set()     # pids
        self.clients = []
        self.hung = []
        self.rotations = 0
        self.sizes = collections.defaultdict(list)
        self.descriptors = {}

    def do(self, action):
        self.step += 1
        self.last.append("%d %s" % (self.step, plan.text(action)))
        self.say("%.1f %s" % (time.monotonic(), self.last[-1]))
        getattr(self, action[0].replace("continue", "cont"))(*action[1:])

    def run(self, until):
        """Until that is true after a check."""
        try:
            for action in plan.Plan(self.seed).actions():
                self.do(action)
                if action == ("check",) and until(self):
                    break
            self.books()
        except (Trouble, qmp.Error, OSError, subprocess.SubprocessError):
            self.confess()
            raise

    @staticmethod
    def pause(seconds):
        time.sleep(seconds)

    # Devices

    def replaced(self, port, kind=None):
        """What was said of the one before is void."""
        self.plugged.pop(port, None)
        self.kinds.pop(port, None)
        self.overrides.pop(port, None)
        self.homes.pop(port, None)
        self.dropped.discard(port)
        if kind:
            device = plan.KINDS.get(kind) or plan.EMULATED[kind]
            self.kinds[port] = kind
            self.plugged[port] = dict({"serial": ""}, port=port, **device)

    def plug(self, port, kind):
        self.s.ports.plug(port, plan.KINDS.get(kind) or
                          {"kind": plan.EMULATED[kind]["kind"]}, settle=False)
        self.replaced(port, kind)

    def unplug(self, *ports):
        for port in ports:
            self.s.ports.unplug(port, settle=False)
            self.replaced(port)

    def replug(self, port, kind, *pauses):
        for pause in pauses:
            self.unplug(port)
            time.sleep(pause)
            self.plug(port, kind)
            time.sleep(pause)

    def glimpse(self, port, kind, pause):
        if pause:
            self.plug(port, kind)
            time.sleep(pause)
            self.unplug(port)
            return
        with open(inside.LOGS + "/engine.log") as log:
            log.seek(0, os.SEEK_END)
            self.plug(port, kind)
            asked = self.told(log, "attach", port)
            pid = asked and recover.pid_of(self.s, "qmpclient")
            if pid:
                time.sleep(SENT)
                os.kill(pid, signal.SIGSTOP)
                time.sleep(ANSWERED)
            self.unplug(port)
            if pid:
                self.told(log, "device-remove", port)
                os.kill(pid, signal.SIGCONT)
                self.wait_for_leave(asked)

    def wait_for_leave(self, asked):
        """Without anything else that would have all looked at again."""
        name = asked["vm"]
        if name not in self.machines or name in self.stopped:
            return
        bus, port = asked["device"].split(":")
        prefix = "usbmgrd-%s-%s-%d-" % (bus, port, asked["devnum"])
        wait("what is gone has left " + name, lambda: not any(
            found.startswith(prefix)
            for found in self.machines[name].devices()))

    @staticmethod
    def told(log, event, port):
        """That record of the engine, once it is there, if it comes at all."""
        end = time.monotonic() + MOMENT
        text = ""
        while time.monotonic() < end:
            time.sleep(0.01)
            text += log.read()
            whole, _, text = text.rpartition("\n")
            for record in map(json.loads, whole.splitlines()):
                where = record.get("device") or "%s:%s" % (
                    record.get("bus"), record.get("port"))
                if (record["event"], where) == (event, port):
                    return record
        return None

    def become(self, port, before, kind):
        self.s.ports.wait_for(port, plan.KINDS[before])
        self.s.ports.become(port, plan.KINDS[kind])
        self.replaced(port, kind)

    def is_settled(self, port, device):
        """Has the kernel read what is plugged there?"""
        return inside.read(inside.sysfs(port) + "/idProduct") == \
            device["product"] and \
            inside.read(inside.sysfs(port) + "/bConfigurationValue")

    def enumerated(self):
        return all(self.is_settled(port, device)
                   for port, device in self.plugged.items()) and \
            not any(os.path.exists(inside.sysfs(port))
                    for port in plan.PORTS if port not in self.plugged)

    def enumerate(self):
        """An emulated device may be too slow for the kernel, which gives up
        on it: that one is plugged anew.
        """
        for _ in range(3):
            try:
                wait("the kernel has read all devices", self.enumerated,
                     KERNEL_SECONDS)
                return
            except Trouble:
                self.plug_anew()
        wait("the kernel has read all devices", self.enumerated)

    def plug_anew(self):
        for port, kind in list(self.kinds.items()):
            if kind != "hub" and not self.is_settled(port,
                                                     self.plugged[port]):
                self.say("  the kernel gave up on %s" % port)
                self.replug(port, kind, 0.5)

    # Machines

    def leave(self, name):
        """What is at home there has to find another place."""
        self.homes = {port: home for port, home in self.homes.items()
                      if home != name}

    def start(self, name):
        self.machines[name].start()

    def kill(self, name, signame):
        self.machines[name].kill(signal.Signals["SIG" + signame])
        self.stopped.discard(name)
        self.leave(name)

    def stop(self, name):
        self.machines[name].process.send_signal(signal.SIGSTOP)
        self.stopped.add(name)

    def cont(self, name):
        self.machines[name].process.send_signal(signal.SIGCONT)
        self.stopped.discard(name)

    def steal(self, name, which):
        """Somebody else takes a device out, if there is one."""
        machine = self.machines[name]
        ids = machine.devices()
        if not ids:
            return
        victim = ids[which % len(ids)]
        try:
            machine.look.execute("device_del", id=victim)
        except qmp.Error:
            return              # the service was faster
        bus, chain, _ = ID.match(victim).groups()
        self.dropped.add("%s:%s" % (bus, chain))
        self.homes.pop("%s:%s" % (bus, chain), None)

    # The policy

    @staticmethod
    def write(text):
        with open(inside.POLICY + ".new", "w") as file:
            file.write(text)
        os.rename(inside.POLICY + ".new", inside.POLICY)

    def in_force(self, text):
        self.policy = oracle.Policy(text)
        self.texts.append(text)
        self.homes.clear()
        self.overrides = {
            port: words for port, words in self.overrides.items()
            if words[0] == "detach" or words[-1] in self.policy.pledges}

    def policy_file(self, text):
        self.write(text)
        self.in_force(text)

    def reload(self, text):
        self.policy_file(text)
        self.ask_until("reload", 0, "policy loaded")
        self.machines_left()

    def hangup(self, text):
        before = self.loaded()
        self.policy_file(text)
        self.service.process.send_signal(signal.SIGHUP)
        wait("SIGHUP counts", lambda: self.loaded() != before)
        self.machines_left()

    def machines_left(self):
        """A new engine would not know of those that left the policy."""
        for name, machine in self.machines.items():
            if machine.process and name not in self.policy.pledges:
                wait("%s has left the policy and is empty" % name,
                     lambda: not machine.devices(), QUIET_SECONDS)

    def loaded(self):
        """How often a policy was, as the parent's log tells."""
        return sum(record["event"] == "policy"
                   for record in self.records("usbmgrd"))

    def broken(self, text):
        self.write(text)
        self.ask_until("reload", 1, "was not loaded")
        self.write(self.texts[-1])

    def ask_until(self, word, status, text):
        """Whoever answers may be killed meanwhile."""
        def answered():
            done = self.ctl(word)
            said.append(done.stdout + done.stderr)
            return done.returncode == status and text in said[-1]
        said = []
        try:
            wait(text, answered)
        except Trouble as trouble:
            raise Trouble("%s; the last answer: %s" % (trouble, said[-1]))

    # The service

    def serve(self):
        self.service.start()

    def end(self, how):
        """Its devices stay, what was said by hand is forgotten."""
        self.unhang()
        process = self.service.process
        family = self.service.processes()
        if how == "spawner":
            os.kill(recover.pid_of(self.s, "spawner"), signal.SIGKILL)
            self.expect(process.wait(inside.SECONDS), 1, "exit status")
            self.service.process = None
        else:
            self.expect(self.service.stop(signal.Signals[how]),
                        -9 if how == "SIGKILL" else 0, "exit status")
        wait("the end of its processes", lambda: not any(
            os.path.exists("/proc/%d" % pid) for pid in family))
        self.overrides.clear()
        for times in self.deaths.values():
            times.clear()

    def may_die(self, child):
        """The service gives up on one that dies too often."""
        times = self.deaths[child]
        if len(times) == DEATHS:
            time.sleep(max(0, times[0] + WINDOW - time.monotonic()))
        times.append(time.monotonic())
        if child == "engine":
            self.overrides.clear()
        return wait("there is a %s" % child, lambda: self.alive(child))

    def alive(self, child):
        """Its pid, once it is another one than that which was killed."""
        pid = recover.pid_of(self.s, child)
        if pid is None or pid in self.killed:
            return None
        self.killed.add(pid)
        return pid

    def death(self, *children):
        for pid in [self.may_die(child) for child in children]:
            os.kill(pid, signal.SIGKILL)

    def freeze(self, child, *actions):
        pid = self.may_die(child)
        os.kill(pid, signal.SIGSTOP)
        for action in actions:
            getattr(self, action[0])(*action[1:])
        os.kill(pid, signal.SIGKILL)

    @staticmethod
    def path(name, number=0):
        return "%s/%s.log%s" % (inside.LOGS, name,
                                ".%d" % number if number else "")

    def rotate(self):
        """As logrotate does it."""
        names = [name for name in inside.LOG_NAMES
                 if os.path.exists(self.path(name))]
        self.rotations += 1
        for name in names:
            for number in range(self.rotations, 0, -1):
                if os.path.exists(self.path(name, number - 1)):
                    os.rename(self.path(name, number - 1),
                              self.path(name, number))
        if self.service.process:
            self.service.process.send_signal(signal.SIGUSR1)
            wait("there are new logs", lambda: all(
                os.path.exists(self.path(name)) for name in names))

    def files(self, name):
        """All logs of a process, the oldest first."""
        paths = [self.path(name, number)
                 for number in range(self.rotations, -1, -1)]
        return list(filter(os.path.exists, paths))

    def records(self, name):
        """A line that is being written is none yet."""
        for path in self.files(name):
            with open(path) as file:
                for line in file:
                    if line.endswith("\n"):
                        yield json.loads(line)

    # Those who ask

    def ctl(self, *words):
        return subprocess.run(
            [inside.BINARIES + "/usbmgrctl", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=ANSWER_SECONDS,
            check=False)

    def ask(self, *words):
        """And do not wait for the answer."""
        self.unsure |= set(words) & set(self.plugged) \
            if words[0] != "explain" else set()
        self.clients.append((words, subprocess.Popen(
            [inside.BINARIES + "/usbmgrctl", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)))

    def tell(self, *words):
        port = words[1] if words[1] != "-f" else words[2]
        status = self.ctl(*words).returncode
        if status != 0:
            self.unsure.add(port)
            return
        self.homes.pop(port, None)
        self.dropped.discard(port)
        self.overrides.pop(port, None)
        if words[0] != "policy":
            self.overrides[port] = words

    def hang(self, how):
        """A client that says nothing, or half, or does not listen."""
        if how == "watcher":
            process = subprocess.Popen(
                [inside.BINARIES + "/usbmgrctl", "monitor"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            time.sleep(0.2)
            process.send_signal(signal.SIGSTOP)
            self.hung.append(process)
            return
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(inside.SECONDS)
        sock.connect(inside.CONTROL_SOCKET)
        if how == "half":
            sock.send(b"\x30\0\0")
        self.hung.append(sock)

    def unhang(self):
        for client in self.hung:
            if isinstance(client, socket.socket):
                client.close()
            else:
                client.kill()
                client.wait()
        self.hung.clear()

    def answered(self):
        for words, process in self.clients:
            status = process.wait(ANSWER_SECONDS)
            if status not in (0, 1, 3):
                raise Trouble("usbmgrctl %s: status %d"
                              % (" ".join(words), status))
        self.clients.clear()

    def settle_doubts(self):
        """Whatever came of what was asked for: policy counts again."""
        for port in sorted(self.unsure & set(self.plugged)):
            self.overrides.pop(port, None)
            self.homes.pop(port, None)
            wait("%s is known" % port,
                 lambda: port in self.service.devices())
            self.ask_until_left(port)
        self.unsure.clear()

    def ask_until_left(self, port):
        wait("%s is left to the policy" % port, lambda:
             self.ctl("policy", port).returncode == 0 or
             not self.service.devices()[port]["override"])

    # What has to be

    def expect(self, found, wanted, what):
        if found != wanted:
            raise Trouble("%s: %s, not %s" % (what, found, wanted))

    def check(self):
        self.enumerate()
        self.answered()
        self.settle_doubts()
        self.quiet()
        placed = {port: said["vm"]
                  for port, said in self.service.devices().items()
                  if said["vm"]}
        self.seen += len(placed)
        self.homes = {port: name for port, name in placed.items()
                      if len(self.choice(port)) > 1 or port in self.homes}
        self.leaks()
        self.checks += 1
        if self.checks % BOOKS == 0:
            self.verify()

    def quiet(self):
        """All is where it belongs, and stays there."""
        start = time.monotonic()
        last = None
        good = 0
        while good < 2:
            wrong = self.differences()
            seconds = time.monotonic() - start
            last = wrong or last
            good = 0 if wrong else good + 1
            if wrong and seconds > QUIET_SECONDS:
                raise Trouble("not within %d s: %s"
                              % (QUIET_SECONDS, "; ".join(wrong)))
            time.sleep(0.2)
        if seconds > SLOW_SECONDS:
            self.say("  %.1f s until this was over: %s"
                     % (seconds, "; ".join(last)))

    def is_up(self, name):
        return name in self.policy.pledges and self.machines[name].process

    def choice(self, port):
        """The machines of which one has to have it; empty: none must."""
        device = self.plugged[port]
        words = self.overrides.get(port, ["policy"])
        if words[0] == "detach":
            return []
        if words[0] == "attach":
            names = self.policy.by_hand(device, words[-1], "-f" in words)
        else:
            names = self.policy.machines(device)
        home = self.homes.get(port)
        return [home] if home in names else list(filter(self.is_up, names))

    def differences(self):
        if self.service.process.poll() is not None:
            raise Trouble("the service has ended with status %d"
                          % self.service.process.returncode)
        wrong = []
        family = len(self.service.processes())
        if family != FAMILY:
            wrong.append("%d processes, not %d" % (family, FAMILY))
        said = self.service.devices()
        if set(said) != set(self.plugged):
            return wrong + ["plugged are %s, the service says %s" % (
                sorted(self.plugged), sorted(said))]
        for port in sorted(self.plugged):
            wrong += self.misplaced(port, said[port])
        for name, machine in self.machines.items():
            if machine.process:
                wrong += self.in_machine(machine, said)
        return wrong + self.states()

    def misplaced(self, port, said):
        wanted = self.choice(port)
        stays_out = port in self.dropped and said["reason"] == DROPPED
        state = {"attached"} if wanted and not stays_out else \
            {"held", "unassigned"}
        if said["devnum"] != inside.devnum(port):
            return ["%s is device %d, the service says %d"
                    % (port, inside.devnum(port), said["devnum"])]
        if said["state"] in state and (
                said["vm"] in wanted or not said["vm"] and
                (stays_out or not wanted)):
            return []
        return ["%s belongs to %s, the service says %s %s: %s" % (
            port, " or ".join(wanted) or "nobody", said["state"], said["vm"],
            said["reason"])]

    def in_machine(self, machine, said):
        """QEMU has what the service says that it has, and nothing else."""
        wanted = sorted((port, device["devnum"])
                        for port, device in said.items()
                        if device["vm"] == machine.name)
        ids = [ID.match(name) for name in machine.devices()]
        has = sorted(("%s:%s" % found.group(1, 2), int(found[3]))
                     for found in ids if found)
        opened = sorted(machine.holds())
        guest = len(machine.guest_ports())
        if has == wanted and len(ids) == len(has) == guest and opened == \
                sorted((int(port.partition(":")[0]), number)
                       for port, number in wanted):
            return []
        return ["%s has to have %s, its QEMU has %s, %d of them in guest "
                "ports, and open %s" % (machine.name, wanted, has, guest,
                                        opened)]

    def states(self):
        wanted = {name: "ready" if self.is_up(name) else "absent"
                  for name in self.policy.pledges}
        states = {name: vm["state"] for name, vm in self.service.vms().items()}
        return [] if states == wanted else [
            "machines are %s, not %s" % (states, wanted)]

    # What must not grow

    def measured(self):
        return {inside.read("/proc/%d/comm" % pid): load.size(pid)
                for pid in self.service.processes()}

    def leaks(self):
        up = len(list(filter(self.is_up, self.policy.pledges)))
        counts = {}

        def as_before():
            counts.update({name: size[0]
                           for name, size in self.measured().items()})
            return self.descriptors.setdefault(up, dict(counts)) == counts
        try:
            wait("", as_before, 15)
        except Trouble:
            raise Trouble("descriptors are %s, were %s with %d machines" % (
                counts, self.descriptors[up], up)) from None
        for name, (_, memory) in self.measured().items():
            before = self.sizes[name]
            before.append(memory)
            if memory > max(before[:3]) + GROWTH:
                raise Trouble("%s has %d kB by now, before it had %s"
                              % (name, memory, before))

    # The logs

    def audit(self, *words):
        done = subprocess.run(
            [inside.BINARIES + "/usbmgrctl", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise Trouble("usbmgrctl %s: %s" % (
                " ".join(words[:2]), (done.stdout + done.stderr)[-2000:]))

    def verify(self):
        self.audit("audit", "verify", *[path for name in inside.LOG_NAMES
                                        for path in self.files(name)])

    def books(self):
        """The logs are whole, and the engine's replay with all policies."""
        self.verify()
        options = []
        for number, text in enumerate(dict.fromkeys(self.texts)):
            directory = "/run/policies/%d" % number
            os.makedirs(directory, exist_ok=True)
            path = directory + "/" + os.path.basename(inside.POLICY)
            with open(path, "w") as file:
                file.write(text)
            options += ["-f", path]
        self.audit("replay", *options, *self.files("engine"))

    def confess(self):
        """What somebody needs who looks for the cause."""
        print("# seed %d, step %d; again: make chaos SEED=%d"
              % (self.seed, self.step, self.seed))
        for line in self.last:
            print("#   " + line)
        print("# the policy\n#   " +
              "\n#   ".join(self.texts[-1].splitlines()))
        for port in sorted(self.plugged):
            self.explain(port)
        for name in inside.LOG_NAMES:
            print("# ----- %s" % self.path(name))
            for line in (inside.read(self.path(name)) or "") \
                    .splitlines()[-120:]:
                print("#   " + line)

    def explain(self, port):
        if self.service.process:
            try:
                done = self.ctl("explain", port)
                print("#   " + "\n#   ".join(
                    (done.stdout + done.stderr).splitlines()))
            except subprocess.TimeoutExpired:
                print("#   no answer about %s" % port)


@scenario
def chaos(s):
    """all that can happen, at random, each time the same"""
    all_of_it(s, SEED, lambda state: state.checks == CHECKS)


chaos.seconds = 240         # 45 s where nothing else runs


def all_of_it(s, seed, until, say=lambda text: None):
    state = Chaos(s, seed, say)
    try:
        state.run(until)
    finally:
        state.unhang()
        for name in list(state.stopped):
            state.cont(name)
    s.ok(True, "seed %d: after %d actions all was in its place, %d times, "
         "%d devices in machines, under %d policies and with logs rotated "
         "%d times" % (seed, state.step, state.checks, state.seen,
                       len(state.texts), state.rotations))
