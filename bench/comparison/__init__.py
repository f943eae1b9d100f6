# SPDX-License-Identifier: MIT
"""The modules of bench/compare.

model      what a scenario, a contestant, a target and a run are
catalogue  the scenarios and contestants themselves
selection  which of them to run, what that takes, what can be shared
statistic  medians, spread, bootstrap intervals
machine    what is said about the machine, and who runs on which CPU
process    children: started, awaited with a bound, ended by their id
measure    one run of one contestant
rounds     all runs, interleaved
evaluate   runs into rows and verdicts
table, record, picture   rows and verdicts as text, JSON and SVG
tree       the build tree the programs come from
command    the command line
"""
