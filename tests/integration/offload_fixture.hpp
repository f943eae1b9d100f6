// SPDX-License-Identifier: MIT
//
// What the tests of offloading share: flows of datagrams whose content says which they are, a
// server that sends each back, and two network namespaces with a wire between them.
//
// A datagram's bytes follow from its flow and number; from 8 bytes on they begin with both. So one
// that is cut, mixed, duplicated, out of order or of another length is caught where it is read:
// what comes must be the next of its flow. Both ends check.
#pragma once

#include "net/segmentation.hpp"
#include "support/port_fixture.hpp"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace quoit::test {

// --- what is sent ---

/// The content of datagram `number` of a flow.
class contents {
  public:
    contents() {
        std::mt19937 random(20'260'101);
        for (char& byte : sea_)
            byte = static_cast<char>(random());
    }
    void write(std::uint32_t flow, std::uint32_t number, std::string& into,
               std::size_t size) const {
        const name who{.flow = flow, .number = number};
        into.resize(size);
        std::memcpy(into.data(), sea_.data() + offset(who), size);
        if (size >= sizeof who) std::memcpy(into.data(), &who, sizeof who);
    }
    /// Whether these are its first bytes.
    [[nodiscard]] bool matches(std::uint32_t flow, std::uint32_t number, std::string_view text,
                               std::size_t original_size) const {
        const name who{.flow = flow, .number = number};
        std::size_t skip = 0;
        if (original_size >= sizeof who) {
            skip = std::min(sizeof who, text.size());
            if (std::memcmp(text.data(), &who, skip) != 0) return false;
        }
        return text.substr(skip) ==
               std::string_view(sea_).substr(offset(who) + skip, text.size() - skip);
    }
    /// For messages: what a datagram says it is.
    [[nodiscard]] static std::string name_of(std::string_view text) {
        name who;
        if (text.size() < sizeof who) return "no name in it";
        std::memcpy(&who, text.data(), sizeof who);
        return "number " + std::to_string(who.number) + " of flow " + std::to_string(who.flow);
    }

  private:
    struct name {
        std::uint32_t flow = 0;
        std::uint32_t number = 0;
    };
    static constexpr std::size_t size_max = 65'536;
    static constexpr std::size_t places = 65'536;
    static std::size_t offset(const name& who) noexcept {
        return (who.flow * 2'654'435'761U + who.number * 40'503U) % places;
    }
    std::string sea_ = std::string(places + size_max, '\0');
};

/// Runs of equal datagrams, 1 to 70 long; some end in a shorter one, or an empty one.
[[nodiscard]] inline std::vector<std::uint32_t> random_sizes(std::uint32_t seed,
                                                             std::size_t count) {
    constexpr std::array<std::uint32_t, 7> lengths{1, 63, 64, 1199, 1200, 1472, 9000};
    std::mt19937 random(seed);
    const auto below = [&](std::size_t end) {
        return static_cast<std::uint32_t>(random() % static_cast<std::uint32_t>(end));
    };
    std::vector<std::uint32_t> all;
    while (all.size() < count) {
        const std::uint32_t size = lengths[below(lengths.size())];
        all.insert(all.end(), 1 + below(70), size);
        switch (below(8)) {
            case 0: all.push_back(0); break;
            case 1:
            case 2: all.push_back(below(size)); break;
            case 3:
            case 4: all.push_back(lengths[below(lengths.size())]); break;
            default: break;
        }
    }
    all.resize(count);
    return all;
}

// --- two machines ---

/// Another network namespace beside the calling thread's, which should be a fresh one, and a wire
/// (veth) between them with an MTU of 1500: this one has 10.9.0.1 and fd09::1, the other 10.9.0.2
/// and fd09::2. The destructor returns to the first; the namespaces and the wire go with the last
/// socket in them.
class wire {
  public:
    wire() {
        near_ = open_this();
        if (near_ < 0 || ::unshare(CLONE_NEWNET) < 0) {
            why_not_ = "no second network namespace";
            return;
        }
        far_ = open_this();
        enter_near();
        const std::string far_path =
            "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(far_);
        // Neighbours are given, so that nothing is lost while they are looked for.
        if (!shell("ip link add near address 02:00:00:00:00:01 type veth peer name far "
                   "address 02:00:00:00:00:02 netns " +
                   far_path) ||
            !address_end("near", 1, 2)) {
            why_not_ = "no veth: ip link add type veth";
            return;
        }
        enter_far();
        const bool is_addressed = address_end("far", 2, 1);
        enter_near();
        if (!is_addressed || !carries(near_v4, far_v4) || !carries(near_v6, far_v6)) {
            why_not_ = "a veth that carries nothing";
        }
    }
    wire(const wire&) = delete;
    wire& operator=(const wire&) = delete;
    ~wire() {
        enter_near();
        for (const int fd : {near_, far_}) {
            if (fd >= 0) ::close(fd);
        }
    }
    /// Why there is none.
    [[nodiscard]] const std::optional<std::string>& why_not() const noexcept { return why_not_; }

