#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Verdicts, rows, and who is ahead."""

import unittest

import support
from comparison.catalogue import SCENARIOS
from comparison.evaluate import Verdict, evaluate, judge
from comparison.model import Better, Comparison, Outcome, Run, Target
from comparison.rounds import run_rounds
from comparison.process import ChildFailed, ChildSkipped
from comparison.statistic import Interval

BY_ID = {one.id: one for one in SCENARIOS}
AT_LEAST = Target("a", Better.MORE, 8, "b")
AT_MOST = Target("a", Better.LESS, 1.15, "b")


def result_of(name, rates):
    return evaluate(BY_ID[name], support.outcomes(BY_ID[name], rates))


def verdict_of(result, text):
    return next(one for one in result.targets if one.target.text == text).verdict


class Judge(unittest.TestCase):
    def test_at_least_holds_when_the_upper_end_reaches_it(self):
        self.assertIs(judge(AT_LEAST, Interval(7, 6, 8)), Verdict.HOLDS)
        self.assertIs(judge(AT_LEAST, Interval(7, 6, 7.99)), Verdict.MISSED)

    def test_at_most_holds_when_the_lower_end_reaches_it(self):
        self.assertIs(judge(AT_MOST, Interval(1.3, 1.15, 1.4)), Verdict.HOLDS)
        self.assertIs(judge(AT_MOST, Interval(1.3, 1.16, 1.4)), Verdict.MISSED)

    def test_without_an_interval_nothing_is_claimed(self):
        self.assertIs(judge(AT_LEAST, None), Verdict.NOT_MEASURED)


class Targets(unittest.TestCase):
    def test_a_ratio_is_taken_against_the_named_contestant(self):
        result = result_of("P1", {"quoit/io_uring": [2.7, 2.8], "ceiling/mmsg": [3.0, 3.1],
                                  "asio": [0.2, 0.2], "libuv": [0.5, 0.5]})
        self.assertIs(verdict_of(result, "quoit/io_uring >= 0.85 x ceiling/mmsg"), Verdict.HOLDS)
        self.assertIs(verdict_of(result, "quoit/io_uring >= 8 x asio"), Verdict.HOLDS)
        self.assertIs(verdict_of(result, "quoit/io_uring >= 8 x libuv"), Verdict.MISSED)

    def test_a_difference_is_in_the_measures_unit(self):
        result = result_of("P5", {"quoit/batch": [1e9 / 20] * 2, "quoit/one": [1e9 / 25] * 2,
                                  "raw/gro": [1e9 / 19] * 2})
        target = next(one for one in result.targets
                      if one.target.comparison is Comparison.DIFFERENCE)
        self.assertAlmostEqual(target.interval.median, 5)
        self.assertIs(target.verdict, Verdict.HOLDS)

    def test_a_value_needs_no_other_contestant(self):
        scenario = BY_ID["P8"]
        runs = {row.contestant: Outcome([Run(rate=1.0, per_system_call=value)] * 2)
                for row, value in zip(scenario.rows, (40.0, 15.0))}
        verdicts = [one.verdict for one in evaluate(scenario, runs).targets]
        self.assertEqual(verdicts, [Verdict.HOLDS, Verdict.MISSED])

    def test_one_with_a_skipped_contestant_is_not_measured_and_says_why(self):
        result = result_of("P1", {"asio": Outcome([None], skipped="not built")})
        target = next(one for one in result.targets if one.target.reference == "asio")
        self.assertIs(target.verdict, Verdict.NOT_MEASURED)
        self.assertEqual(target.reason, "asio was skipped: not built")

    def test_rounds_from_before_a_failure_do_not_pass_for_a_measurement(self):
        failed = Outcome([Run(rate=1e9), None], failed="crashed")
        result = result_of("P1", {"quoit/io_uring": failed})
        self.assertEqual({one.verdict for one in result.targets}, {Verdict.NOT_MEASURED})
        self.assertEqual(result.targets[0].reason, "quoit/io_uring failed")


class Rows(unittest.TestCase):
    def test_medians_and_the_ratio_of_quoit_to_each(self):
        result = result_of("P1", {"quoit/io_uring": [4.0, 8.0, 6.0], "asio": [2.0, 4.0, 3.0]})
        row = result.row("asio")
        self.assertEqual((row.value, row.rate, row.loss), (3.0, 3.0, 0.0))
        self.assertEqual(row.baseline_ratio, Interval(2.0, 2.0, 2.0))
        self.assertIsNone(result.row("quoit/io_uring").baseline_ratio)

    def test_round_trips_are_medians_of_each_percentile(self):
        scenario = BY_ID["P6"]
        runs = [Run(rate=1.0, round_trips_ns={"p50": value, "max": 10 * value})
                for value in (1.0, 2.0, 9.0)]
        outcomes = {row.contestant: Outcome(list(runs)) for row in scenario.rows}
        row = evaluate(scenario, outcomes).rows[0]
        self.assertEqual(row.round_trips_ns, {"p50": 2.0, "max": 20.0})
        self.assertEqual(row.value, 2.0)

    def test_a_peer_with_a_better_median_is_named(self):
        result = result_of("P1", {"quoit/io_uring": [3.0, 3.0], "quoit/epoll": [9.0, 9.0],
                                  "ceiling/mmsg": [3.1, 3.1]})
        self.assertEqual([row.name for row in result.ahead_of_quoit], ["ceiling/mmsg"])

    def test_where_less_is_better_the_smaller_one_is_ahead(self):
        result = result_of("P5", {"quoit/batch": [10.0, 10.0], "quoit/one": [9.0, 9.0],
                                  "raw/gro": [11.0, 11.0], "raw/plain": [1.0, 1.0]})
        self.assertEqual([row.name for row in result.ahead_of_quoit], ["raw/gro"])

    def test_the_prefixed_rows_of_p13_are_quoits(self):
        self.assertEqual(result_of("P13", {}).ahead_of_quoit, [])
        self.assertTrue(all(row.is_ours for row in result_of("P13", {}).rows))


class Rounds(unittest.TestCase):
    def setUp(self):
        self.contestants = [row.contestant for row in BY_ID["P9"].rows[:3]]
        self.order = []

    def run_with(self, measuring, rounds=3):
        def logged(contestant):
            self.order.append(contestant.name)
            return measuring(contestant)
        return run_rounds(self.contestants, rounds, logged, lambda *_: None)

    def test_contestants_take_turns(self):
        self.run_with(lambda one: Run(rate=1.0))
        self.assertEqual(self.order, [one.name for one in self.contestants] * 3)

    def test_the_first_round_is_dropped(self):
        rates = iter(range(1, 100))
        outcomes = self.run_with(lambda one: Run(rate=next(rates)))
        self.assertEqual([run.rate for run in outcomes[self.contestants[0]].runs], [4, 7])

    def test_one_that_fails_is_out_and_the_others_go_on(self):
        def measuring(contestant):
            if contestant is self.contestants[0]:
                raise ChildFailed("crashed")
            if contestant is self.contestants[1]:
                raise ChildSkipped("no library")
            return Run(rate=1.0)
        outcomes = self.run_with(measuring)
        self.assertEqual(outcomes[self.contestants[0]].failed, "crashed")
        self.assertEqual(outcomes[self.contestants[1]].skipped, "no library")
        self.assertEqual(len(outcomes[self.contestants[2]].runs), 2)
        self.assertEqual(self.order.count(self.contestants[0].name), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
