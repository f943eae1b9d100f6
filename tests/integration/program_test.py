#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program quoit, as its users meet it. Usage: program_test.py PATH-OF-QUOIT"""

import json
import os
import pty
import random
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

import program
from program import Echo, check_ledger, each, each_backend, each_worker_count, run


def load(*arguments):
    """Runs `quoit load` with --json - and returns the process and the object it printed."""
    ended = run("load", *arguments, "--json", "-")
    return ended, json.loads(ended.stdout) if ended.stdout else None


class EchoStarts(unittest.TestCase):
    @each_backend
    @each_worker_count
    def test_first_line_says_where_it_listens_and_on_what(self, backend, workers):
        with Echo(backend=backend, workers=workers) as echo:
            self.assertRegex(echo.first_line, rf"^listening on 127\.0\.0\.1:\d+ "
                                              rf"\(backend {backend}, workers {workers}\)$")
            self.assertNotEqual(echo.port, 0)
            self.assertEqual(echo.stop()[0], 0)

    def test_ipv6_with_a_port_of_the_kernels_choice(self):
        if "IPv6" not in program.families():
            self.skipTest("::1 cannot be bound")
        with Echo(host="::1") as echo:
            self.assertRegex(echo.first_line, r"^listening on \[::1\]:[1-9]\d* \(")

    def test_a_bind_without_address_is_every_interface(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        ended = run("echo", "--bind", f":{port}", "--duration", "1ms")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertTrue(ended.stdout.startswith(f"listening on 0.0.0.0:{port}"), ended.stdout)

    def test_duration_ends_it(self):
        with Echo(arguments=["--duration", "50ms"]) as echo:
            code, out, err, report = echo.stop(how=None)
        self.assertEqual((code, err), (0, ""))
        self.assertTrue(out.endswith("unexplained 0\n"), out)
        check_ledger(self, report["ledger"])


def need_cores(test, count):
    allowed = len(os.sched_getaffinity(0))
    if allowed < count:
        test.skipTest(f"this process may use {allowed} CPU only")


class EchoOnCores(unittest.TestCase):
    def setUp(self):
        need_cores(self, 2)

    @each_backend
    @each_worker_count
    def test_all_serve_one_port_and_the_ledger_is_the_sum_of_theirs(self, backend, workers):
        with Echo(backend=backend, workers=workers, arguments=["--cores", "2"]) as echo:
            self.assertRegex(echo.first_line,
                             rf"^listening on 127\.0\.0\.1:\d+ \(backend {backend}, workers "
                             rf"{workers}, cores 2, steering hash\)$")
            ended, load_report = load("--target", echo.target, "--flows", "64", "--outstanding",
                                      "8", "--duration", "100ms")
            self.assertEqual((ended.returncode, load_report["lost"]), (0, 0), ended.stderr)
            code, out, err, report = echo.stop()
        self.assertEqual((code, err), (0, ""))
        check_ledger(self, report["ledger"])
        self.assertEqual((report["steering"], report["steering_reason"]), ("hash", None))
        taken = [core["ledger"]["received"]["taken"] for core in report["cores"]]
        # Of 64 flows: one in 2^63 that one core gets none.
        self.assertTrue(len(taken) == 2 and all(taken), taken)
        self.assertEqual(sum(taken), report["ledger"]["received"]["taken"])
        self.assertEqual(sum(taken), load_report["sent"])
        self.assertEqual(sum(core["engine"]["turns"] for core in report["cores"]),
                         report["engine"]["turns"])
        cpus = sorted(os.sched_getaffinity(0))[:2]
        self.assertEqual([core["cpu"] for core in report["cores"]], cpus)
        for core in report["cores"]:
            check_ledger(self, core["ledger"])
        self.assertRegex(out, rf"(?m)^core 1 +on CPU {cpus[1]}: received {taken[1]}, ")

    @each("steering", ("cpu", "random"))
    def test_steering_is_said_and_all_comes_back(self, steering):
        arguments = ["--cores", "2", "--steering", steering]
        if steering == "random":
            arguments += ["--pin", "none"]
        with Echo(host="::1" if "IPv6" in program.families() else "127.0.0.1",
                  arguments=arguments) as echo:
            name = {"cpu": "by_cpu"}.get(steering, steering)
            self.assertIn(f"cores 2, steering {name})", echo.first_line)
            # One flow, one datagram after the other: a train would be steered as a whole.
            ended, load_report = load("--target", echo.target, "--outstanding", "1", "--duration",
                                      "100ms")
            self.assertEqual((ended.returncode, load_report["lost"]), (0, 0), ended.stderr)
            code, _, err, report = echo.stop()
        self.assertEqual((code, err), (0, ""))
        taken = [core["ledger"]["received"]["taken"] for core in report["cores"]]
        self.assertEqual(sum(taken), load_report["sent"])
        if steering == "random":
            self.assertTrue(all(taken), taken)
            self.assertEqual([core["cpu"] for core in report["cores"]], [None, None])

    def test_duration_and_an_interrupt_end_all(self):
        with Echo(arguments=["--cores", "2", "--duration", "50ms"]) as echo:
            self.assertEqual(echo.stop(how=None)[::2], (0, ""))
        with Echo(arguments=["--cores", "2"]) as echo:
            self.assertEqual(echo.stop(how=signal.SIGINT)[::2], (0, ""))

    def test_a_port_that_others_share_is_said_to_be(self):
        with Echo(arguments=["--cores", "2"]) as first, \
                Echo(port=first.port, arguments=["--cores", "1"]) as second:
            self.assertEqual(first.target, second.target)
            self.assertIn("is shared with sockets of others", second.stop()[2])
            self.assertEqual(first.stop()[2], "")

    def test_what_cannot_be_is_one_line(self):
        allowed = len(os.sched_getaffinity(0))
        for code, arguments, words in (
                (2, ["--cores", str(allowed + 1)], f"this process may use {allowed} CPU"),
                (2, ["--cores", "0"], "from 1 to 1024"),
                (2, ["--steering", "cpu"], "--cores"),
                (2, ["--pin", "none"], "--cores"),
                (2, ["--cores", "2", "--steering", "best"], "expected hash, cpu or random"),
                (2, ["--cores", "2", "--pin", "best"], "expected spread or none"),
                (2, ["--cores", "2", "--steering", "cpu", "--pin", "none"], "--pin none"),
                (1, ["--cores", "2", "--bind", "192.0.2.1:0"], "192.0.2.1:0")):
            with self.subTest(arguments=arguments):
                ended = run("echo", *arguments)
                self.assertEqual((ended.returncode, ended.stdout), (code, ""), ended.stderr)
                self.assertEqual(ended.stderr.count("\n"), 1, ended.stderr)
                self.assertIn(words, ended.stderr)

    def test_a_port_in_use_is_one_line(self):
        with Echo() as echo:
            ended = run("echo", "--cores", "2", "--bind", echo.target)
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertEqual(ended.stderr,
                         f"quoit echo: listen {echo.target}: Address already in use\n")


class EchoEnds(unittest.TestCase):
    @each_backend
    @each_worker_count
    @each("how", (signal.SIGINT, signal.SIGTERM))
    def test_a_signal_ends_it_gracefully_with_the_ledger(self, backend, workers, how):
        with Echo(backend=backend, workers=workers) as echo, program.client(echo) as client:
            client.send(b"ping")
            self.assertEqual(client.recv(64), b"ping")
            code, out, err, report = echo.stop(how)
        self.assertEqual((code, err), (0, ""))
        self.assertIn("received  taken 1 = passed 1 ", out)
        self.assertIn("sent      accepted 1 = sent 1 ", out)
        self.assertTrue(out.endswith("unexplained 0\n"), out)
        self.assertEqual(report["backend"], backend)
        self.assertEqual(report["workers"], workers)
        self.assertEqual(report["addresses"], [echo.target])
        self.assertIs(report["offload"], True)
        self.assertEqual(report["ledger"]["received"]["taken"], 1)
        self.assertEqual(report["ledger"]["sent"]["sent"], 1)
        self.assertEqual(report["ledger"]["leases_held"], 0)
        self.assertEqual(report["engine"]["buffers_held"], 0)
        check_ledger(self, report["ledger"])

    @each_backend
    @each("how", (signal.SIGINT, signal.SIGTERM))
    def test_a_signal_right_after_the_first_line_is_not_missed(self, backend, how):
        with Echo(backend=backend) as echo:
            self.assertEqual(echo.stop(how)[0], 0)

    def test_json_on_standard_output_comes_after_the_first_line(self):
        ended = run("echo", "--bind", "127.0.0.1:0", "--duration", "1ms", "--json", "-")
        self.assertEqual(ended.returncode, 0)
        first, _, rest = ended.stdout.partition("\n")
        self.assertTrue(first.startswith("listening on 127.0.0.1:"), first)
        self.assertEqual(json.loads(rest)["program"], "quoit echo")
        self.assertTrue(ended.stderr.endswith("unexplained 0\n"), ended.stderr)


class WrongInput(unittest.TestCase):
    def refused(self, code, arguments, *words):
        with self.subTest(arguments=arguments):
            ended = run(*arguments)
            self.assertEqual(ended.returncode, code, ended.stderr)
            self.assertEqual(ended.stdout, "")
            self.assertEqual(ended.stderr.count("\n"), 1, ended.stderr)
            self.assertTrue(ended.stderr.startswith("quoit"), ended.stderr)
            for word in words:
                self.assertIn(word, ended.stderr)

    def test_usage_is_one_line_that_names_the_value_and_what_is_expected(self):
        for bad in ("127.0.0.1", "::1:9999", "127.0.0.1:70000", ":70000", "[::1]", "1.2.3:4"):
            self.refused(2, ["echo", "--bind", bad], bad, "expected ADDRESS:PORT")
        self.refused(2, ["echo", "--bind", "localhost:9999"], "localhost:9999",
                     "host names are not looked up")
        self.refused(2, ["echo", "--bind", ""], "--bind", "expected")
        self.refused(2, ["echo", "--bind"], "--bind", "value is missing", "ADDRESS:PORT")
        self.refused(2, ["echo", "--backend"], "--backend", "auto, io_uring or epoll")
        self.refused(2, ["load", "--target", "127.0.0.1:9", "--backend"], "--backend",
                     "auto, io_uring or epoll")
        self.refused(2, ["load", "--duration"], "--duration", "TIME")
        self.refused(2, ["echo", "--bind", "[fe80::1%nix]:0"], "[fe80::1%nix]:0",
                     "expected ADDRESS:PORT")
        self.refused(2, ["echo", "--backend", "uring"], "uring", "auto, io_uring or epoll")
        for bad in ("-1", "65", "two", "1.5"):
            self.refused(2, ["echo", "--workers", bad], bad, "from 0 to 64")
        for bad in ("5", "5x", "-5s", "1e3s"):
            self.refused(2, ["echo", "--duration", bad], bad, "us, ms, s, m or h")
        self.refused(2, ["echo", "--duration", "0s"], "0s", "from 1us to 1000h")
        self.refused(2, ["echo", "--offload", "maybe"], "maybe", "expected on or off")
        self.refused(2, ["echo", "--offload"], "--offload", "value is missing", "on or off")
        self.refused(2, ["echo", "--busy-poll=maybe"], "--busy-poll")
        self.refused(2, ["echo", "--frobnicate"], "--frobnicate")
        self.refused(2, ["echo", "surplus"], "surplus")
        self.refused(2, ["frobnicate"], "frobnicate")
        self.refused(2, ["--frob\nnicate"], "--frob")

    def test_usage_of_load(self):
        to = ["load", "--target", "127.0.0.1:9"]
        self.refused(2, ["load"], "--target is required")
        self.refused(2, ["load", "--target", "example.com:53"], "example.com:53",
                     "host names are not looked up", "expected ADDRESS:PORT")
        self.refused(2, ["load", "--target", "127.0.0.1:0"], "127.0.0.1:0", "from 1 to 65535")
        self.refused(2, [*to, "--flows", "0"], '"0"', "from 1 to 1024")
        self.refused(2, [*to, "--flows", "1025"], "1025", "from 1 to 1024")
        self.refused(2, [*to, "--outstanding", "0"], '"0"', "from 1 to 65536")
        self.refused(2, [*to, "--size", "39"], "39", "from 40 to 65507")
        self.refused(2, [*to, "--size", "65508"], "65508", "from 40 to 65507")
        self.refused(2, ["load", "--target", "[::1]:9", "--size", "65528"], "65528",
                     "from 40 to 65527")
        self.refused(2, [*to, "--rate", "1.5G"], "1.5G", "1000, 250k or 1.5M")
        self.refused(2, [*to, "--rate", "0"], '"0"', "from 1 to 100M")
        self.refused(2, [*to, "--rate", "5", "--outstanding", "5"], "--rate", "--outstanding")

    def test_what_cannot_be_done_is_one_line_and_exit_code_1(self):
        self.refused(1, ["echo", "--bind", "192.0.2.1:0"], "192.0.2.1:0")
        self.refused(1, ["echo", "--bind", "127.0.0.1:0", "--json", "/nowhere/report"],
                     "/nowhere/report")
        self.refused(1, ["load", "--target", "255.255.255.255:9"], "255.255.255.255:9")

    def test_a_port_in_use_names_the_address_and_leaves_no_file_behind(self):
        with Echo() as echo, tempfile.TemporaryDirectory() as directory:
            report = os.path.join(directory, "report.json")
            self.refused(1, ["echo", "--bind", echo.target, "--json", report],
                         echo.target, "already in use")
            self.assertFalse(os.path.exists(report))
            with open(report, "w", encoding="utf-8") as file:
                file.write("of yesterday")
            self.refused(1, ["echo", "--bind", echo.target, "--json", report])
            with open(report, encoding="utf-8") as file:
                self.assertEqual(file.read(), "of yesterday")
            self.assertEqual(echo.stop()[0], 0)

    def test_a_report_that_cannot_be_written_is_exit_code_1(self):
        ended = run("echo", "--bind", "127.0.0.1:0", "--duration", "1ms", "--json", "/dev/full")
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, r'\A[^\n]*"/dev/full"[^\n]*\n\Z')

    def test_help_that_cannot_be_written_is_exit_code_1(self):
        for arguments in (["--help"], ["echo", "--help"], ["--version"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                ended = subprocess.run([program.quoit, *arguments], stdout=full,
                                       stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(ended.returncode, 1)
            self.assertRegex(ended.stderr, r"\Aquoit: [^\n]*standard output[^\n]*\n\Z")

    def test_no_arguments_give_the_help_and_exit_code_2(self):
        ended = run()
        self.assertEqual((ended.returncode, ended.stdout), (2, ""))
        self.assertIn("echo", ended.stderr)
        self.assertIn("load", ended.stderr)

    def test_help_and_version(self):
        for arguments in (["--help"], ["echo", "--help"], ["load", "--help"], ["doctor", "--help"]):
            ended = run(*arguments)
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
            self.assertIn("Exit codes:", ended.stdout)
            self.assertLessEqual(max(map(len, ended.stdout.splitlines())), 100)
            if len(arguments) == 2:
                self.assertIn(f"  quoit {arguments[0]} --", ended.stdout)  # an example
        self.assertRegex(run("--version").stdout, r"\Aquoit \d+\.\d+\.\d+\n\Z")


class LoadAgainstEcho(unittest.TestCase):
    def check_figures(self, figures):
        self.assertEqual(figures["sent"], figures["received"] + figures["lost"])
        ledger = figures["ledger"]
        check_ledger(self, ledger)
        self.assertEqual(ledger["sent"]["accepted"], figures["sent"])
        self.assertEqual(figures["kernel_drops"], ledger["received"]["dropped"]["kernel_packets"])
        self.assertEqual(ledger["received"]["delivered"],
                         sum(figures[kind] for kind in
                             ("received", "duplicated", "corrupted", "foreign", "forgotten")))

    def check_clean(self, figures):
        self.check_figures(figures)
        self.assertGreater(figures["received"], 0)
        for wrong in ("lost", "duplicated", "corrupted", "foreign", "forgotten"):
            self.assertEqual(figures[wrong], 0, wrong)
        rtt = figures["rtt_ns"]
        self.assertLessEqual(0, rtt["p50"])
        order = [rtt[key] for key in ("p50", "p90", "p99", "p99.9", "max")]
        self.assertEqual(order, sorted(order))

    @each_backend
    @each_worker_count
    @program.each_family
    def test_every_datagram_comes_back(self, backend, workers, family):
        with Echo(program.LOOPBACK[family], backend, workers) as echo:
            ended, figures = load("--target", echo.target, "--backend", backend,
                                  "--outstanding", "16", "--duration", "200ms")
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.check_clean(figures)
            self.assertEqual(figures["backend"], backend)
            self.assertEqual(figures["reordered"], 0)
            code, _, _, report = echo.stop()
        self.assertEqual(code, 0)
        self.assertEqual(report["ledger"]["received"]["taken"], figures["sent"])
        self.assertEqual(report["ledger"]["sent"]["sent"], figures["received"])
        self.assertEqual(report["engine"]["buffers_held"], 0)
        check_ledger(self, report["ledger"])

    @each_backend
    @each("client", ("on", "off"))
    @each("server", ("on", "off"))
    def test_trains_arrive_whole_where_both_sides_offload(self, backend, client, server):
        with Echo(backend=backend, arguments=("--offload", server)) as echo:
            _, figures = load("--target", echo.target, "--backend", backend, "--offload", client,
                              "--outstanding", "64", "--duration", "100ms")
            self.check_clean(figures)
            code, out, _, report = echo.stop()
        self.assertEqual(code, 0)
        for side, one in ((client, figures), (server, report)):
            self.assertIs(one["offload"], side == "on")
            sent = one["ledger"]["sent"]
            self.assertEqual(sent["trains"] > 0, side == "on", sent)
            self.assertEqual(sent["trains_refused"], 0)
        both = client == server == "on"
        received = report["ledger"]["received"]
        self.assertEqual(received["trains"] > 0, both, received)
        self.assertEqual(report["ledger"]["is_exact"], not both)
        self.assertEqual(received["delivered"], figures["sent"])
        words = "off$" if server == "off" else r"received .*, sent \d+ in \d+ train"
        self.assertTrue(re.search("^offload +" + words, out, re.MULTILINE), out)

    def test_busy_polling_answers_as_well(self):
        with Echo(arguments=("--busy-poll",)) as echo:
            ended, figures = load("--target", echo.target, "--duration", "100ms")
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.check_clean(figures)
            self.assertEqual(echo.stop()[3]["backend"], "epoll")

    def test_every_flow_is_a_socket_of_its_own(self):
        with PythonServer(lambda server, data, peer: server.sendto(data, peer)) as server:
            _, figures = load("--target", server.target, "--flows", "7", "--outstanding", "2",
                              "--duration", "100ms")
            self.check_clean(figures)
            self.assertEqual(len(server.peers), 7)

    @each_backend
    @each("size", (40, 41, 1400, 9000, 65507))
    def test_every_size_comes_back(self, backend, size):
        with Echo(backend=backend) as echo:
            _, figures = load("--target", echo.target, "--backend", backend, "--outstanding", "2",
                              "--size", str(size), "--duration", "50ms")
            self.check_clean(figures)
            self.assertEqual(figures["ledger"]["sent"]["bytes"], figures["sent"] * size)

    @each_backend
    def test_a_rate_sends_what_its_schedule_has(self, backend):
        with Echo(backend=backend) as echo:
            ended, figures = load("--target", echo.target, "--backend", backend, "--flows", "3",
                                  "--rate", "2k", "--duration", "500ms")
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertEqual((figures["scheduled"], figures["sent"]), (1000, 1000))
            self.check_clean(figures)
            self.assertEqual(figures["settings"]["rate"], 2000)
            self.assertIsNone(figures["settings"]["outstanding"])

    @each_backend
    def test_no_reply_is_exit_code_3(self, backend):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            target = program.bind_text(*silent.getsockname())
            arguments = ["load", "--target", target, "--duration", "50ms", "--backend", backend]
            ended = run(*arguments)
            self.assertEqual(ended.returncode, 3)
            self.assertEqual(ended.stderr, f"quoit load: no reply came from {target}\n")
            self.assertIn("received    0\n", ended.stdout)
        ended = run(*arguments)  # now nobody is there
        self.assertEqual(ended.returncode, 3)
        self.assertIn("connection refused", ended.stderr)
        self.assertTrue(ended.stdout.endswith("unexplained 0\n"), ended.stdout)

    def test_a_signal_ends_the_load_early_with_its_report(self):
        with PythonServer(lambda server, data, peer: server.sendto(data, peer)) as server:
            process = subprocess.Popen(
                [program.quoit, "load", "--target", server.target, "--duration", "1h"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                self.assertTrue(server.first_arrival.wait(program.DEADLINE_S))
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=program.DEADLINE_S)
            finally:
                process.kill()
                process.communicate()
        self.assertEqual((process.returncode, err), (0, ""))
        self.assertTrue(out.endswith("unexplained 0\n"), out)

    def test_a_terminal_gets_a_progress_line(self):
        try:
            ours, theirs = pty.openpty()
        except OSError as error:  # a root without /dev/pts
            self.skipTest(f"no terminal can be had: {error}")
        with Echo() as echo:
            process = subprocess.Popen(
                [program.quoit, "load", "--target", echo.target, "--rate", "100", "--duration",
                 "1h"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs)
            try:
                seen = b""
                while b"\n" not in seen:
                    self.assertTrue(select.select([ours], [], [], program.DEADLINE_S)[0])
                    seen += os.read(ours, 1024)
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=program.DEADLINE_S)
            finally:
                process.kill()
                process.communicate()
                os.close(ours)
                os.close(theirs)
            self.assertRegex(seen.decode(),
                             r"^ +1 s .*/s  sent \d+, received \d+, not answered \d+")
            self.assertEqual(process.returncode, 0)

    def test_the_report_names_every_figure(self):
        with Echo() as echo:
            out = run("load", "--target", echo.target, "--duration", "50ms").stdout
        for pattern in (r"^sent +\d+$", r"^received +\d+$", r"^lost +0 \(0 %\)$",
                        r"^duplicated +0$", r"^reordered +0$", r"^corrupted +0$",
                        r"^rate +[\d.]+ ?[kM]?/s answered$",
                        r"^RTT +p50 .+, p90 .+, p99 .+, p99\.9 .+, max .+$", r"^unexplained 0$"):
            self.assertTrue(re.search(pattern, out, re.MULTILINE), (pattern, out))


class PythonServer:
    """A server that does with each datagram what `answer(server, data, peer)` does, and calls
    `idle(server)` when nothing has come for a while."""

    def __init__(self, answer, idle=lambda server: None):
        self._answer = answer
        self._idle = idle
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.02)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.target = program.bind_text(*self._socket.getsockname())
        self.first_arrival = threading.Event()
        self.peers = set()
        self.count = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def sendto(self, data, peer):
        self._socket.sendto(data, peer)

    def _serve(self):
        while not self._stopped.is_set():
            try:
                data, peer = self._socket.recvfrom(65536)
            except TimeoutError:
                self._idle(self)
                continue
            self.count += 1
            self.peers.add(peer)
            self.first_arrival.set()
            self._answer(self, data, peer)


def every(nth, wrong):
    """An echo that treats every nth datagram with `wrong`."""
    def answer(server, data, peer):
        if server.count % nth == 0:
            wrong(server, data, peer)
        else:
            server.sendto(data, peer)
    return answer


def echo_flipped(server, data, peer):
    place = random.randrange(len(data))
    server.sendto(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1:], peer)


class LoadReportsMisbehaviour(unittest.TestCase):
    """An echo server that does wrong on purpose is found out."""

    def figures_against(self, answer, *arguments, idle=lambda server: None):
        with PythonServer(answer, idle) as server:
            ended, figures = load("--target", server.target, "--rate", "2k", "--duration", "200ms",
                                  *arguments)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(figures["sent"], figures["received"] + figures["lost"])
        check_ledger(self, figures["ledger"])
        return figures

    def assert_only(self, figures, *kinds):
        for kind in ("lost", "duplicated", "reordered", "corrupted", "foreign", "forgotten"):
            if kind in kinds:
                self.assertGreater(figures[kind], 0, kind)
            else:
                self.assertEqual(figures[kind], 0, kind)

    def test_loss(self):
        figures = self.figures_against(every(10, lambda *_: None))
        self.assert_only(figures, "lost")
        self.assertEqual(figures["lost"], 40)

    def test_duplication(self):
        def twice(server, data, peer):
            server.sendto(data, peer)
            server.sendto(data, peer)
        figures = self.figures_against(every(10, twice))
        self.assert_only(figures, "duplicated")
        self.assertEqual(figures["duplicated"], 40)

    def test_corruption_anywhere_in_the_payload(self):
        for size in ("40", "64", "1400"):
            figures = self.figures_against(every(10, echo_flipped), "--size", size)
            self.assert_only(figures, "corrupted", "lost")
            self.assertEqual((figures["corrupted"], figures["lost"]), (40, 40))

    def test_truncation_and_extension_are_corruption(self):
        for change in (lambda data: data[:-1], lambda data: data + b"x", lambda data: b"",
                       lambda data: data * 3):
            figures = self.figures_against(
                every(10, lambda server, data, peer, change=change:
                      server.sendto(change(data), peer)))
            self.assert_only(figures, "corrupted", "lost")
            self.assertEqual((figures["corrupted"], figures["lost"]), (40, 40))

    def test_reordering(self):
        held = []

        def release(server):
            while held:
                server.sendto(*held.pop())

        def swapped(server, data, peer):
            held.append((data, peer))
            if len(held) == 2:
                release(server)
        figures = self.figures_against(swapped, idle=release)
        self.assert_only(figures, "reordered")

    def test_answers_of_another_run(self):
        probes = []

        with PythonServer(lambda _, data, __: probes.append(data)) as server:
            run("load", "--target", server.target, "--outstanding", "1", "--duration", "50ms")

        def as_well(server, data, peer):
            server.sendto(data, peer)
            server.sendto(probes[0], peer)
        figures = self.figures_against(every(10, as_well))
        self.assert_only(figures, "foreign")
        self.assertEqual(figures["foreign"], 40)

    def test_loss_does_not_stop_a_closed_load(self):
        # All four places are lost at once; only giving them up brings the rest of the traffic.
        with PythonServer(lambda server, data, peer:
                          server.count > 4 and server.sendto(data, peer)) as server:
            ended, figures = load("--target", server.target, "--outstanding", "4", "--duration",
                                  "1500ms")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(figures["lost"], 4)
        self.assertGreater(figures["received"], 4)


if __name__ == "__main__":
    program.main()
