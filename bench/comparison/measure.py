# SPDX-License-Identifier: MIT
"""One run of one contestant: a fresh server, a client, and what the two of them counted."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .machine import Machine
from .model import Contestant, Kind, Load, Program, Run
from .process import Child, ChildFailed, ChildSkipped
from .selection import Timing

CLIENT = "bench/client/bench_client"
PACKET_CLIENT = "bench/packet_client/bench_packet_client"
# Beyond its own time, for the client to start, wait for stragglers and end.
CLIENT_LIMIT_S = 10.0
MICRO_LIMIT_S = 60.0
# How long a receiver may take to read what still waits when the sender has ended.
SETTLE_S = 0.02

# uvloop and Twisted come as packages of the distribution, for its own Python.
SYSTEM_PYTHON = Path("/usr/bin/python3")

_LISTENING = re.compile(r"listening on (\S+?),?(?: .*)?$")


def _python() -> str:
    return str(SYSTEM_PYTHON) if SYSTEM_PYTHON.exists() else sys.executable


@dataclass(frozen=True)
class Bench:
    """Where the programs are, and how they are to be run."""

    tree: Path
    sources: Path
    machine: Machine
    times: Timing

    def command(self, program: Program) -> list[str]:
        """The program and its arguments; ChildSkipped when the build left it out."""
        if program.is_script:
            path = self.sources / "bench" / "peers" / program.path
            return [_python(), str(path), *program.arguments]
        path = self.tree / program.path
        if path.exists():
            return [str(path), *program.arguments]
        if program.is_ours:
            raise ChildFailed(f"{path} does not exist")
        raise ChildSkipped("not built: its library was not found")

    def client_command(self, load: Load, target: str, server: int) -> list[str]:
        """What the client is called with; `server` is a process id."""
        if load.mode == "packets":
            return self._packet_client_command(load, target, server)
        # Receivers count from the first datagram on, so their senders must too.
        warmup_s = 0.0 if load.mode == "flood" else self.times.warmup_s
        options: dict[str, object] = {
            "--target": target, "--mode": load.mode, "--flows": load.flows,
            "--outstanding": load.outstanding, "--size": load.size,
            "--offload": "on" if load.is_offloading else "off",
            "--duration": self.times.duration_s, "--warmup": warmup_s, "--server-pid": server}
        if load.train_max is not None:
            options["--train-max"] = load.train_max
        if load.rate is not None:
            options["--rate"] = load.rate
        spin = ["--spin"] if load.is_spinning else []
        return self._spelled(CLIENT, options) + spin + ["--json"]

    def _packet_client_command(self, load: Load, target: str, server: int) -> list[str]:
        # It always spins.
        options: dict[str, object] = {
            "--target": target, "--connections": load.flows, "--outstanding": load.outstanding,
            "--size": load.size, "--duration": self.times.duration_s,
            "--warmup": self.times.warmup_s, "--server-pid": server}
        return self._spelled(PACKET_CLIENT, options) + ["--json"]

    def _spelled(self, client: str, options: dict[str, object]) -> list[str]:
        command = [str(self.tree / client)]
        for name, value in options.items():
            command += [name, str(value)]
        return command

    @property
    def client_limit_s(self) -> float:
        """The bound on the client's whole life."""
        return self.times.warmup_s + self.times.duration_s + CLIENT_LIMIT_S


def parse_listening(line: str, says: str) -> str:
    """ADDRESS:PORT from a server's first line, which must contain `says`."""
    found = _LISTENING.match(line)
    if not found:
        raise ChildFailed(f"its first line is not 'listening on ADDRESS:PORT': {line!r}")
    if says and says not in line:
        raise ChildFailed(f"it does not run as asked ({says}): {line!r}")
    return found[1]


def last_object(output: str, whose: str) -> dict[str, Any]:
    """The JSON object on the last line of some output."""
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise ChildFailed(f"{whose} printed no JSON object, but {output.strip()[-200:]!r}")
    return found


def _figure(report: dict[str, Any], key: str, whose: str) -> float:
    value = report.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ChildFailed(f"{whose} says no number for {key!r}, but {value!r}")
    return value


def check_answers(report: dict[str, Any]) -> None:
    """A server that answers nothing, or wrongly, is not measured: it has failed."""
    if _figure(report, "received", "the client") <= 0:
        raise ChildFailed("nothing was delivered")
    for flaw in ("corrupted", "duplicated"):
        if report.get(flaw):
            raise ChildFailed(f"{report[flaw]} answers were {flaw}")


def system_calls_of(report: dict[str, Any], idle_calls: int = 0) -> float | None:
    """Datagrams or packets delivered per system call, from the report of `quoit echo` or `quoit
    packets serve`; but for those that it takes to start and to end, `idle_calls`."""
    calls = report["engine"]["system_calls"] - idle_calls
    return report["ledger"]["received"]["delivered"] / calls if calls else None


def check_ledger(report: dict[str, Any]) -> None:
    """A figure of a server that lost track of what it received or sent is worth nothing."""
    unexplained = report["ledger"]["unexplained"]
    if unexplained:
        raise ChildFailed(f"its ledger leaves {unexplained} unexplained")


def _run_client(bench: Bench, load: Load, target: str, server: int) -> dict[str, Any]:
    command = bench.client_command(load, target, server)
    try:
        with Child(command, bench.machine.client_cpus()) as client:
            return last_object(client.complete(bench.client_limit_s), "the client")
    except ChildFailed as why:
        raise ChildFailed(f"the client: {why}") from why


