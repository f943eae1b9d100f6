#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The examples do what they say.

Usage: examples_test.py DIRECTORY-OF-THE-EXAMPLES [unittest arguments]

Every one is run as a stranger would: with its partner, and without it or with what it does not
expect. Partners that are not quoit's are plain sockets; interoperation_test.py has the others.
"""
import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time
import unittest

import examples_support
import init_system
from examples_support import (BROADCAST_ADDRESS, GROUP, LINK_LOCAL, NETWORK_ADDRESS, PACKET_PORT,
                              PORT, Server, is_member, need_ipv6, need_namespace, peer, run,
                              sockets_of_every_host, start, wait_until)
from packet_framer import Framer
from program import DEADLINE_S

HERE = ("127.0.0.1", PORT)
LOOP_PORT = 9998  # of batches, turned by hand
RECORD = struct.Struct("! I 2s Q 2h f")


def name_of(one):
    """A socket's own address, as quoit writes it."""
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Examples(unittest.TestCase):
    def succeeds(self, program, output):
        self.assertEqual((program.returncode, program.stdout), (0, output), program.stderr)

    def fails(self, program, words):
        self.assertEqual((program.returncode, program.stdout), (1, ""), program.stderr)
        self.assertRegex(program.stderr, rf"\A(error: )?[^\n]*{words}\n\Z")


class AllOfThem(unittest.TestCase):
    def test_every_example_is_tried_by_a_test_here(self):
        with open(__file__, encoding="utf-8") as source:
            tried = set(re.findall(r'"(\w+)"', source.read()))
        programs = {entry.name for entry in os.scandir(examples_support.directory)
                    if entry.is_file() and os.access(entry, os.X_OK)}
        self.assertGreater(len(programs), 0)
        self.assertEqual(programs - tried, set())


