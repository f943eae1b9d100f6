#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The examples exchange datagrams with the systems they come from: Python's asyncio, socketserver
and struct, and Twisted.

Usage: interoperation_test.py DIRECTORY-OF-THE-EXAMPLES [unittest arguments]

Twisted is looked for in this Python and in the distribution's. Where it is not, its tests are
skipped, or fail if QUOIT_REQUIRE_TWISTED or QUOIT_REQUIRE_NETNS is 1.
"""
import asyncio
import contextlib
import functools
import json
import os
import re
import select
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

import examples_support
import program
from examples_support import (BROADCAST_ADDRESS, GROUP, NETWORK_ADDRESS, PORT, Background, Server,
                              is_member, need_ipv6, need_namespace, peer, run,
                              sockets_of_every_host, start)
from program import DEADLINE_S

HERE = ("127.0.0.1", PORT)
RECORD = struct.Struct("! I 2s Q 2h f")
THREE_MESSAGES = ["message 0", "message 1", "message 2"]


class Interoperation(unittest.TestCase):
    def succeeds(self, program_run, output):
        self.assertEqual((program_run.returncode, program_run.stdout), (0, output),
                         program_run.stderr)


class AsyncioClient(asyncio.DatagramProtocol):
    """Sends the next payload when the one before was answered."""

    def __init__(self, payloads):
        self._left = list(reversed(payloads))
        self._answers = []
        self.answers = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self._transport = transport
        self._send()

    def datagram_received(self, data, addr):
        self._answers.append(data)
        self._send()

    def error_received(self, exc):
        self.answers.set_exception(exc)

    def _send(self):
        if self._left:
            self._transport.sendto(self._left.pop())
        else:
            self.answers.set_result(self._answers)


class AsyncioEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, addr):
        self._transport.sendto(data, addr)


async def ask(payloads):
    """What an asyncio client is answered."""
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: AsyncioClient(payloads), remote_addr=HERE)
    try:
        return await asyncio.wait_for(client.answers, DEADLINE_S)
    finally:
        transport.close()


async def run_against_echo(*command):
    """Runs an example while an asyncio server echoes."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        AsyncioEcho, local_addr=HERE)
    try:
        return await asyncio.to_thread(run, *command)
    finally:
        transport.close()


class Asyncio(Interoperation):
    def test_an_asyncio_client_is_echoed_by_the_coroutine_server(self):
        payloads = [b"one", b"two" * 100, bytes(range(256)), b"x" * 60_000, b"five"]
        with Server("echo_server") as server:
            self.assertEqual(asyncio.run(ask(payloads)), payloads)
            _, errors = server.end()
            self.assertEqual((server.process.returncode, errors), (0, ""))

    def test_an_asyncio_client_is_echoed_by_the_callback_server(self):
        # No empty ones: asyncio of Python 3.11 does not send them.
        payloads = [b"%d " % number * (1 + number * 3 % 200) for number in range(200)]
        with Server("protocol_echo", stdout=subprocess.DEVNULL):
            self.assertEqual(asyncio.run(ask(payloads)), payloads)

    def test_an_asyncio_client_gets_its_json_back(self):
        values = [{"name": "Grüße", "list": [1, 2.5, None, True]}, [], "text", 2**64 - 1]
        with start("json_echo") as server:
            self.assertEqual(server.line(), "serving")
            answers = asyncio.run(ask([json.dumps(value).encode() for value in values] + [b"{]"]))
        self.assertEqual([json.loads(answer) for answer in answers],
                         values + [{"error": "Invalid JSON", "code": "parse_error"}])

    def test_asyncio_clients_at_once_are_peers_of_their_own(self):
        async def ask_at_once():
            return await asyncio.gather(*(ask([word] * 20) for word in words))
        words = [b"eins", b"zwei", b"drei"]
        with Server("accept") as server:
            answers = asyncio.run(ask_at_once())
            for word, answered in zip(words, answers):
                self.assertEqual(answered,
                                 [b"%d: %s" % (number, word) for number in range(1, 21)])
            for _ in words:
                self.assertRegex(server.line(), r"\Ahello 127\.0\.0\.1:\d+\Z")

    def test_clients_of_every_kind_are_echoed_by_an_asyncio_server(self):
        request = '{"command-line arguments":["a","b"]}'
        for command, output in (
                (("echo_client",), "Received Hello, World!\n"),
                (("json_client", "a", "b"), f"Sent:     {request}\nReceived: {request}\n"),
                (("protocol_connected",), "received hello\n"),
                (("blocking_client",), "".join(f"{line}\n" for line in THREE_MESSAGES))):
            with self.subTest(example=command[0]):
                self.succeeds(asyncio.run(run_against_echo(*command)), output)


