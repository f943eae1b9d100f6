// SPDX-License-Identifier: MIT
//
// Cores of a group, as a user meets them: opening together, steering, ending, ledgers. Most cases
// have two cores; with one CPU they say so and are skipped.
#include "integration/acceptance_fixture.hpp"
#include "support/namespace.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <functional>
#include <map>
#include <set>

namespace quoit::test {

namespace {

constexpr std::size_t two = 2;
constexpr std::size_t clients_max = 512;  // until the kernel's hash has found every core

// What was logged, by any thread. One at a time: a log_function carries nothing.
class kept_log {
  public:
    kept_log() {
        const std::scoped_lock lock(mutex());
        lines().clear();
    }
    static void keep(log_level level, std::string_view line) noexcept {
        if (level >= log_level::warning) keep_all(level, line);
    }
    static void keep_all(log_level /*level*/, std::string_view line) noexcept {
        const std::scoped_lock lock(mutex());
        lines().emplace_back(line);
    }
    [[nodiscard]] std::size_t count(std::string_view words) const {
        const std::scoped_lock lock(mutex());
        return static_cast<std::size_t>(std::ranges::count_if(
            lines(), [&](const std::string& line) { return line.contains(words); }));
    }

  private:
    static std::mutex& mutex() {
        static std::mutex one;
        return one;
    }
    static std::vector<std::string>& lines() {
        static std::vector<std::string> all;
        return all;
    }
};

// Where the cores' tasks tell the test what they have, and the test waits for it.
class meeting {
  public:
    void tell(std::size_t core, std::vector<address> opened) {
        {
            const std::scoped_lock lock(mutex_);
            opened_[core] = std::move(opened);
        }
        has_changed_.notify_all();
    }
    [[nodiscard]] std::vector<address> opened(std::size_t core) {
        std::unique_lock lock(mutex_);
        if (!has_changed_.wait_for(lock, patience, [&] { return opened_.contains(core); })) {
            throw std::runtime_error("waited in vain for a core to listen");
        }
        return opened_[core];
    }
    /// Of both.
    [[nodiscard]] address place() {
        static_cast<void>(opened(0));
        return opened(1).front();
    }

  private:
    std::mutex mutex_;
    std::condition_variable has_changed_;
    std::map<std::size_t, std::vector<address>> opened_;
};

// Answers with its core's number. Parameters, no captures: see docs/coroutines.md.
task<> answer(udp_server& server, std::size_t core) {
    const std::string number = std::to_string(core);
    while (auto datagram = co_await server.read())
        server.reply(*datagram, number);
}

task<> answer_with_number(std::size_t core, meeting& told, address where) {
    auto server = or_throw(co_await start_udp_server(where, {.reuse_port = true}));
    const auto locals = server.local_addresses();
    told.tell(core, {locals.begin(), locals.end()});
    co_await answer(server, core);
}

constexpr address anywhere_here = {ip::v4({127, 0, 0, 1}), 0};

/// A group that runs on a thread of its own until it is stopped.
class running_group {
  public:
    template <class Function>
    running_group(core_group& group, Function main)
        : group_(group), thread_([this, main] {
              try {
                  group_.run(main);
              } catch (const std::exception& e) {
                  thrown_ = e.what();
              }
          }) {}
    running_group(const running_group&) = delete;
    running_group& operator=(const running_group&) = delete;
    ~running_group() { end(); }

    /// What run() threw, or nothing.
    std::string end() {
        group_.stop();
        return wait();
    }
    std::string wait() {
        if (thread_.joinable()) thread_.join();
        return thrown_;
    }

  private:
    core_group& group_;
    std::string thrown_;
    std::thread thread_;  // last: it uses what is above
};

/// Sends one datagram and waits for the answer: the number of the core it came from.
std::size_t ask(const foreign_socket& client, const address& server) {
    client.sendto("?", server);
    const give_up_time limit;
    for (;;) {
        if (auto received = client.try_receive()) return std::stoul(received->payload);
        limit.check("an answer");
        std::this_thread::yield();
    }
}

/// Runs `body` on a thread that stays on one CPU.
void run_on_cpu(int cpu, const std::function<void()>& body) {
    std::thread([&] {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<unsigned>(cpu), &one);
        ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
        body();
    }).join();
}

std::set<int> own_cpus() {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (::sched_getaffinity(0, sizeof mask, &mask) != 0) throw_errno("sched_getaffinity");
    std::set<int> all;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &mask)) all.insert(static_cast<int>(cpu));
    }
    return all;
}

