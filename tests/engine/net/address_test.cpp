// SPDX-License-Identifier: MIT
#include <quoit/address.hpp>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include <arpa/inet.h>
#include <net/if.h>

namespace {

using namespace std::string_view_literals;
using quoit::address;
using quoit::errc;
using quoit::family;
using quoit::host_port;
using quoit::ip;

using ipv6_bytes = std::array<std::uint8_t, 16>;

// Groups are often 0 or 0xffff, as in the addresses where printing and parsing go wrong.
ipv6_bytes random_ipv6_bytes() {
    ipv6_bytes bytes{};
    for (std::size_t i = 0; i < 16; i += 2) {
        const auto group =
            *rc::gen::weightedOneOf<std::uint16_t>({{4, rc::gen::just<std::uint16_t>(0)},
                                                    {1, rc::gen::just<std::uint16_t>(0xffff)},
                                                    {3, rc::gen::arbitrary<std::uint16_t>()}});
        bytes[i] = static_cast<std::uint8_t>(group >> 8);
        bytes[i + 1] = static_cast<std::uint8_t>(group & 0xff);
    }
    return bytes;
}

std::string printed_by_libc(const ipv6_bytes& bytes) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    return ::inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
}

// inet_ntop also writes the deprecated ::1.2.3.4 with dots, which RFC 5952 does not ask for.
bool is_ipv4_compatible(const ipv6_bytes& bytes) {
    return std::all_of(bytes.begin(), bytes.begin() + 12, [](auto b) { return b == 0; });
}

std::optional<ip> parsed_by_libc(const std::string& text) {
    ipv6_bytes bytes{};
    if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return ip::v6(bytes);
    std::array<std::uint8_t, 4> parts{};
    if (::inet_pton(AF_INET, text.c_str(), parts.data()) == 1) return ip::v4(parts);
    return std::nullopt;
}

std::uint32_t loopback_index() { return ::if_nametoindex("lo"); }

TEST(ip, LiteralsAreCheckedWhenCompiling) {
    constexpr ip v4 = "127.0.0.1";
    static_assert(v4.family() == family::ipv4);
    static_assert(v4 == ip::v4({127, 0, 0, 1}));
    constexpr ip v6 = "fe80::1%2";
    static_assert(v6.family() == family::ipv6 && v6.scope() == 2);
    static_assert(v6.bytes()[0] == 0xfe && v6.bytes()[15] == 1);
    static_assert(!std::is_convertible_v<const char*, ip>, "text is for parse()");
}

TEST(ip, KnowsMulticast) {
    static_assert(ip("224.0.0.1").is_multicast() && ip("239.255.255.255").is_multicast());
    static_assert(!ip("223.255.255.255").is_multicast() && !ip("240.0.0.0").is_multicast());
    static_assert(ip("ff02::1").is_multicast() && !ip("fe80::1").is_multicast());
    static_assert(!ip().is_multicast());
}

