# SPDX-License-Identifier: MIT
"""What the tests of the package share: a stranger's machine, as far as one process can have it.

Commands run without what the caller's environment says about compiling, so that only the named
prefix can answer. Work is done in a folder of the build tree, which each test empties first.
"""
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONSUMERS = HERE / "consumers"
# Of one command; only building the library takes more than seconds.
DEADLINE_S = 600

# What a command may know of its caller. The rest, CMAKE_PREFIX_PATH, CPATH, PKG_CONFIG_PATH and
# CXXFLAGS among it, could make up for what the package lacks.
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "CCACHE_DIR", "CCACHE_MAXSIZE", "CCACHE_CONFIGPATH",
        "CCACHE_DISABLE", "QUOIT_REQUIRE_IO_URING")


@dataclasses.dataclass
class Settings:
    build: pathlib.Path = None      # the build tree that is installed
    work: pathlib.Path = None       # ours
    compiler: str = "g++"
    launcher: str = ""              # of the compiler: words|with|bars between
    libdir: str = "lib"             # CMAKE_INSTALL_LIBDIR
    version: str = ""               # major.minor.patch
    has_io_uring: bool = True


settings = Settings()


def main(documentation, name):
    """To be called by each test file. NAME=VALUE on the command line sets what Settings names."""
    while len(sys.argv) > 1 and "=" in sys.argv[1]:
        key, value = sys.argv.pop(1).split("=", 1)
        if not hasattr(settings, key):
            sys.exit(f"there is no setting {key}")
        setattr(settings, key, value)
    if not settings.build or not settings.work:
        print(documentation)
        sys.exit(2)
    settings.build = pathlib.Path(settings.build).resolve()
    settings.work = pathlib.Path(settings.work).resolve() / name
    settings.has_io_uring = settings.has_io_uring not in ("OFF", "0", "")
    # Symbolic links to this repository are in it, and are not followed.
    shutil.rmtree(settings.work, ignore_errors=True)
    settings.work.mkdir(parents=True)
    unittest.main(module="__main__", verbosity=2)


def environment(**more):
    return {**{name: os.environ[name] for name in KEPT if name in os.environ},
            # Paths below `work` are the same to ccache whatever `work` is.
            "CCACHE_BASEDIR": str(settings.work), "CCACHE_NOHASHDIR": "1", **more}


def run(*command, cwd=None, **more):
    """Runs it to its end, whatever that is."""
    return subprocess.run([str(one) for one in command], cwd=cwd or settings.work,
                          env=environment(**more), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=DEADLINE_S, check=False)


def must(*command, **more):
    """Runs it; its output is in the failure."""
    done = run(*command, **more)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(str(one) for one in command)}: exit status "
                             f"{done.returncode}\n{done.stdout}")
    return done.stdout


def copy_consumer(name, to=None):
    """A copy of consumers/NAME and of the program all consumers share, in the same layout."""
    folder = settings.work / (to or name)
    shutil.copytree(CONSUMERS / name, folder)
    shutil.copy(CONSUMERS / "echo.cpp", folder.parent)
    return folder


def configure(folder, *arguments):
    return run("cmake", "-S", folder, "-B", folder / "build",
               f"-DCMAKE_CXX_COMPILER={settings.compiler}", *arguments)


def build(folder):
    must("cmake", "--build", folder / "build", "--parallel", "2")
    return folder / "build" / "echo"


def check_echo(test, program):
    """What the shared program is for: see consumers/echo.cpp."""
    said = must(program)
    test.assertIn("echoed on epoll\n", said)
    if "echoed on io_uring" not in said:
        test.assertRegex(said, "skipped: io_uring: .+")
        print(said)
