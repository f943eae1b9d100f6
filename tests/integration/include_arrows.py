#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Includes run only downwards.

    api  ------------>  engine/include      vocabulary, and port.hpp: the only thing api builds on
                              ^
    engine/src/runtime -------+
         v
    engine/src/backend   <- io_uring/ (alone has <liburing.h>)   <- epoll/ (alone has <sys/epoll.h>)
         v
    engine/src/packets   includes base/ only
         v
    engine/src/net       the only place, with the backends, of <sys/socket.h> and <netinet/*>
         v
    engine/src/base

Usage: include_arrows.py ROOT           checks the tree, prints each violation, exits with 1 if any
       include_arrows.py --self-test    checks the checker: every rule must catch what breaks it
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(<[^>]+>|"[^"]+")', re.MULTILINE)

# What a public header may include beside <quoit/...>: the C++23 library, and nothing of the system.
STANDARD = set("""
    algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono
    cinttypes climits clocale cmath codecvt compare complex concepts condition_variable coroutine
    csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype deque
    exception execution expected filesystem flat_map flat_set format forward_list fstream functional
    future generator initializer_list iomanip ios iosfwd iostream istream iterator latch limits list
    locale map mdspan memory memory_resource mutex new numbers numeric optional ostream print queue
    random ranges ratio regex scoped_allocator semaphore set shared_mutex source_location span
    spanstream sstream stack stacktrace stdexcept stdfloat stop_token streambuf string string_view
    strstream syncstream system_error thread tuple type_traits typeindex typeinfo unordered_map
    unordered_set utility valarray variant vector version""".split())

# From the bottom to the top.
LAYERS = ["base", "net", "packets", "backend", "runtime"]

# The one public header that may include a third party's.
JSON_HEADER = "api/include/quoit/json.hpp"

SOURCE = "engine/src/"
IO_URING = SOURCE + "backend/io_uring/"
EPOLL = SOURCE + "backend/epoll/"
ONLY_SELECT = {SOURCE + "backend/select.cpp", SOURCE + "backend/select.hpp"}


def layer_of(path):
    """The layer of a path below engine/src/, or None."""
    first = path.split("/", 1)[0]
    return LAYERS.index(first) if first in LAYERS else None


def public_names(files, area):
    """What users of this area's public headers write between <quoit/ and >."""
    prefix = area + "/include/"
    return {path[len(prefix):].removesuffix(".in") for path in files if path.startswith(prefix)}


def violations_of(path, name, is_quoted, engine_names, api_names):
    """Why `path` must not include `name`."""
    is_engine = path.startswith("engine/")
    is_public = "/include/" in path
    said = []

    if is_public and not name.startswith("quoit/") and name not in STANDARD \
            and not (path == JSON_HEADER and name == "nlohmann/json.hpp"):
        said.append("a public header includes the C++ library and quoit's headers only")
    if is_public and is_quoted:
        said.append("a public header is included between < and >")
    if name.startswith("quoit/"):
        if is_engine and name in api_names - engine_names:
            said.append("the engine never includes api")
        elif name not in engine_names | api_names:
            said.append("there is no such public header")
    elif is_quoted and not is_engine and layer_of(name) is not None:
        said.append("api never includes engine/src")
    elif is_quoted and is_engine and not is_public:
        target = layer_of(name)
        own = layer_of(path.removeprefix(SOURCE))
        if target is None:
            said.append("the engine includes its own headers by their path below engine/src")
        elif own is None or target > own:
            said.append("includes run downwards only: " + " -> ".join(reversed(LAYERS)))
        elif LAYERS[own] == "packets" and LAYERS[target] == "net":
            said.append("packets/ includes base/ only")

    if name.startswith("backend/io_uring/") and not path.startswith(IO_URING) \
            and path not in ONLY_SELECT:
        said.append("only select includes a backend")
    if name.startswith("backend/epoll/") and not path.startswith(EPOLL) \
            and path not in ONLY_SELECT:
        said.append("only select includes a backend")

    if (name.startswith("liburing") or name == "linux/io_uring.h") \
            and not path.startswith(IO_URING):
        said.append("<liburing.h> is for backend/io_uring/ only")
    if name == "sys/epoll.h" and not path.startswith(EPOLL) and path != SOURCE + "net/system.cpp":
        said.append("<sys/epoll.h> is for backend/epoll/ and net/system.cpp only")
    if (name in ("sys/socket.h", "sys/un.h") or name.startswith(("netinet/", "arpa/"))) \
            and not path.startswith((SOURCE + "net/", SOURCE + "backend/")):
        said.append("socket headers are for net/ and backend/ only")
    return said


def check(files):
    """`files`: contents by path from the root. Returns the violations as lines of text."""
    engine_names = public_names(files, "engine")
    api_names = public_names(files, "api")
    found = []
    for path in sorted(files):
        text = files[path]
        for match in INCLUDE.finditer(text):
            name = match[1][1:-1]
            line = text.count("\n", 0, match.start(1)) + 1
            for why in violations_of(path, name, match[1][0] == '"', engine_names, api_names):
                found.append(f"{path}:{line}: {match[1]}: {why}")
    return found


def read_tree(root):
    files = {}
    for area in ("engine/include", "engine/src", "api/include", "api/src"):
        for path in sorted((root / area).rglob("*")):
            if path.is_file() and path.name.endswith((".hpp", ".cpp", ".hpp.in")):
                files[path.relative_to(root).as_posix()] = path.read_text(encoding="utf-8")
    return files


SOUND = {
    "engine/include/quoit/port.hpp": "#include <quoit/version.hpp>\n#include <vector>\n",
    "engine/include/quoit/version.hpp.in": "#pragma once\n",
    "engine/src/base/assert.hpp": "#include <cstdio>\n",
    "engine/src/net/system.cpp": '#include "base/assert.hpp"\n#include <sys/epoll.h>\n',
    "engine/src/net/sockaddr.hpp": "#include <quoit/port.hpp>\n#include <netinet/in.h>\n",
    "engine/src/backend/select.cpp":
        '#include "backend/epoll/epoll.hpp"\n#include "backend/io_uring/ring.hpp"\n',
    "engine/src/backend/epoll/epoll.hpp": "#include <sys/epoll.h>\n#include <sys/socket.h>\n",
    "engine/src/backend/io_uring/ring.hpp": '#include "net/sockaddr.hpp"\n#include <liburing.h>\n',
    "engine/src/packets/packet_parser.cpp":
        '#include "packets/packet_parser.hpp"\n#include "base/assert.hpp"\n#include <sys/uio.h>\n',
    "engine/src/runtime/port.cpp": '#include "backend/backend.hpp"\n#include <pthread.h>\n',
    "api/include/quoit/udp.hpp": "#include <quoit/port.hpp>\n#include <quoit/udp.hpp>\n",
    "api/include/quoit/json.hpp": "#include <nlohmann/json.hpp>\n",
    "api/src/udp.cpp": '#include <quoit/udp.hpp>\n#include "loop_core.hpp"\n#include <unistd.h>\n',
}

# A file, one line of it, and words of the violation that has to be reported.
UNSOUND = [
    ("api/src/udp.cpp", '#include "runtime/port_implementation.hpp"', "api never includes"),
    ("api/include/quoit/udp.hpp", '#include "net/system.hpp"', "api never includes"),
    ("engine/src/runtime/port.cpp", "#include <quoit/udp.hpp>", "the engine never includes api"),
    ("engine/include/quoit/port.hpp", "#include <quoit/udp.hpp>", "the engine never includes api"),
    ("engine/src/base/assert.hpp", '#include "net/system.hpp"', "downwards"),
    ("engine/src/net/sockaddr.hpp", '#include "backend/backend.hpp"', "downwards"),
    ("engine/src/backend/select.cpp", '#include "runtime/worker.hpp"', "downwards"),
    ("engine/src/packets/packet_parser.cpp", '#include "backend/backend.hpp"', "downwards"),
    ("engine/src/net/sockaddr.hpp", '#include "packets/packet_parser.hpp"', "downwards"),
    ("engine/src/packets/packet_parser.cpp", '#include "net/send.hpp"', "base/ only"),
    ("engine/src/packets/packet_parser.cpp", "#include <sys/socket.h>", "socket headers"),
    ("engine/src/net/sockaddr.hpp", '#include "sockaddr.hpp"', "by their path"),
    ("engine/src/backend/io_uring/ring.hpp", '#include "backend/epoll/epoll.hpp"', "only select"),
    ("engine/src/backend/epoll/epoll.hpp", '#include "backend/io_uring/ring.hpp"', "only select"),
    ("engine/src/runtime/port.cpp", '#include "backend/io_uring/ring.hpp"', "only select"),
    ("engine/src/backend/buffer_pool.hpp", '#include "backend/epoll/epoll.hpp"', "only select"),
    ("engine/src/backend/select.cpp", "#include <liburing.h>", "<liburing.h>"),
    ("engine/src/net/system.cpp", "#include <liburing/io_uring.h>", "<liburing.h>"),
    ("engine/src/net/sockaddr.hpp", "#include <sys/epoll.h>", "<sys/epoll.h>"),
    ("engine/src/backend/io_uring/ring.hpp", "#include <sys/epoll.h>", "<sys/epoll.h>"),
    ("engine/src/runtime/port.cpp", "#include <sys/socket.h>", "socket headers"),
    ("engine/src/base/assert.hpp", "#include <netinet/in.h>", "socket headers"),
    ("api/src/udp.cpp", "#  include <netinet/udp.h>", "socket headers"),
    ("engine/include/quoit/port.hpp", "#include <unistd.h>", "a public header includes"),
    ("api/include/quoit/udp.hpp", "#include <sys/socket.h>", "a public header includes"),
    ("api/include/quoit/udp.hpp", "#include <nlohmann/json.hpp>", "a public header includes"),
    ("api/include/quoit/json.hpp", "#include <unistd.h>", "a public header includes"),
    ("api/include/quoit/udp.hpp", '#include "scheduler.hpp"', "between < and >"),
    ("api/include/quoit/udp.hpp", "#include <quoit/nothing.hpp>", "no such public header"),
]


def self_test():
    wrong = [f"reported, but sound: {line}" for line in check(SOUND)]
    for path, line, expected in UNSOUND:
        files = dict(SOUND)
        files[path] = files.get(path, "") + line + "\n"
        found = check(files)
        if not any(path in one and expected in one for one in found):
            wrong.append(f"not reported: {path}: {line} ({expected})")
    for line in wrong:
        print(line)
    print(f"{len(UNSOUND)} violations made, {len(wrong)} mistakes")
    return 1 if wrong else 0


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    if sys.argv[1] == "--self-test":
        return self_test()
    files = read_tree(pathlib.Path(sys.argv[1]))
    # A checker that looks at nothing finds nothing.
    for area in ("engine/include/", "engine/src/runtime/", "api/include/", "api/src/"):
        if not any(path.startswith(area) for path in files):
            print(f"no files below {area}")
            return 1
    found = check(files)
    for line in found:
        print(line)
    print(f"{len(files)} files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
