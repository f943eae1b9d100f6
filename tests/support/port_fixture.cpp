// SPDX-License-Identifier: MIT
#include "support/port_fixture.hpp"

#include "net/sockaddr.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <new>
#include <ostream>

namespace quoit::test {

using detail::socket_address;

namespace {

using clock = std::chrono::steady_clock;

std::string name_of(const port_parameter& parameter) {
    return std::string(to_string(parameter.backend)) +
           (parameter.worker_count == 0 ? "_inline" : "_threaded");
}

bool wait_for(int fd, short events, std::chrono::milliseconds how_long) {
    pollfd one{.fd = fd, .events = events, .revents = 0};
    return ::poll(&one, 1, static_cast<int>(how_long.count())) == 1;
}

void set_peek_offset(int fd, int offset) {
    ::setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
}

}  // namespace

void PrintTo(const port_parameter& parameter, std::ostream* out) { *out << name_of(parameter); }

std::vector<port_parameter> port_parameters() {
    std::vector<port_parameter> all;
#if QUOIT_HAS_IO_URING
    all.push_back({.backend = backend::io_uring, .worker_count = 0});
    all.push_back({.backend = backend::io_uring, .worker_count = 1});
#endif
    all.push_back({.backend = backend::epoll, .worker_count = 0});
    all.push_back({.backend = backend::epoll, .worker_count = 1});
    return all;
}

std::string port_parameter_name(const ::testing::TestParamInfo<port_parameter>& info) {
    return name_of(info.param);
}

// --- foreign sockets ---

foreign_socket::foreign_socket(const address& where) {
    const socket_address name(where);
    fd_ = ::socket(where.family() == family::ipv6 ? AF_INET6 : AF_INET,
                   SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ >= 0 && ::bind(fd_, name.get(), name.size()) == 0) return;
    ADD_FAILURE() << "a foreign socket on " << where << ": "
                  << std::error_code(errno, std::system_category()).message();
    close();
}

void foreign_socket::close() noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

address foreign_socket::local() const {
    socket_address name;
    socklen_t size = socket_address::size_max;
    if (::getsockname(fd_, name.get(), &size) < 0) return {};
    const auto* const bytes = reinterpret_cast<const std::byte*>(name.get());
    return detail::from_sockaddr({bytes, size}).value_or(address());
}

int foreign_socket::send(byte_view payload, const address& to) const {
    const socket_address name(to);
    const ssize_t sent = ::sendto(fd_, payload.data(), payload.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                                  name.get(), name.size());
    return sent < 0 ? -errno : 0;
}

int foreign_socket::connect(const address& to) const {
    const socket_address name(to);
    return ::connect(fd_, name.get(), name.size()) < 0 ? -errno : 0;
}

int foreign_socket::set_option(int level, int name, int value) const {
    return ::setsockopt(fd_, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

std::optional<std::string> foreign_socket::receive() const {
    if (!wait_for(fd_, POLLIN, patience)) return std::nullopt;
    std::string bytes(70'000, '\0');
    const ssize_t got = ::recv(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0) return std::nullopt;
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
}

bool foreign_socket::has_datagram() const { return wait_for(fd_, POLLIN, {}); }

address dead_address(const address& like) { return foreign_socket(like).local(); }

bool has_ipv6() {
    const int fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    const socket_address name(address("::1", 0));
    const bool is_bound = ::bind(fd, name.get(), name.size()) == 0;
    ::close(fd);
    return is_bound;
}

std::size_t count_queued(int fd) {
    // With a peek offset each peek goes on where the last one ended (socket(7)).
    std::vector<char> bytes(70'000);
    std::size_t count = 0;
    set_peek_offset(fd, 0);
    while (::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_PEEK) > 0)
        ++count;
    set_peek_offset(fd, -1);
    return count;
}

bool wait_for_queue(int fd, std::size_t count) {
    const auto deadline = clock::now() + patience;
    std::size_t queued = 0;
    do {
        queued = count_queued(fd);
    } while (queued < count && clock::now() < deadline);
    EXPECT_EQ(queued, count) << "datagrams in the socket";
    return queued == count;
}

// --- allocations ---

namespace {

struct allocations {
    bool is_metered = false;
    std::size_t count = 0;
    std::size_t largest = 0;
};
thread_local constinit allocations of_this_thread;
constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
thread_local constinit std::size_t left_to_this_thread = unlimited;

void* allocate(std::size_t size, std::size_t alignment) {
    if (left_to_this_thread != unlimited) {
        if (left_to_this_thread == 0) throw std::bad_alloc();
        --left_to_this_thread;
    }
    if (of_this_thread.is_metered) {
        ++of_this_thread.count;
        of_this_thread.largest = std::max(of_this_thread.largest, size);
    }
    const std::size_t rounded = (std::max<std::size_t>(size, 1) + alignment - 1) & ~(alignment - 1);
    void* const got = alignment <= alignof(std::max_align_t)
                          ? std::malloc(rounded)
                          : std::aligned_alloc(alignment, rounded);
    if (got == nullptr) throw std::bad_alloc();
    return got;
}

}  // namespace

allocation_meter::allocation_meter() noexcept { of_this_thread = {.is_metered = true}; }
allocation_meter::~allocation_meter() { of_this_thread.is_metered = false; }
std::size_t allocation_meter::count() const noexcept { return of_this_thread.count; }
std::size_t allocation_meter::largest() const noexcept { return of_this_thread.largest; }

allocation_limit::allocation_limit(std::size_t count) noexcept { left_to_this_thread = count; }
allocation_limit::~allocation_limit() { left_to_this_thread = unlimited; }

// --- events ---

event_counter::counts& event_counter::at(endpoint_id endpoint) {
    const auto found = std::ranges::find(counts_, endpoint, &counts::endpoint);
    if (found != counts_.end()) return *found;
    return counts_.emplace_back(counts{.endpoint = endpoint});
}

event_counter::counts event_counter::of(endpoint_id endpoint) const {
    const auto found = std::ranges::find(counts_, endpoint, &counts::endpoint);
    return found != counts_.end() ? *found : counts{.endpoint = endpoint};
}

void event_counter::readable(endpoint_id endpoint) {
    ++at(endpoint).readable;
    if (on_readable) on_readable(endpoint);
}

void event_counter::drained(endpoint_id endpoint) {
    ++at(endpoint).drained;
    if (on_drained) on_drained(endpoint);
}

void event_counter::closed(endpoint_id endpoint) {
    ++at(endpoint).closed;
    if (on_closed) on_closed(endpoint);
}

// --- the fixture ---

void port_fixture::SetUp() {
    if (!is_io_uring()) return;
    const auto made = port::create({.backend = backend::io_uring});
    if (made) return;
    const char* const is_required = std::getenv("QUOIT_REQUIRE_IO_URING");
    if (is_required != nullptr && std::string_view(is_required) == "1") {
        FAIL() << "QUOIT_REQUIRE_IO_URING=1, but " << made.error();
    }
    GTEST_SKIP() << "no io_uring: " << made.error();
}

void port_fixture::TearDown() { destroy_port(); }

void port_fixture::start(loop_options options) {
    options.backend = GetParam().backend;
    if (options.worker_count == 0 || is_inline()) options.worker_count = GetParam().worker_count;
    auto made = port::create(options);
    if (!made) FAIL() << made.error();
    port_.emplace(*std::move(made));
}

void port_fixture::destroy_port() { port_.reset(); }

void port_fixture::in_namespace(const namespace_options& wanted,
                                const std::function<void()>& body) {
    const auto why_not = run_in_network_namespace(wanted, [&] {
        body();
        destroy_port();
    });
    if (why_not) GTEST_SKIP() << *why_not;
}

endpoint_id port_fixture::open(const udp_options& options, const address& where) {
    const auto opened = port().open(std::span(&where, 1), options);
    if (opened) return *opened;
    ADD_FAILURE() << opened.error();
    return {};
}

endpoint_id port_fixture::open_connection(const address& peer, const udp_options& options) {
    const auto opened = port().open_connection(peer, options);
    if (opened) return *opened;
    ADD_FAILURE() << opened.error();
    return {};
}

std::vector<std::string> port_fixture::read_all(endpoint_id from) {
    std::vector<std::string> all;
    for (;;) {
        const auto received = port().receive(from);
        if (received) {
            all.push_back(received->to_string());
        } else if (received.error() == errc::would_block || received.error() == errc::closed) {
            return all;
        } else {
            all.push_back("!" + received.error().message());
        }
    }
}

void port_fixture::turn(port::clock::time_point deadline) {
    const auto turned = port().turn(deadline, events);
    ASSERT_TRUE(turned) << turned.error();
}

void port_fixture::turn_at_once(int count) {
    for (int i = 0; i < count; ++i)
        turn();
}

bool port_fixture::turn_until(const condition& holds, std::string_view what) {
    const auto deadline = clock::now() + patience;
    while (!holds()) {
        if (clock::now() >= deadline || HasFatalFailure()) {
            ADD_FAILURE() << what << " did not come true";
            return false;
        }
        turn(deadline);
        if (clock::now() >= deadline && holds()) {
            ADD_FAILURE() << what << " came true, but only the deadline ended the turn";
            return false;
        }
    }
    return true;
}

bool port_fixture::turn_until_readable(endpoint_id endpoint, std::size_t count) {
    const bool is_there =
        turn_until([&] { return port().readable_count(endpoint) >= count; }, "enough to read");
    EXPECT_EQ(port().readable_count(endpoint), count);
    return is_there && port().readable_count(endpoint) == count;
}

void port_fixture::settle() {
    const std::size_t workers = std::max<std::size_t>(port().options().worker_count, 1);
    for (std::size_t i = 0; i < workers; ++i) {
        const endpoint_id probe = open();
        const foreign_socket from;
        ASSERT_EQ(from.send("probe", local(probe)), 0);
        ASSERT_TRUE(turn_until_readable(probe, 1));
        port().release(probe);
        turn();
    }
}

std::vector<std::string> numbers(std::size_t count, std::size_t first) {
    std::vector<std::string> all;
    for (std::size_t i = first; i < first + count; ++i)
        all.push_back(std::to_string(i));
    return all;
}

}  // namespace quoit::test

// The array forms, and those that do not throw, end in these. Not inlined: GCC 12 would see free()
// without the malloc() it belongs to, and warn of a mismatch.
void* operator new(std::size_t size) {
    return quoit::test::allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return quoit::test::allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    std::free(memory);
}
