#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peer_twisted: an echo server on Twisted's epoll reactor, a DatagramProtocol as documented.

The reactor reads up to 256 KiB per wake-up by itself (udp.Port.maxThroughput); raised socket
buffers and a packet size that cuts nothing are what is left to tune.
"""

import sys

sys.dont_write_bytecode = True

import peer_options

DATAGRAM_SIZE_MAX = 65535


def serve(options):
    try:
        from twisted.internet import epollreactor
    except ImportError:
        peer_options.library_missing("Twisted", "python3-twisted")
    epollreactor.install()
    from twisted.internet import error, protocol, reactor

    class Echo(protocol.DatagramProtocol):
        def datagramReceived(self, datagram, addr):
            self.transport.write(datagram, addr)

    host, port = options.bind
    try:
        listening = reactor.listenUDP(port, Echo(), interface=host,
                                      maxPacketSize=DATAGRAM_SIZE_MAX)
    except error.CannotListenError as why:
        peer_options.fail(f"cannot listen on {host}:{port}: {why.socketError.strerror}")
    peer_options.raise_buffers(listening.socket)
    bound = listening.getHost()
    if options.duration:
        reactor.callLater(options.duration, reactor.stop)
    # The reactor ends on SIGTERM and SIGINT by itself.
    reactor.callWhenRunning(peer_options.announce, (bound.host, bound.port))
    reactor.run()


if __name__ == "__main__":
    serve(peer_options.parse("Echo server: Twisted."))
