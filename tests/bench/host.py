# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""A host for the benchmark: its sysfs, its nodes, its users, its processes.

All is in namespaces of its own: a tree of files is at /sys, plain files are
the nodes below /dev/bus/usb (see usbnode.c), uevents are relayed by the
kernel to no other network namespace.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE + "/../proc")

import service              # noqa: E402

PROGRAMS = service.BUILD + "/bench"
PCI = "devices/pci0000:00/0000:00:14.0/usb%d"
# A boot mouse: device, configuration, interface, HID, endpoint.
DESCRIPTORS = ("1201000200000040%s000101020001 09022200010100a032"
               "090400000103010200 092111010001223400 0705810308000a")
MOUSE = "5e042308"              # vendor and product, as a device says them
KEYBOARD = "3c410721"
STRINGS = {"manufacturer": "Microsoft", "product": "Classic IntelliMouse",
           "speed": "12"}
# What hangs below the interface of a mouse that its driver has.
DIRECTORIES = """
    ../power ../ep_00/power power ep_81/power hid/power hid/hidraw/hidraw0/power
    hid/input/input5/power hid/input/input5/capabilities hid/input/input5/id
    hid/input/input5/event3/power hid/input/input5/mouse0/power
""".split()
BUS = 3                         # where the devices of the benchmark go
BUS_DEVICES = 100               # others, on each bus from 10 on
OTHERS_FROM = 10
NODES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}


def enter(*argv):
    """Runs this program again where all this is."""
    if os.environ.get("USBMGRD_TEST_NAMESPACE") is None:
        os.environ["USBMGRD_TEST_NAMESPACE"] = "private"
        os.execvp("unshare", ["unshare", "-m", "-n", "--propagation",
                              "private", sys.executable, *argv])
    os.umask(0o022)
    for name in "passwd", "group":
        service.hide_account_file(name)
    service.set_accounts()


def stand_in():
    """Mounts what stands for sysfs and usbfs."""
    for path in "/sys", "/dev":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs",
                        path], check=True)
    for name, (major, minor) in NODES.items():
        os.mknod("/dev/" + name, 0o20666, os.makedev(major, minor))
        os.chmod("/dev/" + name, 0o666)
    os.makedirs("/dev/bus/usb")
    os.makedirs("/sys/bus/usb/devices")
    os.makedirs("/sys/bus/usb/drivers/usb")
    root_hub(BUS)


def write(path, data):
    with open(path, "wb") as out:
        out.write(data if isinstance(data, bytes) else data.encode() + b"\n")


def root_hub(bus):
    path = "/sys/" + PCI % bus
    os.makedirs(path + "/%d-0:1.0" % bus, exist_ok=True)
    for port in range(1, 16):
        os.mkdir(path + "/%d-0:1.0/usb%d-port%d" % (bus, bus, port))
    os.makedirs("/dev/bus/usb/%03d" % bus)


def plugged(bus, chain, devnum, ids=MOUSE):
    """A device as sysfs and usbfs have it; its DEVPATH."""
    descriptors = bytes.fromhex(DESCRIPTORS % ids)
    name = "%d-%s" % (bus, chain)
    path = PCI % bus + "/" + name
    interface = "/sys/%s/%s:1.0" % (path, name)
    for directory in DIRECTORIES:
        os.makedirs("%s/%s" % (interface, directory))
    os.symlink("../../../../../../bus/usb/drivers/usbhid",
               interface + "/driver")
    os.symlink("../../../../../bus/usb/drivers/usb", "/sys/%s/driver" % path)
    os.symlink("../../../../../../bus/usb", interface + "/subsystem")
    write("/sys/%s/descriptors" % path, descriptors)
    for key, value in dict(STRINGS, busnum=str(bus),
                           devnum=str(devnum)).items():
        write("/sys/%s/%s" % (path, key), value)
    os.symlink("../../../" + path, "/sys/bus/usb/devices/" + name)
    write("/dev/bus/usb/%03d/%03d" % (bus, devnum), descriptors)
    return "/" + path


