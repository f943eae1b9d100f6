#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Medians, spread and bootstrap intervals."""

import unittest

import support  # noqa: F401  (sets the path)
from comparison import statistic


class Median(unittest.TestCase):
    def test_of_an_even_count_lies_between_the_middle_two(self):
        self.assertEqual(statistic.median([4, 1, 3, 2]), 2.5)

    def test_leaves_out_rounds_without_a_value(self):
        self.assertEqual(statistic.median([None, 5, None]), 5)

    def test_of_nothing_is_nothing(self):
        self.assertIsNone(statistic.median([None]))


class Spread(unittest.TestCase):
    def test_is_the_interquartile_range_over_the_median(self):
        self.assertEqual(statistic.spread([1, 2, 3, 4, 5]), 2 / 3)

    def test_ignores_a_single_disturbed_round(self):
        self.assertEqual(statistic.spread([10, 10, 10, 10, 10, 10, 1000]), 0)

    def test_of_one_round_is_unknown(self):
        self.assertIsNone(statistic.spread([7]))

    def test_around_zero_is_unknown(self):
        self.assertIsNone(statistic.spread([0, 0, 0]))


class Bootstrap(unittest.TestCase):
    def test_of_equal_values_is_a_point(self):
        found = statistic.bootstrap([2.0] * 8)
        self.assertEqual((found.low, found.median, found.high), (2.0, 2.0, 2.0))

    def test_contains_the_median_and_stays_within_the_values(self):
        values = [1.0, 1.1, 0.9, 1.3, 0.8, 1.05, 0.95, 1.2]
        found = statistic.bootstrap(values)
        self.assertLess(min(values), found.low)
        self.assertLess(found.low, found.median)
        self.assertLess(found.median, found.high)
        self.assertLess(found.high, max(values))

    def test_gives_the_same_interval_every_time(self):
        values = [1.0, 3.0, 2.0, 5.0]
        self.assertEqual(statistic.bootstrap(values), statistic.bootstrap(values))

    def test_more_rounds_narrow_it(self):
        few = statistic.bootstrap([1.0, 2.0, 3.0, 4.0])
        many = statistic.bootstrap([1.0, 2.0, 3.0, 4.0] * 10)
        self.assertLess(many.high - many.low, few.high - few.low)

    def test_of_nothing_is_nothing(self):
        self.assertIsNone(statistic.bootstrap([]))


class Pairs(unittest.TestCase):
    def test_a_disturbance_of_whole_rounds_does_not_widen_a_ratio(self):
        disturbed = [100.0, 10.0, 50.0, 80.0]
        found = statistic.ratio([2 * value for value in disturbed], disturbed)
        self.assertEqual((found.low, found.high), (2.0, 2.0))

    def test_only_rounds_that_both_have_count(self):
        found = statistic.ratio([6.0, None, 100.0], [2.0, 5.0, None])
        self.assertEqual((found.low, found.median, found.high), (3.0, 3.0, 3.0))

    def test_a_difference_is_taken_round_by_round(self):
        found = statistic.difference([25.0, 125.0], [20.0, 120.0])
        self.assertEqual((found.low, found.high), (5.0, 5.0))

    def test_without_common_rounds_there_is_none(self):
        self.assertIsNone(statistic.ratio([1.0, None], [None, 1.0]))

    def test_a_zero_reference_is_left_out(self):
        self.assertEqual(statistic.ratio([1.0, 4.0], [0.0, 2.0]).median, 2.0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