    void enter_near() const noexcept { enter(near_); }
    void enter_far() const noexcept { enter(far_); }

    /// Runs a command in the namespace the calling thread is in; what it prints is dropped.
    static bool shell(const std::string& command) {
        const std::string quiet =
            "{ PATH=$PATH:/usr/sbin:/sbin; set -e; " + command + "; } >/dev/null 2>&1";
        // The child of system(3) is started by this thread and so in this thread's namespace.
        return std::system(quiet.c_str()) == 0;
    }

    /// From now on the receiving ends merge what is sent one by one, as network cards do (GRO); why
    /// not otherwise. A packet is held back for a fifth of a millisecond, waiting for the next; one
    /// that is not cut by a device (TSO) can be.
    [[nodiscard]] std::optional<std::string> start_merging() const {
        const auto set_end = [](const char* name) {
            return set_feature(name, ETHTOOL_STSO, 0) && set_feature(name, ETHTOOL_SGRO, 1) &&
                   shell(
                       "unshare --mount sh -c 'mount -t sysfs sysfs /sys && echo 200000 > "
                       "/sys/class/net/" +
                       std::string(name) + "/gro_flush_timeout'");
        };
        return on_both_ends(set_end) ? std::nullopt
                                     : std::optional<std::string>("a veth that merges nothing");
    }
    /// From now on neither end computes checksums, nor cuts anything.
    [[nodiscard]] std::optional<std::string> stop_checksums() const {
        const auto set_end = [](const char* name) { return set_feature(name, ETHTOOL_STXCSUM, 0); };
        return on_both_ends(set_end)
                   ? std::nullopt
                   : std::optional<std::string>("a veth that always computes checksums");
    }

    static constexpr address near_v4{"10.9.0.1", 0};
    static constexpr address far_v4{"10.9.0.2", 0};
    static constexpr address near_v6{"fd09::1", 0};
    static constexpr address far_v6{"fd09::2", 0};

  private:
    static int open_this() noexcept {
        return ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    }
    static void enter(int fd) noexcept {
        if (fd >= 0 && ::setns(fd, CLONE_NEWNET) < 0) std::abort();
    }
    template <class SetEnd>
    bool on_both_ends(const SetEnd& set_end) const {
        const bool is_near_set = set_end("near");
        enter_far();
        const bool is_far_set = set_end("far");
        enter_near();
        return is_near_set && is_far_set;
    }
    // ethtool(8) by hand: it is not everywhere.
    static bool set_feature(std::string_view device, std::uint32_t command, std::uint32_t value) {
        ethtool_value wanted{.cmd = command, .data = value};
        ifreq request{};
        device.copy(request.ifr_name, sizeof request.ifr_name - 1);
        request.ifr_data = reinterpret_cast<char*>(&wanted);
        const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const bool is_set = ::ioctl(fd, SIOCETHTOOL, &request) == 0;
        ::close(fd);
        return is_set;
    }
    static bool address_end(const std::string& name, int host, int neighbour) {
        const std::string mine = std::to_string(host);
        const std::string other = std::to_string(neighbour);
        const std::string permanent = " lladdr 02:00:00:00:00:0" + other + " nud permanent dev ";
        return shell("ip address add 10.9.0." + mine + "/24 dev " + name +
                     "; ip address add fd09::" + mine + "/64 dev " + name + " nodad; ip link set " +
                     name + " mtu 1500 up; ip neighbour add 10.9.0." + other + permanent + name +
                     "; ip neighbour add fd09::" + other + permanent + name);
    }
    // A device that has just been brought up drops what it is given, for a moment.
    bool carries(const address& near, const address& far) const {
        const foreign_socket from(near);
        enter_far();
        const foreign_socket to(far);
        enter_near();
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (from.is_open() && to.is_open() && std::chrono::steady_clock::now() < deadline) {
            (void)from.send("probe", to.local());
            if (to.has_datagram()) return true;
        }
        return false;
    }