class UpperCase(socketserver.BaseRequestHandler):
    def handle(self):
        data, from_socket = self.request
        from_socket.sendto(data.upper(), self.client_address)


@contextlib.contextmanager
def serving(server_class):
    with server_class(HERE, UpperCase) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class SocketServer(Interoperation):
    def test_the_blocking_client_is_answered_in_order_by_a_udp_server(self):
        with serving(socketserver.UDPServer):
            self.succeeds(run("blocking_client"),
                          "".join(f"{line.upper()}\n" for line in THREE_MESSAGES))

    def test_the_blocking_client_is_answered_by_a_threading_udp_server(self):
        with serving(socketserver.ThreadingUDPServer):
            client = run("blocking_client")
        self.assertEqual((client.returncode, client.stderr), (0, ""))
        # A thread for each: in any order.
        self.assertEqual(sorted(client.stdout.splitlines()),
                         [line.upper() for line in THREE_MESSAGES])

    def test_plain_sockets_are_answered_in_order_by_the_request_server(self):
        with Server("upper_server"), peer() as one, peer() as other:
            for number in range(0, 200, 10):
                for client, word in ((one, b"one"), (other, b"other")):
                    for step in range(10):
                        client.sendto(b"%s %d" % (word, number + step), HERE)
                for client, word in ((one, b"ONE"), (other, b"OTHER")):
                    for step in range(10):
                        self.assertEqual(client.recvfrom(1024),
                                         (b"%s %d" % (word, number + step), HERE))


class Cookbook(Interoperation):
    def test_the_cookbooks_client_has_its_struct_unpacked(self):
        with start("struct_server") as server, peer() as client:
            for _ in range(2):  # where it is, its buffers
                server.line()
            for fields, words in (((1, b"ab", 2, 3, 3, 2.5), "1 ab 2 3 3 2.5"),
                                  ((2**32 - 1, b"z!", 2**64 - 1, -32768, 32767, -0.125),
                                   "4294967295 z! 18446744073709551615 -32768 32767 -0.125")):
                client.sendto(b"data", ("localhost", PORT))
                self.assertEqual(client.recvfrom(1024), (b"data", HERE))
                client.sendto(RECORD.pack(*fields), ("localhost", PORT))
                self.assertEqual(server.line(), words)

    def test_the_cookbooks_server_unpacks_the_clients_struct(self):
        with contextlib.ExitStack() as stack:
            # Whichever of them is the client's localhost.
            found = socket.getaddrinfo("localhost", PORT, type=socket.SOCK_DGRAM)
            servers = [stack.enter_context(peer(family, address))
                       for family, address in {(family, address)
                                               for family, *_, address in found}]
            client = stack.enter_context(start("struct_client"))
            ready, _, _ = select.select(servers, [], [], DEADLINE_S)
            self.assertEqual(len(ready), 1)
            data, address = ready[0].recvfrom(1024)
            self.assertEqual(data, b"data")
            ready[0].sendto(data, address)
            self.assertEqual(RECORD.unpack(ready[0].recv(1024)), (1, b"ab", 2, 3, 3, 2.5))
            self.assertEqual(client.end(), ("recv: data\n", ""))
            self.assertEqual(client.process.returncode, 0)


@functools.cache
def python_with_twisted():
    """This Python, or the distribution's, for whose package Twisted may be; or None."""
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([python, "-c", "import twisted.internet.reactor"],
                              capture_output=True, timeout=DEADLINE_S,
                              check=False).returncode == 0:
                return python
    return None