/// From here on this thread, and those it starts, are refused SO_ATTACH_REUSEPORT_CBPF.
void refuse_steering() {
    constexpr std::uint32_t attach = 51;
    std::array steps{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_setsockopt, 0, 3),
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, attach, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{.len = steps.size(), .filter = steps.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) throw_errno("PR_SET_NO_NEW_PRIVS");
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) throw_errno("PR_SET_SECCOMP");
}

class cores : public acceptance {
  protected:
    void SetUp() override {
        acceptance::SetUp();
        if (!IsSkipped() && core_group::core_count_max() < two) {
            GTEST_SKIP() << "this process may use one CPU only";
        }
    }
    [[nodiscard]] static core_options options(steering how = steering::hash,
                                              pinning pin = pinning::spread) {
        return {.core_count = two,
                .pin = pin,
                .steering = how,
                .loop = {.backend = GetParam().backend,
                         .worker_count = GetParam().worker_count,
                         .log = kept_log::keep}};
    }
    [[nodiscard]] static core_group make(const core_options& wanted) {
        return or_throw(core_group::create(wanted));
    }
    static void expect_at_rest(const core_group& group) {
        const stats ledger = group.stats();
        EXPECT_EQ(ledger.unexplained(), 0U) << ledger;
        EXPECT_EQ(ledger.received.delivered, ledger.received.taken) << ledger;
        EXPECT_EQ(ledger.received.dropped.kernel_packets, 0U) << ledger;
    }
};

}  // namespace

TEST_P(cores, EachGetsFlowsAndNothingIsLost) {
    core_group group = make(options());
    ASSERT_EQ(group.core_count(), two);
    meeting told;
    running_group running(
        group, [&told](std::size_t core) { return answer_with_number(core, told, anywhere_here); });
    const address place = told.place();

    std::array<std::uint64_t, two> answers{};
    std::uint64_t sent = 0;
    while (sent < clients_max && (answers[0] == 0 || answers[1] == 0)) {
        const foreign_socket client;
        const std::size_t core = ask(client, place);
        EXPECT_EQ(ask(client, place), core) << "a flow has moved";
        answers[core] += 2;
        sent += 2;
    }
    EXPECT_GT(answers[0], 0U);
    EXPECT_GT(answers[1], 0U);
    for (std::size_t core = 0; core < two; ++core) {
        EXPECT_EQ(group.stats(core).received.delivered, answers[core]) << "while it runs";
        EXPECT_EQ(group.capabilities(core).backend, GetParam().backend);
    }
    EXPECT_EQ(running.end(), "");
    for (std::size_t core = 0; core < two; ++core) {
        EXPECT_EQ(group.stats(core).received.taken, answers[core]);
        EXPECT_EQ(group.stats(core).sent.sent, answers[core]);
        EXPECT_GT(group.engine_stats(core).turns, 0U);
    }
    EXPECT_EQ(group.stats().received.taken, sent);
    EXPECT_EQ(group.engine_stats().turns,
              group.engine_stats(0).turns + group.engine_stats(1).turns);
    expect_at_rest(group);
}

namespace {

task<> listen_everywhere(std::size_t core, meeting& told) {
    const auto server = or_throw(co_await start_udp_server({"", 0}, {.reuse_port = true}));
    const auto locals = server.local_addresses();
    told.tell(core, {locals.begin(), locals.end()});
    static_cast<void>(co_await sleep({}));
}

}  // namespace

TEST_P(cores, PortZeroIsOneNumberForAllAndForBothFamilies) {
    core_group group = make(options());
    meeting told;
    running_group running(group,
                          [&told](std::size_t core) { return listen_everywhere(core, told); });
    const auto first = told.opened(0);
    EXPECT_EQ(told.opened(1), first);
    EXPECT_EQ(first.size(), has_ipv6_loopback() ? 2U : 1U);
    for (const address& one : first) {
        EXPECT_NE(one.port(), 0U);
        EXPECT_EQ(one.port(), first.front().port());
    }
    EXPECT_EQ(running.end(), "");
}