    int near_ = -1;
    int far_ = -1;
    std::optional<std::string> why_not_;
};

// --- the fixture ---

class offload_test : public port_fixture {
  protected:
    /// How datagrams are read: the server one by one, answering with what it received, from where
    /// it lies; or in batches, answering with copies, and one by one now and then. Clients alike.
    enum class reading : std::uint8_t { one_by_one, in_batches };

    /// What the path makes of trains: passes them on as they were sent; makes trains of single
    /// datagrams too; nobody knows.
    enum class trains : std::uint8_t { as_sent, merged, unknown };

    struct traffic {
        offload sender = offload::on;    // of the flows' endpoints
        offload receiver = offload::on;  // of the server
        reading how = reading::one_by_one;
        address where{"127.0.0.1", 0};
        /// Called before the clients are opened.
        std::function<void()> go_to_clients{};
        trains expected = trains::as_sent;
        /// A path that merges holds datagrams back, and lets empty ones and fragments overtake them
        /// (Linux net/ipv4/udp_offload.c, udp_gro_receive): then only those that are one packet.
        std::uint32_t size_min = 0;
        std::uint32_t size_max = payload_size_limit;
        std::uint32_t seed = 1;
    };
    struct outcome {
        stats server;
        stats clients;
    };

    void SetUp() override {
        port_fixture::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        const detail::offload_support found = detail::find_offload_support();
        if (!found.has_segment || !found.has_gro) {
            GTEST_SKIP() << "this kernel has no UDP_SEGMENT or no UDP_GRO";
        }
    }

    /// Sixty-four flows to a server and back. Fails unless every datagram arrives at both ends
    /// whole, once, in order, and every ledger says so.
    outcome run_traffic(const traffic& wanted);

    /// As in_namespace, with a wire; `body` starts in the near namespace.
    void over_a_wire(const std::function<void(const wire&)>& body) {
        in_namespace({}, [&] {
            const wire made;
            if (!made.why_not()) {
                body(made);
                destroy_port();
                return;
            }
            skip_or_fail(*made.why_not());
        });
    }
    static void skip_or_fail(const std::string& why_not) {
        const char* const is_required = std::getenv("QUOIT_REQUIRE_NETNS");
        if (is_required != nullptr && std::string_view(is_required) == "1") {
            FAIL() << "QUOIT_REQUIRE_NETNS=1, but " << why_not;
        }
        GTEST_SKIP() << why_not;
    }

    /// Numbers `first` and so on of flow 0, sent at once.
    void send_sizes(endpoint_id from, const std::vector<std::uint32_t>& sizes,
                    std::uint32_t first = 0) {
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            contents_.write(0, first + static_cast<std::uint32_t>(i), scratch_, sizes[i]);
            ASSERT_TRUE(send(from, scratch_));
        }
        port().flush(from);
    }
    /// That this is what send_sizes() sent.
    void expect_content(const datagram_view& got, std::uint32_t number, std::uint32_t size,
                        std::uint32_t size_max = payload_size_limit) {
        ASSERT_EQ(got.original_size(), size) << number;
        ASSERT_EQ(got.size(), std::min(size, size_max)) << number;
        EXPECT_EQ(got.truncated(), size > size_max) << number;
        EXPECT_TRUE(contents_.matches(0, number, got.text(), size))
            << number << ": instead, " << contents::name_of(got.text());
    }
    void expect_explained(const stats& ledger, std::string_view whose) {
        EXPECT_EQ(ledger.unexplained(), 0U) << whose << "\n" << ledger;
        EXPECT_EQ(ledger.received.dropped.kernel_packets, 0U) << whose << "\n" << ledger;
        EXPECT_EQ(ledger.received.dropped.invalid, 0U) << whose << "\n" << ledger;
        EXPECT_EQ(ledger.sent.errors, 0U) << whose << "\n" << ledger;
    }
    [[nodiscard]] bool turn_until_nothing_is_held() {
        return turn_until([&] { return port().engine_stats().buffers_held == 0; }, "no leases");
    }
    /// Room in the kernel for what is on its way: as much as the system gives.
    static constexpr std::uint32_t roomy = 4 * 1024 * 1024;

    const contents contents_;
    std::string scratch_;

  private:
    class run;
};

/// One run of traffic.
class offload_test::run {
  public:
    run(offload_test& test, const traffic& wanted) : test_(test), wanted_(wanted) { open(); }

    outcome finish();

