// SPDX-License-Identifier: MIT
//
// A blocking call allocates nothing but the bytes of the datagram it returns. Counts every call of
// the global operator new in this program; not inlined, so that GCC cannot see a new that is
// matched by a free().
#include <quoit/sync.hpp>

#include "api/blocking_support.hpp"

#include <cstdlib>
#include <new>

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

namespace quoit::test {

namespace {

class sync_allocations : public blocking_case {
  protected:
    static std::size_t now() { return allocation_count.load(std::memory_order_relaxed); }

    sync::udp_server server = or_throw(sync::start_udp_server({"127.0.0.1", 0}));
    sync::udp_client client = or_throw(sync::open_udp_connection(server.local_address()));
};

TEST_F(sync_allocations, ASendDoesNone) {
    const std::size_t before = now();
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(client.send("x", patiently));
        ASSERT_TRUE(client.send_pieces({"x", "y"}, patiently));
    }
    EXPECT_EQ(now() - before, 0U);
}

TEST_F(sync_allocations, AReadDoesOne) {
    for (int i = 0; i < 10; ++i)
        ASSERT_TRUE(client.send("x"));
    const std::size_t before = now();
    for (int i = 0; i < 10; ++i)
        ASSERT_TRUE(server.read(patiently).has_value());
    EXPECT_EQ(now() - before, 10U);
}

TEST_F(sync_allocations, AReadThatTimesOutDoesNone) {
    const std::size_t before = now();
    expect_error(server.read({.timeout = 0s}), errc::timed_out);
    expect_error(server.read({.timeout = 1ms}), errc::timed_out);
    EXPECT_EQ(now() - before, 0U);
}

}  // namespace

}  // namespace quoit::test
