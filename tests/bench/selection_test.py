#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which scenarios run, what is shared between them, and how long that takes."""

import unittest
from dataclasses import replace

import support  # noqa: F401  (sets the path)
from comparison import selection
from comparison.catalogue import SCENARIOS
from comparison.model import Placement
from comparison.selection import UsageError

BY_ID = {one.id: one for one in SCENARIOS}


def chosen(only):
    return selection.select(SCENARIOS, only)


def run_count(only):
    return sum(len(group) for group in selection.groups(chosen(only)))


class Select(unittest.TestCase):
    def test_everything_without_only(self):
        self.assertEqual([one.id for one in chosen(None)],
                         ["P1", "P1b", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10",
                          "P11", "P12", "P13"])

    def test_keeps_the_tables_order_and_ignores_case_spaces_and_repetition(self):
        self.assertEqual([one.id for one in chosen("p3, P1,P3")], ["P1", "P3"])

    def test_p1b_can_be_named_however_its_letter_is_written(self):
        for only in ("P1b", "p1b", "P1B"):
            with self.subTest(only=only):
                self.assertEqual([one.id for one in chosen(only)], ["P1b"])

    def test_an_unknown_name_is_refused_with_those_that_exist(self):
        with self.assertRaisesRegex(UsageError, "no scenario P77; there are P1, P1b, P2, .*P13"):
            chosen("P1,P77")

    def test_no_name_at_all_is_refused(self):
        for only in ("", ",", " "):
            with self.assertRaises(UsageError):
                chosen(only)


class Rounds(unittest.TestCase):
    def test_fewer_than_two_are_refused(self):
        for rounds in (1, 0, -3):
            with self.assertRaisesRegex(UsageError, "at least 2"):
                selection.timing(rounds, is_quick=False)

    def test_the_first_is_not_counted(self):
        self.assertEqual(selection.timing(None, is_quick=False).counted, 8)

    def test_quick_takes_three_and_can_be_told_otherwise(self):
        self.assertEqual(selection.timing(None, is_quick=True).rounds, 3)
        self.assertEqual(selection.timing(5, is_quick=True).rounds, 5)

    def test_quick_ends_within_two_minutes(self):
        self.assertLess(selection.estimate_s(SCENARIOS, selection.QUICK), 120)


class Sharing(unittest.TestCase):
    def test_p8_and_p9_and_p13_reuse_the_runs_of_p1_to_p4(self):
        alone = run_count("P1,P2,P3,P4")
        self.assertEqual(run_count("P1,P2,P3,P4,P8,P13"), alone)
        self.assertEqual(run_count("P1,P2,P3,P4,P9"), alone + 3)

    def test_p13_alone_runs_two_contestants_in_four_workloads(self):
        self.assertEqual([len(group) for group in selection.groups(chosen("P13"))], [2, 2, 2, 2])

    def test_p12_reuses_the_run_of_p1_without_a_worker_and_takes_turns_with_it(self):
        self.assertEqual(run_count("P1,P12"), run_count("P1") + 1)
        self.assertEqual(len(selection.groups(chosen("P1,P12"))), 1)

    def test_p1b_shares_nothing_with_p1(self):
        grouped = selection.groups([BY_ID["P1"], BY_ID["P1b"]])
        self.assertEqual([len(group) for group in grouped], [run_count("P1")] * 2)

    def test_blocking_and_spinning_ping_pong_take_turns(self):
        self.assertEqual(len(selection.groups(chosen("P6"))), 1)

    def test_p9s_contestants_appear_in_p1s_table_when_both_run(self):
        joined = selection.join_python(chosen("P1,P9"))
        names = [row.name for row in joined[0].rows]
        self.assertEqual(names[-3:], ["asyncio", "uvloop", "twisted"])
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(selection.join_python(chosen("P1")), chosen("P1"))


class Catalogue(unittest.TestCase):
    def test_targets_name_rows_that_exist(self):
        for scenario in SCENARIOS:
            names = {row.name for row in scenario.rows}
            for target in scenario.targets:
                with self.subTest(scenario=scenario.id, target=target.text):
                    self.assertIn(target.subject, names)
                    self.assertTrue(not target.reference or target.reference in names)

    def test_rows_are_held_against_a_row_of_quoit(self):
        for scenario in SCENARIOS:
            for row in scenario.rows:
                with self.subTest(scenario=scenario.id, row=row.name):
                    self.assertIn("quoit/", scenario.row(row.baseline).name)

    def loads_of(self, name):
        return {row.contestant.load for row in BY_ID[name].rows}

    def test_the_clients_spin_where_one_flow_is_in_lockstep_with_the_server(self):
        spinning = [name for name in BY_ID
                    if all(load and load.is_spinning for load in self.loads_of(name))]
        self.assertEqual(spinning, ["P1", "P1b", "P2", "P8", "P9", "P10", "P11", "P12"])
        for name in ("P3", "P4", "P5"):
            self.assertFalse(any(load.is_spinning for load in self.loads_of(name)))

    def test_p10_and_p11_have_the_same_contestants_of_which_both_backends_are_quoits(self):
        for name, limit in (("P10", 1.5), ("P11", 1)):
            scenario = BY_ID[name]
            self.assertEqual([row.name for row in scenario.rows],
                             ["quoit/io_uring", "quoit/epoll", "asio", "plain/epoll",
                              "asio/one by one"])
            target, = scenario.targets
            self.assertEqual((target.subject, target.limit, target.reference),
                             ("quoit/io_uring", limit, "asio"))
            for backend in ("io_uring", "epoll"):
                program = scenario.row(f"quoit/{backend}").contestant.program
                self.assertEqual(program.arguments, ("packets", "serve", "--backend", backend))
                self.assertEqual(program.says, f"backend {backend}")

    def test_p10_and_p11_share_no_run(self):
        self.assertEqual([len(group) for group in selection.groups(chosen("P10,P11"))], [5, 5])

    def test_p8_p9_and_p12_have_the_load_of_p1(self):
        for name in ("P8", "P9", "P12"):
            self.assertEqual(self.loads_of(name), self.loads_of("P1"))

    def test_p1b_is_p1_in_trains_of_sixteen(self):
        burst, = self.loads_of("P1")
        self.assertEqual(self.loads_of("P1b"), {replace(burst, train_max=16)})
        self.assertIsNone(burst.train_max)
        self.assertEqual([row.name for row in BY_ID["P1b"].rows],
                         [row.name for row in BY_ID["P1"].rows])
        self.assertEqual(BY_ID["P1b"].targets, BY_ID["P1"].targets)

    def test_every_server_shares_one_cpu_and_only_benchmarks_have_all(self):
        for scenario in SCENARIOS:
            expected = Placement.EVERY_CPU if scenario.id == "P7" else Placement.ONE_CPU
            self.assertEqual({row.contestant.placement for row in scenario.rows}, {expected})

    def test_busy_polling_lets_quoit_choose_the_backend_and_expects_epoll(self):
        program = BY_ID["P6"].row("quoit/busy_poll").contestant.program
        self.assertEqual(program.arguments[:3], ("echo", "--backend", "auto"))
        self.assertIn("--busy-poll", program.arguments)
        self.assertEqual(program.says, "backend epoll")

    def test_the_names_of_p1_are_those_readers_of_the_json_rely_on(self):
        self.assertEqual([row.name for row in SCENARIOS[0].rows],
                         ["quoit/io_uring", "quoit/epoll", "ceiling/mmsg", "ceiling/io_uring",
                          "plain/mmsg", "plain/recvfrom", "asio", "libuv"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
