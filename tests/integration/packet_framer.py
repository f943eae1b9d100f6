# SPDX-License-Identifier: MIT
"""Packets over TCP by hand: packetsocket's framing, and lengths alone. Knows nothing of quoit."""

import struct

# What stands before the length, and how that is packed.
FRAMINGS = {"packetsocket": (b"#!?&", struct.Struct("<I")),
            "little_endian": (b"", struct.Struct("<I")),
            "big_endian": (b"", struct.Struct(">I"))}


def frame(body, framing="packetsocket"):
    """The bytes of one packet."""
    magic, length = FRAMINGS[framing]
    return magic + length.pack(len(body)) + body


class Framer:
    """Packets on a connected socket. Use with `with`."""

    def __init__(self, connection, framing="packetsocket"):
        self.connection = connection
        self.framing = framing

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def write(self, *bodies):
        self.connection.sendall(b"".join(frame(body, self.framing) for body in bodies))

    def read(self):
        """The next body, or None when the other side has finished between two packets."""
        magic, length = FRAMINGS[self.framing]
        header = self._take(len(magic) + length.size, may_end=True)
        if header is None:
            return None
        if not header.startswith(magic):
            raise ValueError(f"{header!r} is no header")
        return self._take(length.unpack(header[len(magic):])[0])

    def _take(self, size, may_end=False):
        taken = b""
        while len(taken) < size:
            some = self.connection.recv(size - len(taken))
            if not some:
                if may_end and not taken:
                    return None
                raise EOFError(f"the stream ended after {taken!r} of {size} bytes")
            taken += some
        return taken
