#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Code in README.md, CONTRIBUTING.md and docs/ is true: quoted to the letter, or compiled.

Usage: quoted_code.py ROOT COMPILER [FLAG...]    checks the pages, exits with 1 if any is wrong
       quoted_code.py --self-test COMPILER [FLAG...]    checks the checker

What is done with a code block follows from its language, and from an HTML comment on the line
above it:

    <!-- api/examples/echo_server.cpp -->   it stands in that file, to the letter. For cpp the file
                                            is one that the build compiles, for cmake and sh one
                                            that a test runs: api/examples/ and tests/
    <!-- inside: quoit::task<> answer(quoit::udp_endpoint& server) -->
                                            cpp: statements, compiled as the body of that; members
                                            after `struct name`
    <!-- not compiled: why -->              left alone. To be rare

A cpp block without a comment is declarations, in a namespace of its own: it may hold main(). Its
includes are the page's. All see <quoit/quoit.hpp>, <iostream> and std::chrono_literals, and are
compiled in one call, which makes nothing. sh, bash, cmake and json have to be in their language;
their commands are not run. Blocks of other languages, and of none, are only read.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

# Any line that opens or ends a block, also where BLOCK would pass over it.
FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)
BLOCK = re.compile(r"(?:<!-- ((?:(?!-->).)+) -->\n)?^```(\w*)\n(.*?)^```$",
                   re.DOTALL | re.MULTILINE)
INSIDE, LEFT_ALONE = "inside: ", "not compiled: "
QUOTED_FROM = {"cpp": ("api/examples/", "tests/"), "cmake": ("tests/",), "sh": ("tests/",)}
PREAMBLE = """#include <quoit/quoit.hpp>
#include <iostream>
using namespace std::chrono_literals;
"""