class Echoes(Examples):
    def test_five_clients_get_their_echo_and_the_server_ends(self):
        with Server("echo_server") as server:
            for _ in range(5):
                self.succeeds(run("echo_client"), "Received Hello, World!\n")
            output, errors = server.end()
            self.assertEqual(server.process.returncode, 0, errors)
            self.assertEqual(output.count("Received Hello, World! from 127.0.0.1:"), 5)

    def test_a_used_port_is_one_line_of_words_and_status_1(self):
        with peer(address=HERE):
            for name in ("accept", "adopted", "batches", "broadcast", "echo_server", "every_core",
                         "graceful_shutdown", "in_epoll", "ipv6_echo", "json_echo", "multicast",
                         "protocol_adopted", "protocol_echo", "struct_server", "upper_server"):
                with self.subTest(example=name):
                    self.fails(run(name), r"\S+:9999: Address already in use")

    def test_a_client_without_a_server_hears_of_it(self):
        for name in ("echo_client", "blocking_client", "struct_client"):
            with self.subTest(example=name):
                self.fails(run(name), "Connection refused")
        with self.subTest(example="json_client"):
            client = run("json_client", "a", "b")
            self.assertEqual((client.returncode, client.stderr),
                             (1, "error: Connection refused\n"))
            self.assertEqual(client.stdout,
                             'Sent:     {"command-line arguments":["a","b"]}\n')

    def test_the_adopted_socket_answers_five_clients_and_ends(self):
        with start("adopted") as server:
            self.assertEqual(server.line(), "listening on 127.0.0.1:9999")
            for _ in range(5):
                self.succeeds(run("echo_client"), "Received Hello, World!\n")
            self.assertEqual(server.end(), ("", ""))
            self.assertEqual(server.process.returncode, 0)

    def test_the_adopted_socket_answers_callbacks(self):
        with start("protocol_adopted") as server:
            self.assertEqual(server.line(), "listening on 127.0.0.1:9999")
            for _ in range(2):
                self.succeeds(run("echo_client"), "Received Hello, World!\n")

    def test_the_socket_of_an_init_system_answers_what_came_before(self):
        with peer(address=HERE) as passed, peer() as client:
            client.sendto(b"early", HERE)
            with examples_support.Background(
                    init_system.command([passed], init_system.for_it(1, "echo"),
                                        examples_support.path_of("activated")),
                    pass_fds=init_system.numbers([passed])) as server:
                passed.close()
                self.assertEqual(server.line(), "listening on 127.0.0.1:9999")
                self.assertEqual(client.recvfrom(2048), (b"early", HERE))
                self.succeeds(run("echo_client"), "Received Hello, World!\n")

    def test_started_by_hand_the_activated_one_says_what_it_misses(self):
        self.fails(run("activated"), "none was passed to this process: No such file or directory")

    def test_in_somebody_elses_loop_it_echoes_beside_what_else_that_watches(self):
        with Server("in_epoll", stdin=subprocess.PIPE) as server:
            for _ in range(3):
                self.succeeds(run("echo_client"), "Received Hello, World!\n")
            server.type("a line for the other one")
            self.succeeds(run("echo_client"), "Received Hello, World!\n")
            server.process.stdin.close()
            self.assertEqual(server.process.wait(DEADLINE_S), 0)

    def test_in_asio_it_echoes_and_hears_signals_of_asios(self):
        if not os.path.exists(examples_support.path_of("in_asio")):
            self.skipTest("there was no Asio to build it with")
        with Server("in_asio") as server:
            for _ in range(3):
                self.succeeds(run("echo_client"), "Received Hello, World!\n")
            output, errors = server.end_after(signal.SIGTERM)
        self.assertEqual((server.process.returncode, errors), (0, ""))
        self.assertEqual(output, f"listening on 127.0.0.1:{PORT}\ndatagrams echoed: 3\n")
        with peer(address=HERE):
            self.fails(run("in_asio"), r"\S+:9999: Address already in use")

    def test_every_core_answers_and_all_end_on_a_signal(self):
        cores = len(os.sched_getaffinity(0))
        for how in (signal.SIGTERM, signal.SIGINT):
            with Server("every_core", sockets=cores * sockets_of_every_host()) as server:
                for _ in range(5):
                    self.succeeds(run("echo_client"), "Received Hello, World!\n")
                self.assertEqual(server.end_after(how), ("", ""))
                self.assertEqual(server.process.returncode, 0)

    def test_callbacks_echo_whatever_comes(self):
        with Server("protocol_echo") as server, peer(address=("127.0.0.1", 0)) as client:
            for sent in (b"one", b"", b"x" * 1400):
                client.sendto(sent, HERE)
                self.assertEqual(client.recvfrom(2048), (sent, HERE))
                self.assertEqual(server.line(),
                                 f"received {sent.decode()} from {name_of(client)}")

    def test_a_connected_protocol_gets_its_answer(self):
        with Server("protocol_echo") as server:
            self.succeeds(run("protocol_connected"), "received hello\n")
            self.assertRegex(server.line(), r"received hello from 127\.0\.0\.1:\d+")

    def test_a_connected_protocol_hears_that_nobody_listens(self):
        self.succeeds(run("protocol_connected"), "No one listening\n")

    def test_every_interface_answers_from_the_address_that_was_asked(self):
        asked = ["127.0.0.1", "127.0.0.2"] + (["::1"] if sockets_of_every_host() > 1 else [])
        with start("ipv6_echo") as server:
            self.listens_everywhere(server)
            with peer() as four, contextlib.ExitStack() as stack:
                for host in asked:
                    one = four
                    if ":" in host:
                        one = stack.enter_context(peer(socket.AF_INET6))
                    one.sendto(b"who?", (host, PORT))
                    answer, source = one.recvfrom(2048)
                    self.assertEqual((answer, *source[:2]), (b"who?", host, PORT))
                    # The port alone: the client's socket is bound to no address.
                    self.assertRegex(server.line(),
                                     rf":{one.getsockname()[1]} wrote to {re.escape(host)}\Z")
                for _ in range(5 - len(asked)):
                    four.sendto(b"", HERE)
                    self.assertEqual(four.recv(2048), b"")
            _, errors = server.end()
            self.assertEqual((server.process.returncode, errors), (0, ""))

    def test_a_link_local_peer_keeps_its_interface(self):
        need_namespace(self)
        need_ipv6(self)
        lo = socket.if_nametoindex("lo")
        with start("ipv6_echo") as server:
            self.listens_everywhere(server)
            with peer(socket.AF_INET6, (LINK_LOCAL, 0, 0, lo)) as client:
                client.sendto(b"who?", (LINK_LOCAL, PORT, 0, lo))
                self.assertEqual(client.recvfrom(2048), (b"who?", (LINK_LOCAL, PORT, 0, lo)))
                self.assertRegex(server.line(),
                                 rf"\A\[fe80::1%lo\]:{client.getsockname()[1]} wrote to fe80::1")

    def listens_everywhere(self, server):
        lines = {server.line() for _ in range(sockets_of_every_host())}
        self.assertIn(f"listening on 0.0.0.0:{PORT}", lines)
        if len(lines) > 1:
            self.assertIn(f"listening on [::]:{PORT}", lines)


