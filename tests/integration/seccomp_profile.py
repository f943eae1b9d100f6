# SPDX-License-Identifier: MIT
"""A seccomp profile of container runtimes, in force in a child of a test.

    profile = Profile.read("docs/seccomp/quoit.json")
    subprocess.Popen(command, preexec_fn=profile.install)

What runtimes do with libseccomp, by hand: the profile's names become numbers, and those a program
of classic BPF. As much of the format as the profile here uses, anything else is an error.
"""
import ctypes
import errno
import json
import platform
import re
import struct
import subprocess

# <linux/prctl.h>, <linux/seccomp.h>, <linux/bpf_common.h>, <linux/audit.h>.
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
ACT_ALLOW, ACT_ERRNO, ACT_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, JUMP_IF_EQUAL, MASK, RETURN = 0x20, 0x15, 0x54, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
ARCHITECTURES = {"x86_64": ("SCMP_ARCH_X86_64", 0xC000003E),
                 "aarch64": ("SCMP_ARCH_AARCH64", 0xC00000B7)}


class Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def instruction(code, constant, if_true=0, if_false=0):
    return struct.pack("HBBI", code, if_true, if_false, constant)


def system_call_numbers():
    """By name, as the compiler's headers have them."""
    listed = subprocess.run(["g++", "-E", "-dM", "-x", "c", "-"], check=True, text=True,
                            input="#include <asm/unistd.h>\n", capture_output=True).stdout
    macros = dict(re.findall(r"^#define (\w+) (\w+)$", listed, re.MULTILINE))
    numbers = {}
    for name, value in macros.items():
        while value in macros:
            value = macros[value]
        if name.startswith("__NR_") and value.isdigit():
            numbers[name.removeprefix("__NR_")] = int(value)
    return numbers


class Profile:
    def __init__(self, profile):
        known, self.unknown = system_call_numbers(), set()
        architecture, number = ARCHITECTURES[platform.machine()]
        if architecture not in profile["architectures"]:
            raise ValueError(f"not for {architecture}")
        code = instruction(LOAD, ARCHITECTURE_AT) + \
            instruction(JUMP_IF_EQUAL, number, if_true=1) + \
            instruction(RETURN, ACT_KILL_PROCESS) + instruction(LOAD, NUMBER_AT)
        for rule in profile["syscalls"]:
            for name in rule["names"]:
                if name in known:
                    code += self.rule(known[name], rule)
                else:
                    self.unknown.add(name)
        if profile["defaultAction"] != "SCMP_ACT_ERRNO":
            raise ValueError("a profile that does not refuse by default")
        code += instruction(RETURN, ACT_ERRNO | profile["defaultErrnoRet"])
        # Made here: between fork and exec as little as possible is done.
        self.code = code
        self.program = Program(len(code) // 8, code)
        self.libc = ctypes.CDLL(None, use_errno=True)

    @classmethod
    def read(cls, path, without=()):
        """`without`: names that are taken out."""
        with open(path, encoding="utf-8") as file:
            profile = json.load(file)
        for rule in profile["syscalls"]:
            rule["names"] = [name for name in rule["names"] if name not in without]
        return cls(profile)

    @staticmethod
    def rule(number, rule):
        if rule["action"] == "SCMP_ACT_ALLOW":
            end = instruction(RETURN, ACT_ALLOW)
        elif rule["action"] == "SCMP_ACT_ERRNO":
            end = instruction(RETURN, ACT_ERRNO | rule.get("errnoRet", errno.EPERM))
        else:
            raise ValueError(rule["action"])
        for condition in rule.get("args", []):
            # (argument & value) == valueTwo, in the low half; the others are not looked at
            if condition["op"] != "SCMP_CMP_MASKED_EQ" or condition["value"] >> 32:
                raise ValueError(condition)
            end = instruction(LOAD, ARGUMENTS_AT + 8 * condition["index"]) + \
                instruction(MASK, condition["value"]) + \
                instruction(JUMP_IF_EQUAL, condition["valueTwo"], if_false=len(end) // 8) + \
                end + instruction(LOAD, NUMBER_AT)
        return instruction(JUMP_IF_EQUAL, number, if_false=len(end) // 8) + end

    def install(self):
        """For a child before it runs the program."""
        if self.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no_new_privs")
        if self.libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(self.program),
                           0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")