class Pages:
    def __init__(self, root):
        self.root = root
        self.wrong = []
        self.counts = {}
        self.sources = []   # what is compiled, one text for each block
        self.includes = []

    def complain(self, place, words):
        self.wrong.append(f"{place}: {words}")

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def read(self):
        for path in [*(self.root / name for name in ("README.md", "CONTRIBUTING.md")),
                     *sorted((self.root / "docs").rglob("*.md"))]:
            text = path.read_text(encoding="utf-8")
            blocks = list(BLOCK.finditer(text))
            if len(FENCE.findall(text)) != 2 * len(blocks):
                self.complain(path.relative_to(self.root),
                              "a code block has no end, is indented, or its language is no word")
            for match in blocks:
                line = text.count("\n", 0, match.start(3)) + 1
                self.take(f"{path.relative_to(self.root)}:{line}", match[1], match[2], match[3])

    def take(self, place, comment, language, code):
        comment = " ".join((comment or "").split())
        if comment.startswith(LEFT_ALONE):
            self.count("left alone")
        elif comment.startswith(INSIDE) and language == "cpp":
            self.compile_inside(place, comment.removeprefix(INSIDE), code)
        elif re.fullmatch(r"\S+\.\w+|\S+/\S+", comment):
            self.compare(place, comment, language, code)
        elif comment.startswith(INSIDE):
            self.complain(place, "'inside' is for cpp")
        elif language == "cpp":
            self.compile(place, "", code, "")
        elif language == "cmake":
            # The body of a function is parsed, and not run.
            self.check_language(place, "cmake", ["cmake", "-P"],
                                f"function(of_a_page)\n{code}\nendfunction()\n")
        elif language in ("sh", "bash"):
            self.check_language(place, "shell", ["bash", "-n"], code)
        elif language == "json":
            self.check_json(place, code)
        else:
            self.count("only read")

    def compare(self, place, name, language, code):
        self.count("quoted")
        source = self.root / name
        if not source.is_file() or code not in source.read_text(encoding="utf-8"):
            self.complain(place, f"not what stands in {name}")
        elif not name.startswith(QUOTED_FROM.get(language, "")):
            self.complain(place, f"no test runs {name}")

    def compile_inside(self, place, head, code):
        end = "};" if re.match(r"(struct|class)\b", head) else "}"
        self.compile(place, head + " {", code, end)

    def compile(self, place, begin, code, end):
        self.count("compiled")
        page, line = place.rsplit(":", 1)
        # An include is replaced by an empty line: the others keep their numbers.
        include = re.compile(r"^#include .*$", re.MULTILINE)
        self.includes += include.findall(code)
        code = include.sub("", code)
        self.sources.append(f"namespace block_{len(self.sources)} {{ {begin}\n"
                            f'#line {line} "{page}"\n{code}\n{end} }}\n')

    def run_compiler(self, command):
        if not self.sources:
            return
        text = "".join(f"{one}\n" for one in dict.fromkeys(self.includes))
        text += PREAMBLE + "".join(self.sources)
        done = subprocess.run([*command, "-std=c++23", "-fsyntax-only", "-x", "c++", "-"],
                              input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if " error: " in line]
            self.wrong += errors or [done.stderr]

    def check_language(self, place, what, command, text):
        self.count(what)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            done = subprocess.run([*command, file.name], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.complain(place, done.stderr.strip())

    def check_json(self, place, code):
        self.count("JSON")
        try:
            json.loads(code)
        except json.JSONDecodeError as why:
            self.complain(place, str(why))


def check(root, command):
    pages = Pages(root)
    pages.read()
    pages.run_compiler(command)
    return pages


SOUND = """
<!-- tests/some.cpp -->
```cpp
int quoted();
```

<!-- inside: quoit::task<> answer(quoit::udp_server& server) -->
```cpp
auto request = or_throw(co_await server.read({.timeout = 2s}));
server.reply(request, "yes");
```
<!-- inside: struct holder -->
```cpp
int member = 0;
```
```cpp
#include <cstdlib>

int main() { return EXIT_SUCCESS; }
```
```cpp
int main() { return 0; }
```
<!-- tests/CMakeLists.txt -->
```cmake
add_subdirectory(quoit)
```
<!-- not compiled: it shows what the
compiler refuses -->
```cpp
nonsense
```
```sh
cmake --install build
```
```cmake
no_such_command(but it is one)
```
```json
{"a": 1}
```
"""
# A block, and words of what has to be said of it.
UNSOUND = [
    ("```cpp\nquoit::no_such_type made;\n```\n", "no_such_type"),
    ("<!-- inside: void f() -->\n```cpp\nno_such_function();\n```\n", "no_such_function"),
    ("<!-- tests/some.cpp -->\n```cpp\nint quoted(int);\n```\n", "not what stands in tests/some"),
    ("<!-- tests/none.cpp -->\n```cpp\nint quoted();\n```\n", "not what stands in tests/none"),
    ("<!-- elsewhere.cpp -->\n```cpp\nint quoted();\n```\n", "no test runs elsewhere.cpp"),
    ("```cmake\nadd_subdirectory(quoit\n```\n", "Parse error"),
    ("<!-- inside: x -->\n```sh\ntrue\n```\n", "'inside' is for cpp"),
    ("```sh\nif true\n```\n", "syntax error"),
    ("```json\n{1}\n```\n", "Expecting property name"),
    ("```cpp\nint i;\n", "has no end"),
    ("```c++\nint i;\n```\n", "is no word"),
    ("```cpp \nint i;\n```\n", "is no word"),
    ("- point\n  ```cpp\n  int i;\n  ```\n", "is indented"),
]


def self_test(command):
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        (root / "docs").mkdir()
        (root / "tests").mkdir()
        for path, text in {"tests/some.cpp": "int quoted();\n", "elsewhere.cpp": "int quoted();\n",
                           "tests/CMakeLists.txt": "add_subdirectory(quoit)\n",
                           "README.md": SOUND, "CONTRIBUTING.md": ""}.items():
            (root / path).write_text(text, encoding="utf-8")
        pages = check(root, command)
        wrong += [f"reported, but sound: {one}" for one in pages.wrong]
        expected = {"quoted": 2, "compiled": 4, "left alone": 1, "shell": 1,
                    "cmake": 1, "JSON": 1}
        if pages.counts != expected:
            wrong.append(f"counted {pages.counts}, not {expected}")

        for index, (block, _) in enumerate(UNSOUND):
            (root / f"docs/page{index}.md").write_text("words\n\n" + block, encoding="utf-8")
        found = check(root, command).wrong
        for index, (block, words) in enumerate(UNSOUND):
            if not any(f"docs/page{index}.md" in one and words in one for one in found):
                wrong.append(f"not reported: {block!r} ({words})")
    for line in wrong:
        print(line)
    print(f"{len(UNSOUND)} mistakes made, {len(wrong)} mistakes of the checker")
    return 1 if wrong else 0


def main():
    if len(sys.argv) < 3:
        print(__doc__)
        return 2
    if sys.argv[1] == "--self-test":
        return self_test(sys.argv[2:])
    pages = check(pathlib.Path(sys.argv[1]), sys.argv[2:])
    for line in pages.wrong:
        print(line)
    print(", ".join(f"{number} {what}" for what, number in sorted(pages.counts.items())) +
          f"; {len(pages.wrong)} mistakes")
    # A checker that looks at nothing finds nothing.
    return 1 if pages.wrong or not pages.counts.get("quoted") else 0


if __name__ == "__main__":
    sys.exit(main())
