# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""An initramfs: busybox, kernel modules and an init that loads them."""

import os

import kernel

DIRECTORIES = "bin dev lower modules proc root sys upper".split()


def _entry(name, mode, data):
    """One file of an archive in the "newc" format of cpio(5)."""
    def padded(some):
        return some + bytes(-len(some) % 4)
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields)
    return padded(head + path) + padded(data)


def _contents(path):
    with open(path, "rb") as file:
        return file.read()


def build(kernel_dir, init, names, environment=""):
    """The archive. init: path of a script for busybox's shell, to which the
    modules are in /modules, their order in /modules/order, and what
    environment says in /environment.
    """
    paths = kernel.modules(kernel_dir, *names)
    order = "".join(os.path.basename(path) + "\n" for path in paths)
    entries = [(name, 0o040755, b"") for name in DIRECTORIES]
    entries += [("modules/" + os.path.basename(path), 0o100644,
                 _contents(path)) for path in paths]
    entries += [
        ("modules/order", 0o100644, order.encode()),
        ("environment", 0o100644, environment.encode()),
        ("bin/busybox", 0o100755, _contents("/bin/busybox")),
        ("bin/sh", 0o120777, b"busybox"),
        ("init", 0o100755, _contents(init)),
        ("TRAILER!!!", 0, b"")]
    return b"".join(_entry(*entry) for entry in entries)
