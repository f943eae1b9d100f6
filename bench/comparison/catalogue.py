# SPDX-License-Identifier: MIT
"""The scenarios: the table of targets, spelled out. Names of contestants are the interface of the
JSON report; see bench/README.md for what each one is."""

from __future__ import annotations

from dataclasses import replace

from .model import (Better, Comparison, Contestant, Kind, Load, Measure, Placement, Program, Row,
                    Scenario, Target)

QUOIT = "quoit/io_uring"
QUOIT_EPOLL = "quoit/epoll"

# Datagrams per second of the receive-only scenario: much enough that the wake-up per train, which
# is the kernel's and not the reader's, does not drown what a datagram costs (at 1 M/s it did), and
# little enough that a receiver with offload loses nothing. Chosen on raw/gro alone.
FLOOD_RATE = 4_000_000

RATE = Measure("rate", "echoes/s", "/s", Better.MORE)
PACKETS = Measure("rate", "packets/s", "/s", Better.MORE)
ITEMS = Measure("rate", "items/s", "/s", Better.MORE)
CPU = Measure("cpu_ns", "CPU/datagram", "ns", Better.LESS)
ROUND_TRIP = Measure("p50_ns", "p50", "ns", Better.LESS)
PER_CALL = Measure("per_system_call", "datagrams/call", "", Better.MORE)

# A client that sleeps would add its own wake-up to every train, which takes longer than the train.
BURST = Load(is_spinning=True)
PIPELINED = replace(BURST, train_max=16)
BURST_PLAIN = replace(BURST, is_offloading=False)
FLOWS = Load(flows=64, outstanding=1, is_offloading=False)
LARGE = Load(flows=64, outstanding=16, size=1200)
PING = Load(mode="ping", outstanding=1, is_offloading=False)
FLOOD = Load(mode="flood", rate=FLOOD_RATE)
SMALL_PACKETS = Load(mode="packets", is_offloading=False, is_spinning=True)
LARGE_PACKETS = replace(SMALL_PACKETS, outstanding=4, size=64 << 10)


def _quoit(backend: str, *arguments: str, workers: int = 0, says: str = "") -> Program:
    return Program("tools/quoit",
                   ("echo", "--backend", backend, "--workers", str(workers), "--offload", "on",
                    *arguments),
                   writes_report=True, says=f"backend {says or backend}")


def _packets(backend: str) -> Program:
    return Program("tools/quoit", ("packets", "serve", "--backend", backend),
                   writes_report=True, says=f"backend {backend}")


def _receive(reading: str) -> Program:
    return Program("bench/quoit_receive", ("--backend", "io_uring", "--reading", reading))


def _peer(name: str, *arguments: str) -> Program:
    return Program(f"bench/peers/peer_{name}", arguments)


def _script(name: str) -> Program:
    return Program(f"peer_{name}.py", is_script=True)


OURS = {QUOIT: _quoit("io_uring"), QUOIT_EPOLL: _quoit("epoll")}
PEERS = {
    "ceiling/mmsg": _peer("mmsg", "--offload"),
    "ceiling/io_uring": _peer("io_uring", "--offload"),
    "plain/mmsg": _peer("mmsg"),
    "plain/recvfrom": _peer("recvfrom"),
    "asio": _peer("asio"),
    "libuv": _peer("libuv"),
}
PYTHON = {name: _script(name) for name in ("asyncio", "uvloop", "twisted")}


def _rows(programs: dict[str, Program], load: Load, baseline: str = QUOIT,
          prefix: str = "") -> tuple[Row, ...]:
    return tuple(Row(prefix + name, Contestant(name, program, load), prefix + baseline)
                 for name, program in programs.items())


def _at_least(subject: str, limit: float, reference: str) -> Target:
    return Target(subject, Better.MORE, limit, reference)


def _at_most(subject: str, limit: float, reference: str) -> Target:
    return Target(subject, Better.LESS, limit, reference)


def _echo(name: str, title: str, workload: str, load: Load,
          targets: dict[str, float]) -> Scenario:
    return Scenario(name, title, workload, RATE, _rows({**OURS, **PEERS}, load),
                    tuple(_at_least(QUOIT, limit, peer) for peer, limit in targets.items()))


def _receive_only() -> Scenario:
    programs = {"quoit/batch": _receive("batch"), "quoit/one": _receive("one"),
                "raw/gro": _peer("receive", "--offload"), "raw/plain": _peer("receive")}
    rows = tuple(Row(name, Contestant(name, program, FLOOD, Kind.RECEIVE), "quoit/batch")
                 for name, program in programs.items())
    return Scenario(
        "P5", "receive only", f"{FLOOD_RATE // 10 ** 6} M datagrams/s of 64 B, offloading sender",
        CPU, rows,
        (_at_most("quoit/batch", 1.15, "raw/gro"),
         Target("quoit/one", Better.LESS, 6, "quoit/batch", Comparison.DIFFERENCE, "ns")))