  private:
    static constexpr std::uint32_t flow_count = 64;
    static constexpr std::size_t datagrams_per_flow = 160;
    // On their way at once, between the clients and back. Packets: a CPU's backlog holds a
    // thousand (net.core.netdev_max_backlog), and a long datagram is several where the MTU is 1500.
    static constexpr std::uint32_t packets_max = 800;

    struct flow {
        std::vector<std::uint32_t> sizes;
        endpoint_id client;
        std::uint32_t sent = 0;      // and the number of the next
        std::uint32_t arrived = 0;   // at the server
        std::uint32_t answered = 0;  // at the client
    };
    struct kept_lease {
        datagram lease;
        std::uint32_t flow = 0;
        std::uint32_t number = 0;
    };

    [[nodiscard]] quoit::port& port() const { return test_.port(); }
    [[nodiscard]] bool has_failed() const { return test_.HasFailure(); }

    void open();
    void send_some();
    void turn();
    void serve();
    void serve_batch();
    void read_answers(std::uint32_t index);
    void keep(datagram&& answer, std::uint32_t index, std::uint32_t number);
    void arrived(const datagram_view& got);
    void answered(std::uint32_t index, const datagram_view& got);
    bool is_next(std::uint32_t index, std::uint32_t number, const datagram_view& got,
                 std::string_view where);
    [[nodiscard]] outcome ledgers();
    void expect_complete(const stats& ledger, std::string_view whose) const;
    void expect_trains(const outcome& end) const;

    // What a datagram takes of the kernel's buffers, at most, and how many packets it is.
    static std::uint32_t cost(std::uint32_t size) { return 2 * size + 1024; }
    static std::uint32_t packets(std::uint32_t size) { return 1 + size / 1473; }

    offload_test& test_;
    const traffic& wanted_;
    std::mt19937 random_{wanted_.seed};
    endpoint_id server_;
    std::vector<flow> flows_ = std::vector<flow>(flow_count);
    std::unordered_map<address, std::uint32_t> flow_of_;
    std::vector<std::uint32_t> unsent_;  // flows that have something to send
    std::deque<kept_lease> kept_;
    std::uint64_t total_ = 0;
    std::uint64_t total_bytes_ = 0;
    std::uint64_t answered_ = 0;
    std::uint32_t batches_ = 0;
    std::uint64_t cost_max_ = 0;
    std::uint64_t cost_ = 0;     // on their way
    std::uint64_t packets_ = 0;  // likewise
};

inline void offload_test::run::open() {
    server_ =
        test_.open({.receive_buffer_size = roomy, .offload = wanted_.receiver}, wanted_.where);
    cost_max_ = port().buffers(server_).receive.granted / 4 * 3;
    if (wanted_.go_to_clients) wanted_.go_to_clients();
    for (std::uint32_t i = 0; i < flow_count; ++i) {
        flow& one = flows_[i];
        one.sizes = random_sizes(wanted_.seed * flow_count + i, datagrams_per_flow);
        std::erase_if(one.sizes, [&](std::uint32_t size) {
            return size < wanted_.size_min || size > wanted_.size_max;
        });
        one.client = test_.open_connection(
            test_.local(server_), {.receive_buffer_size = roomy, .offload = wanted_.sender});
        flow_of_.emplace(test_.local(one.client), i);
        if (!one.sizes.empty()) unsent_.push_back(i);
        total_ += one.sizes.size();
        for (const std::uint32_t size : one.sizes)
            total_bytes_ += size;
    }
    ASSERT_EQ(flow_of_.size(), flow_count);
}

// A piece of one flow, a piece of another, as much as may be on its way.
inline void offload_test::run::send_some() {
    while (!unsent_.empty() && !has_failed()) {
        const std::size_t chosen = random_() % unsent_.size();
        const std::uint32_t index = unsent_[chosen];
        flow& one = flows_[index];
        for (std::size_t left = 1 + random_() % 70; left > 0; --left) {
            const std::uint32_t size = one.sizes[one.sent];
            if (cost_ + cost(size) > cost_max_ || packets_ + packets(size) > packets_max) return;
            test_.contents_.write(index, one.sent, test_.scratch_, size);
            const status sent = test_.send(one.client, test_.scratch_);
            ASSERT_TRUE(sent) << "flow " << index << " number " << one.sent;
            cost_ += cost(size);
            packets_ += packets(size);
            if (++one.sent == one.sizes.size()) {
                unsent_[chosen] = unsent_.back();
                unsent_.pop_back();
                break;
            }
        }
    }
}

