#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program whose headers and archive are of different versions does not link, and is told why.

Usage: link_check_test.py build=BUILD_TREE work=FOLDER version=... [unittest arguments]
"""
import re
import shutil
import unittest

import outside
from outside import ROOT, settings

ASKED = "quoit/detail/archive_version.hpp"
# Everything they declare is defined in them, so programs may use them without the library. Whoever
# adds a public header that is not among these must include, by way of another at least, ASKED.
HEADER_ONLY = {"quoit/payload.hpp", "quoit/time.hpp", "quoit/version.hpp"}

# Of the headers that need the library, two that are parsed quickly.
SOURCES = {
    "program": "#include <quoit/stats.hpp>\nint part();\nint main() { return part(); }\n",
    "part": "#include <quoit/file_descriptor.hpp>\nint part();\nint part() { return 0; }\n",
}
COMPILERS = [one for one in ("g++", "clang++-19") if shutil.which(one)]
WAYS = {
    "debug": ["-O0"],
    "optimised": ["-O2"],
    "sections": ["-O2", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"],
    "link-time optimisation": ["-O2", "-flto"],
}


def include_folders():
    return [settings.build / "include", ROOT / "engine/include", ROOT / "api/include"]


class ArchivesOfAnotherVersion(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The headers of a later version: as ours, but for what CMake makes of the version.
        cls.later = settings.work / "later"
        text = (settings.build / "include" / ASKED).read_text(encoding="utf-8")
        ours = settings.version.replace(".", "_")
        assert ours in text
        (cls.later / ASKED).parent.mkdir(parents=True)
        (cls.later / ASKED).write_text(text.replace(ours, "99_0_0"), encoding="utf-8")
        for name, text in SOURCES.items():
            (settings.work / f"{name}.cpp").write_text(text, encoding="utf-8")

    def compile(self, compiler, flags, name, folders):
        target = settings.work / f"{name}.{len(folders)}.o"
        outside.must(compiler, "-std=c++23", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                     *[one for one in flags if not one.startswith("-Wl,")],
                     *[f"-I{folder}" for folder in folders],
                     "-c", settings.work / f"{name}.cpp", "-o", target)
        return target

    def link(self, compiler, flags, *objects):
        return outside.run(compiler, *flags, *objects, settings.build / "libquoit.a",
                           "-o", settings.work / "program")

    def test_DoNotLink(self):
        self.assertIn("g++", COMPILERS)
        wanted = "quoit::detail::headers_of_version_99_0_0_need_libquoit_of_the_same_version"
        for compiler in COMPILERS:
            for way, flags in WAYS.items():
                with self.subTest(compiler=compiler, way=way):
                    ours, later = ([self.compile(compiler, flags, name, folders)
                                    for name in SOURCES]
                                   for folders in (include_folders(),
                                                   [self.later, *include_folders()]))
                    fits = self.link(compiler, flags, *ours)
                    self.assertEqual(fits.returncode, 0, fits.stdout)
                    # One source of the other version is enough, whichever comes first.
                    for objects in ((later[0], ours[1]), (ours[0], later[1])):
                        fits_not = self.link(compiler, flags, *objects)
                        self.assertNotEqual(fits_not.returncode, 0)
                        self.assertIn(wanted, fits_not.stdout)


class EveryHeaderThatNeedsTheLibrary(unittest.TestCase):
    def includes(self, name, seen):
        """Adds the name, and what it includes of ours, to `seen`."""
        if name in seen:
            return
        seen.add(name)
        for folder in include_folders():
            path = folder / name
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                for below in re.findall(r"^#include <(quoit/[^>]+)>", text, re.MULTILINE):
                    self.includes(below, seen)
                return
        self.fail(f"there is no {name}")

    def test_AsksForItsVersion(self):
        names = {path.relative_to(folder).as_posix() for folder in include_folders()
                 for path in folder.glob("quoit/*.hpp")}
        self.assertIn("quoit/quoit.hpp", names)
        without = set()
        for name in names:
            seen = set()
            self.includes(name, seen)
            if ASKED not in seen:
                without.add(name)
        self.assertEqual(without, HEADER_ONLY)

    def test_AndTheOthersLinkWithoutIt(self):
        source = settings.work / "header_only.cpp"
        source.write_text("".join(f"#include <{name}>\n" for name in sorted(HEADER_ONLY)) +
                          "int main() { return quoit::byte_view(\"x\").size() == 1 ? 0 : 1; }\n",
                          encoding="utf-8")
        outside.must("g++", "-std=c++23", *[f"-I{folder}" for folder in include_folders()], source,
                     "-o", settings.work / "header_only")
        outside.must(settings.work / "header_only")


if __name__ == "__main__":
    outside.main(__doc__, "link_check")
