# SPDX-License-Identifier: MIT
"""What the machine is, and who runs on which of its CPUs."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from .model import Placement

# What every contestant asks for as SO_RCVBUF and SO_SNDBUF.
BUFFER_ASKED = 4 << 20


@dataclass(frozen=True)
class Machine:
    """The part of the report that explains the rest."""

    kernel: str
    cpu: str
    cpus: tuple[int, ...]  # those this process may use
    siblings: frozenset[int]  # hardware threads that share a core with the first of them
    buffer_max: int  # net.core.rmem_max

    @property
    def is_pinned(self) -> bool:
        """With one CPU there is nothing to choose."""
        return len(self.cpus) > 1

    @property
    def client_cpu(self) -> int:
        """The first."""
        return self.cpus[0]

    @property
    def server_cpu(self) -> int:
        """Another core if there is one, else another hardware thread."""
        others = [cpu for cpu in self.cpus[1:] if cpu not in self.siblings]
        return (others or list(self.cpus[1:]) or [self.cpus[0]])[0]

    def server_cpus(self, placement: Placement) -> frozenset[int] | None:
        """None: not pinned."""
        if not self.is_pinned:
            return None
        return frozenset({self.server_cpu} if placement is Placement.ONE_CPU else self.cpus)

    def client_cpus(self) -> frozenset[int] | None:
        """None: not pinned."""
        return frozenset({self.client_cpu}) if self.is_pinned else None

    @property
    def buffer_granted(self) -> int:
        """The kernel doubles what it grants, for its own bookkeeping (socket(7))."""
        return 2 * min(BUFFER_ASKED, self.buffer_max)

    def pinning_text(self) -> str:
        """Who runs where."""
        if not self.is_pinned:
            return "one CPU: server and client share it, nothing is pinned"
        text = f"server on CPU {self.server_cpu}, client on CPU {self.client_cpu}"
        shared = self.server_cpu in self.siblings
        return text + (" (hardware threads of one core)" if shared else "")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def cpu_model(cpuinfo: str) -> str:
    """From the text of /proc/cpuinfo, whose fields differ between architectures."""
    for wanted in ("model name", "Model", "cpu model", "uarch"):
        for line in cpuinfo.splitlines():
            key, _, value = line.partition(":")
            if key.strip() == wanted and value.strip():
                return " ".join(value.split())
    return f"unknown CPU ({platform.machine()})"


def cpu_list(text: str) -> frozenset[int]:
    """The kernel's list format: "0,2-3"."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def inspect() -> Machine:
    """This machine."""
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    siblings = _read(f"/sys/devices/system/cpu/cpu{cpus[0]}/topology/thread_siblings_list")
    # The version; what a distribution puts behind it says nothing about the kernel.
    return Machine(platform.release().split("-")[0], cpu_model(_read("/proc/cpuinfo")), cpus,
                   cpu_list(siblings) - {cpus[0]},
                   int(_read("/proc/sys/net/core/rmem_max") or 0))
