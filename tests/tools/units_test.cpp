// SPDX-License-Identifier: MIT
#include "units.hpp"

#include <gtest/gtest.h>

#include <string>

namespace quoit::program {

namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

TEST(units, ADurationIsANumberAndItsUnit) {
    EXPECT_EQ(parse_duration("90us"), nanoseconds(90us));
    EXPECT_EQ(parse_duration("250ms"), nanoseconds(250ms));
    EXPECT_EQ(parse_duration("5s"), nanoseconds(5s));
    EXPECT_EQ(parse_duration("1m"), nanoseconds(1min));
    EXPECT_EQ(parse_duration("2h"), nanoseconds(2h));
    EXPECT_EQ(parse_duration("1.5s"), nanoseconds(1500ms));
}

TEST(units, ADurationWithoutOrWithAnUnknownUnitIsRefused) {
    for (const char* const text : {"5", "5x", "5S", "5 s", "s", "", "5sec", "5s "}) {
        EXPECT_FALSE(parse_duration(text)) << text;
    }
}

TEST(units, ADurationOutOfRangeIsRefusedAndNotClamped) {
    EXPECT_FALSE(parse_duration("0s"));
    EXPECT_FALSE(parse_duration("0.5us"));
    EXPECT_TRUE(parse_duration("1us"));
    EXPECT_TRUE(parse_duration("1000h"));
    EXPECT_TRUE(parse_duration("1h", std::chrono::hours(1)));
    EXPECT_EQ(parse_duration("61m", std::chrono::hours(1)).error(),
              "\"61m\": expected a duration from 1us to 1h");
    EXPECT_FALSE(parse_duration("1001h"));
    EXPECT_FALSE(parse_duration("99999999999999999999999999999999h"));
}

TEST(units, SignsExponentsAndWordsAreNoNumbers) {
    for (const char* const number :
         {"-5", "+5", "1e3", "inf", "nan", "0x5", ".5", "5.", "1.2.3", " 5", "5,0"}) {
        EXPECT_FALSE(parse_duration(std::string(number) + "s")) << number;
        EXPECT_FALSE(parse_rate(number)) << number;
        EXPECT_FALSE(parse_size(number, 0, 100)) << number;
        EXPECT_FALSE(parse_count(number, 0, 100)) << number;
    }
}

TEST(units, ARateMayBeInThousandsOrMillions) {
    EXPECT_EQ(parse_rate("1000"), 1000.0);
    EXPECT_EQ(parse_rate("250k"), 250e3);
    EXPECT_EQ(parse_rate("1.5M"), 1.5e6);
    EXPECT_EQ(parse_rate("100M"), 100e6);
    EXPECT_FALSE(parse_rate("101M"));
    EXPECT_FALSE(parse_rate("0"));
    EXPECT_FALSE(parse_rate("1G"));
    EXPECT_FALSE(parse_rate("1m"));
}

TEST(units, ASizeIsAWholeNumberOfBytesWithinItsBounds) {
    EXPECT_EQ(parse_size("64", 40, 65'507), 64U);
    EXPECT_EQ(parse_size("1.5K", 40, 65'507), 1536U);
    EXPECT_EQ(parse_size("63K", 40, 65'507), 64'512U);
    EXPECT_FALSE(parse_size("64K", 40, 65'507));
    EXPECT_FALSE(parse_size("39", 40, 65'507));
    EXPECT_FALSE(parse_size("64.5", 40, 65'507));
    EXPECT_FALSE(parse_size("64B", 40, 65'507));
}

TEST(units, ACountHasNoUnit) {
    EXPECT_EQ(parse_count("0", 0, 64), 0U);
    EXPECT_EQ(parse_count("64", 0, 64), 64U);
    EXPECT_FALSE(parse_count("65", 0, 64));
    EXPECT_FALSE(parse_count("1k", 0, 10'000));
    EXPECT_FALSE(parse_count("99999999999999999999", 0, 64));
}

TEST(units, AnErrorNamesTheTextAndWhatWasExpected) {
    EXPECT_EQ(parse_duration("5x").error(),
              "\"5x\": expected a number and its unit (us, ms, s, m or h), such as 250ms or 5s");
    EXPECT_EQ(parse_count("65", 0, 64).error(), "\"65\": expected a whole number from 0 to 64");
    EXPECT_EQ(parse_size("39", 40, 100).error(),
              "\"39\": expected bytes (K is 1024, M 1024 K) from 40 to 100");
}

TEST(units, AQuotedTextIsOneLineWhateverIsInIt) {
    EXPECT_EQ(quoted("a\nb\x7f"), "\"a\\x0ab\\x7f\"");
}

TEST(units, DurationsAndRatesArePrintedWithThreeDigits) {
    EXPECT_EQ(format_duration(830ns), "830 ns");
    EXPECT_EQ(format_duration(999'499ns), "999 us");
    EXPECT_EQ(format_duration(21'300ns), "21.3 us");
    EXPECT_EQ(format_duration(1'250us), "1.25 ms");
    EXPECT_EQ(format_duration(2s), "2.00 s");
    EXPECT_EQ(format_duration(999'999'999ns), "1.00 s");
    EXPECT_EQ(format_rate(950), "950/s");
    EXPECT_EQ(format_rate(12'345), "12.3 k/s");
    EXPECT_EQ(format_rate(1.5e6), "1.50 M/s");
}

}  // namespace

}  // namespace quoit::program