@dataclass(frozen=True)
class Observed:
    """What client and server say about one run."""

    client: dict[str, Any]
    cpu_ns: int  # the server's, from before the client started until it had ended
    rest: str  # what the server printed when it was told to end


def _observe(bench: Bench, contestant: Contestant, command: list[str]) -> Observed:
    assert contestant.load is not None
    command = [*command, "--bind", "127.0.0.1:0"]
    with Child(command, bench.machine.server_cpus(contestant.placement)) as server:
        target = parse_listening(server.first_line(), contestant.program.says)
        before = server.cpu_ns
        client = _run_client(bench, contestant.load, target, server.pid)
        time.sleep(SETTLE_S)
        spent = server.cpu_ns - before
        return Observed(client, spent, server.stop())


_idle_calls: dict[tuple[str, ...], int] = {}


def _idle_calls_of(bench: Bench, contestant: Contestant, command: list[str]) -> int:
    """System calls of a server that nobody talks to. Measured once."""
    key = tuple(command)
    if key not in _idle_calls:
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "report.json"
            idle = [*command, "--bind", "127.0.0.1:0", "--json", str(report)]
            with Child(idle, bench.machine.server_cpus(contestant.placement)) as server:
                parse_listening(server.first_line(), contestant.program.says)
                server.stop()
            _idle_calls[key] = _report_of(report)["engine"]["system_calls"]
    return _idle_calls[key]


def _echo(bench: Bench, contestant: Contestant, command: list[str]) -> Run:
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        idle_calls = 0
        if contestant.program.writes_report:
            idle_calls = _idle_calls_of(bench, contestant, command)
            command = [*command, "--json", str(report)]
        seen = _observe(bench, contestant, command)
        check_answers(seen.client)
        assert contestant.load is not None
        run = echo_run(seen.client, contestant.load.counted)
        if contestant.program.writes_report:
            add_report(run, report, idle_calls)
        return run


def echo_run(client: dict[str, Any], counted: str = "datagram") -> Run:
    """The figures of an echo server. All are the client's and of its measured window: it reads the
    server's CPU clock at both ends, so that neither start-up nor warm-up is in the quotient."""
    sent = _figure(client, "sent", "the client")
    return Run(rate=_figure(client, "rate", "the client"),
               cpu_ns=client.get(f"server_cpu_ns_per_{counted}"),
               loss=_figure(client, "lost", "the client") / sent if sent else None,
               round_trips_ns=client.get("rtt_ns"))


def _report_of(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        check_ledger(report)
        system_calls_of(report)
        return report
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise ChildFailed(f"its report cannot be used: {why!r}") from why


def add_report(run: Run, path: Path, idle_calls: int = 0) -> None:
    """Takes what only quoit's own program knows from its report."""
    run.per_system_call = system_calls_of(_report_of(path), idle_calls)


def _receive(bench: Bench, contestant: Contestant, command: list[str]) -> Run:
    seen = _observe(bench, contestant, command)
    return receive_run(seen.client, last_object(seen.rest, "the server"), seen.cpu_ns)


def receive_run(client: dict[str, Any], server: dict[str, Any], spent_ns: float) -> Run:
    """The figures of a program that only receives.

    Its own cpu_ns is not used: it includes starting up, 1 ns or more per datagram in a short run.
    """
    delivered = _figure(server, "datagrams", "the server")
    if delivered <= 0:
        raise ChildFailed("nothing was delivered")
    sent = _figure(client, "sent", "the client")
    seconds = _figure(client, "seconds", "the client")
    if delivered > sent:
        raise ChildFailed(f"counted {delivered} datagrams, but only {sent} were sent")
    return Run(rate=delivered / seconds if seconds else None, cpu_ns=spent_ns / delivered,
               loss=1 - delivered / sent)


def _micro(bench: Bench, contestant: Contestant, command: list[str]) -> Run:
    # Half the duration: Google Benchmark spends as much again on finding its iteration count.
    command = [*command, "--benchmark_format=json",
               f"--benchmark_filter=^{re.escape(contestant.name)}(/|$)",
               f"--benchmark_min_time={bench.times.duration_s / 2}"]
    with Child(command, bench.machine.server_cpus(contestant.placement)) as program:
        return micro_run(program.complete(MICRO_LIMIT_S), contestant.name)


def micro_run(output: str, name: str) -> Run:
    """The figures of the benchmark `name`, to whose name Google Benchmark appends its settings."""
    try:
        benchmarks = json.loads(output)["benchmarks"] if output.strip() else []
    except (ValueError, KeyError, TypeError) as why:
        raise ChildFailed(f"its output is not Google Benchmark's JSON: {why!r}") from why
    for one in benchmarks:
        if one.get("name") == name or one.get("name", "").startswith(name + "/"):
            if one.get("error_occurred"):
                raise ChildFailed(str(one.get("error_message")))
            return Run(rate=_figure(one, "items_per_second", "the benchmark"))
    raise ChildSkipped("not built: its library was not found")


_KINDS = {Kind.ECHO: _echo, Kind.RECEIVE: _receive, Kind.MICRO: _micro}


def measure(bench: Bench, contestant: Contestant) -> Run:
    """Runs the contestant once. ChildFailed and ChildSkipped say why there is no figure."""
    if contestant.needs_two_cpus and not bench.machine.is_pinned:
        raise ChildSkipped("client and server spin: they need two CPUs")
    return _KINDS[contestant.kind](bench, contestant, bench.command(contestant.program))