class Requests(Examples):
    def test_a_thousand_requests_are_answered_and_the_ledger_adds_up(self):
        with Server("graceful_shutdown") as server:
            self.succeeds(run("requests"), "1000 answers, all in time\n")
            output, errors = server.end_after(signal.SIGTERM)
        self.assertEqual(server.process.returncode, 0, errors)
        self.assertIn(f"signal {int(signal.SIGTERM)}, closing", output)
        self.assertIn("unexplained 0", output)
        self.assertIn("0 replies refused", output)

    def test_a_signal_that_comes_while_it_says_that_it_listens_is_not_missed(self):
        for wanted in (signal.SIGTERM, signal.SIGINT):
            # It waits for room to say it in, and must already handle the signal.
            reader, writer = os.pipe()
            with open(reader, encoding="ascii") as output:
                size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
                os.write(writer, b"." * size)
                with Server("graceful_shutdown", stdout=writer) as server:
                    os.close(writer)
                    server.wait_until(lambda: handles(server.process.pid, wanted),
                                      f"handling {wanted}")
                    server.process.send_signal(wanted)
                    said = output.read().lstrip(".")
                    _, errors = server.end()
            self.assertEqual(server.process.returncode, 0, errors)
            self.assertTrue(said.startswith(f"listening on 127.0.0.1:{PORT}\n"), said)
            self.assertIn(f"signal {int(wanted)}, closing", said)

    def test_upper_server_answers_in_capitals_and_drops_what_begins_with_a_mark(self):
        with Server("upper_server"), peer() as client:
            # Each client's order is kept: an answer to "!quiet" would come before "LOUD".
            for request in (b"!quiet", b"Loud", b"", b"!"):
                client.sendto(request, HERE)
            self.assertEqual(client.recvfrom(2048), (b"LOUD", HERE))
            self.assertEqual(client.recv(2048), b"")
            client.sendto(b"last", HERE)
            self.assertEqual(client.recv(2048), b"LAST")

    def test_the_blocking_client_reads_its_replies(self):
        with Server("echo_server"):
            self.succeeds(run("blocking_client"), "message 0\nmessage 1\nmessage 2\n")
        with Server("upper_server"):
            self.succeeds(run("blocking_client"), "MESSAGE 0\nMESSAGE 1\nMESSAGE 2\n")

    def test_the_blocking_client_says_what_it_did_not_ask_for(self):
        with peer(address=HERE) as server, start("blocking_client") as client:
            received = [server.recvfrom(2048) for _ in range(3)]
            # It waits only 100 ms for more: all must be there when it looks.
            client.process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, client.process.pid, os.WSTOPPED | os.WNOWAIT)
            for _ in range(2):
                for data, address in received:
                    server.sendto(data, address)
            output, errors = client.end_after(signal.SIGCONT)
        self.assertEqual((client.process.returncode, errors), (0, ""))
        self.assertEqual(output.splitlines(),
                         [f"message {n}" for n in range(3)] +
                         [f"unasked for: message {n}" for n in range(3)])

    def test_the_service_in_the_background_answers_and_ends(self):
        self.succeeds(run("background"), "message 0\nmessage 1\nmessage 2\n")

    def test_each_accepted_peer_has_a_count_of_its_own(self):
        with Server("accept") as server, peer() as one, peer() as other:
            for number in range(1, 4):
                for client, word in ((one, b"eins"), (other, b"zwei")):
                    client.sendto(word, HERE)
                    self.assertEqual(client.recvfrom(2048), (b"%d: %s" % (number, word), HERE))
                    if number == 1:
                        self.assertEqual(server.line(),
                                         f"hello 127.0.0.1:{client.getsockname()[1]}")

    def test_silence_is_noticed_by_those_that_say_so(self):
        need_namespace(self)
        # All at once, for it takes ten seconds; each has the port in a namespace of its own.
        alone = [*examples_support.unshare(), "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        with contextlib.ExitStack() as stack:
            servers = {name: stack.enter_context(start(name, before=alone))
                       for name in ("upper_server", "ipv6_echo", "struct_server")}
            servers["accept"] = stack.enter_context(Server("accept"))
            client = stack.enter_context(peer())
            client.sendto(b"hello", HERE)
            self.assertEqual(client.recv(2048), b"1: hello")
            gone = f"127.0.0.1:{client.getsockname()[1]}"
            self.assertEqual(servers["accept"].line(), f"hello {gone}")
            for name in ("struct_server", "ipv6_echo"):
                _, errors = servers[name].end()
                self.assertEqual((servers[name].process.returncode, errors), (0, ""), name)
            self.assertEqual(servers["accept"].line(), f"{gone} has gone")
            self.assertEqual(servers["upper_server"].error_line(), "nothing came")
            self.assertIsNone(servers["upper_server"].process.poll())


def handles(pid, wanted):
    """Whether this process has a handler for the signal."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (wanted - 1) & 1 == 1


class Packets(Examples):
    CLIENT_LINE = "[127.0.0.1] written before the connection exists"

    def framer(self):
        """A client that knows nothing of quoit."""
        connection = socket.create_connection(("127.0.0.1", PACKET_PORT), DEADLINE_S)
        return Framer(connection)

    def test_what_is_typed_goes_to_every_client_and_what_they_say_is_printed(self):
        with Server("packet_chat_server", port=PACKET_PORT, sockets=sockets_of_every_host(),
                    stdin=subprocess.PIPE) as server, \
                contextlib.ExitStack() as stack:
            self.assertRegex(server.line(), rf"\Alistening on \S+:{PACKET_PORT}\Z")
            clients = []
            for _ in range(3):
                clients.append(stack.enter_context(start("packet_chat_client")))
                self.assertEqual(server.line(), self.CLIENT_LINE)
            foreign = stack.enter_context(self.framer())
            foreign.write("Grüße".encode(), b"")
            self.assertEqual(server.line(), "[127.0.0.1] Grüße")
            self.assertEqual(server.line(), "[127.0.0.1] ")
            for line in ("one", "", "two words"):
                server.type(line)
                for client in clients:
                    self.assertEqual(client.line(), f"[Server] {line}")
                    self.assertEqual(server.line(), f"[127.0.0.1] <Client Echo> {line}")
                self.assertEqual(foreign.read(), line.encode())
            server.process.stdin.close()
            for client in clients:
                output, errors = client.end()
                self.assertEqual((client.process.returncode, output), (0, ""))
                self.assertRegex(errors, r"\A[^\n]+\n\Z")
            self.assertIsNone(foreign.read())
            foreign.connection.close()
            server.process.stdin = None
            self.assertEqual(server.end(), ("", ""))
            self.assertEqual(server.process.returncode, 0)

    def test_a_framer_that_says_no_packet_leaves_the_others_alone(self):
        with Server("packet_chat_server", port=PACKET_PORT, sockets=sockets_of_every_host(),
                    stdin=subprocess.PIPE) as server, self.framer() as good, \
                self.framer() as bad:
            server.line()
            bad.connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(bad.connection.recv(1), b"")
            good.write(b"unharmed")
            self.assertEqual(server.line(), "[127.0.0.1] unharmed")
            server.type("to all")
            self.assertEqual(good.read(), b"to all")

    def test_the_chat_clients_are_clients_of_a_foreign_server(self):
        with socket.create_server(("127.0.0.1", PACKET_PORT)) as listener, \
                start("packet_chat_client") as client:
            listener.settimeout(DEADLINE_S)
            with Framer(listener.accept()[0]) as server:
                server.connection.settimeout(DEADLINE_S)
                self.assertEqual(server.read(), b"written before the connection exists")
                server.write(b"one", b"", b"x" * 10_000)
                self.assertEqual(server.read(), b"<Client Echo> one")
                self.assertEqual(server.read(), b"<Client Echo> ")
                self.assertEqual(server.read(), b"<Client Echo> " + b"x" * 10_000)
            output, _ = client.end()
            self.assertTrue(output.startswith("[Server] one\n[Server] \n"), output[:100])

    def test_a_chat_client_without_a_server_hears_of_it(self):
        client = run("packet_chat_client")
        self.assertEqual((client.returncode, client.stdout), (0, ""))
        self.assertRegex(client.stderr, r"\A[^\n]*Connection refused\n\Z")

    def test_the_polled_server_answers_several_and_a_foreign_framer(self):
        with Server("packet_chat_polled", port=PACKET_PORT,
                    sockets=sockets_of_every_host()) as server, self.framer() as one, \
                self.framer() as other:
            for step in range(5):
                for word, framer in ((b"eins", one), (b"zwei", other)):
                    body = b"%s %d" % (word, step)
                    framer.write(body)
                    self.assertEqual(framer.read(), body)
                    self.assertEqual(server.line(), f"[127.0.0.1] {body.decode()}")
            one.write(*(b"%d" % number for number in range(100)))
            self.assertEqual([one.read() for _ in range(100)],
                             [b"%d" % number for number in range(100)])
            # The client of the coroutines talks to it as well.
            with start("packet_chat_client") as client:
                self.assertEqual(client.line(), "[Server] written before the connection exists")

    def test_callbacks_pass_on_what_one_says_to_all_others(self):
        with Server("protocol_packets", port=PACKET_PORT) as server, \
                contextlib.ExitStack() as stack:
            self.assertEqual(server.line(), f"listening on 127.0.0.1:{PACKET_PORT}")
            framers = []
            for _ in range(3):
                framers.append(stack.enter_context(self.framer()))
                self.assertEqual(server.line(),
                                 f"{name_of(framers[-1].connection)} has come")
            framers[0].write(b"hello", b"")
            for other in framers[1:]:
                self.assertEqual([other.read(), other.read()], [b"hello", b""])
            framers[1].write(b"and you")
            # Closing with something unread would be a reset.
            for other in (framers[0], framers[2]):
                self.assertEqual(other.read(), b"and you")
            gone = name_of(framers[2].connection)
            framers[2].connection.close()
            self.assertEqual(server.line(), f"{gone} has gone")
            wrong = name_of(framers[1].connection)
            framers[1].connection.sendall(b"no packet")
            self.assertRegex(server.line(), rf"\A{re.escape(wrong)} has gone: .+\Z")

    def test_a_used_packet_port_is_one_line_of_words_and_status_1(self):
        with socket.create_server(("127.0.0.1", PACKET_PORT)):
            for name in ("packet_chat_server", "packet_chat_polled", "protocol_packets"):
                with self.subTest(example=name):
                    self.fails(run(name), rf"\S+:{PACKET_PORT}: Address already in use")


class Payloads(Examples):
    def test_json_comes_back_as_it_was_sent(self):
        request = '{"command-line arguments":["Grüße","\\"quoted\\"",""]}'
        with start("json_echo") as server:
            self.assertEqual(server.line(), "serving")
            self.succeeds(run("json_client", "Grüße", '"quoted"', ""),
                          f"Sent:     {request}\nReceived: {request}\n")
            self.assertEqual(server.line(), f"127.0.0.1 sent {request}")
        with Server("echo_server"):
            self.succeeds(run("json_client"),
                          'Sent:     {"command-line arguments":[]}\n'
                          'Received: {"command-line arguments":[]}\n')

    def test_what_is_no_json_is_answered_with_an_error_and_the_talk_goes_on(self):
        wrong = {"error": "Invalid JSON", "code": "parse_error"}
        with start("json_echo") as server, peer() as client:
            self.assertEqual(server.line(), "serving")
            for sent, expected in ((b'{"n": 1}', {"n": 1}), (b"{", wrong), (b"", wrong),
                                   (b"\xff\xfe", wrong), (b'[null, "x"]', [None, "x"])):
                client.sendto(sent, HERE)
                answer, source = client.recvfrom(2048)
                self.assertEqual((json.loads(answer), source), (expected, HERE), sent)
            self.assertEqual(server.line(), '127.0.0.1 sent {"n":1}')
            self.assertEqual(server.line(), '127.0.0.1 sent [null,"x"]')

    def test_an_answer_that_is_no_json_is_an_error_of_the_client(self):
        with peer(address=HERE) as server, start("json_client", "x") as client:
            _, address = server.recvfrom(2048)
            server.sendto(b"sorry", address)
            output, errors = client.end()
        self.assertEqual((client.process.returncode, output),
                         (1, 'Sent:     {"command-line arguments":["x"]}\n'))
        self.assertRegex(errors, r"\Aerror: .+\n\Z")

    def test_a_struct_arrives_behind_an_echo(self):
        with start("struct_server") as server:
            self.says_where_it_is(server)
            for _ in range(2):
                self.succeeds(run("struct_client"), "recv: data\n")
                self.assertEqual(server.line(), "1 ab 2 3 3 2.5")

    def test_a_struct_of_another_size_is_an_error_and_the_server_goes_on(self):
        with start("struct_server") as server:
            host = self.says_where_it_is(server)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with peer(family) as client:
                right = RECORD.pack(4_294_967_295, b"\x00z", 2**64 - 1, -1, 32767, -0.5)
                for sent in (right[:-1], right + b"!", b"", right):
                    client.sendto(b"data", (host, PORT))
                    self.assertEqual(client.recv(2048), b"data")
                    client.sendto(sent, (host, PORT))
                    if sent != right:
                        self.assertRegex(server.error_line(),
                                         rf":{client.getsockname()[1]}: .+")
                self.assertEqual(server.line(),
                                 "4294967295 \0z 18446744073709551615 -1 32767 -0.5")

    def says_where_it_is(self, server):
        match = re.fullmatch(rf"Server address: \[?(127\.0\.0\.1|::1)\]?:{PORT}", server.line())
        self.assertTrue(match)
        self.assertRegex(server.line(), r"Receive buffer: asked 212992, granted \d+ \(max \d+\)")
        return match[1]


class Groups(Examples):
    def test_whoever_is_asked_by_broadcast_answers(self):
        need_namespace(self)
        with Server("broadcast") as server:
            self.succeeds(run("broadcast", BROADCAST_ADDRESS), f"me, says {NETWORK_ADDRESS}\n")
            self.assertRegex(server.line(),
                             rf"\Awho is there\? from {re.escape(NETWORK_ADDRESS)}:\d+\Z")

    def test_a_broadcast_that_nobody_answers_lists_nobody(self):
        need_namespace(self)
        self.succeeds(run("broadcast", BROADCAST_ADDRESS), "")

    def test_what_is_no_address_or_cannot_be_reached_is_one_line_of_words(self):
        self.fails(run("broadcast", "everybody"), "error: .+")
        self.fails(run("broadcast", ""), "error: .+")
        need_namespace(self)
        self.fails(run("broadcast", "198.51.100.255"), "error: .*Network is unreachable")

    def test_a_member_of_the_group_answers_its_ping_and_nothing_else(self):
        need_namespace(self)
        with Server("multicast") as server, peer() as client:
            server.wait_until(lambda: is_member(GROUP), f"in {GROUP}")
            self.succeeds(run("multicast", "client"), "Server: Pong\n")
            self.assertRegex(server.line(), r"\AClient: Ping from 127\.0\.0\.1:\d+\Z")
            for word in (b"Hello", b"Client: Ping"):
                client.sendto(word, (GROUP, PORT))
            self.assertEqual(client.recv(2048), b"Server: Pong")
            self.assertRegex(server.line(), r"\AHello from ")

    def test_a_ping_that_nobody_answers_is_said_to_be_late(self):
        need_namespace(self)
        wait_until(lambda: not is_member(GROUP), f"nobody in {GROUP}")
        client = run("multicast", "client")
        self.assertEqual((client.returncode, client.stdout), (0, "Timed out\n"), client.stderr)


class Names(Examples):
    def test_names_are_looked_up_at_once_and_a_wrong_one_harms_no_other(self):
        lookup = run("resolve", "localhost", "192.0.2.7", "2001:db8::7", "nobody.invalid")
        self.assertEqual(lookup.returncode, 0, lookup.stderr)
        # In the order of the answers.
        localhost, four, six = sorted(lookup.stdout.splitlines(), reverse=True)
        self.assertRegex(localhost, r"\Alocalhost( 127\.0\.0\.1| ::1)+\Z")
        self.assertEqual((four, six), ("2001:db8::7 2001:db8::7", "192.0.2.7 192.0.2.7"))
        self.assertRegex(lookup.stderr, r"\Aresolve nobody\.invalid: .+\n\Z")

    def test_looking_up_nothing_says_nothing(self):
        self.succeeds(run("resolve"), "")


class UnixDatagrams(Examples):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = place.name
        self.socket = os.path.join(self.place, "quoit-example.sock")

    def test_the_server_writes_into_the_file_whose_descriptor_it_gets(self):
        with start("unix_datagrams", cwd=self.place) as server:
            self.assertEqual(server.line(), "serving quoit-example.sock")
            self.assertEqual(stat.S_IMODE(os.stat(self.socket).st_mode), 0o600)
            for _ in range(2):
                with start("unix_datagrams", "client", cwd=self.place) as client:
                    self.assertEqual(client.end(), ("done\n", ""))
                    self.assertEqual(server.line(), f"from process {client.process.pid}")
        with open(os.path.join(self.place, "quoit-example.log"), encoding="ascii") as log:
            self.assertEqual(log.read(), "a line\na line\n")

    def test_who_has_no_name_to_be_answered_at_is_dropped_and_his_descriptor_closed(self):
        reader, writer = os.pipe()
        with start("unix_datagrams", cwd=self.place) as server, open(reader, "rb") as file:
            self.assertEqual(server.line(), "serving quoit-example.sock")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
                nameless.connect(self.socket)
                socket.send_fds(nameless, [b"for nobody"], [writer])
            os.close(writer)
            with start("unix_datagrams", "client", cwd=self.place) as client:
                self.assertEqual(client.end(), ("done\n", ""))
                self.assertEqual(server.line(), f"from process {client.process.pid}")
            self.assertEqual(file.read(), b"")

    def test_no_server_and_a_used_name_are_one_line_of_words(self):
        self.fails(run("unix_datagrams", "client", cwd=self.place),
                   "error: .*No such file or directory")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first:
            first.bind(self.socket)
            self.fails(run("unix_datagrams", cwd=self.place), "error: .*Address already in use")
            self.assertTrue(os.path.exists(self.socket))


class Batches(Examples):
    def test_batches_count_every_datagram(self):
        with Server("batches", sockets=sockets_of_every_host()) as server:
            with peer() as sender:
                for number in range(100):
                    sender.sendto(b"%d" % number, HERE)
            output, errors = server.end()
        self.assertEqual(server.process.returncode, 0, errors)
        self.assertTrue(output.startswith("100 datagrams, 0 congested, "), output)

    def test_batches_turned_by_hand_end_when_they_have_their_count(self):
        deadline = time.monotonic() + DEADLINE_S
        with Server("batches", "1000", port=LOOP_PORT,
                    sockets=sockets_of_every_host()) as server:
            with peer() as sender:
                # Some may find the socket full.
                while server.process.poll() is None and time.monotonic() < deadline:
                    sender.sendto(b"x", ("127.0.0.1", LOOP_PORT))
            output, errors = server.end()
        self.assertEqual(server.process.returncode, 0, errors)
        match = re.fullmatch(r"(\d+) datagrams, (\d+) ns at worst\n", output)
        self.assertTrue(match, output)
        self.assertGreaterEqual(int(match[1]), 1000)
        self.assertGreater(int(match[2]), 0)  # the kernel's timestamps arrived

    def test_a_count_that_is_no_number_is_one_line_of_words(self):
        self.fails(run("batches", "many"), "error: .+")


if __name__ == "__main__":
    examples_support.main(__doc__)
