# SPDX-License-Identifier: MIT
"""What the Python peers share: the command line, socket buffers, and the line that says ready.

The same command line and exit codes as the C++ peers (peer.hpp), and 77 when a library is missing.
"""

import argparse
import ipaddress
import socket
import sys

SOCKET_BUFFER_SIZE = 4 * 1024 * 1024
PORT_MAX = 65535
DURATION_MAX_S = 86400
EXIT_FAILURE = 1
EXIT_LIBRARY_MISSING = 77


def _address(text):
    host, _, port = text.rpartition(":")
    try:
        ipaddress.IPv4Address(host)
        number = int(port)
    except ValueError:
        number = -1
    if not 0 <= number <= PORT_MAX:
        raise argparse.ArgumentTypeError(
            f"'{text}': expected an IPv4 address and a port, such as 127.0.0.1:9999")
    return host, number


def _duration(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= DURATION_MAX_S:
        raise argparse.ArgumentTypeError(
            f"'{text}': expected seconds, more than 0 and at most {DURATION_MAX_S}")
    return seconds


def parse(description):
    """The options; a wrong command line ends the program with exit code 2."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bind", required=True, type=_address, metavar="ADDRESS:PORT",
                        help="where to listen, such as 127.0.0.1:9999; port 0: any")
    parser.add_argument("--duration", type=_duration, metavar="SECONDS",
                        help="end after that long; default: never")
    return parser.parse_args()


def raise_buffers(udp_socket):
    """Asks for large buffers; the kernel caps them."""
    for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        udp_socket.setsockopt(socket.SOL_SOCKET, name, SOCKET_BUFFER_SIZE)


def bound_socket(where):
    """A non-blocking UDP socket with raised buffers."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    raise_buffers(made)
    try:
        made.bind(where)
    except OSError as error:
        fail(f"cannot listen on {where[0]}:{where[1]}: {error.strerror}")
    return made


def announce(address):
    print(f"listening on {address[0]}:{address[1]}", flush=True)


def fail(words, code=EXIT_FAILURE):
    print(f"{sys.argv[0]}: {words}", file=sys.stderr)
    sys.exit(code)


def library_missing(name, package):
    fail(f"{name} is not installed (Debian: {package})", EXIT_LIBRARY_MISSING)
