#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Children: every wait has a bound, every end has words."""

import os
import sys
import time
import unittest

import support  # noqa: F401  (sets the path)
from comparison import measure, process
from comparison.model import Kind
from comparison.process import Child, ChildFailed, ChildSkipped


def python(code, **options):
    return Child([sys.executable, "-SE", "-c", code], **options)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class FirstLine(unittest.TestCase):
    def test_takes_nothing_of_what_follows_it(self):
        with python("print('one'); print('two')") as child:
            self.assertEqual(child.first_line(), "one")
            self.assertEqual(child.complete(5), "two\n")

    def test_is_not_awaited_forever(self):
        with python("import time; time.sleep(60)") as child:
            with self.assertRaisesRegex(ChildFailed, "printed no line within 0.1 s"):
                child.first_line(0.1)

    def test_an_end_before_it_is_a_failure_in_the_programs_words(self):
        with python("import sys; sys.exit('no such address')") as child:
            with self.assertRaisesRegex(ChildFailed, r"status 1\): no such address"):
                child.first_line()

    def test_status_77_is_a_skip_in_the_programs_words(self):
        code = "import sys; print('no uvloop', file=sys.stderr); sys.exit(77)"
        with python(code) as child:
            with self.assertRaisesRegex(ChildSkipped, "no uvloop"):
                child.first_line()


class Ending(unittest.TestCase):
    def test_leaving_the_block_ends_the_program(self):
        with python("import time; print('up', flush=True); time.sleep(60)") as child:
            child.first_line()
            pid = child._process.pid
        self.assertFalse(is_alive(pid))

    def test_an_exception_ends_the_program_too(self):
        with self.assertRaises(KeyboardInterrupt):
            with python("import time; time.sleep(60)") as child:
                pid = child._process.pid
                raise KeyboardInterrupt
        self.assertFalse(is_alive(pid))

    def test_a_program_that_leaves_sigterm_to_the_kernel_ended_as_asked(self):
        with python("import time; print('up', flush=True); time.sleep(60)") as child:
            child.first_line()
            self.assertEqual(child.stop(), "")

    def test_a_crash_is_named_by_its_signal(self):
        with python("import os; os.kill(os.getpid(), 11)") as child:
            with self.assertRaisesRegex(ChildFailed, "SIGSEGV"):
                child.complete(5)

    def test_a_program_that_cannot_be_started_is_a_failure(self):
        with self.assertRaisesRegex(ChildFailed, "cannot start /nowhere/program"):
            Child(["/nowhere/program"])


class CpuTime(unittest.TestCase):
    def test_grows_with_what_the_program_does(self):
        with python("print('up', flush=True)\nwhile True: pass") as child:
            child.first_line()
            before = child.cpu_ns
            end = time.monotonic() + support.DEADLINE_S
            while child.cpu_ns == before and time.monotonic() < end:
                pass
            self.assertGreater(child.cpu_ns, before)

    def test_of_a_server_that_has_gone_is_a_failure(self):
        with python("") as child:
            child.finish(5)
            with self.assertRaisesRegex(ChildFailed, "ended while it was needed"):
                _ = child.cpu_ns

    def test_the_program_runs_where_it_was_pinned(self):
        cpu = max(os.sched_getaffinity(0))
        with python("import os; print(os.sched_getaffinity(0))", cpus=frozenset({cpu})) as child:
            self.assertEqual(child.first_line(), f"{{{cpu}}}")


class Reports(unittest.TestCase):
    def test_the_address_is_found_with_and_without_words_behind_it(self):
        for line in ("listening on 127.0.0.1:77", "listening on 127.0.0.1:77 (backend epoll)"):
            self.assertEqual(measure.parse_listening(line, ""), "127.0.0.1:77")

    def test_another_backend_than_asked_for_is_a_failure(self):
        with self.assertRaisesRegex(ChildFailed, "does not run as asked"):
            measure.parse_listening("listening on 127.0.0.1:1 (backend epoll)", "backend io_uring")

    def test_any_other_first_line_is_a_failure(self):
        with self.assertRaisesRegex(ChildFailed, "first line"):
            measure.parse_listening("Hello", "")

    def test_zero_delivered_corrupted_and_duplicated_are_failures(self):
        good = {"received": 5, "corrupted": 0, "duplicated": 0}
        measure.check_answers(good)
        for flaw in ({"received": 0}, {"corrupted": 1}, {"duplicated": 2}, {"received": None}):
            with self.subTest(flaw=flaw), self.assertRaises(ChildFailed):
                measure.check_answers({**good, **flaw})

    def test_cpu_of_a_receiver_is_what_it_spent_while_it_was_sent_to(self):
        run = measure.receive_run({"sent": 1000, "seconds": 0.5},
                                  {"datagrams": 900, "cpu_ns": 10 ** 9}, 18000)
        self.assertEqual((run.rate, run.cpu_ns), (1800.0, 20.0))
        self.assertAlmostEqual(run.loss, 0.1)

    def test_a_receiver_that_counts_more_than_was_sent_has_failed(self):
        with self.assertRaisesRegex(ChildFailed, "counted 11 datagrams, but only 10 were sent"):
            measure.receive_run({"sent": 10, "seconds": 1}, {"datagrams": 11}, 1000)

    def test_a_benchmark_is_found_by_name_whatever_settings_follow(self):
        output = ('{"benchmarks": [{"name": "quoit/batched_more", "items_per_second": 1},'
                  '{"name": "quoit/batched/real_time", "items_per_second": 5e8}]}')
        self.assertEqual(measure.micro_run(output, "quoit/batched").rate, 5e8)

    def test_a_benchmark_that_was_not_built_is_skipped(self):
        with self.assertRaises(ChildSkipped):
            measure.micro_run("", "moodycamel/batched")

    def test_output_that_is_no_json_is_quoted(self):
        with self.assertRaisesRegex(ChildFailed, "oops"):
            measure.last_object("oops\n", "the client")

    def test_there_is_a_way_to_measure_every_kind(self):
        self.assertEqual(set(measure._KINDS), set(Kind))
        self.assertEqual(process.EXIT_SKIPPED, 77)


if __name__ == "__main__":
    unittest.main(verbosity=2)