def add_others(count):
    """That many more devices, on buses of their own."""
    for number in range(count):
        bus = OTHERS_FROM + number // BUS_DEVICES
        index = number % BUS_DEVICES
        if index == 0:
            root_hub(bus)
        plugged(bus, "%d.%d" % (1 + index // 10, 1 + index % 10), 2 + index,
                KEYBOARD)


def policy(rules, vms=1, last='pass product 045e:0823 to "vm0"'):
    """So many rules, of which the last one is the one that matches."""
    kinds = ['block port %d:%d.%d', 'block product %04x:%04x',
             'block product %04x:%04x serial "S%d"']
    lines = ["damping off"]
    lines += ['vm "vm%d" qmp "DIR/vm%d.qmp" bus "xhci.0"' % (number, number)
              for number in range(vms)]
    for number in range(rules - 1):
        if number % 3 == 0:
            lines.append(kinds[0] % (200 + number // 60000,
                                     1 + number // 250 % 240,
                                     1 + number % 250))
        elif number % 3 == 1:
            lines.append(kinds[1] % (0x1000 + number // 65536,
                                     number % 65536))
        else:
            lines.append(kinds[2] % (0x1000 + number // 65536,
                                     number % 65536, number))
    return "\n".join(lines + [last]) + "\n"


class Plug:
    """The program plug, to which requests go."""

    def __init__(self, directory, machines=1, programs=PROGRAMS):
        self.process = subprocess.Popen(
            [programs + "/plug", directory, str(machines)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=service.die_with_us)
        service.started.append(self.process)

    def ask(self, *words):
        """The numbers of the answer."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("plug ended")
        return [int(word) for word in line.split()]


def bring_up(text, machines=1, programs=PROGRAMS, others=0):
    """(service, plug): both at work with that policy, machines ready."""
    stand_in()
    add_others(others)
    usbmgrd = service.Service(text)
    usbmgrd.programs = programs
    plug = Plug(usbmgrd.dir, machines)
    plug.ask("serve", 50)
    usbmgrd.launch()
    while not usbmgrd.has_started():
        plug.ask("serve", 20)
    usbmgrd.pids = usbmgrd.children()
    wait_for_machines(usbmgrd, plug)
    return usbmgrd, plug


def wait_for_machines(usbmgrd, plug):
    for _ in range(100):
        plug.ask("serve", 50)
        if all(state == "ready" for state, _ in usbmgrd.machines().values()):
            return
    raise AssertionError("machines: %s" % usbmgrd.machines())


def devices(plug, ports, first=1):
    """What can be plugged: nothing looks for it until a uevent tells."""
    for port in range(first, ports + 1):
        plug.ask("device", BUS, port + 1, plugged(BUS, str(port), port + 1))


def direct(plug, directory, programs=PROGRAMS, four=False):
    """Starts the lower bound, of one process or of four; its first one."""
    process = subprocess.Popen(
        [programs + "/direct", *(["-4"] if four else []),
         directory + ("/four.qmp" if four else "/direct.qmp")],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        preexec_fn=service.die_with_us)
    service.started.append(process)
    plug.ask("serve", 500)
    process.stdout.readline()
    return process


def family(pid):
    """A process and all of its children."""
    pids = [pid]
    for one in pids:
        path = "/proc/%d/task/%d/children" % (one, one)
        pids += map(int, open(path).read().split())
    return pids


def pss(pid):
    """kB of memory: its share of all, and what is its alone."""
    fields = {}
    for line in open("/proc/%d/smaps_rollup" % pid):
        key, _, value = line.partition(":")
        fields[key] = int(value.split()[0]) if value.endswith("kB\n") else 0
    return fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"]


def switches(pid):
    """How often it was given a processor so far."""
    return sum(int(service.status_of(pid, key)[0]) for key in
               ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"))
