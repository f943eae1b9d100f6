// SPDX-License-Identifier: MIT
#include "line_splitter.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quoit::program {

namespace {

using namespace std::string_literals;
using lines = std::vector<std::string>;

constexpr std::size_t size_max = 8;

// What becomes of the bytes when they come in pieces of `piece_size`.
lines split(const std::string& bytes, std::size_t piece_size) {
    line_splitter splitter(size_max);
    lines ready;
    for (std::size_t i = 0; i < bytes.size(); i += piece_size) {
        EXPECT_TRUE(splitter.push(std::string_view(bytes).substr(i, piece_size), ready));
    }
    splitter.finish(ready);
    return ready;
}

TEST(line_splitter, HoweverTheBytesAreCutTheLinesAreTheSame) {
    const std::string bytes = "one\n\ntwo three\0\r\n\n\xff\xfe\nlast"s;
    for (std::size_t piece_size = 1; piece_size <= bytes.size(); ++piece_size) {
        SCOPED_TRACE(piece_size);
        line_splitter splitter(64);
        lines ready;
        for (std::size_t i = 0; i < bytes.size(); i += piece_size) {
            EXPECT_TRUE(splitter.push(std::string_view(bytes).substr(i, piece_size), ready));
        }
        splitter.finish(ready);
        EXPECT_EQ(ready, (lines{"one", "", "two three\0\r"s, "", "\xff\xfe", "last"}));
    }
}

TEST(line_splitter, WhatEndsInANewlineHasNoEmptyLineBehindIt) {
    EXPECT_EQ(split("a\nb\n", 3), (lines{"a", "b"}));
    EXPECT_EQ(split("\n", 1), (lines{""}));
}

TEST(line_splitter, NoBytesAreNoLine) { EXPECT_EQ(split("", 1), lines()); }

TEST(line_splitter, ALineIsAsLongAsItMayBeAndNoByteLonger) {
    EXPECT_EQ(split("12345678\n12345678", 5), (lines{"12345678", "12345678"}));
    for (const std::size_t piece_size : {1U, 4U, 8U, 9U, 16U}) {
        SCOPED_TRACE(piece_size);
        const std::string bytes = "before\n123456789\nbehind\n";
        line_splitter splitter(size_max);
        lines ready;
        bool is_well = true;
        for (std::size_t i = 0; i < bytes.size(); i += piece_size) {
            is_well = splitter.push(std::string_view(bytes).substr(i, piece_size), ready);
        }
        splitter.finish(ready);
        EXPECT_FALSE(is_well);
        EXPECT_EQ(ready, (lines{"before"}));
    }
}

}  // namespace

}  // namespace quoit::program
