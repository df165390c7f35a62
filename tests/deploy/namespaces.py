"""Hosts as network namespaces of this machine: the links between them can really be cut."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.jobs import ROOT

PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
IP = shutil.which("ip", path=PATH)
SUBNET = "10.99.0"


@dataclass(frozen=True)
class Host:
    """A namespace with a cable to a switch, on which it has its only address."""

    name: str
    space: str
    switch: str
    address: str

    def popen(self, *command: object, **options: Any) -> subprocess.Popen[Any]:
        """A process on this host; `ip` executes the command, so that it keeps the id."""
        return subprocess.Popen(
            [*_within(self.space), *map(str, command)],
            **{"cwd": ROOT, "start_new_session": True, "stdin": subprocess.DEVNULL, **options},
        )

    def cut(self) -> None:
        """Pulls the cable: the host keeps its address, and no packet passes."""
        _ip("-n", self.switch, "link", "set", "dev", self.name, "down")

    def mend(self) -> None:
        _ip("-n", self.switch, "link", "set", "dev", self.name, "up")

    def pids(self) -> list[int]:
        """Every process of the host, whatever its parent."""
        return [int(pid) for pid in _ip("netns", "pids", self.space).split()]

    def titles(self) -> dict[int, str]:
        """The title of each process of the host, by its id."""
        titles = {}
        for pid in self.pids():
            with suppress(OSError):  # it has ended meanwhile
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                titles[pid] = command.replace(b"\0", b" ").decode(errors="replace").strip()
        return titles

    def end_all(self) -> None:
        """Kills every process of the host. At a SIGTERM Ray would wait for half a minute."""
        while pids := self.pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)


def lacking() -> str:
    """Why there can be no network here; empty if there can."""
    if IP is None:
        return "iproute2 is not installed"
    probe = f"on-{secrets.token_hex(3)}"
    added = subprocess.run([IP, "netns", "add", probe], capture_output=True, text=True, check=False)
    if added.returncode:
        return f"ip netns add: {added.stderr.strip()}"
    _ip("netns", "del", probe)
    return ""


@contextmanager
def network(*names: str) -> Iterator[list[Host]]:
    """Hosts on one switch, a namespace too, apart from the machine's own network.

    At the end of the block their processes are killed and the namespaces are deleted.
    """
    mark = f"on-{secrets.token_hex(3)}"
    switch = f"{mark}-switch"
    with ExitStack() as block:
        _namespace(block, switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        hosts = []
        for number, name in enumerate(names, 1):
            host = Host(name, f"{mark}-{name}", switch, f"{SUBNET}.{number}")
            _namespace(block, host.space)
            block.callback(host.end_all)
            _plug_in(host)
            hosts.append(host)
        yield hosts


def _plug_in(host: Host) -> None:
    own, switch = ("-n", host.space), ("-n", host.switch)
    peer = ("peer", "name", "eth0", "netns", host.space)
    _ip(*switch, "link", "add", "name", host.name, "type", "veth", *peer)
    _ip(*switch, "link", "set", "dev", host.name, "master", "bridge", "up")
    _ip(*own, "addr", "add", f"{host.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip(*own, "link", "set", link, "up")
    # Ray finds its own address by asking which one would lead to a host far away.
    _ip(*own, "route", "add", "default", "dev", "eth0")


def _namespace(block: ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    block.callback(_ip, "netns", "del", name)


def _within(space: str) -> list[str]:
    assert IP
    return [IP, "netns", "exec", space]


def _ip(*arguments: str) -> str:
    assert IP
    done = subprocess.run([IP, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout
