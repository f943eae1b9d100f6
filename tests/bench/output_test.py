#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Results as text, JSON and SVG."""

import json
import unittest
import xml.etree.ElementTree as ElementTree

import support
from comparison import picture, record, table
from comparison.catalogue import SCENARIOS
from comparison.evaluate import evaluate
from comparison.machine import cpu_list, cpu_model
from comparison.model import Outcome, Placement, Run
from comparison.selection import Timing, UsageError

BY_ID = {one.id: one for one in SCENARIOS}
SVG = "{http://www.w3.org/2000/svg}"
TIMES = Timing()


def result_of(name, rates):
    return evaluate(BY_ID[name], support.outcomes(BY_ID[name], rates))


def burst(**rates):
    return result_of("P1", {"quoit/io_uring": [3e6, 3.1e6], "ceiling/mmsg": [3.2e6, 3.3e6],
                            "asio": [2e5, 2.1e5], **rates})


class Figures(unittest.TestCase):
    def test_counts_have_three_digits_and_a_letter(self):
        for value, text in ((3.02e6, "3.02 M"), (214e3, "214 k"), (12.34, "12.3"),
                            (999.9e3, "1.00 M"), (2.5e9, "2.50 G"), (0, "0.00")):
            self.assertEqual(table.count_text(value), text)

    def test_times_take_the_unit_that_suits_them(self):
        for ns, text in ((17.04, "17.0 ns"), (2900, "2.90 us"), (19.5e3, "19.5 us"),
                         (3e6, "3.00 ms"), (999.9, "1.00 us")):
            self.assertEqual(table.time_text(ns), text)

    def test_a_small_loss_never_looks_like_none(self):
        self.assertEqual(table.percent_text(0), "0 %")
        self.assertEqual(table.percent_text(0.0000001), "<0.01 %")
        self.assertEqual(table.percent_text(0.0123), "1.23 %")
        self.assertEqual(table.percent_text(None), "-")


