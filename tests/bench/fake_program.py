# SPDX-License-Identifier: MIT
"""Every program of a fake build tree; which one it plays is in its name. See FakeTree."""

import json
import os
import signal
import sys

TREE = os.path.dirname(os.path.abspath(__file__))
while not os.path.exists(os.path.join(TREE, "behaviour.json")):
    TREE = os.path.dirname(TREE)
NAME = os.path.basename(__file__)
ARGUMENTS = sys.argv[1:]
with open(os.path.join(TREE, "behaviour.json"), encoding="utf-8") as file:
    BEHAVIOUR = json.load(file).get(NAME)

THOUSANDS = {"quoit": 3000, "quoit_receive": 900, "peer_mmsg": 3100, "peer_io_uring": 2900,
             "peer_recvfrom": 300, "peer_epoll": 320, "peer_asio": 210, "peer_libuv": 250,
             "peer_receive": 950, "peer_asio_packets": 1400, "peer_epoll_packets": 1500}
CLIENTS = ("bench_client", "bench_packet_client")
IDLE_CALLS = 20  # what starting and ending take
BUSY_CALLS = {"chatty": 1000}


def option(name, default=None):
    return ARGUMENTS[ARGUMENTS.index(name) + 1] if name in ARGUMENTS else default


def log_call():
    line = json.dumps([NAME, os.getpid(), *ARGUMENTS]) + "\n"
    with open(os.path.join(TREE, "calls"), "a", encoding="utf-8") as calls:
        calls.write(line)


def backend():
    """What it says it runs on: busy polling asks the sockets, so it is epoll's."""
    asked = option("--backend", "none")
    return "epoll" if asked == "auto" and "--busy-poll" in ARGUMENTS else asked


def was_talked_to():
    with open(os.path.join(TREE, "calls"), encoding="utf-8") as calls:
        clients = [call for call in map(json.loads, calls) if call[0] in CLIENTS]
    return any(call[call.index("--server-pid") + 1] == str(os.getpid()) for call in clients)


def thousands():
    if isinstance(BEHAVIOUR, int):
        return BEHAVIOUR
    if NAME == "peer_mmsg" and "--offload" not in ARGUMENTS:
        return 330
    return THOUSANDS[NAME]


def client():
    rate = 1000 * int(option("--target").rpartition(":")[2])
    seconds = float(option("--duration"))
    count = 0 if BEHAVIOUR == "silence" else int(rate * seconds)
    corrupted = 7 if BEHAVIOUR == "corrupt" else 0
    mode, counted = option("--mode"), "datagram"
    if NAME == "bench_packet_client":
        mode, counted = "packets", "packet"
    print(json.dumps({
        "mode": mode, "seconds": seconds, "sent": count + 10, "received": count,
        "lost": 10, "duplicated": 0, "corrupted": corrupted, "rate": rate,
        f"server_cpu_ns_per_{counted}": 1e9 / rate if "--server-pid" in ARGUMENTS else None,
        "rtt_ns": {"p50": 2e10 / rate, "p90": 4e10 / rate, "p99": 5e10 / rate,
                   "p99.9": 6e10 / rate, "max": 7e10 / rate}}))


def micro():
    name = option("--benchmark_filter", ARGUMENTS[1]).partition("^")[2].replace("\\", "")
    name = name.partition("(")[0]
    if BEHAVIOUR == f"without {name}":
        return
    rate = 2e8 if name.startswith("quoit") else 1e8
    print(json.dumps({"benchmarks": [{"name": f"{name}/real_time", "items_per_second": rate}]}))


def write_report():
    is_idle = not was_talked_to()
    calls = IDLE_CALLS + (0 if is_idle else BUSY_CALLS.get(BEHAVIOUR, 100))
    report = {"engine": {"system_calls": calls},
              "ledger": {"received": {"delivered": 0 if is_idle else 5000}, "unexplained": 0}}
    if BEHAVIOUR == "unexplained":
        report["ledger"]["unexplained"] = 3
    with open(option("--json"), "w", encoding="utf-8") as file:
        json.dump(report, file)


def server():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if BEHAVIOUR == "crash":
        print("no sockets left", file=sys.stderr)
        sys.exit(1)
    if BEHAVIOUR == "skip":
        print("no module named fake", file=sys.stderr)
        sys.exit(77)
    if BEHAVIOUR != "mute":
        print(f"listening on 127.0.0.1:{thousands()} (backend {backend()}, workers 0)", flush=True)
    if BEHAVIOUR == "stay":
        signal.pause()
    signal.sigwait({signal.SIGTERM})
    if NAME == "quoit":
        write_report()
    if NAME in ("quoit_receive", "peer_receive"):
        print(json.dumps({"datagrams": 1000 * thousands() // 4, "bytes": 0, "cpu_ns": 1}))


log_call()
if NAME in CLIENTS:
    client()
elif NAME == "micro_spsc_queue":
    micro()
else:
    server()