def _ping_pong() -> Scenario:
    blocking = {**OURS, "raw/epoll": _peer("epoll"), "asio": PEERS["asio"]}
    busy = {"quoit/busy_poll": _quoit("auto", "--busy-poll", says="epoll"),
            "raw/spin": _peer("mmsg", "--spin")}
    spinning = replace(PING, is_spinning=True)
    rows = _rows(blocking, PING) + tuple(
        Row(name, Contestant(name, program, spinning, needs_two_cpus=True), "quoit/busy_poll")
        for name, program in busy.items())
    return Scenario(
        "P6", "ping-pong", "1 datagram of 64 B in flight; client blocking, or spinning for "
        "quoit/busy_poll and raw/spin", ROUND_TRIP, rows,
        (_at_most(QUOIT, 1.1, "raw/epoll"), _at_most("quoit/busy_poll", 0.6, "asio"),
         _at_most("quoit/busy_poll", 1.15, "raw/spin")))


def _queues() -> Scenario:
    program = Program("bench/micro/micro_spsc_queue")
    rows = tuple(
        Row(name, Contestant(name, program, None, Kind.MICRO, Placement.EVERY_CPU),
            f"quoit/{mode}")
        for mode in ("batched", "single") for name in
        (f"quoit/{mode}", f"boost/{mode}", f"moodycamel/{mode}"))
    return Scenario(
        "P7", "SPSC queue", "16-byte events from one thread to another", ITEMS, rows,
        tuple(_at_least("quoit/batched", 1, f"{peer}/batched") for peer in ("boost", "moodycamel")))


def _system_calls() -> Scenario:
    return Scenario(
        "P8", "system calls in P1's workload", "that of P1; calls to start and to end not counted",
        PER_CALL, _rows(OURS, BURST),
        (Target(QUOIT, Better.MORE, 32, comparison=Comparison.VALUE,
                unit="datagrams per system call"),
         Target(QUOIT_EPOLL, Better.MORE, 16, comparison=Comparison.VALUE,
                unit="datagrams per system call")),
        ("compared with three digits: two calls for each train of 64 are 32, and a run of "
         "millions has a few dozen beside them",
         "0 allocations per datagram once warm: not measured here, the tests allocations.* of "
         "tests/api/allocation_test.cpp and the port_figures of tests/engine/runtime prove it"))


def _packets_over_tcp(name: str, title: str, workload: str, load: Load, limit: float) -> Scenario:
    programs = {QUOIT: _packets("io_uring"), QUOIT_EPOLL: _packets("epoll"),
                "asio": _peer("asio_packets"), "plain/epoll": _peer("epoll_packets"),
                "asio/one by one": _peer("asio_packets", "--one-by-one")}
    return Scenario(name, title, f"{workload}, framing packetsocket, client that spins", PACKETS,
                    _rows(programs, load), (_at_least(QUOIT, limit, "asio"),),
                    shows_round_trip=True)


def _workers() -> Scenario:
    threaded = f"{QUOIT}/workers_1"
    programs = {QUOIT: OURS[QUOIT], threaded: _quoit("io_uring", workers=1)}
    rows = tuple(Row(name, Contestant(name, program, BURST), QUOIT)
                 for name, program in programs.items())
    return Scenario(
        "P12", "a worker thread", "that of P1; the worker and the program's thread share the "
        "server's CPU", RATE, rows, (_at_least(threaded, 0.8, QUOIT),))


def _backends() -> Scenario:
    loads = {"P1": BURST, "P2": BURST_PLAIN, "P3": FLOWS, "P4": LARGE}
    rows = tuple(row for name, load in loads.items()
                 for row in _rows(OURS, load, prefix=f"{name} "))
    return Scenario(
        "P13", "the epoll backend", "those of P1 to P4", RATE, rows,
        tuple(_at_least(f"{name} {QUOIT_EPOLL}", 0.85, f"{name} {QUOIT}") for name in loads))


SCENARIOS: tuple[Scenario, ...] = (
    _echo("P1", "echo burst", "1 flow x 64 outstanding, 64 B, offloading client that spins", BURST,
          {"ceiling/mmsg": 0.85, "asio": 8, "libuv": 8}),
    _echo("P1b", "echo burst, pipelined", "that of P1, but the client sends trains of 16 at most, "
          "so that four are under way", PIPELINED, {"ceiling/mmsg": 0.85, "asio": 8, "libuv": 8}),
    _echo("P2", "echo burst, uncoalesced",
          "1 flow x 64 outstanding, 64 B, client without offload that spins", BURST_PLAIN,
          {"plain/mmsg": 1.3}),
    _echo("P3", "64 flows", "64 flows x 1 outstanding, 64 B, client without offload", FLOWS,
          {"plain/mmsg": 0.95, "asio": 1.1}),
    _echo("P4", "large datagrams", "64 flows x 16 outstanding, 1200 B, offloading client", LARGE,
          {"ceiling/mmsg": 0.85, "asio": 5}),
    _receive_only(),
    _ping_pong(),
    _queues(),
    _system_calls(),
    Scenario("P9", "the Python world", "that of P1", RATE, _rows({**OURS, **PYTHON}, BURST)),
    _packets_over_tcp("P10", "packets over TCP", "1 connection x 64 outstanding packets of 64 B",
                      SMALL_PACKETS, 1.5),
    _packets_over_tcp("P11", "large packets over TCP",
                      "1 connection x 4 outstanding packets of 64 KiB", LARGE_PACKETS, 1),
    _workers(),
    _backends(),
)