class Table(unittest.TestCase):
    def text(self, result, machine=support.TWO_CPUS):
        return table.scenario_text(result, machine, TIMES)

    def test_the_heading_has_what_the_figures_depend_on(self):
        text = self.text(burst())
        for part in ("P1  echo burst", "64 B", "Linux 6.1.0", "Some CPU", "2 CPUs",
                     "server on CPU 1, client on CPU 0", "client's offload on",
                     "granted 8 MiB", "8 of 9 rounds counted, 1 s each"):
            self.assertIn(part, text)

    def test_with_one_cpu_it_says_that_nothing_is_pinned(self):
        self.assertIn("nothing is pinned", self.text(burst(), support.ONE_CPU))

    def test_p12_says_that_the_worker_and_the_program_share_the_servers_cpu(self):
        text = self.text(result_of("P12", {}))
        self.assertIn("server on CPU 1, client on CPU 0", text)
        self.assertIn("share the server's CPU", text)

    def test_a_spinning_client_and_its_trains_are_named(self):
        self.assertIn("offloading client that spins", self.text(burst()))
        self.assertIn("trains of 16 at most", self.text(result_of("P1b", {})))

    def test_packets_show_their_median_round_trip_and_say_what_is_counted(self):
        rows = {row.contestant: Outcome([Run(rate=2e6, cpu_ns=400.0, loss=0.0,
                                             round_trips_ns={"p50": 40600})] * 2)
                for row in BY_ID["P10"].rows}
        text = self.text(evaluate(BY_ID["P10"], rows))
        self.assertRegex(text, r"contestant +packets/s +spread +p50 +CPU/packet +loss ")
        self.assertRegex(text, r"plain/epoll +2\.00 M +0 % +40\.6 us +400 ns +0 % ")
        self.assertNotIn("datagram", text)

    def test_the_heading_of_packets_speaks_of_tcp_and_not_of_offload(self):
        text = self.text(result_of("P11", {}))
        for part in ("4 outstanding packets of 64 KiB", "TCP_NODELAY",
                     "server on CPU 1, client on CPU 0", "8 of 9 rounds counted, 1 s each after"):
            self.assertIn(part, text)
        self.assertNotIn("offload", text)
        self.assertNotIn("SO_RCVBUF", text)

    def test_the_round_trip_of_packets_may_be_missing(self):
        self.assertRegex(self.text(result_of("P10", {})), r"asio +1\.00 +0 % +- +1\.00 s")

    def test_datagrams_tables_have_no_such_column(self):
        self.assertNotIn("p50", self.text(burst()))

    def test_columns_line_up(self):
        ends = {len(line) for line in table.rows_text(burst())}
        self.assertEqual(len(ends), 1)

    def test_targets_come_with_their_verdicts(self):
        text = self.text(burst(asio=[2.9e6, 2.9e6]))
        self.assertRegex(text, r"holds +quoit/io_uring >= 0\.85 x ceiling/mmsg: 0\.938 \[")
        self.assertRegex(text, r"MISSED +quoit/io_uring >= 8 x asio: ")

    def test_the_peer_that_beats_us_is_printed(self):
        self.assertIn("ahead of quoit: ceiling/mmsg (3.25 M, quoit/io_uring 3.05 M)",
                      self.text(burst()))

    def test_what_did_not_run_says_why_in_its_line(self):
        text = self.text(burst(asio=Outcome([None], skipped="not built"),
                               libuv=Outcome([None], failed="ended (status 1)")))
        self.assertIn("  asio  skipped: not built\n", text)
        self.assertIn("  libuv  FAILED: ended (status 1)\n", text)

    def test_every_scenario_can_be_printed_without_a_single_figure(self):
        for scenario in SCENARIOS:
            nothing = {row.contestant: Outcome([None], skipped="x") for row in scenario.rows}
            with self.subTest(scenario=scenario.id):
                self.assertIn("not measured" if scenario.targets else "skipped",
                              self.text(evaluate(scenario, nothing)))

    def test_the_summary_counts_and_repeats_what_was_missed_or_failed(self):
        text = table.summary_text([burst(asio=[2.9e6, 2.9e6], libuv=Outcome([], failed="gone"))])
        self.assertIn("P1  MISSED", text)
        self.assertIn("libuv in P1 failed: gone", text)
        self.assertTrue(text.endswith("1 of 3 targets hold\n"))


class Record(unittest.TestCase):
    def written(self, *results):
        made = record.report(results, support.TWO_CPUS, TIMES, "bench/compare")
        return json.loads(json.dumps(made, allow_nan=False))

    def test_has_the_machine_the_contestants_and_the_targets(self):
        report = self.written(burst())
        self.assertEqual((report["kernel"], report["rounds"]), ("6.1.0", 9))
        scenario = report["scenarios"][0]
        self.assertEqual(scenario["id"], "P1")
        first = scenario["contestants"][0]
        self.assertEqual(first["name"], "quoit/io_uring")
        self.assertEqual(first["rate"], 3.05e6)
        for field in ("spread", "cpu_ns", "loss"):
            self.assertIsInstance(first[field], float)
        self.assertEqual(scenario["targets"][0]["verdict"], "holds")
        self.assertEqual(scenario["ahead_of_quoit"], ["ceiling/mmsg"])

    def test_a_skipped_contestant_has_no_figures_but_a_reason(self):
        one = self.written(burst(asio=Outcome([None], skipped="not built")))
        asio = next(row for row in one["scenarios"][0]["contestants"] if row["name"] == "asio")
        self.assertEqual((asio["status"], asio["reason"], asio["rate"]),
                         ("skipped", "not built", None))

    def test_every_scenario_can_be_written(self):
        self.written(*(result_of(name, {}) for name in BY_ID))


