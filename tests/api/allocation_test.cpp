// SPDX-License-Identifier: MIT
//
// What runs once per datagram or await allocates nothing once warm. Counts every call of the global
// operator new in this program. The operators are not inlined, so that GCC cannot see a new that is
// matched by a free().
#include <quoit/detail/frame_cache.hpp>
#include <quoit/quoit.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <utility>

namespace {

std::atomic<std::size_t> allocation_count{0};

void* counted_allocation(std::size_t size) {
    allocation_count.fetch_add(1, std::memory_order_relaxed);
    if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) { return counted_allocation(size); }
[[gnu::noinline]] void* operator new[](std::size_t size) { return counted_allocation(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace std::chrono_literals;
using quoit::task;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool caches_frames = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool caches_frames = false;
#else
constexpr bool caches_frames = true;
#endif
#else
constexpr bool caches_frames = true;
#endif

std::size_t allocations() { return allocation_count.load(std::memory_order_relaxed); }

task<int> ready(int value) { co_return value; }
task<int> after_a_turn(int value) {
    co_await quoit::sleep(0ns);
    co_return value;
}

// Turns the loop until so many datagrams have been taken, for a second at most.
task<> wait_for_queued(quoit::udp_server& server, std::uint64_t count) {
    const auto give_up_at = std::chrono::steady_clock::now() + 1s;
    while (server.stats().received.taken < count && std::chrono::steady_clock::now() < give_up_at) {
        co_await quoit::sleep(0ns);
    }
}

TEST(allocations, AReadThatFindsADatagramDoesNone) {
    const auto main = []() -> task<> {
        auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
        auto client = or_throw(co_await quoit::open_udp_connection(server.local_address()));
        for (std::uint64_t round = 1; round <= 3; ++round) {
            for (int i = 0; i < 50; ++i)
                client.send("datagram");
            co_await wait_for_queued(server, round * 50);
            const std::size_t before = allocations();
            int count = 0;
            while (count < 50) {
                const auto one = co_await server.read();
                if (!one) break;
                ++count;
            }
            EXPECT_EQ(allocations() - before, 0U) << "round " << round;
            EXPECT_EQ(count, 50);
        }
    };
    quoit::run(main());
}

TEST(allocations, AnEchoDoesNoneOnceWarm) {
    const auto main = []() -> task<> {
        auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
        auto client = or_throw(co_await quoit::open_udp_connection(server.local_address()));
        quoit::task_group group;
        group.spawn([&]() -> task<> {
            while (auto one = co_await server.read())
                server.reply(std::move(*one));
        });
        std::size_t before = 0;
        for (int i = 0; i < 400; ++i) {
            if (i == 200) before = allocations();
            client.send("ping");
            const auto reply = co_await client.read({.timeout = 2s});
            if (!reply) break;
        }
        EXPECT_EQ(allocations() - before, 0U);
        server.close();
        co_await group.join();
    };
    quoit::run(main());
}

TEST(allocations, MessagesOfAFixedLayoutDoNoneOnceWarm) {
    const auto main = []() -> task<> {
        using record = quoit::struct_format<"! I 2000s">;
        auto server = or_throw(co_await quoit::start_udp_server({"127.0.0.1", 0}));
        auto client = or_throw(co_await quoit::open_udp_connection(server.local_address()));
        quoit::message_channel channel(std::move(client), record{});
        const record::tuple packet(7, {'x'});
        std::size_t before = 0;
        int count = 0;
        for (; count < 200; ++count) {
            if (count == 100) before = allocations();
            channel.send(packet);
            auto request = co_await server.read({.timeout = 2s});
            if (!request) break;
            server.reply(*std::move(request));
            const auto answer = co_await channel.read({.timeout = 2s});
            if (!answer || *answer != packet) break;
        }
        EXPECT_EQ(allocations() - before, 0U);
        EXPECT_EQ(count, 200);
    };
    quoit::run(main());
}

TEST(allocations, AwaitsTimersSpawnsAndTimeoutsDoNoneOnceWarm) {
    if (!caches_frames) GTEST_SKIP() << "frames come from the heap under AddressSanitizer";
    const auto main = []() -> task<> {
        std::size_t before = 0;
        for (int i = 0; i < 200; ++i) {
            if (i == 100) before = allocations();
            const int a = co_await ready(i);
            const int b = co_await after_a_turn(i);
            auto handle = quoit::spawn(after_a_turn(a + b));
            const auto joined = co_await handle.join();
            const auto limited = co_await quoit::with_timeout(after_a_turn(i), 1h);
            if (!joined || !limited) break;
        }
        EXPECT_EQ(allocations() - before, 0U);
    };
    quoit::run(main());
}

TEST(frame_cache, GivesBlocksBackToTheThreadThatFreedThem) {
    void* frame = quoit::detail::allocate_frame(100);
    std::memset(frame, 0xa5, 100);
    std::jthread([frame] {
        quoit::detail::free_frame(frame, 100);
        void* const again = quoit::detail::allocate_frame(70);  // of the same class
        if (caches_frames) {
            EXPECT_EQ(again, frame);
        }
        std::memset(again, 0x5a, 70);
        quoit::detail::free_frame(again, 70);
    }).join();
}

TEST(frame_cache, TakesSizesFromNothingToHuge) {
    for (const std::size_t size : {0U, 1U, 63U, 64U, 65U, 4096U, 4097U, 100'000U}) {
        void* const frame = quoit::detail::allocate_frame(size);
        std::memset(frame, 1, size);
        quoit::detail::free_frame(frame, size);
    }
}

TEST(frame_cache, FramesOfADroppedTaskMayDieOnAnotherThread) {
    task<int> one = ready(1);
    std::jthread([dropped = std::move(one)] {}).join();
}

}  // namespace
