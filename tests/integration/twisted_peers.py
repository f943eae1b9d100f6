#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Peers on Twisted for interoperation_test.py, each as Twisted's own guide to UDP writes it.

Usage: twisted_peers.py NAME [ARGUMENT...]

A server says "ready" and then what it receives, until it is ended; a client says what it receives
and ends when it has all its answers. Twisted's log is on stderr.
"""
import sys

sys.dont_write_bytecode = True

from twisted.internet import reactor
from twisted.internet.protocol import ConnectedDatagramProtocol, DatagramProtocol
from twisted.python import log

PORT = 9999
GROUP = "228.0.0.5"


def say(words):
    print(words, flush=True)


class Server(DatagramProtocol):
    """Answers with what `answer` makes of a datagram, or not at all when that is None."""

    def __init__(self, answer):
        self.answer = answer

    def datagramReceived(self, datagram, addr):
        say(datagram.decode().rstrip("\n"))
        answer = self.answer(datagram)
        if answer is not None:
            self.transport.write(answer, addr)


class Client(DatagramProtocol):
    """Sends the next message when the one before was answered."""

    def __init__(self, messages, where):
        self.left = list(reversed(messages))
        self.where = where

    def startProtocol(self):
        self.send()

    def datagramReceived(self, datagram, addr):
        say(f"{datagram.decode()} from {addr[0]}")
        self.send()

    def send(self):
        if self.left:
            self.transport.write(self.left.pop(), self.where)
        else:
            reactor.stop()


class ConnectedClient(Client):
    def startProtocol(self):
        self.transport.connect(*self.where)
        self.where = None  # no need for an address
        self.send()


class BroadcastClient(Client):
    def startProtocol(self):
        self.transport.setBroadcastAllowed(True)
        self.send()


class GroupServer(Server):
    def startProtocol(self):
        self.transport.setTTL(5)
        self.transport.joinGroup(GROUP).addCallbacks(lambda _: say("ready"), log.err)


class GroupClient(Client):
    def startProtocol(self):
        self.transport.joinGroup(GROUP).addCallbacks(lambda _: self.send(), log.err)


class UnixClient(ConnectedDatagramProtocol):
    def startProtocol(self):
        self.transport.write(b"from Twisted")

    def datagramReceived(self, datagram):
        say(datagram.decode())
        reactor.stop()


def pong(datagram):
    return b"Server: Pong" if datagram == b"Client: Ping" else None


def messages(count):
    return [b"message %d" % number for number in range(int(count))]


def echo():
    reactor.listenUDP(PORT, Server(lambda datagram: datagram), interface="127.0.0.1")
    say("ready")


def connected(host, count):
    reactor.listenUDP(0, ConnectedClient(messages(count), (host, PORT)))


def ipv6(host, count):
    reactor.listenUDP(0, Client(messages(count), (host, PORT)), interface=host)


def group_server():
    reactor.listenMulticast(PORT, GroupServer(pong), listenMultiple=True)


def group_client():
    reactor.listenMulticast(0, GroupClient([b"Client: Ping"], (GROUP, PORT)),
                            listenMultiple=True)


def broadcast_server():
    reactor.listenUDP(PORT, Server(lambda _: b"me"))
    say("ready")


def broadcast_client(everybody):
    reactor.listenUDP(0, BroadcastClient([b"who is there?"], (everybody, PORT)))


def unix_server(path):
    reactor.listenUNIXDatagram(path, Server(lambda _: b"done"))
    say("ready")


def unix_client(path, own_path):
    reactor.connectUNIXDatagram(path, UnixClient(), bindAddress=own_path)


PEERS = (echo, connected, ipv6, group_server, group_client, broadcast_server, broadcast_client,
         unix_server, unix_client)


def main():
    peers = {peer.__name__: peer for peer in PEERS}
    if len(sys.argv) < 2 or sys.argv[1] not in peers:
        print(__doc__, f"NAME is one of {', '.join(peers)}", sep="\n")
        sys.exit(2)
    log.startLogging(sys.stderr, setStdout=False)
    # Once the reactor runs: a client that has its answers stops it.
    reactor.callWhenRunning(peers[sys.argv[1]], *sys.argv[2:])
    reactor.run()


if __name__ == "__main__":
    main()
