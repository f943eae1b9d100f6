#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`quoit packets serve` and `quoit packets send`, as their users and foreign peers meet them: each
other, and a framer that knows nothing of quoit (packet_framer.py).
Usage: packets_program_test.py PATH-OF-QUOIT"""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

import program
from packet_framer import FRAMINGS, Framer, frame
from program import (DEADLINE_S, FAMILY, LOOPBACK, PacketServer, check_packet_ledger, each,
                     each_backend, each_family, each_worker_count, run)

# Much more than a turn of a program that is told to end.
SECOND_SIGNAL_S = 1

each_framing = each("framing", tuple(FRAMINGS))


def framer(server, framing="packetsocket", family="IPv4"):
    """A foreign client of the server."""
    connection = socket.socket(FAMILY[family], socket.SOCK_STREAM)
    connection.settimeout(DEADLINE_S)
    connection.connect(server.address)
    return Framer(connection, framing)


def receive(connection, size):
    """Exactly so many bytes, or what came before the end."""
    taken = b""
    while len(taken) < size:
        some = connection.recv(size - len(taken))
        if not some:
            break
        taken += some
    return taken


class ForeignServer:
    """Accepts one connection and does with it what `talk(framer)` does, on a thread of its own.
    At the end of the `with` it must have ended well."""

    def __init__(self, talk, framing="packetsocket"):
        self._talk = talk
        self._framing = framing
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE_S)
        self.target = program.bind_text(*self._listener.getsockname())
        self._thread = threading.Thread(target=self._run)
        self._error = None

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._thread.join(DEADLINE_S)
        self._listener.close()
        if kind is None and self._error is not None:
            raise self._error

    def _run(self):
        try:
            connection, _ = self._listener.accept()
            connection.settimeout(DEADLINE_S)
            with Framer(connection, self._framing) as one:
                self._talk(one)
        except Exception as error:  # told where the test is
            self._error = error


def echo(one):
    while (body := one.read()) is not None:
        one.write(body)


def send(target, given, *arguments):
    """Runs `quoit packets send` on these bytes to its end."""
    return subprocess.run([program.quoit, "packets", "send", "--target", target, *arguments],
                          input=given, capture_output=True, timeout=DEADLINE_S, check=False)


def send_with_report(target, given, *arguments):
    """The same, and the object it writes."""
    with tempfile.TemporaryDirectory() as directory:
        name = os.path.join(directory, "send.json")
        ended = send(target, given, "--json", name, *arguments)
        with open(name, encoding="utf-8") as file:
            return ended, json.load(file)


@contextlib.contextmanager
def sending(target, *arguments, **streams):
    """`quoit packets send` in the background, its input open."""
    process = subprocess.Popen(
        [program.quoit, "packets", "send", "--target", target, *arguments],
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
           **streams})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class Packets(unittest.TestCase):
    def end(self, server, *framers, how=signal.SIGTERM, complaints=r""):
        """Ends it, without these clients: it would wait for a second until they close. Returns the
        ledger, which must add up."""
        for one in framers:
            one.connection.close()
        code, out, err, report = server.stop(how)
        self.assertEqual(code, 0, out)
        self.assertRegex(err, rf"\A{complaints}\Z")
        self.assertEqual(report["program"], "quoit packets serve")
        ledger = report["ledger"]
        check_packet_ledger(self, ledger)
        self.assertEqual(ledger["connections"]["open"], 0)
        self.assertEqual(report["engine"]["buffers_held"], 0)
        return ledger

    def closes(self, one):
        """The other side closes the connection, in either way."""
        try:
            self.assertEqual(one.connection.recv(1), b"")
        except ConnectionResetError:
            pass


class Serve(Packets):
    @each_backend
    @each_worker_count
    def test_first_line_says_where_it_listens_and_on_what(self, backend, workers):
        with PacketServer(backend=backend, workers=workers) as server:
            self.assertRegex(server.first_line, rf"^listening on 127\.0\.0\.1:\d+ "
                                                rf"\(backend {backend}, workers {workers}\)$")
            self.assertNotEqual(server.port, 0)
            self.end(server)

    @each_backend
    @each_worker_count
    @each_framing
    def test_every_byte_of_an_answer_is_as_the_framing_says(self, backend, workers, framing):
        with PacketServer(backend=backend, workers=workers,
                          arguments=("--framing", framing)) as server, \
                framer(server, framing) as one:
            for body in (b"hello", b"", bytes(range(256)), b"#!?&" * 3, b"x" * 600_000):
                one.write(body)
                expected = frame(body, framing)
                self.assertTrue(receive(one.connection, len(expected)) == expected,
                                f"{len(body)} bytes")
            self.assertEqual(self.end(server, one)["sent"]["sent"], 5)

    @each_backend
    @each_family
    def test_each_answer_stands_behind_the_prefix(self, backend, family):
        with PacketServer(LOOPBACK[family], backend,
                          arguments=("--prefix", "you said: ")) as server, \
                framer(server, family=family) as one:
            one.write(b"hello", b"", b"\x00\xff")
            self.assertEqual([one.read() for _ in range(3)],
                             [b"you said: hello", b"you said: ", b"you said: \x00\xff"])

    @each_backend
    def test_packets_may_be_merged_and_cut_anywhere(self, backend):
        bodies = [b"%d " % n * (n % 7) for n in range(200)]
        stream = b"".join(map(frame, bodies))
        with PacketServer(backend=backend) as server:
            for piece in (1, 7, len(stream)):
                with framer(server) as one:
                    one.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for start in range(0, len(stream), piece):
                        one.connection.sendall(stream[start:start + piece])
                    self.assertEqual([one.read() for _ in bodies], bodies)
            ledger = self.end(server)
            self.assertEqual(ledger["received"]["packets"], 3 * len(bodies))
            self.assertEqual(ledger["connections"]["made"], 3)

    @each_backend
    @each_worker_count
    def test_a_client_that_has_finished_still_gets_its_answers(self, backend, workers):
        with PacketServer(backend=backend, workers=workers) as server, framer(server) as one:
            one.write(b"one", b"two", b"x" * 300_000)
            one.connection.shutdown(socket.SHUT_WR)
            self.assertEqual([one.read(), one.read(), len(one.read()), one.read()],
                             [b"one", b"two", 300_000, None])
            ledger = self.end(server)
            self.assertEqual(ledger["connections"]["ended"], 1)

    @each_backend
    @each_worker_count
    def test_who_sends_what_is_no_packet_is_closed_and_nobody_else(self, backend, workers):
        with PacketServer(backend=backend, workers=workers,
                          arguments=("--size-max", "1K")) as server, framer(server) as good:
            good.write(b"before")
            self.assertEqual(good.read(), b"before")
            offences = (b"GET / HTTP/1.1\r\n\r\n", b"#!?x", frame(b"x" * 1025)[:8],
                        b"#!?&\xff\xff\xff\xff")
            for wrong in offences:
                with framer(server) as bad:
                    bad.write(b"a right one")
                    self.assertEqual(bad.read(), b"a right one")
                    bad.connection.sendall(wrong)
                    self.closes(bad)
            good.write(b"x" * 1024)
            self.assertEqual(good.read(), b"x" * 1024)
            ledger = self.end(server, good, complaints=r"(quoit: .*Not a packet\n){4}")
            self.assertEqual(ledger["connections"]["framing"], len(offences))
            self.assertEqual(ledger["connections"]["made"], len(offences) + 1)

    @each_backend
    def test_a_reset_in_mid_packet_is_counted_and_harms_nobody(self, backend):
        with PacketServer(backend=backend) as server, framer(server) as good:
            with framer(server) as bad:
                bad.write(b"whole")
                self.assertEqual(bad.read(), b"whole")
                bad.connection.sendall(frame(b"never whole")[:-3])
                bad.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                          struct.pack("ii", 1, 0))
            # The reset is in the kernel before this is.
            good.write(b"still there?")
            self.assertEqual(good.read(), b"still there?")
            ledger = self.end(server, good)
            self.assertEqual(ledger["connections"]["reset"], 1)
            self.assertGreaterEqual(ledger["received"]["bytes_discarded"], 1)

    @each_backend
    def test_who_does_not_read_has_a_bounded_queue_and_holds_up_nobody(self, backend):
        with PacketServer(backend=backend) as server, framer(server) as good, \
                framer(server) as slow:
            body = b"x" * 65_536
            for _ in range(1000):  # far more than the kernel and the queue hold
                slow.write(body)
                good.write(b"quick")
                self.assertEqual(good.read(), b"quick")
            code, _, err, report = server.stop()
        self.assertEqual((code, err), (0, ""))
        check_packet_ledger(self, report["ledger"])
        self.assertGreater(report["answers_refused"], 0)
        self.assertEqual(report["answers_refused"], report["ledger"]["sent"]["dropped_slow"])

    @each_backend
    def test_a_hundred_clients_at_once_get_what_is_theirs(self, backend):
        with PacketServer(backend=backend) as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(framer(server)) for _ in range(100)]
            for step in range(3):
                for number, one in enumerate(clients):
                    one.write(b"%d of %d" % (step, number))
            for step in range(3):
                for number, one in enumerate(clients):
                    self.assertEqual(one.read(), b"%d of %d" % (step, number))

    @each_backend
    @each_worker_count
    @each("how", (signal.SIGINT, signal.SIGTERM))
    def test_a_signal_ends_it_with_the_ledger(self, backend, workers, how):
        with PacketServer(backend=backend, workers=workers) as server, framer(server) as one:
            one.write(b"ping")
            self.assertEqual(one.read(), b"ping")
            server.process.send_signal(how)
            self.assertIsNone(one.read())
            one.connection.close()
            code, out, err, report = server.stop(how=None)
        self.assertEqual((code, err), (0, ""))
        self.assertTrue(out.endswith("unexplained 0\n"), out)
        self.assertRegex(out, r"\Aechoed 1 packet in ")
        self.assertEqual((report["backend"], report["workers"]), (backend, workers))
        self.assertEqual(report["addresses"], [server.target])
        self.assertEqual(report["framing"], "packetsocket")
        self.assertEqual(report["packet_size_max"], 16 << 20)
        self.assertEqual(report["answers_refused"], 0)
        check_packet_ledger(self, report["ledger"])

    @each_backend
    @each("how", (signal.SIGINT, signal.SIGTERM))
    def test_a_signal_right_after_the_first_line_is_not_missed(self, backend, how):
        with PacketServer(backend=backend) as server:
            self.assertEqual(server.stop(how)[0], 0)

    @each_backend
    def test_the_port_can_be_bound_again_at_once(self, backend):
        with PacketServer(backend=backend) as first, framer(first) as one:
            one.write(b"x")
            self.assertEqual(one.read(), b"x")
            self.end(first)  # with the client there
            ended = run("packets", "serve", "--bind", first.target, "--backend", backend,
                        "--duration", "1ms")
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def test_busy_polling_answers_as_well(self):
        with PacketServer(arguments=("--busy-poll",)) as server, framer(server) as one:
            self.assertIn("(backend epoll, ", server.first_line)
            one.write(b"hello")
            expected = frame(b"hello", "packetsocket")
            self.assertEqual(receive(one.connection, len(expected)), expected)
            self.assertEqual(self.end(server, one)["sent"]["sent"], 1)

    def test_duration_ends_it(self):
        with PacketServer(arguments=("--duration", "50ms")) as server:
            self.end(server, how=None)


class Send(Packets):
    @each_backend
    @each_worker_count
    @each_framing
    def test_lines_are_sent_and_their_answers_printed(self, backend, workers, framing):
        options = ("--backend", backend, "--workers", str(workers), "--framing", framing)
        with PacketServer(backend=backend, arguments=("--framing", framing)) as server:
            lines = b"one\n\ntwo\r\n\x00\xff#!?&\nlast, without a newline"
            ended, report = send_with_report(server.target, lines, *options)
            self.assertEqual((ended.returncode, ended.stderr), (0, b""))
            self.assertEqual(ended.stdout, lines + b"\n")
            self.assertEqual((report["sent"], report["received"], report["reason"]), (5, 5, None))
            self.assertEqual((report["backend"], report["framing"]), (backend, framing))
            check_packet_ledger(self, report["ledger"])
            ledger = self.end(server)
            self.assertEqual(ledger["connections"]["ended"], 1)

    @each_backend
    @each_framing
    def test_every_byte_it_sends_is_as_the_framing_says(self, backend, framing):
        heard = []

        def talk(one):
            expected = b"".join(frame(body, framing) for body in (b"hello", b"", b"x" * 100_000))
            heard.append(receive(one.connection, len(expected)) == expected)
            one.write(b"1", b"", b"\x00")
            heard.append(one.read())

        with ForeignServer(talk, framing) as server:
            ended = send(server.target, b"hello\n\n" + b"x" * 100_000, "--backend", backend,
                         "--framing", framing)
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, b"1\n\n\x00\n", b""))
        self.assertEqual(heard, [True, None])  # and then it finishes

    @each_backend
    def test_many_lines_come_back_in_order(self, backend):
        lines = b"".join(b"line %d %s\n" % (n, b"." * (n % 300)) for n in range(20_000))
        with PacketServer(backend=backend) as server:
            ended = send(server.target, lines, "--backend", backend)
            self.assertEqual((ended.returncode, ended.stderr), (0, b""))
            self.assertTrue(ended.stdout == lines)
            self.assertEqual(self.end(server)["received"]["packets"], 20_000)

    @each_backend
    def test_an_answer_is_printed_while_the_input_is_still_open(self, backend):
        with PacketServer(backend=backend) as server, \
                sending(server.target, "--backend", backend) as process:
            for line in (b"one\n", b"two\n"):
                process.stdin.write(line)
                process.stdin.flush()
                self.assertEqual(program.read_line(process).encode() + b"\n", line)
            out, err = process.communicate(timeout=DEADLINE_S)
            self.assertEqual((process.returncode, out, err), (0, b"", b""))

    @each_backend
    def test_what_the_server_says_is_printed_while_nothing_is_typed(self, backend):
        def talk(one):
            one.write(b"unasked for")
            self.assertEqual(one.read(), b"a line")
            one.write(b"and its answer")
            self.assertIsNone(one.read())

        with ForeignServer(talk) as server, \
                sending(server.target, "--backend", backend) as process:
            self.assertEqual(program.read_line(process), "unasked for")
            out, err = process.communicate(b"a line\n", timeout=DEADLINE_S)
            self.assertEqual((process.returncode, err), (0, b""))

    @each_backend
    def test_no_lines_are_answered_at_once(self, backend):
        with PacketServer(backend=backend) as server:
            ended = send(server.target, b"", "--backend", backend)
            self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, b"", b""))

    @each_backend
    def test_nobody_there_is_exit_code_3_and_says_why(self, backend):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            target = program.bind_text(*gone.getsockname())
        for given in (b"", b"one\ntwo\n"):
            ended = send(target, given, "--backend", backend)
            self.assertEqual((ended.returncode, ended.stdout), (3, b""))
            self.assertRegex(ended.stderr.decode(),
                             rf"\Aquoit packets send: 0 of \d answers came from "
                             rf"{re.escape(target)}: [^\n]*Connection refused\n\Z")

    @each_backend
    def test_a_server_that_answers_nothing_is_given_up(self, backend):
        def talk(one):
            self.assertEqual(one.read(), b"one")
            with contextlib.suppress(ConnectionResetError):
                self.assertIsNone(one.read())

        with ForeignServer(talk) as server:
            ended, report = send_with_report(server.target, b"one\n", "--timeout", "50ms",
                                             "--backend", backend)
        self.assertEqual((ended.returncode, ended.stdout), (3, b""))
        self.assertEqual(ended.stderr.decode(), f"quoit packets send: 0 of 1 answers came from "
                                                f"{server.target}: no answer came for 50ms\n"
                         .replace("50ms", "50.0 ms"))
        self.assertIn("no answer", report["reason"])
        check_packet_ledger(self, report["ledger"])

    @each_backend
    def test_a_server_that_leaves_is_exit_code_3_behind_the_answers_it_gave(self, backend):
        def talk(one):
            one.write(one.read())

        with ForeignServer(talk) as server:
            ended = send(server.target, b"one\ntwo\n", "--backend", backend)
        self.assertEqual((ended.returncode, ended.stdout), (3, b"one\n"))
        self.assertRegex(ended.stderr.decode(), r"\A[^\n]*1 of 2 answers came from [^\n]+: .+\n\Z")

    @each_backend
    def test_an_answer_that_is_no_packet_is_exit_code_3(self, backend):
        def talk(one):
            one.read()
            one.connection.sendall(frame(b"right") + b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(ConnectionResetError):
                one.read()

        with ForeignServer(talk) as server:
            ended, report = send_with_report(server.target, b"one\ntwo\n", "--backend", backend)
        self.assertEqual((ended.returncode, ended.stdout), (3, b"right\n"))
        self.assertEqual(report["ledger"]["connections"]["framing"], 1)

    @each_backend
    @each("how", (signal.SIGINT, signal.SIGTERM))
    def test_a_signal_ends_it_while_it_waits_for_a_line(self, backend, how):
        with PacketServer(backend=backend) as server, \
                sending(server.target, "--backend", backend) as process:
            process.stdin.write(b"one\n")
            process.stdin.flush()
            self.assertEqual(program.read_line(process), "one")
            process.send_signal(how)
            self.assertEqual(process.wait(DEADLINE_S), 0)
            self.assertEqual(process.stderr.read(), b"")
            self.end(server)

    @each_backend
    def test_a_second_signal_ends_it_while_it_waits_for_an_answer(self, backend):
        ready = threading.Event()

        def talk(one):
            self.assertEqual(one.read(), b"one")
            ready.set()
            with contextlib.suppress(ConnectionResetError):
                self.assertIsNone(one.read())

        with ForeignServer(talk) as server, \
                sending(server.target, "--backend", backend) as process:
            process.stdin.write(b"one\n")
            process.stdin.flush()
            self.assertTrue(ready.wait(DEADLINE_S))
            process.send_signal(signal.SIGINT)
            # Two that come between two turns are one; and one that comes when the program has made
            # up its mind ends it as any other.
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SECOND_SIGNAL_S)
                    break
                process.send_signal(signal.SIGINT)
            self.assertEqual(process.returncode, 3)
            self.assertRegex(process.stderr.read(), rb"0 of 1 answers came from .*: interrupted")

    def test_a_line_that_is_too_long_is_exit_code_1(self):
        with PacketServer() as server:
            ended = send(server.target, b"short\n" + b"x" * 2000, "--size-max", "1K")
            self.assertEqual(ended.returncode, 1)
            self.assertRegex(ended.stderr.decode(),
                             r"\Aquoit packets send: [^\n]*standard input[^\n]*1024[^\n]*\n\Z")
            self.end(server)

    def test_a_terminal_is_read_line_by_line(self):
        try:
            ours, theirs = pty.openpty()
        except OSError as error:  # a root without /dev/pts
            self.skipTest(f"no terminal can be had: {error}")
        with PacketServer() as server, sending(server.target, stdin=theirs) as process:
            os.close(theirs)
            os.write(ours, b"typed\n")
            self.assertEqual(program.read_line(process), "typed")
            os.write(ours, b"\x04")  # the end of the input
            self.assertEqual(process.wait(DEADLINE_S), 0)
            os.close(ours)

    def test_json_on_standard_output_comes_behind_the_answers(self):
        with PacketServer() as server:
            ended = send(server.target, b"one\n", "--json", "-")
        first, _, rest = ended.stdout.partition(b"\n")
        self.assertEqual((ended.returncode, first), (0, b"one"))
        self.assertEqual(json.loads(rest)["program"], "quoit packets send")


class WrongInput(unittest.TestCase):
    def refused(self, code, arguments, *words):
        with self.subTest(arguments=arguments):
            ended = run("packets", *arguments)
            self.assertEqual((ended.returncode, ended.stdout), (code, ""), ended.stderr)
            self.assertRegex(ended.stderr, r"\Aquoit[^\n]*\n\Z")
            for word in words:
                self.assertIn(word, ended.stderr)

    def test_usage_is_one_line_that_names_the_value_and_what_is_expected(self):
        self.refused(2, [], "serve or send")
        self.refused(2, ["echo"], "echo")
        self.refused(2, ["serve", "--bind", "localhost:1"], "localhost:1", "not looked up")
        self.refused(2, ["serve", "--bind", "127.0.0.1"], "expected ADDRESS:PORT")
        self.refused(2, ["serve", "--framing", "http"], "http",
                     "packetsocket, little_endian or big_endian")
        self.refused(2, ["serve", "--framing"], "--framing", "value is missing", "big_endian")
        for bad in ("0", "1025M", "1G", "many", "-1"):
            self.refused(2, ["serve", "--size-max", bad], bad, "from 1 to 1073741824")
        self.refused(2, ["serve", "--workers", "65"], "65", "from 0 to 64")
        self.refused(2, ["serve", "--target", "127.0.0.1:1"], "--target")
        self.refused(2, ["send"], "--target is required")
        self.refused(2, ["send", "--target", "127.0.0.1:0"], "127.0.0.1:0", "from 1 to 65535")
        to = ["send", "--target", "127.0.0.1:1"]
        self.refused(2, [*to, "--timeout", "5"], '"5"', "us, ms, s, m or h")
        self.refused(2, [*to, "--timeout", "2h"], '"2h"', "from 1ms to 1h")
        self.refused(2, [*to, "--backend"], "--backend", "auto, io_uring or epoll")
        self.refused(2, [*to, "--prefix", "x"], "--prefix")

    def test_a_port_in_use_names_the_address_and_leaves_no_file_behind(self):
        with PacketServer() as server, tempfile.TemporaryDirectory() as directory:
            report = os.path.join(directory, "report.json")
            self.refused(1, ["serve", "--bind", server.target, "--json", report],
                         "quoit packets serve", server.target, "already in use")
            self.assertFalse(os.path.exists(report))

    def test_help_names_examples_and_exit_codes(self):
        self.assertIn("quoit packets serve --help", run("packets", "--help").stdout)
        for which in ("serve", "send"):
            ended = run("packets", which, "--help")
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
            self.assertIn("Exit codes:", ended.stdout)
            self.assertIn(f"quoit packets {which} --", ended.stdout)
            self.assertLessEqual(max(map(len, ended.stdout.splitlines())), 100)


if __name__ == "__main__":
    program.main()
