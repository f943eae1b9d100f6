#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients that know nothing of quoit talk to `quoit echo`, on both backends, over IPv4 and IPv6.
Usage: foreign_clients_test.py PATH-OF-QUOIT"""

import asyncio
import itertools
import os
import signal
import subprocess
import time
import unittest

import program
from program import (DEADLINE_S, LOOPBACK, Echo, check_ledger, each_backend, each_family,
                     each_worker_count)


class AsyncioClient(asyncio.DatagramProtocol):
    """Sends datagrams, a few at a time, and collects what comes back."""

    def __init__(self, to_send):
        self._left = list(reversed(to_send))
        self._expected = len(to_send)
        self.received = []
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self._transport = transport
        for _ in range(16):
            self._send_next()

    def datagram_received(self, data, addr):
        self.received.append(data)
        if len(self.received) == self._expected:
            self.done.set_result(None)
        self._send_next()

    def error_received(self, exc):
        self.done.set_exception(exc)

    def _send_next(self):
        if self._left:
            self._transport.sendto(self._left.pop())


class ForeignClients(unittest.TestCase):
    def end(self, echo, taken):
        code, out, err, report = echo.stop()
        self.assertEqual((code, err), (0, ""), out)
        ledger = report["ledger"]
        check_ledger(self, ledger)
        self.assertEqual(ledger["received"]["taken"], taken)
        self.assertEqual(ledger["sent"]["sent"], taken)
        self.assertEqual(ledger["leases_held"], 0)
        self.assertEqual(report["engine"]["buffers_held"], 0)
        return ledger

    @each_backend
    @each_family
    @each_worker_count
    def test_asyncio(self, backend, family, workers):
        # No empty ones: asyncio of Python 3.11 does not send them.
        payloads = [bytes([i % 256]) * (1 + i * 7 % 1400) for i in range(500)]

        async def talk(address):
            loop = asyncio.get_running_loop()
            transport, client = await loop.create_datagram_endpoint(
                lambda: AsyncioClient(payloads), remote_addr=address)
            try:
                await asyncio.wait_for(client.done, DEADLINE_S)
            finally:
                transport.close()
            return client.received

        with Echo(LOOPBACK[family], backend, workers) as echo:
            self.assertEqual(asyncio.run(talk(echo.address)), payloads)
            self.end(echo, taken=len(payloads))

    def test_socat(self):
        program.need_tool(self, "socat")
        self.check_socat()

    @each_backend
    @each_family
    @each_worker_count
    def check_socat(self, backend, family, workers):
        with Echo(LOOPBACK[family], backend, workers) as echo:
            kind = {"IPv4": "UDP4", "IPv6": "UDP6"}[family]
            process = subprocess.Popen(["socat", "STDIO", f"{kind}:{echo.target}"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            try:
                for line in (b"hello\n", b"again\n"):
                    process.stdin.write(line)
                    process.stdin.flush()
                    self.assertEqual(program.read_line(process).encode() + b"\n", line)
                process.stdin.close()
                self.assertEqual(process.wait(DEADLINE_S), 0)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
                process.stderr.close()
            # socat sends an empty datagram or none at the end of its input.
            code, _, _, report = echo.stop()
            self.assertEqual(code, 0)
            self.assertGreaterEqual(report["ledger"]["received"]["taken"], 2)
            check_ledger(self, report["ledger"])

    @each_backend
    @each_family
    @each_worker_count
    def test_ten_thousand_empty_datagrams_among_ten_thousand_full_ones(self, backend, family,
                                                                       workers):
        with Echo(LOOPBACK[family], backend, workers) as echo:
            with program.client(echo, family) as client:
                empty, full = exchange(client, pairs=10_000)
                self.assertEqual(empty, 10_000)
                self.assertEqual(full, [payload(i) for i in range(10_000)])
                client.send(b"still there?")
                self.assertEqual(client.recv(2048), b"still there?")
            ledger = self.end(echo, taken=20_001)
            self.assertEqual(ledger["received"]["empty"], 10_000)

    @each_backend
    @each_family
    @each_worker_count
    def test_a_flood_that_overruns_the_socket_is_accounted_for(self, backend, family, workers):
        host_drops = program.host_backlog_drops()
        with Echo(LOOPBACK[family], backend, workers) as echo:
            with program.client(echo, family) as client:
                echo.process.send_signal(signal.SIGSTOP)  # now nobody takes anything
                os.waitid(os.P_PID, echo.process.pid, os.WSTOPPED | os.WNOWAIT)
                sent = 20_000
                for number in range(sent):
                    client.send(payload(number))
                echo.process.send_signal(signal.SIGCONT)
                sent += ping_until_answered(client)
            code, out, err, report = echo.stop()
        self.assertEqual((code, err), (0, ""), out)
        received = report["ledger"]["received"]
        self.assertGreater(received["dropped"]["kernel_packets"], 0)
        # Exactly what was sent, unless the host dropped some in front of the socket.
        accounted_for = received["taken"] + received["dropped"]["kernel_packets"]
        self.assertLessEqual(accounted_for, sent)
        self.assertGreaterEqual(accounted_for + program.host_backlog_drops() - host_drops, sent)
        self.assertEqual(report["engine"]["buffers_held"], 0)
        check_ledger(self, report["ledger"])


def ping_until_answered(client):
    """Whatever else arrives is skipped. Returns how many pings it took: those that found the
    server's socket full are lost."""
    client.settimeout(0.1)
    end = time.monotonic() + DEADLINE_S
    for count in itertools.count(1):
        client.send(b"ping")
        try:
            while client.recv(2048) != b"ping":
                pass
            return count
        except TimeoutError:
            if time.monotonic() > end:
                raise


def payload(number):
    return number.to_bytes(4, "big") * 300  # 1200 bytes


def exchange(client, pairs):
    """An empty and a full datagram in turn; so few at once that no socket's buffer overflows.
    Returns how many empty ones came back, and the full ones."""
    window = 25
    empty, full = 0, []
    for begin in range(0, pairs, window):
        for number in range(begin, begin + window):
            client.send(b"")
            client.send(payload(number))
        for _ in range(2 * window):
            data = client.recv(2048)
            if data:
                full.append(data)
            else:
                empty += 1
    return empty, full


if __name__ == "__main__":
    program.main()