TEST_P(cores, APortOfTheKernelsChoiceIsTheirsAlone) {
    const auto why_not = run_in_network_namespace({}, [] {
        // With SO_REUSEPORT the kernel would choose one of those that the others share.
        ASSERT_TRUE(run_in_shell("echo 50000 50015 > /proc/sys/net/ipv4/ip_local_port_range"));
        const int one = 1;
        std::vector<std::unique_ptr<foreign_socket>> others;
        for (std::uint16_t port = 50000; port < 50015; ++port) {
            others.push_back(std::make_unique<foreign_socket>(address("127.0.0.1", port)));
            ASSERT_EQ(::setsockopt(others.back()->descriptor(), SOL_SOCKET, SO_REUSEPORT, &one,
                                   sizeof one),
                      0);
        }
        core_group group = make(options());
        meeting told;
        running_group running(group, [&told](std::size_t core) {
            return answer_with_number(core, told, anywhere_here);
        });
        const address place = told.place();
        EXPECT_EQ(place.port(), 50015U);
        EXPECT_EQ(running.end(), "");
        EXPECT_NO_THROW(foreign_socket is_free_again(place));
    });
    if (why_not) GTEST_SKIP() << *why_not;
}

namespace {

task<> try_to_listen(std::array<address, 2> where, std::atomic<int>& refused) {
    const std::array places{host_port(where[0]), host_port(where[1])};
    const auto opened =
        co_await start_udp_server(std::span<const host_port>(places), {.reuse_port = true});
    if (!opened && opened.error() == std::errc::address_in_use) ++refused;
}

}  // namespace

TEST_P(cores, AnAddressThatIsTakenIsToldToEveryCoreAndNothingIsKept) {
    const foreign_socket holder;
    address free_one;
    {
        const foreign_socket probe;
        free_one = probe.local();
    }
    core_group group = make(options());
    std::atomic<int> refused{0};
    group.run(
        [&](std::size_t) { return try_to_listen(std::array{free_one, holder.local()}, refused); });
    EXPECT_EQ(refused, 2);
    const foreign_socket is_free(free_one);
    EXPECT_EQ(group.stats().received.taken, 0U);
}

