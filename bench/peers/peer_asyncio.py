#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peer_asyncio: an echo server on asyncio's own loop, a DatagramProtocol as documented.

Tuned by raised socket buffers only: asyncio reads one datagram per wake-up and has no batches.
Empty datagrams are not answered: the transport's sendto() drops them before Python 3.12.
"""

import sys

sys.dont_write_bytecode = True

import asyncio

import peer_echo_protocol
import peer_options

if __name__ == "__main__":
    asyncio.run(peer_echo_protocol.serve(peer_options.parse("Echo server: asyncio.")))