class Picture(unittest.TestCase):
    def drawn(self, *results, command="bench/compare"):
        return ElementTree.fromstring(picture.draw(results, support.TWO_CPUS, command))

    def test_is_valid_xml_with_a_bar_for_each_contestant(self):
        bars = self.drawn(burst()).findall(f"{SVG}rect")
        self.assertEqual(len(bars), 8)
        self.assertEqual(sum(bar.get("class") == "ours" for bar in bars), 2)

    def test_has_a_title_and_a_description_for_those_who_cannot_see_it(self):
        drawn = self.drawn(burst())
        self.assertEqual(drawn.find(f"{SVG}title").text, "Echoes per second")
        self.assertIn("ceiling/mmsg: 3.25 M per second", drawn.find(f"{SVG}desc").text)

    def test_follows_the_readers_colour_scheme(self):
        self.assertIn("@media (prefers-color-scheme: dark)",
                      picture.draw([burst()], support.TWO_CPUS, ""))

    def test_python_contestants_join_when_p9_was_run(self):
        names = [bar.name for bar in picture.bars([burst(), result_of("P9", {})])]
        self.assertEqual(len(names), 11)
        self.assertIn("twisted", names)

    def test_packets_have_no_bar(self):
        packets = result_of("P10", {"plain/epoll": [9e6, 9e6]})
        self.assertEqual(picture.bars([burst(), packets]), picture.bars([burst()]))

    def test_bars_are_as_long_as_their_rates_and_stay_within_the_picture(self):
        bars = self.drawn(burst()).findall(f"{SVG}rect")
        lengths = [float(bar.get("width")) for bar in bars]
        self.assertEqual(lengths, sorted(lengths, reverse=True))
        self.assertAlmostEqual(lengths[1] / lengths[0], 3.05 / 3.25, places=2)
        self.assertLess(picture.LEFT + lengths[0], picture.WIDTH)

    def test_names_and_commands_are_escaped_and_shortened(self):
        drawn = self.drawn(burst(), command="bench/compare --json <&> " + "x" * 200)
        for text in drawn.findall(f"{SVG}text"):
            self.assertLessEqual(len(text.text), picture.SMALL_LENGTH_MAX)

    def test_a_long_name_of_the_cpu_leaves_the_command_whole(self):
        machine = support.Machine("6.1.0", "a CPU " * 30, (0, 1), frozenset(), 0)
        drawn = picture.draw([burst()], machine, "bench/compare --only P1")
        self.assertIn("bench/compare --only P1<", drawn)

    def test_without_a_figure_it_says_so(self):
        nothing = {row.contestant: Outcome([None], skipped="x") for row in BY_ID["P1"].rows}
        drawn = self.drawn(evaluate(BY_ID["P1"], nothing))
        self.assertEqual(drawn.find(f"{SVG}desc").text, "nothing was measured")

    def test_needs_p1(self):
        with self.assertRaises(UsageError):
            picture.require_p1(["P2"])


class Machine(unittest.TestCase):
    def test_the_server_gets_another_core_than_the_client(self):
        threads = support.Machine("", "", (0, 1, 2, 3), frozenset({1}), 0)
        self.assertEqual((threads.client_cpu, threads.server_cpu), (0, 2))
        one_core = support.Machine("", "", (0, 1), frozenset({1}), 0)
        self.assertEqual(one_core.server_cpu, 1)
        self.assertIn("hardware threads of one core", one_core.pinning_text())

    def test_only_what_has_no_client_gets_every_cpu(self):
        self.assertEqual(support.TWO_CPUS.server_cpus(Placement.ONE_CPU), {1})
        self.assertEqual(support.TWO_CPUS.server_cpus(Placement.EVERY_CPU), {0, 1})

    def test_one_cpu_pins_nobody(self):
        self.assertIsNone(support.ONE_CPU.client_cpus())
        self.assertIsNone(support.ONE_CPU.server_cpus(Placement.ONE_CPU))

    def test_the_buffer_granted_is_twice_what_the_limit_allows(self):
        self.assertEqual(support.ONE_CPU.buffer_granted, 2 * 212992)
        self.assertEqual(support.TWO_CPUS.buffer_granted, 8 << 20)

    def test_cpu_lists_and_models_are_read_as_the_kernel_writes_them(self):
        self.assertEqual(cpu_list("0,2-4"), {0, 2, 3, 4})
        self.assertEqual(cpu_list(""), frozenset())
        self.assertEqual(cpu_model("processor\t: 0\nmodel name\t: A  B\n"), "A B")
        self.assertIn("unknown CPU", cpu_model("processor : 0\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