TEST(ip, PrintsAsRfc5952Recommends) {
    const struct {
        ip address;
        std::string_view text;
    } cases[] = {
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:DB8::1", "2001:db8::1"},
        {"2001:0db8:0000:0001::0001", "2001:db8:0:1::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"0:1:1:1:1:1:1:0", "0:1:1:1:1:1:1:0"},
        {"1:2:3:4:5:6::", "1:2:3:4:5:6::"},
        {"0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"},
        {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
        {"::ffff:0:0", "::ffff:0.0.0.0"},
        {"::1.2.3.4", "::102:304"},
        {"64:ff9b::1.2.3.4", "64:ff9b::102:304"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
    };
    for (const auto& [address, text] : cases)
        EXPECT_EQ(address.to_string(), text);
}

RC_GTEST_PROP(ip, PrintsAndParsesIpv6AsLibcDoes, ()) {
    const ipv6_bytes bytes = random_ipv6_bytes();
    const std::string libc = printed_by_libc(bytes);
    RC_ASSERT(ip::from_text(libc) == ip::v6(bytes));
    if (!is_ipv4_compatible(bytes)) RC_ASSERT(ip::v6(bytes).to_string() == libc);
}

RC_GTEST_PROP(ip, PrintsAndParsesEveryAddressLosslessly, ()) {
    const auto scope = *rc::gen::arbitrary<std::uint32_t>();
    const ip v6 = ip::v6(random_ipv6_bytes(), scope);
    RC_ASSERT(ip::parse(v6.to_string()).value() == v6);
    const ip v4 = ip::v4(*rc::gen::arbitrary<std::array<std::uint8_t, 4>>());
    RC_ASSERT(ip::parse(v4.to_string()).value() == v4);
}

RC_GTEST_PROP(ip, AcceptsExactlyTheTextThatLibcAccepts, ()) {
    // A good address with a few characters changed, dropped or added: most are nearly right.
    std::string text =
        *rc::gen::element<std::string>("192.0.2.255", "::", "fe80::1", "1:2:3:4:5:6:7:8",
                                       "::ffff:10.20.30.40", "1::7:8", "1:2:3:4:5:6:1.2.3.4");
    const int changes = *rc::gen::inRange(0, 4);
    for (int i = 0; i < changes; ++i) {
        const auto at = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
        const auto dropped = *rc::gen::inRange<std::size_t>(0, 3);
        const auto added = *rc::gen::container<std::string>(
            *rc::gen::inRange<std::size_t>(0, 3),
            rc::gen::elementOf(std::string("0123456789afAFgx:.%- ")));
        text.replace(at, dropped, added);
    }
    RC_PRE(text.find('%') == text.npos);  // inet_pton knows no scopes
    RC_ASSERT(ip::from_text(text) == parsed_by_libc(text));
}

TEST(ip, RefusesWhatIsNoLiteral) {
    const std::string_view refused[] = {"",
                                        " ",
                                        "localhost",
                                        "1",
                                        "1.2.3",
                                        "1.2.3.4.5",
                                        "1.2.3.",
                                        ".1.2.3",
                                        "1..2.3",
                                        "1.2.3.256",
                                        "1.2.3.1000",
                                        "010.0.0.1",
                                        "1.2.3.00",
                                        "1.2.3.4 ",
                                        " 1.2.3.4",
                                        "+1.2.3.4",
                                        "1.2.3.4%1",
                                        "0x7f.0.0.1",
                                        "1.2.3.4\0"sv,
                                        "1:2",
                                        ":",
                                        ":::",
                                        "::1::",
                                        "1::2::3",
                                        ":1:2:3:4:5:6:7",
                                        "1:2:3:4:5:6:7:",
                                        "1:2:3:4:5:6:7",
                                        "1:2:3:4:5:6:7:8:9",
                                        "1:2:3:4::5:6:7:8",
                                        "12345::",
                                        "g::",
                                        "::1.2.3",
                                        "::1.2.3.4:5",
                                        "1.2.3.4::",
                                        "::01.2.3.4",
                                        "1:2:3:4:5:6:7:1.2.3.4",
                                        "[::1]",
                                        "::1%",
                                        "::1%x",
                                        "::1%-1",
                                        "::1%01",
                                        "::1%4294967296",
                                        "::1%99999999999999999999",
                                        "::1%1 ",
                                        "%1",
                                        "::%1%1"};
    for (const auto text : refused)
        EXPECT_EQ(ip::from_text(text), std::nullopt) << text;
    EXPECT_EQ(ip::from_text("::1%4294967295"), ip::v6(ip("::1").bytes(), 4294967295U));
}

TEST(ip, SaysWhatItExpected) {
    const auto name = ip::parse("example.com");
    ASSERT_FALSE(name);
    EXPECT_TRUE(name.error() == errc::invalid_address);
    EXPECT_EQ(name.error().context(), "\"example.com\" is no IPv4 or IPv6 literal");
    const auto scoped = ip::parse("fe80::1%no-such-one");
    ASSERT_FALSE(scoped);
    EXPECT_TRUE(scoped.error() == errc::invalid_address);
    EXPECT_EQ(scoped.error().context(),
              "\"fe80::1%no-such-one\": no interface is called \"no-such-one\"");
}

TEST(ip, TakesANameThatContainsNulForNoInterface) {
    EXPECT_FALSE(ip::parse("fe80::1%lo\0x"sv));
    EXPECT_FALSE(ip::parse("fe80::1%\0"sv));
    EXPECT_FALSE(ip::parse("fe80::1%"));
    EXPECT_FALSE(ip::parse("127.0.0.1%lo"));
}

TEST(ip, OrdersIpv4BeforeIpv6AndThenByBytes) {
    EXPECT_LT(ip("255.0.0.0"), ip("::1"));
    EXPECT_LT(ip("9.0.0.0"), ip("10.0.0.0"));
    EXPECT_LT(ip("fe80::1%1"), ip("fe80::1%2"));
    EXPECT_LT(ip("fe80::1%9"), ip("fe80::2%1"));
    EXPECT_LT(ip(), ip("0.0.0.0"));
    EXPECT_NE(ip("::ffff:1.2.3.4"), ip("1.2.3.4")) << "a mapped address is IPv6";
    EXPECT_NE(ip("0.0.0.0"), ip());
}

std::string sent_to(const address& to) { return to.to_string(); }

TEST(address, IsWrittenInBracesWithAPortKnownOnlyAtRunTime) {
    std::uint16_t port = 9998;
    ++port;
    EXPECT_EQ(sent_to({"127.0.0.1", 9999}), "127.0.0.1:9999");
    EXPECT_EQ(sent_to({"::1", port}), "[::1]:9999");
    constexpr address a("127.0.0.1", 9999);
    static_assert(a.host() == ip("127.0.0.1") && a.port() == 9999 && a.family() == family::ipv4);
}

TEST(address, PrintsAndParsesIpv6ScopesLosslessly) {
    const std::uint32_t lo = loopback_index();
    if (lo == 0) GTEST_SKIP() << "no interface is called lo here";
    const address named(ip::v6(ip("fe80::1").bytes(), lo), 53);
    EXPECT_EQ(named.to_string(), "[fe80::1%lo]:53");
    EXPECT_EQ(address::parse("[fe80::1%lo]:53").value(), named);
    EXPECT_EQ(address::parse("[fe80::1%" + std::to_string(lo) + "]:53").value(), named);
    EXPECT_EQ(address::from_text("[fe80::1%lo]:53"), std::nullopt) << "names are for parse()";
}

TEST(address, PrintsTheScopeAsANumberWhenNoInterfaceHasIt) {
    const address gone(ip::v6(ip("fe80::1").bytes(), 4000000000U), 53);
    EXPECT_EQ(gone.to_string(), "[fe80::1%4000000000]:53");
    EXPECT_EQ(address::parse("[fe80::1%4000000000]:53").value(), gone);
}

TEST(address, PrintsTheFlowOnlyWhenThereIsOneAndParsesIt) {
    constexpr address plain("::1", 53);
    EXPECT_EQ(plain.with_flow(0x1234).to_string(), "[::1]:53/flow=0x1234");
    EXPECT_EQ(plain.with_flow(0).to_string(), "[::1]:53");
    EXPECT_EQ(address::parse("[::1]:53/flow=0x1234").value(), plain.with_flow(0x1234));
    EXPECT_EQ(address::parse("[::1]:53/flow=0xFFFFFFFF").value().flow(), 0xffffffffU);
}

RC_GTEST_PROP(address, PrintsAndParsesLosslessly, ()) {
    const ip host = *rc::gen::arbitrary<bool>()
                        ? ip::v4(*rc::gen::arbitrary<std::array<std::uint8_t, 4>>())
                        : ip::v6(random_ipv6_bytes(), *rc::gen::inRange<std::uint32_t>(0, 4));
    const address a = address(host, *rc::gen::arbitrary<std::uint16_t>())
                          .with_flow(*rc::gen::arbitrary<std::uint32_t>());
    RC_ASSERT(address::parse(a.to_string()).value() == a);
    std::ostringstream out;
    out << a;
    RC_ASSERT(out.str() == a.to_string());
}

TEST(address, ParsesWhenCompiling) {
    static_assert(address::from_text("127.0.0.1:9999") == address("127.0.0.1", 9999));
    static_assert(address::from_text("[::1%3]:0") == address("::1%3", 0));
    static_assert(!address::from_text("localhost:9999"));
}

TEST(address, RefusesWhatIsNoAddress) {
    const std::string_view refused[] = {"",
                                        ":",
                                        "1:2",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        ":9999",
                                        "127.0.0.1:65536",
                                        "127.0.0.1:-1",
                                        "127.0.0.1:+1",
                                        "127.0.0.1: 1",
                                        "127.0.0.1:1 ",
                                        "127.0.0.1:01",
                                        "127.0.0.1:1x",
                                        "127.0.0.1:0x1",
                                        "127.0.0.1:1:2",
                                        "127.0.0.1:99999999999999999999",
                                        "010.0.0.1:1",
                                        "[127.0.0.1]:1",
                                        "::1:53",
                                        "[::1]",
                                        "[::1]53",
                                        "[::1]:",
                                        "[::1]:65536",
                                        "[::1:53",
                                        "::1]:53",
                                        "[]:53",
                                        "[[::1]]:53",
                                        "[::1%]:53",
                                        "[::1%x]:53",
                                        "[::1%4294967296]:53",
                                        "[::1]:53/",
                                        "[::1]:53/flow=",
                                        "[::1]:53/flow=1",
                                        "[::1]:53/flow=0x",
                                        "[::1]:53/flow=0x100000000",
                                        "[::1]:53/flow=0x01",
                                        "[::1]:53/flow=0xg",
                                        "[::1]:53/flow=0x1/flow=0x1",
                                        "127.0.0.1:53/flow=0x1",
                                        "unspecified:0",
                                        "localhost:9999"};
    for (const auto text : refused) {
        EXPECT_EQ(address::from_text(text), std::nullopt) << text;
        const auto parsed = address::parse(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_TRUE(parsed.error() == errc::invalid_address) << text;
        EXPECT_NE(parsed.error().context().find(text), std::string_view::npos) << text;
    }
}

TEST(address, SaysWhatItExpected) {
    const auto parsed = address::parse("localhost:9999");
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().message(),
              "\"localhost:9999\" is no ADDRESS:PORT (an IPv4 or [IPv6] literal and a port "
              "0..65535): Invalid address");
    const auto scoped = address::parse("[fe80::1%no-such-one]:53");
    ASSERT_FALSE(scoped);
    EXPECT_EQ(scoped.error().context(),
              "\"[fe80::1%no-such-one]:53\": no interface is called \"no-such-one\"");
}

TEST(address, ChangesPortAndFlowInACopyOnly) {
    constexpr address a("::1", 1);
    static_assert(a.with_port(2) == address("::1", 2));
    static_assert(a.with_flow(7).with_port(2).flow() == 7);
    static_assert(a.with_flow(7) != a);
    static_assert(a.port() == 1 && a.flow() == 0);
    static_assert(address("127.0.0.1", 1).with_flow(7) == address("127.0.0.1", 1));
}

TEST(address, PrintsTheDefaultAsUnspecified) {
    EXPECT_EQ(address().to_string(), "unspecified:0");
    EXPECT_EQ(address().family(), family::unspecified);
}

TEST(address, OrdersByHostThenPort) {
    EXPECT_LT(address("1.1.1.1", 9), address("1.1.1.2", 1));
    EXPECT_LT(address("1.1.1.1", 1), address("1.1.1.1", 9));
}

RC_GTEST_PROP(address_hash, IsTheSameForEqualAddresses, ()) {
    const ipv6_bytes bytes = random_ipv6_bytes();
    const auto port = *rc::gen::arbitrary<std::uint16_t>();
    const address a(ip::v6(bytes, 3), port);
    const address b = address(ip::v6(bytes, 3), 0).with_flow(9).with_port(port).with_flow(0);
    RC_ASSERT(a == b);
    RC_ASSERT(std::hash<address>()(a) == std::hash<address>()(b));
    RC_ASSERT(std::hash<ip>()(a.host()) == std::hash<ip>()(b.host()));
}

TEST(address_hash, DependsOnEveryPart) {
    constexpr address a("fe80::1%1", 1);
    const std::unordered_set<address> different{a,
                                                a.with_port(2),
                                                a.with_flow(1),
                                                address("fe80::1%2", 1),
                                                address("fe80::2%1", 1),
                                                address("fe81::1%1", 1),
                                                address("0.0.0.0", 1),
                                                address("::", 1)};
    std::set<std::size_t> hashes;
    for (const address& each : different)
        hashes.insert(std::hash<address>()(each));
    EXPECT_EQ(hashes.size(), 8U);
}

TEST(address_hash, SpreadsNeighboursOverTheLowBits) {
    // 1024 ports of one host in 1024 buckets: a good hash leaves about 1024/e = 377 empty.
    std::set<std::size_t> buckets;
    for (std::uint16_t port = 0; port < 1024; ++port) {
        buckets.insert(std::hash<address>()(address("10.0.0.1", port)) % 1024);
    }
    EXPECT_GT(buckets.size(), 550U);
}

TEST(address_hash, FlipsHalfOfItsBitsWhenOneBitOfTheAddressChanges) {
    const address base("2001:db8::1", 9999);
    for (std::size_t bit = 0; bit < 128; ++bit) {
        ipv6_bytes bytes = base.host().bytes();
        bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ 1U << bit % 8);
        const address other(ip::v6(bytes), base.port());
        const int flipped = std::popcount(std::hash<address>()(base) ^ std::hash<address>()(other));
        EXPECT_GE(flipped, 12) << bit;
        EXPECT_LE(flipped, 52) << bit;
    }
}

std::string opened(const host_port& where) { return where.to_string(); }

TEST(host_port, IsWrittenInBraces) {
    EXPECT_EQ(opened({"localhost", 9999}), "localhost:9999");
    EXPECT_EQ(opened({"", 9999}), "*:9999");
    EXPECT_EQ(opened({"::1", 9999}), "[::1]:9999");
    EXPECT_EQ(opened(address("::1", 9999)), "[::1]:9999");
    EXPECT_EQ(opened({std::string("::1"), std::uint16_t{9999}}), "[::1]:9999");
}

TEST(host_port, GivesTheAddressOfALiteral) {
    constexpr address v6("fe80::1%7", 53);
    EXPECT_EQ(host_port("127.0.0.1", 9999).to_address().value(), address("127.0.0.1", 9999));
    EXPECT_EQ(host_port("fe80::1%7", 53).to_address().value(), v6);
    EXPECT_EQ(host_port(v6.with_flow(5)).to_address().value(), v6.with_flow(5));
    EXPECT_EQ(host_port("127.0.0.1:9999").to_address().value(), address("127.0.0.1", 9999));
    EXPECT_EQ(host_port("[fe80::1%7]:53/flow=0x5").to_address().value(), v6.with_flow(5));
}

TEST(host_port, SplitsTextFromACommandLine) {
    constexpr host_port name("localhost:9999");
    static_assert(name.name() == "localhost" && name.port() == 9999 && name.is_host_name());
    constexpr host_port literal("[::1]:53");
    static_assert(literal.name() == "::1" && literal.port() == 53 && !literal.is_host_name());
    constexpr host_port every(":9999");
    static_assert(every.is_every_interface() && every.port() == 9999);
    EXPECT_EQ(name.to_string(), "localhost:9999");
    EXPECT_EQ(literal.to_string(), "[::1]:53");
    EXPECT_EQ(host_port("[::1]:53/flow=0x5").to_string(), "[::1]:53/flow=0x5");
}

TEST(host_port, KnowsNamesFromLiterals) {
    static_assert(host_port("localhost", 1).is_host_name());
    static_assert(host_port("1and1.example", 1).is_host_name());
    static_assert(!host_port("127.0.0.1", 1).is_host_name());
    static_assert(!host_port("127.0.0.256", 1).is_host_name());
    static_assert(!host_port("fe80::x", 1).is_host_name());
    static_assert(!host_port("", 1).is_host_name());
    static_assert(!host_port(address("::1", 1)).is_host_name());
    static_assert(!host_port("", 1).is_host_name() && host_port("", 1).is_every_interface());
    static_assert(!host_port(address("0.0.0.0", 1)).is_every_interface());
}

void expect_refused(const host_port& where, errc why, std::string_view context) {
    const auto refused = where.to_address();
    ASSERT_FALSE(refused) << context;
    EXPECT_EQ(refused.error().code(), make_error_code(why));
    EXPECT_EQ(refused.error().context(), context);
}

TEST(host_port, RefusesNamesBecauseItLooksNoneUp) {
    expect_refused({"localhost", 9999}, errc::invalid_address,
                   "\"localhost\" is a host name, and names are not looked up here");
}

TEST(host_port, RefusesToBeOneAddressWhenItIsEveryInterface) {
    expect_refused({"", 9999}, errc::invalid_address,
                   "*:9999 is every interface, and no single address");
}

TEST(host_port, RefusesPortsOutOfRangeByNameAndNeverWrapsThem) {
    expect_refused({"127.0.0.1", 65536}, errc::invalid_option,
                   "port 65536 of \"127.0.0.1\" is not in 0..65535");
    expect_refused({"127.0.0.1", -1}, errc::invalid_option,
                   "port -1 of \"127.0.0.1\" is not in 0..65535");
    expect_refused(host_port("127.0.0.1:70000"), errc::invalid_option,
                   "port 70000 of \"127.0.0.1\" is not in 0..65535");
    EXPECT_FALSE(host_port("::1", std::numeric_limits<std::uint64_t>::max()).to_address());
    EXPECT_FALSE(host_port("::1", std::numeric_limits<std::int64_t>::min()).to_address());
    EXPECT_TRUE(host_port("::1", 65535).to_address());
    EXPECT_TRUE(host_port("::1", 0).to_address());
}

TEST(host_port, RefusesWrongLiterals) {
    expect_refused({"127.0.0.256", 1}, errc::invalid_address,
                   "\"127.0.0.256\" is no IPv4 or IPv6 literal");
    expect_refused({"[::1]", 1}, errc::invalid_address, "\"[::1]\" is no IPv4 or IPv6 literal");
}

TEST(host_port, RefusesTextWithoutItsParts) {
    const std::string_view refused[] = {
        "",       "localhost",    "localhost:",       "localhost:http", "localhost:-1",
        "::1:53", "[::1]",        "[::1]53",          "[localhost]:53", "[]:53",
        "a:b:1",  "localhost:01", "[::1]:53/flow=0xx"};
    for (const auto text : refused) {
        const host_port where(text);
        EXPECT_FALSE(where.is_host_name() || where.is_every_interface()) << text;
        EXPECT_EQ(where.to_string(), text);
        expect_refused(where, errc::invalid_address,
                       "\"" + std::string(text) +
                           "\" is no HOST:PORT (a host name, an IPv4 or [IPv6] literal or nothing, "
                           "and a port 0..65535)");
    }
}

}  // namespace
