#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""peer_uvloop: the echo server of peer_asyncio on uvloop, which runs asyncio on libuv.

Installed as uvloop's documentation says; raised socket buffers are all there is to tune. Empty
datagrams are not answered, as with asyncio.
"""

import sys

sys.dont_write_bytecode = True

import asyncio

import peer_echo_protocol
import peer_options

if __name__ == "__main__":
    parsed = peer_options.parse("Echo server: uvloop.")
    try:
        import uvloop
    except ImportError:
        peer_options.library_missing("uvloop", "python3-uvloop")
    uvloop.install()
    asyncio.run(peer_echo_protocol.serve(parsed))