def twisted(name, *arguments, **options):
    """One of the peers on Twisted, in the background."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "twisted_peers.py")
    return Background([python_with_twisted(), script, name, *arguments], **options)


@contextlib.contextmanager
def twisted_server(name, *arguments, **options):
    with twisted(name, *arguments, **options) as server:
        line = server.line()
        if line != "ready":
            raise AssertionError(f"Twisted's {name} says {line!r}")
        yield server


class Twisted(Interoperation):
    def setUp(self):
        if python_with_twisted():
            return
        if program.is_set("QUOIT_REQUIRE_TWISTED") or program.is_set("QUOIT_REQUIRE_NETNS"):
            self.fail("python3-twisted is not installed")
        self.skipTest("python3-twisted is not installed")

    def answers(self, client):
        """What a client on Twisted is answered, line by line."""
        output, log = client.end()
        self.assertEqual(client.process.returncode, 0, log)
        return output.splitlines()

    def test_twisteds_connected_client_is_echoed_by_the_callback_server(self):
        with Server("protocol_echo", stdout=subprocess.DEVNULL), \
                twisted("connected", "127.0.0.1", "100") as client:
            self.assertEqual(self.answers(client),
                             [f"message {number} from 127.0.0.1" for number in range(100)])

    def test_twisteds_echo_answers_connected_clients(self):
        with twisted_server("echo") as server:
            self.succeeds(run("protocol_connected"), "received hello\n")
            self.assertEqual(server.line(), "hello")
            self.succeeds(run("echo_client"), "Received Hello, World!\n")
            self.assertEqual(server.line(), "Hello, World!")

    def test_twisteds_ipv6_client_is_echoed(self):
        need_ipv6(self)
        with Server("ipv6_echo", sockets=sockets_of_every_host()), \
                twisted("ipv6", "::1", "5") as client:
            self.assertEqual(self.answers(client),
                             [f"message {number} from ::1" for number in range(5)])

    def test_twisteds_group_member_answers_the_multicast_client(self):
        need_namespace(self)
        with twisted_server("group_server") as server:
            self.succeeds(run("multicast", "client"), "Server: Pong\n")
            self.assertEqual(server.line(), "Client: Ping")

    def test_the_multicast_server_answers_twisteds_client(self):
        need_namespace(self)
        with Server("multicast") as server:
            server.wait_until(lambda: is_member(GROUP), f"in {GROUP}")
            with twisted("group_client") as client:
                answer, = self.answers(client)
                self.assertRegex(answer, r"\AServer: Pong from [\d.]+\Z")
            self.assertRegex(server.line(), r"\AClient: Ping from [\d.]+:\d+\Z")

    def test_twisted_and_quoit_listen_to_one_group_on_one_port(self):
        need_namespace(self)
        with twisted_server("group_server") as theirs, Server("multicast") as ours:
            # Twisted's member is one already.
            ours.wait_until(lambda: is_member(GROUP, 2), f"in {GROUP}")
            with peer() as client:
                client.sendto(b"Client: Ping", (GROUP, PORT))
                for _ in range(2):
                    self.assertEqual(client.recv(1024), b"Server: Pong")
            self.assertEqual(theirs.line(), "Client: Ping")
            self.assertRegex(ours.line(), r"\AClient: Ping from ")

    def test_twisted_answers_the_broadcast_client(self):
        need_namespace(self)
        with twisted_server("broadcast_server") as server:
            self.succeeds(run("broadcast", BROADCAST_ADDRESS), f"me, says {NETWORK_ADDRESS}\n")
            self.assertEqual(server.line(), "who is there?")

    def test_the_broadcast_server_answers_twisted(self):
        need_namespace(self)
        with Server("broadcast") as server, \
                twisted("broadcast_client", BROADCAST_ADDRESS) as client:
            self.assertEqual(self.answers(client), [f"me from {NETWORK_ADDRESS}"])
            self.assertRegex(server.line(),
                             rf"\Awho is there\? from {re.escape(NETWORK_ADDRESS)}:\d+\Z")

    def test_twisteds_unix_server_answers_the_unix_client(self):
        with tempfile.TemporaryDirectory() as place, \
                twisted_server("unix_server", "quoit-example.sock", cwd=place) as server:
            self.succeeds(run("unix_datagrams", "client", cwd=place), "done\n")
            self.assertEqual(server.line(), "a line")

    def test_the_unix_server_answers_twisteds_client(self):
        with tempfile.TemporaryDirectory() as place, \
                start("unix_datagrams", cwd=place) as server:
            self.assertEqual(server.line(), "serving quoit-example.sock")
            with twisted("unix_client", "quoit-example.sock", "twisted.sock",
                         cwd=place) as client:
                self.assertEqual(self.answers(client), ["done"])
                self.assertEqual(server.line(), f"from process {client.process.pid}")


if __name__ == "__main__":
    examples_support.main(__doc__)