TEST_P(cores, APortThatOthersShareIsSharedWithThemAndSteeringSaysWhyNot) {
    const kept_log log;
    const foreign_socket other;
    const int one = 1;
    ASSERT_EQ(::setsockopt(other.descriptor(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
    core_group group = make(options(steering::random));
    EXPECT_EQ(group.steering(), steering::random);
    meeting told;
    running_group running(
        group, [&](std::size_t core) { return answer_with_number(core, told, other.local()); });
    EXPECT_EQ(told.place(), other.local());
    EXPECT_EQ(group.steering(), steering::hash);
    EXPECT_TRUE(group.steering_reason().contains("others share")) << group.steering_reason();
    EXPECT_EQ(log.count("steering by hash instead of random"), 1U);
    EXPECT_EQ(log.count("is shared with sockets of others"), 1U);
    EXPECT_EQ(running.end(), "");
}

namespace {

task<> listen_where_told(std::size_t core, std::array<address, 2> where,
                         std::atomic<int>& refused) {
    const auto opened = co_await start_udp_server(where[core], {.reuse_port = true});
    if (opened) {
        static_cast<void>(co_await sleep({}));
    } else if (opened.error() == errc::invalid_option &&
               opened.error().message().contains("the same places in the same order")) {
        ++refused;
        throw std::runtime_error(opened.error().message());
    }
}

}  // namespace

TEST_P(cores, TheOneThatOpensAnotherPlaceIsRefusedInWords) {
    core_group group = make(options());
    std::atomic<int> refused{0};
    const std::array where{address("127.0.0.1", 0), address("127.0.0.2", 0)};
    try {
        group.run([&](std::size_t core) { return listen_where_told(core, where, refused); });
        ADD_FAILURE() << "it was not refused";
    } catch (const std::runtime_error& e) {
        EXPECT_TRUE(std::string_view(e.what()).contains("127.0.0.")) << e.what();
    }
    EXPECT_EQ(refused, 1);
}

namespace {

class silent final : public datagram_protocol {
    void datagram_received(datagram&) override {}
};

task<> listen_with_callbacks(std::size_t core, meeting& told) {
    auto protocol = std::make_shared<silent>();
    const auto port =
        or_throw(loop::current().listen_udp(anywhere_here, protocol, {.reuse_port = true}));
    told.tell(core, std::vector<address>{port.local_address()});
    static_cast<void>(co_await sleep({}));
}

}  // namespace

TEST_P(cores, ProtocolsAreOpenedTogetherToo) {
    core_group group = make(options());
    meeting told;
    running_group running(group,
                          [&](std::size_t core) { return listen_with_callbacks(core, told); });
    EXPECT_EQ(told.opened(0), told.opened(1));
    EXPECT_EQ(running.end(), "");
}

TEST_P(cores, StoppedBeforeTheyRunTheyEndAtOnce) {
    core_group group = make(options());
    group.stop();
    meeting told;
    EXPECT_NO_THROW(
        group.run([&](std::size_t core) { return answer_with_number(core, told, anywhere_here); }));
    EXPECT_EQ(group.stats().received.taken, 0U);
    group.stop();  // of a group that has ended
    try {
        group.run([&](std::size_t core) { return answer_with_number(core, told, anywhere_here); });
        ADD_FAILURE() << "it ran twice";
    } catch (const std::system_error& e) {
        EXPECT_EQ(error(e.code()), errc::already_running);
    }
}

namespace {

task<> fail_when_both_listen(std::size_t core, meeting& told) {
    const auto server = or_throw(co_await start_udp_server(anywhere_here, {.reuse_port = true}));
    told.tell(core, std::vector<address>{server.local_address()});
    if (core == 1) throw std::runtime_error("core 1 has had enough");
    // The cancellation of the other comes as an error, which is not the first.
    or_throw(co_await sleep({}));
}

}  // namespace

TEST_P(cores, WhatOneMainThrowsEndsTheOthersAndIsThrownByRun) {
    core_group group = make(options());
    meeting told;
    try {
        group.run([&](std::size_t core) { return fail_when_both_listen(core, told); });
        ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "core 1 has had enough");
    }
}

namespace {

task<> throw_when_stopped(std::size_t core, meeting& told) {
    told.tell(core, {});
    if (core == 0) or_throw(co_await sleep({}));
    auto server = or_throw(co_await start_udp_server(anywhere_here));
    static_cast<void>((co_await server.read()).value());  // std::bad_expected_access
}

}  // namespace

TEST_P(cores, ThatTheyWereStoppedIsNoFailure) {
    core_group group = make(options());
    meeting told;
    running_group running(group, [&](std::size_t core) { return throw_when_stopped(core, told); });
    static_cast<void>(told.opened(0));
    static_cast<void>(told.opened(1));
    EXPECT_EQ(running.end(), "");
}

namespace {

task<> serve_only_one(std::size_t core, meeting& told, std::atomic<bool>& has_left) {
    if (core == 0) co_return co_await answer_with_number(core, told, anywhere_here);
    // It opens nothing, which loses nothing once it has ended.
    while (!has_left.load())
        or_throw(co_await next_turn());
}

}  // namespace

TEST_P(cores, WhatACoreDidNotOpenIsTheOthersWhenItHasEnded) {
    const kept_log log;
    core_group group = make(options());
    meeting told;
    std::atomic<bool> may_leave{false};
    running_group running(group,
                          [&](std::size_t core) { return serve_only_one(core, told, may_leave); });
    const address place = told.opened(0).front();
    std::vector<std::unique_ptr<foreign_socket>> clients;
    // Some of so many flows are the other core's (all but one in 2^64).
    for (std::size_t i = 0; i < 64; ++i) {
        clients.push_back(std::make_unique<foreign_socket>());
        clients.back()->sendto("?", place);
    }
    may_leave = true;
    const give_up_time limit;
    while (log.count("core 1 did not open 127.0.0.1:") == 0) {
        limit.check("the end of core 1");
        std::this_thread::yield();
    }
    for (const auto& client : clients) {
        while (client->try_receive()) {
        }
        EXPECT_EQ(ask(*client, place), 0U);
    }
    EXPECT_EQ(running.end(), "");
}

namespace {

constexpr std::size_t flows_of_both = 64;  // all on one of two cores: once in 2^63

std::vector<std::unique_ptr<foreign_socket>> make_clients() {
    std::vector<std::unique_ptr<foreign_socket>> clients(flows_of_both);
    for (auto& one : clients)
        one = std::make_unique<foreign_socket>();
    return clients;
}

struct turns_to_close {
    std::array<std::atomic<bool>, two> may_close{};
};

constexpr std::size_t when_refused = 10;  // told as core + 10
constexpr std::size_t when_opened_again = 20;

task<> serve_close_and_open_again(std::size_t core, meeting& told, address where,
                                  turns_to_close& turns) {
    {
        auto server = or_throw(co_await start_udp_server(where, {.reuse_port = true}));
        told.tell(core, std::vector<address>{server.local_address()});
        task_group handlers;
        handlers.spawn(answer(server, core));
        while (!turns.may_close[core].load())
            or_throw(co_await next_turn());
        server.close();
        co_await handlers.join();
        co_await server.wait_closed();
    }
    auto again = co_await start_udp_server(where, {.reuse_port = true});
    while (!again) {
        if (again.error() != errc::invalid_option ||
            !again.error().message().contains("have it open")) {
            throw std::system_error(again.error().code(), again.error().message());
        }
        told.tell(core + when_refused, {});
        or_throw(co_await next_turn());
        again = co_await start_udp_server(where, {.reuse_port = true});
    }
    told.tell(core + when_opened_again, std::vector<address>{again->local_address()});
    co_await answer(*again, core);
}

}  // namespace

TEST_P(cores, OpeningAgainIsForAllOfThemAndRefusedBefore) {
    address place;
    {
        const foreign_socket probe;
        place = probe.local();
    }
    core_group group = make(options());
    meeting told;
    turns_to_close turns;
    running_group running(group, [&](std::size_t core) {
        return serve_close_and_open_again(core, told, place, turns);
    });
    ASSERT_EQ(told.place(), place);
    const auto clients = make_clients();
    turns.may_close[0] = true;
    static_cast<void>(told.opened(0 + when_refused));
    for (const auto& client : clients)
        EXPECT_EQ(ask(*client, place), 1U);
    turns.may_close[1] = true;
    EXPECT_EQ(told.opened(0 + when_opened_again), told.opened(1 + when_opened_again));
    std::set<std::size_t> who;
    for (const auto& client : clients)
        who.insert(ask(*client, place));
    EXPECT_EQ(who.size(), two);
    EXPECT_EQ(running.end(), "");
}

namespace {

// The second comes with a name that is none first.
task<> serve_at_the_second_try(std::size_t core, meeting& told, std::atomic<bool>& may_try_again) {
    if (core == 1) {
        static_cast<void>(told.opened(0));
        const auto nowhere = co_await start_udp_server({"no..name", 9}, {.reuse_port = true});
        told.tell(when_refused, {});
        if (nowhere) throw std::runtime_error("no..name is a name");
        while (!may_try_again.load())
            or_throw(co_await next_turn());
    }
    co_await answer_with_number(core, told, anywhere_here);
}

}  // namespace

TEST_P(cores, WhatACoreFailedToOpenByItselfIsTheSameAtItsNextTry) {
    core_group group = make(options());
    meeting told;
    std::atomic<bool> may_try_again{false};
    running_group running(group, [&](std::size_t core) {
        return serve_at_the_second_try(core, told, may_try_again);
    });
    const address place = told.opened(0).front();
    static_cast<void>(told.opened(when_refused));
    const auto clients = make_clients();
    for (const auto& client : clients)
        client->sendto("?", place);
    may_try_again = true;
    EXPECT_EQ(told.place(), place);
    std::set<std::size_t> who;
    for (const auto& client : clients) {
        const give_up_time limit;
        auto answered = client->try_receive();
        while (!answered) {
            limit.check("an answer to what was sent before the second try");
            std::this_thread::yield();
            answered = client->try_receive();
        }
        who.insert(std::stoul(answered->payload));
    }
    EXPECT_EQ(who.size(), two);
    EXPECT_EQ(running.end(), "");
}

namespace {

task<> serve_if_there_is_room(std::size_t core, meeting& told) {
    if (core == 0) co_return co_await answer_with_number(core, told, anywhere_here);
    const auto alone = or_throw(co_await start_udp_server(anywhere_here));
    const auto opened = co_await start_udp_server(anywhere_here, {.reuse_port = true});
    if (opened) throw std::runtime_error("it has opened more than socket_count_max");
    told.tell(core, {});
    static_cast<void>(co_await sleep({}));
}

}  // namespace

TEST_P(cores, WhatALoopHasNoRoomForTheOthersGet) {
    core_options small = options();
    small.loop.socket_count_max = 1;
    core_group group = make(small);
    meeting told;
    running_group running(group,
                          [&](std::size_t core) { return serve_if_there_is_room(core, told); });
    static_cast<void>(told.opened(1));
    const address place = told.opened(0).front();
    for (const auto& client : make_clients())
        EXPECT_EQ(ask(*client, place), 0U);
    EXPECT_EQ(running.end(), "");
}

namespace {

struct flag_at_thread_end {
    std::atomic<bool>* flag = nullptr;
    ~flag_at_thread_end() {
        if (flag != nullptr) *flag = true;
    }
};

task<> serve_when_the_other_has_left(std::size_t core, meeting& told, std::atomic<bool>& has_left) {
    thread_local flag_at_thread_end at_end;
    if (core == 1) at_end.flag = &has_left;
    if (core == 1) co_return;
    while (!has_left.load())
        or_throw(co_await next_turn());
    co_await answer_with_number(core, told, anywhere_here);
}

}  // namespace

TEST_P(cores, NothingIsOpenedForOneThatHasEnded) {
    const kept_log log;
    core_options wanted = options(steering::by_cpu);
    wanted.loop.log = kept_log::keep_all;
    core_group group = make(wanted);
    meeting told;
    std::atomic<bool> has_left{false};
    running_group running(group, [&](std::size_t core) {
        return serve_when_the_other_has_left(core, told, has_left);
    });
    const address place = told.opened(0).front();
    for (const auto& client : make_clients())
        EXPECT_EQ(ask(*client, place), 0U);
    EXPECT_EQ(running.end(), "");
    EXPECT_EQ(log.count("core 1 did not open"), 0U);
}

namespace {

// A log_function carries nothing.
std::atomic<core_group*> asked_by_the_log = nullptr;
std::atomic<int> lines_with_steering = 0;

void ask_how_it_is_steered(log_level /*level*/, std::string_view line) noexcept {
    core_group* const group = asked_by_the_log.load();
    if (group == nullptr || !line.contains("steering by hash instead of random")) return;
    if (group->steering() == steering::hash) ++lines_with_steering;
}

}  // namespace

TEST_P(cores, WhoWritesTheLogMayAskHowTheyAreSteered) {
    const foreign_socket other;
    const int one = 1;
    ASSERT_EQ(::setsockopt(other.descriptor(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
    core_options wanted = options(steering::random);
    wanted.loop.log = ask_how_it_is_steered;
    core_group group = make(wanted);
    lines_with_steering = 0;
    asked_by_the_log = &group;
    meeting told;
    running_group running(
        group, [&](std::size_t core) { return answer_with_number(core, told, other.local()); });
    EXPECT_EQ(told.place(), other.local());
    EXPECT_EQ(running.end(), "");
    asked_by_the_log = nullptr;
    EXPECT_EQ(lines_with_steering, 1);
}

namespace {

task<> add_up_when_the_other_has_left(core_group& group, std::size_t core, meeting& told,
                                      std::atomic<bool>& has_left, std::atomic<bool>& has_added) {
    thread_local flag_at_thread_end at_end;
    if (core == 1) at_end.flag = &has_left;
    if (core == 1) co_return;
    while (!has_left.load())
        or_throw(co_await next_turn());
    has_added = group.engine_stats().turns >= group.engine_stats(1).turns;
    told.tell(core, {});
}

}  // namespace

TEST_P(cores, OnACoresThreadItsOwnLedgerAndThoseOfTheEndedAreKnownAtOnce) {
    core_group group = make(options());
    meeting told;
    std::atomic<bool> has_left{false};
    std::atomic<bool> has_added{false};
    std::array<std::atomic<bool>, two> has_own{};
    // The function's plain part runs on the core's thread, and outside its loop's turns.
    running_group running(group, [&](std::size_t core) {
        has_own[core] = group.stats(core).received.taken == 0;
        return add_up_when_the_other_has_left(group, core, told, has_left, has_added);
    });
    static_cast<void>(told.opened(0));
    EXPECT_EQ(running.end(), "");
    EXPECT_TRUE(has_own[0] && has_own[1]);
    EXPECT_TRUE(has_added);
}

TEST_P(cores, ByCpuTheOneOnTheSendersCpuGetsIt) {
    core_group group = make(options(steering::by_cpu));
    meeting told;
    running_group running(
        group, [&told](std::size_t core) { return answer_with_number(core, told, anywhere_here); });
    const address place = told.place();
    EXPECT_EQ(group.steering(), steering::by_cpu) << group.steering_reason();
    constexpr std::size_t flows = 16;
    for (std::size_t core = 0; core < two; ++core) {
        // On loopback the kernel handles a datagram where it was sent.
        run_on_cpu(group.cpu(core), [&] {
            for (std::size_t i = 0; i < flows; ++i) {
                const foreign_socket client;
                EXPECT_EQ(ask(client, place), core);
            }
        });
    }
    EXPECT_EQ(running.end(), "");
    EXPECT_EQ(group.stats(0).received.taken, flows);
    EXPECT_EQ(group.stats(1).received.taken, flows);
    expect_at_rest(group);
}

TEST_P(cores, AtRandomOneFlowReachesBoth) {
    core_group group = make(options(steering::random, pinning::none));
    EXPECT_EQ(group.cpu(0), -1);
    meeting told;
    running_group running(
        group, [&told](std::size_t core) { return answer_with_number(core, told, anywhere_here); });
    const address place = told.place();
    EXPECT_EQ(group.steering(), steering::random) << group.steering_reason();
    const foreign_socket client;
    std::array<std::uint64_t, two> answers{};
    std::uint64_t sent = 0;
    for (; sent < clients_max && (answers[0] == 0 || answers[1] == 0); ++sent)
        ++answers[ask(client, place)];
    EXPECT_GT(answers[0], 0U);
    EXPECT_GT(answers[1], 0U);
    EXPECT_EQ(running.end(), "");
    EXPECT_EQ(group.stats().received.taken, sent);
    expect_at_rest(group);
}

TEST_P(cores, OneAloneGetsEverythingHoweverItIsSteered) {
    for (const steering how : {steering::hash, steering::by_cpu, steering::random}) {
        core_options alone = options(how);
        alone.core_count = 1;
        core_group group = make(alone);
        meeting told;
        running_group running(group, [&told](std::size_t core) {
            return answer_with_number(core, told, anywhere_here);
        });
        const address place = told.opened(0).front();
        EXPECT_EQ(ask(foreign_socket(), place), 0U);
        EXPECT_EQ(group.steering(), how) << group.steering_reason();
        EXPECT_EQ(running.end(), "");
    }
}

TEST_P(cores, WithoutSteeringProgramsItIsByHashAndSaysWhy) {
    const kept_log log;
    std::thread([] {
        refuse_steering();
        core_group group = make(options(steering::by_cpu));
        meeting told;
        running_group running(group, [&told](std::size_t core) {
            return answer_with_number(core, told, anywhere_here);
        });
        const address place = told.place();
        EXPECT_EQ(group.steering(), steering::hash);
        EXPECT_TRUE(group.steering_reason().contains("Operation not permitted"))
            << group.steering_reason();
        const foreign_socket client;
        EXPECT_LT(ask(client, place), two);
        EXPECT_EQ(running.end(), "");
    }).join();
    EXPECT_EQ(log.count("steering by hash instead of by_cpu: the kernel refuses"), 1U);
}

namespace {

task<> look_where_it_runs(std::size_t core, std::array<std::set<int>, two>& found) {
    or_throw(co_await next_turn());
    found[core] = own_cpus();
}

}  // namespace

TEST_P(cores, EachStaysOnItsCpuAndTheCallersThreadWhereItWas) {
    const std::set<int> before = own_cpus();
    core_group group = make(options());
    std::array<std::set<int>, two> found;
    group.run([&](std::size_t core) { return look_where_it_runs(core, found); });
    EXPECT_NE(group.cpu(0), group.cpu(1));
    for (std::size_t core = 0; core < two; ++core) {
        EXPECT_EQ(found[core], std::set<int>{group.cpu(core)});
        EXPECT_TRUE(before.contains(group.cpu(core)));
    }
    EXPECT_EQ(own_cpus(), before);
}

TEST_P(cores, WhatCannotBeIsRefusedInWords) {
    const auto refusal_of = [](const core_options& wanted) {
        const auto made = core_group::create(wanted);
        EXPECT_FALSE(made.has_value());
        if (made) return std::string();
        EXPECT_EQ(made.error(), errc::invalid_option);
        return made.error().message();
    };
    core_options many = options();
    many.core_count = static_cast<std::uint32_t>(core_group::core_count_max() + 1);
    EXPECT_TRUE(refusal_of(many).contains("this process may use " +
                                          std::to_string(core_group::core_count_max()) + " CPU"));
    EXPECT_TRUE(refusal_of(options(steering::by_cpu, pinning::none)).contains("pin"));
    core_options pinned = options();
    pinned.loop.cpu = 0;
    EXPECT_TRUE(refusal_of(pinned).contains("pin"));
    core_options crowded = options();
    crowded.loop.worker_pinning = pinning::spread;
    EXPECT_TRUE(refusal_of(crowded).contains("worker_pinning"));
    crowded.core_count = 1;
    EXPECT_TRUE(core_group::create(crowded).has_value());
    core_options wrong = options();
    wrong.loop.small_buffer_count = 3;
    EXPECT_TRUE(refusal_of(wrong).contains("small_buffer_count"));
}

namespace {

task<> end_this_program(std::size_t core) {
    if (core == 0) ::kill(::getpid(), SIGTERM);
    or_throw(co_await sleep({}));
}

}  // namespace

TEST_P(cores, ASignalStopsThemAllAndDoesAfterwardsWhatItDidBefore) {
    EXPECT_EQ(run_on_every_core(end_this_program, options()), 0);
    for (const int signal : {SIGINT, SIGTERM}) {
        struct sigaction now{};
        ASSERT_EQ(::sigaction(signal, nullptr, &now), 0);
        EXPECT_EQ(now.sa_handler, SIG_DFL);
    }
}

namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool is_with_thread_sanitizer = true;
#else
constexpr bool is_with_thread_sanitizer = false;
#endif

// In the child of a group: another group, which a signal must be able to end.
task<> fork_and_wait(std::size_t core, std::atomic<int>& status) {
    if (core == 1) co_return;
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(static_cast<unsigned>(patience.count()));
        ::_exit(run_on_every_core(end_this_program));
    }
    int ended = -1;
    if (child < 0 || ::waitpid(child, &ended, 0) != child) throw_errno("a child");
    status = ended;
}

}  // namespace

TEST_P(cores, ASignalStopsThoseOfAChildToo) {
    if (is_with_thread_sanitizer)
        GTEST_SKIP() << "ThreadSanitizer allows no threads in the child of a process with threads";
    std::atomic<int> status{-1};
    EXPECT_EQ(
        run_on_every_core([&](std::size_t core) { return fork_and_wait(core, status); }, options()),
        0);
    EXPECT_EQ(status, 0);
}

namespace {

// Called with a number it is something else.
struct two_in_one {
    std::atomic<int>* calls;
    task<> operator()() const { return count(*calls); }
    int operator()(std::size_t core) const { return static_cast<int>(core); }
    static task<> count(std::atomic<int>& calls) {
        ++calls;
        co_return;
    }
};

}  // namespace

TEST_P(cores, OfTwoFunctionsInOneItIsTheOneThatReturnsATask) {
    std::atomic<int> calls{0};
    core_group group = make(options());
    group.run(two_in_one{&calls});
    EXPECT_EQ(calls, 2);
}

INSTANTIATE_TEST_SUITE_P(, cores, ::testing::ValuesIn(acceptance_settings()),
                         [](const ::testing::TestParamInfo<acceptance_setting>& one) {
                             return to_string(one.param);
                         });

}  // namespace quoit::test
