# SPDX-License-Identifier: MIT
"""What an init system does to pass sockets on, sd_listen_fds(3), for the tests."""
import sys

FIRST_DESCRIPTOR = 3

# Between fork and exec: the sockets become 3, 4, ...; the variables are this process's. Arguments:
# descriptors, "--", NAME=VALUE ..., "--", the command. PID in a value is its own process number.
STARTER = f"""
import fcntl, os, sys
given = sys.argv[1:]
end = given.index("--")
behind = given.index("--", end + 1)
kept = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 100) for one in given[:end]]
os.closerange({FIRST_DESCRIPTOR}, 100)
for wanted, one in enumerate(kept, {FIRST_DESCRIPTOR}):
    os.dup2(one, wanted, inheritable=True)
    os.close(one)
for one in given[end + 1:behind]:
    name, value = one.split("=", 1)
    os.environ[name] = value.replace("PID", str(os.getpid()))
os.execv(given[behind + 1], given[behind + 1:])
"""


def command(passed, variables, *program_and_arguments):
    """Runs the program with these files passed on: for Popen, with pass_fds=numbers(passed)."""
    return [sys.executable, "-c", STARTER, *map(str, numbers(passed)), "--",
            *(f"{name}={value}" for name, value in variables.items()), "--",
            *program_and_arguments]


def numbers(passed):
    return [one.fileno() for one in passed]


def for_it(count, names=None):
    """The variables that say: these are for this process."""
    variables = {"LISTEN_PID": "PID", "LISTEN_FDS": count}
    return variables if names is None else {**variables, "LISTEN_FDNAMES": names}
