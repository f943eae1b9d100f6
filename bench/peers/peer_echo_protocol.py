# SPDX-License-Identifier: MIT
"""The echo server of asyncio's documentation, for any asyncio event loop."""

import asyncio
import signal

import peer_options


class EchoProtocol(asyncio.DatagramProtocol):
    """Bound methods are looked up once, not per datagram: the usual tuning."""

    def connection_made(self, transport):
        self.sendto = transport.sendto

    def datagram_received(self, data, addr):
        self.sendto(data, addr)


async def serve(options):
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if options.duration:
        loop.call_later(options.duration, ended.set)
    transport, _ = await loop.create_datagram_endpoint(
        EchoProtocol, sock=peer_options.bound_socket(options.bind))
    peer_options.announce(transport.get_extra_info("sockname"))
    await ended.wait()
    transport.close()