// Something is always on its way, so something must come.
inline void offload_test::run::turn() {
    const auto deadline = port::clock::now() + patience;
    do {
        const auto turned = port().turn(deadline, test_.events);
        ASSERT_TRUE(turned) << turned.error();
        if (*turned > 0) return;
    } while (port::clock::now() < deadline);
    FAIL() << "nothing came any more: " << answered_ << " of " << total_ << " are back\nserver\n"
           << port().stats(server_) << "\nall\n"
           << port().stats();
}

inline bool offload_test::run::is_next(std::uint32_t index, std::uint32_t number,
                                       const datagram_view& got, std::string_view where) {
    const flow& one = flows_[index];
    if (number < one.sizes.size() && got.size() == one.sizes[number] && !got.truncated() &&
        got.original_size() == got.size() &&
        test_.contents_.matches(index, number, got.text(), got.size())) {
        return true;
    }
    ADD_FAILURE() << where << ": instead of number " << number << " of flow " << index << ", "
                  << (number < one.sizes.size() ? one.sizes[number] : 0) << " bytes, came "
                  << got.size() << " of " << got.original_size()
                  << " bytes: " << contents::name_of(got.text());
    return false;
}

inline void offload_test::run::arrived(const datagram_view& got) {
    const auto found = flow_of_.find(got.peer());
    ASSERT_NE(found, flow_of_.end()) << "from a stranger: " << got.peer();
    if (is_next(found->second, flows_[found->second].arrived, got, "server")) {
        ++flows_[found->second].arrived;
    }
}

inline void offload_test::run::answered(std::uint32_t index, const datagram_view& got) {
    flow& one = flows_[index];
    EXPECT_EQ(got.peer(), test_.local(server_));
    if (!is_next(index, one.answered, got, "client")) return;
    const std::uint32_t size = one.sizes[one.answered++];
    ++answered_;
    cost_ -= cost(size);
    packets_ -= packets(size);
}

inline void offload_test::run::serve() {
    if (wanted_.how == reading::in_batches && ++batches_ % 5 != 0) {
        serve_batch();
        return;
    }
    std::size_t left = wanted_.how == reading::one_by_one ? port().readable_count(server_) : 3;
    for (; left > 0 && !has_failed(); --left) {
        auto request = port().receive(server_);
        if (!request && request.error() == errc::would_block) return;
        ASSERT_TRUE(request) << request.error();
        arrived(request->view());
        ASSERT_TRUE(port().send(server_, std::move(*request)));
    }
}

inline void offload_test::run::serve_batch() {
    datagram_batch batch;
    const std::size_t size_max = 1 + random_() % 150;
    const status read = port().receive_batch(server_, size_max, batch);
    if (!read) {
        ASSERT_EQ(read, errc::would_block);
        return;
    }
    ASSERT_LE(batch.size(), size_max);
    std::size_t count = 0;
    for (const train& one : batch.trains()) {
        for (const datagram_view request : one) {
            EXPECT_EQ(request.peer(), one.peer());
            arrived(request);
            ASSERT_TRUE(port().reply(server_, request, request.payload()));
            ++count;
        }
    }
    ASSERT_EQ(count, batch.size());
}

inline void offload_test::run::read_answers(std::uint32_t index) {
    const endpoint_id client = flows_[index].client;
    if (wanted_.how == reading::in_batches) {
        datagram_batch batch;
        (void)port().receive_batch(client, 1 + random_() % 40, batch);
        for (const datagram_view& answer : batch)
            answered(index, answer);
        return;
    }
    while (port().readable_count(client) > 0 && !has_failed()) {
        auto answer = port().receive(client);
        ASSERT_TRUE(answer) << answer.error();
        const std::uint32_t number = flows_[index].answered;
        answered(index, answer->view());
        if (random_() % 16 == 0) keep(std::move(*answer), index, number);
    }
}

// Leases that outlive their train's others must keep what they hold.
inline void offload_test::run::keep(datagram&& answer, std::uint32_t index, std::uint32_t number) {
    kept_.push_back({.lease = std::move(answer), .flow = index, .number = number});
    if (kept_.size() <= port().options().large_buffer_count / 8) return;
    const kept_lease& oldest = kept_.front();
    is_next(oldest.flow, oldest.number, oldest.lease.view(), "a lease that was kept");
    kept_.pop_front();
}

inline offload_test::outcome offload_test::run::finish() {
    const auto readable = [&](endpoint_id one) { return port().readable_count(one) > 0; };
    while (answered_ < total_ && !has_failed()) {
        send_some();
        if (has_failed()) break;
        turn();
        while (!has_failed() && readable(server_))
            serve();
        for (std::uint32_t i = 0; i < flow_count; ++i) {
            while (!has_failed() && readable(flows_[i].client))
                read_answers(i);
        }
    }
    kept_.clear();
    if (has_failed()) return {};
    (void)test_.turn_until_nothing_is_held();
    const outcome end = ledgers();
    expect_complete(end.server, "server");
    expect_complete(end.clients, "clients");
    expect_trains(end);
    for (const flow& one : flows_)
        port().release(one.client);
    port().release(server_);
    test_.turn_at_once();
    EXPECT_EQ(port().stats().unexplained(), 0U) << port().stats();
    EXPECT_EQ(port().stats().received.dropped.late, 0U) << port().stats();
    EXPECT_EQ(port().stats().leases_held, 0U);
    return end;
}

inline offload_test::outcome offload_test::run::ledgers() {
    outcome end;
    end.server = port().stats(server_);
    for (const flow& one : flows_) {
        const stats ledger = port().stats(one.client);
        test_.expect_explained(ledger, "a client");
        EXPECT_EQ(ledger.received.delivered, one.sizes.size()) << ledger;
        EXPECT_EQ(ledger.sent.sent, one.sizes.size()) << ledger;
        end.clients += ledger;
    }
    return end;
}

inline void offload_test::run::expect_complete(const stats& ledger, std::string_view whose) const {
    test_.expect_explained(ledger, whose);
    EXPECT_EQ(ledger.leases_held, 0U) << whose;
    EXPECT_EQ(ledger.received.taken, total_) << whose;
    EXPECT_EQ(ledger.received.passed, total_) << whose;
    EXPECT_EQ(ledger.received.delivered, total_) << whose;
    EXPECT_EQ(ledger.received.bytes, total_bytes_) << whose;
    EXPECT_EQ(ledger.received.truncated, 0U) << whose;
    EXPECT_EQ(ledger.sent.accepted, total_) << whose;
    EXPECT_EQ(ledger.sent.sent, total_) << whose;
    EXPECT_EQ(ledger.sent.bytes, total_bytes_) << whose;
    EXPECT_EQ(ledger.is_exact, ledger.received.trains == 0) << whose;
    EXPECT_GE(ledger.received.coalesced, 2 * ledger.received.trains) << whose;
    EXPECT_GE(ledger.sent.coalesced, 2 * ledger.sent.trains) << whose;
}

inline void offload_test::run::expect_trains(const outcome& end) const {
    const bool clients_offload = wanted_.sender == offload::on;
    const bool server_offloads = wanted_.receiver == offload::on;
    if (!clients_offload) {
        EXPECT_EQ(end.clients.sent.trains, 0U) << end.clients;
    }
    if (!server_offloads) {
        EXPECT_EQ(end.server.sent.trains, 0U) << end.server;
    }
    if (!clients_offload) {
        EXPECT_EQ(end.clients.received.trains, 0U) << end.clients;
    }
    if (!server_offloads) {
        EXPECT_EQ(end.server.received.trains, 0U) << end.server;
    }
    if (wanted_.expected == trains::unknown) return;
    EXPECT_EQ(end.clients.sent.trains > 0, clients_offload) << end.clients;
    EXPECT_EQ(end.server.sent.trains > 0, server_offloads) << end.server;
    if (wanted_.expected == trains::merged) {
        EXPECT_EQ(end.clients.received.trains > 0, clients_offload) << end.clients;
        EXPECT_EQ(end.server.received.trains > 0, server_offloads) << end.server;
        return;
    }
    // As they were sent.
    const bool both = clients_offload && server_offloads;
    EXPECT_EQ(end.server.received.trains, both ? end.clients.sent.trains : 0U);
    EXPECT_EQ(end.server.received.coalesced, both ? end.clients.sent.coalesced : 0U);
    EXPECT_EQ(end.clients.received.trains, both ? end.server.sent.trains : 0U);
    EXPECT_EQ(end.clients.received.coalesced, both ? end.server.sent.coalesced : 0U);
}

inline offload_test::outcome offload_test::run_traffic(const traffic& wanted) {
    SCOPED_TRACE(wanted.how == reading::one_by_one ? "read one by one" : "read in batches");
    run one(*this, wanted);
    if (HasFailure()) return {};
    return one.finish();
}

}  // namespace quoit::test
