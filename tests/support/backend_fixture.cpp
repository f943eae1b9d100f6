// SPDX-License-Identifier: MIT
#include "support/backend_fixture.hpp"

#include "backend/epoll/epoll_backend.hpp"
#include "net/control_message.hpp"
#include "net/sockaddr.hpp"
#include "net/system.hpp"
#if QUOIT_HAS_IO_URING
#include "backend/io_uring/io_uring_backend.hpp"
#endif

#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <sstream>
#include <utility>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103  // since Linux 4.18, <linux/udp.h>
#endif
#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif

namespace quoit::test {

namespace {

using clock = std::chrono::steady_clock;

// How long to wait for what should come at once: only a test that fails waits that long.
constexpr std::chrono::seconds patience{10};
// How long one test may take, sanitizers and a busy machine included.
constexpr std::chrono::seconds test_time_max{120};

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

int or_error(int returned) { return returned < 0 ? -errno : returned; }

class kernel_network final : public test_network {
  public:
    int open(family of, std::uint16_t port) override {
        const int fd =
            ::socket(domain_of(of), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
        if (fd < 0) return -errno;
        const ip host = of == family::ipv6 ? ip("::1") : ip("127.0.0.1");
        const socket_address name{address(host, port)};
        if (::bind(fd, name.get(), name.size()) < 0) {
            const int error = errno;
            ::close(fd);
            return -error;
        }
        return fd;
    }
    int connect(int fd, const address& to) override {
        const socket_address name{to};
        return or_error(::connect(fd, name.get(), name.size()));
    }
    void close(int fd) override { ::close(fd); }
    address local(int fd) override {
        socket_address name;
        socklen_t size = socket_address::size_max;
        if (::getsockname(fd, name.get(), &size) < 0) return {};
        return from_sockaddr({reinterpret_cast<const std::byte*>(name.get()), size})
            .value_or(address{});
    }
    int send(int fd, std::string_view bytes, const address* to, std::uint16_t segment) override {
        iovec payload{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
        socket_address name;
        msghdr message{};
        message.msg_iov = &payload;
        message.msg_iovlen = 1;
        if (to != nullptr) {
            name = socket_address(*to);
            message.msg_name = name.get();
            message.msg_namelen = name.size();
        }
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof segment)> control{};
        if (segment != 0) {
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            cmsghdr* const header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_UDP;
            header->cmsg_type = UDP_SEGMENT;
            header->cmsg_len = CMSG_LEN(sizeof segment);
            std::memcpy(CMSG_DATA(header), &segment, sizeof segment);
        }
        return ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
    }
    std::optional<std::string> receive(int fd) override {
        if (!wait_for(fd, POLLIN)) return std::nullopt;
        std::string bytes(70'000, '\0');
        const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (got < 0) return std::nullopt;
        bytes.resize(static_cast<std::size_t>(got));
        return bytes;
    }
    bool wait_for_queue(int fd, std::size_t datagrams) override {
        // With a peek offset each peek goes on where the last one ended (socket(7)).
        const auto deadline = clock::now() + patience;
        std::vector<char> bytes(70'000);
        std::size_t count = 0;
        do {
            set_peek_offset(fd, 0);
            count = 0;
            while (::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_PEEK) > 0)
                ++count;
            set_peek_offset(fd, -1);
        } while (count < datagrams && clock::now() < deadline);
        return count == datagrams;
    }
    bool wait_for_error(int fd) override { return wait_for(fd, 0); }
    int set_gro(int fd) override {
        const int is_on = 1;
        return or_error(::setsockopt(fd, SOL_UDP, UDP_GRO, &is_on, sizeof is_on));
    }
    // UDP on loopback never blocks; two connected UNIX sockets do.
    narrow open_narrow() override {
        int fds[2] = {-1, -1};
        if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) return {};
        return {.fd = fds[0], .other_end = fds[1]};
    }
    void widen(const narrow& one) override {
        std::array<char, 4096> bytes{};
        while (::recv(one.other_end, bytes.data(), bytes.size(), MSG_DONTWAIT) >= 0)
            continue;
    }

  private:
    static bool wait_for(int fd, short events) {
        pollfd one{.fd = fd, .events = events, .revents = 0};
        return ::poll(&one, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) == 1;
    }
    static void set_peek_offset(int fd, int offset) {
        EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset), 0);
    }
};

class in_memory_network final : public test_network {
  public:
    explicit in_memory_network(fake_network& net) : net_(net) {}
    int open(family of, std::uint16_t port) override {
        const auto fd = net_.open(of, port);
        return fd ? *fd : fd.error();
    }
    int connect(int fd, const address& to) override { return net_.connect(fd, to); }
    void close(int fd) override { net_.close(fd); }
    address local(int fd) override { return net_.local(fd); }
    int send(int fd, std::string_view bytes, const address* to, std::uint16_t segment) override {
        return net_.send(fd, bytes_of(bytes), to, segment);
    }
    std::optional<std::string> receive(int fd) override {
        const auto got = net_.receive(fd);
        if (!got) return std::nullopt;
        return std::string(reinterpret_cast<const char*>(got->payload.data()), got->payload.size());
    }
    // A send has arrived when it returns.
    bool wait_for_queue(int fd, std::size_t datagrams) override {
        return net_.queued(fd) == datagrams;
    }
    bool wait_for_error(int fd) override { return net_.has_error(fd); }
    int set_gro(int fd) override {
        net_.set_gro(fd, true);
        return 0;
    }
    narrow open_narrow() override {
        const int fd = *net_.open(family::ipv4);
        const int other_end = *net_.open(family::ipv4);
        [[maybe_unused]] const int error = net_.connect(fd, net_.local(other_end));
        net_.set_send_room(fd, 10);
        return {.fd = fd, .other_end = other_end};
    }
    void widen(const narrow& one) override { net_.set_send_room(one.fd, 10); }

  private:
    fake_network& net_;
};

result<std::unique_ptr<io_backend>> make(backend_kind kind, const backend_options& options,
                                         fake_network* fake) {
    switch (kind) {
        case backend_kind::epoll:
        case backend_kind::spinning_epoll:
        case backend_kind::watched_epoll: return make_epoll_backend(options);
        case backend_kind::fake:
        case backend_kind::watched_fake: return make_fake_backend(options, *fake);
        case backend_kind::io_uring:
        case backend_kind::watched_io_uring: break;
    }
#if QUOIT_HAS_IO_URING
    auto made = make_io_uring_backend(options);
    if (!made) return std::unexpected(made.error().why);
    return *std::move(made);
#else
    return failure(errc::not_supported, "built without liburing");
#endif
}

bool is_io_uring_required() {
    const char* const value = std::getenv("QUOIT_REQUIRE_IO_URING");
    return value != nullptr && std::string_view(value) == "1";
}

// Why there is none; tried once.
const std::optional<error>& io_uring_failure() {
    static const std::optional<error> why = [] {
        const auto small = or_throw(
            buffer_pool::create({.count = 8, .stride = small_buffer_stride, .socket_count = 1}));
        const auto large = or_throw(
            buffer_pool::create({.count = 8, .stride = large_buffer_stride, .socket_count = 1}));
        backend_ledger ledger;
        const auto made = make(backend_kind::io_uring,
                               {.pools = {small.get(), large.get(), large.get()},
                                .source_count_max = 1,
                                .ledger = &ledger},
                               nullptr);
        return made ? std::nullopt : std::optional(made.error());
    }();
    return why;
}

}  // namespace

std::string_view to_string(backend_kind kind) {
    switch (kind) {
        case backend_kind::io_uring: return "io_uring";
        case backend_kind::epoll: return "epoll";
        case backend_kind::spinning_epoll: return "spinning_epoll";
        case backend_kind::fake: return "fake";
        case backend_kind::watched_io_uring: return "watched_io_uring";
        case backend_kind::watched_epoll: return "watched_epoll";
        case backend_kind::watched_fake: return "watched_fake";
    }
    return "?";
}

void PrintTo(backend_kind kind, std::ostream* out) { *out << to_string(kind); }

std::vector<backend_kind> backends_built() {
#if QUOIT_HAS_IO_URING
    return {backend_kind::io_uring,         backend_kind::epoll,
            backend_kind::spinning_epoll,   backend_kind::fake,
            backend_kind::watched_io_uring, backend_kind::watched_epoll,
            backend_kind::watched_fake};
#else
    return {backend_kind::epoll, backend_kind::spinning_epoll, backend_kind::fake,
            backend_kind::watched_epoll, backend_kind::watched_fake};
#endif
}

std::string backend_name(const ::testing::TestParamInfo<backend_kind>& info) {
    return std::string(to_string(info.param));
}

class backend_fixture::sink final : public event_sink {
  public:
    explicit sink(backend_fixture& owner) : owner_(owner) {}
    void deliver(std::span<const event> batch) noexcept override { owner_.take(batch); }

  private:
    backend_fixture& owner_;
};

backend_fixture::backend_fixture() = default;
backend_fixture::~backend_fixture() = default;

void backend_fixture::SetUp() {
    if (is_io_uring() && io_uring_failure()) {
        const std::string why = "io_uring cannot be had here: " + io_uring_failure()->message();
        if (is_io_uring_required()) FAIL() << why;
        GTEST_SKIP() << why;
    }
    if (is_fake()) {
        fake_ = std::make_unique<fake_network>();
        network_ = std::make_unique<in_memory_network>(*fake_);
    } else {
        network_ = std::make_unique<kernel_network>();
    }
    watchdog_ =
        std::thread([this, name = ::testing::UnitTest::GetInstance()->current_test_info()->name()] {
            std::unique_lock lock(mutex_);
            if (is_over_.wait_for(lock, test_time_max, [this] { return is_finished_; })) return;
            std::fprintf(stderr, "%s (%s) does not end\n", name,
                         std::string(to_string(GetParam())).c_str());
            std::abort();
        });
}

void backend_fixture::TearDown() {
    backend_.reset();
    release_held();
    for (const int fd : std::exchange(sockets_, {}))
        network_->close(fd);
    for (const auto& pool : pools_) {
        if (pool != nullptr) {
            EXPECT_EQ(pool->leased(), 0U);
        }
    }
    {
        const std::scoped_lock lock(mutex_);
        is_finished_ = true;
    }
    is_over_.notify_one();
    if (watchdog_.joinable()) watchdog_.join();
}

void backend_fixture::start(const pool_sizes& wanted) {
    sizes_ = wanted;
    const std::array<buffer_pool::options, buffer_class_count> options{{
        {.count = wanted.small_count, .stride = small_buffer_stride, .socket_count = 1},
        {.count = wanted.large_count, .stride = large_buffer_stride, .socket_count = 1},
        {.count = stream_buffer_count, .stride = large_buffer_stride, .socket_count = 1},
    }};
    for (std::size_t i = 0; i < buffer_class_count; ++i) {
        pools_[i] = or_throw(buffer_pool::create(options[i]));
        is_out_[i].resize(options[i].count);
    }
    make_backend();
}

void backend_fixture::make_backend() {
    const backend_options options{
        .pools = {pools_[0].get(), pools_[1].get(), pools_[2].get()},
        .source_count_max = sizes_.source_count_max,
        .is_spinning =
            GetParam() == backend_kind::spinning_epoll || GetParam() == backend_kind::watched_epoll,
        .ledger = &ledger_,
    };
    backend_ = or_throw(make(GetParam(), options, fake_.get()));
    if (is_watched()) {
        set_ = or_throw(waiting_set::create());
        or_throw(backend_->join(*set_));
    }
    const auto expected = is_io_uring() ? quoit::backend::io_uring
                          : is_fake()   ? quoit::backend::automatic
                                        : quoit::backend::epoll;
    EXPECT_EQ(backend_->about().backend, expected)
        << "runs on " << quoit::to_string(backend_->about().backend);
}

void backend_fixture::destroy_backend() {
    backend_.reset();
    // Its last events will not come.
    for (auto& [tag, source] : seen_)
        source.is_detached = true;
}

int backend_fixture::open_socket(family of, std::uint16_t port) {
    const int fd = network_->open(of, port);
    if (fd >= 0) sockets_.push_back(fd);
    return fd;
}

void backend_fixture::close_socket(int fd) {
    std::erase(sockets_, fd);
    network_->close(fd);
}

receiver backend_fixture::open_detached(const receiver_options& wanted) {
    receiver made;
    made.fd = open_socket(wanted.of, wanted.port);
    EXPECT_GE(made.fd, 0) << std::strerror(-made.fd);
    if (made.fd < 0) return made;
    made.local = network_->local(made.fd);
    if (wanted.connected_to) {
        EXPECT_EQ(network_->connect(made.fd, *wanted.connected_to), 0);
    }
    if (wanted.has_gro) {
        EXPECT_EQ(network_->set_gro(made.fd), 0);
    }
    return made;
}

void backend_fixture::attach(receiver& one, const receiver_options& wanted) {
    one.tag = next_tag_++;
    const message_layout layout{
        .name_size = static_cast<std::uint16_t>(wanted.of == family::ipv6 ? 28 : 16),
        .control_size = control_size_for(wanted.of, metadata::none, wanted.has_gro)};
    seen_[one.tag].layout = layout;
    one.id = backend_->attach(
        one.fd, {.tag = one.tag, .pool = wanted.pool, .layout = layout, .has_gro = wanted.has_gro});
}

receiver backend_fixture::attach_stream(int fd, source_kind kind, bool is_paused) {
    receiver made;
    made.fd = fd;
    made.tag = next_tag_++;
    seen_[made.tag] = {};
    made.id = backend_->attach(fd, {.tag = made.tag, .kind = kind, .is_paused = is_paused});
    return made;
}

receiver backend_fixture::open_receiver(const receiver_options& wanted) {
    receiver made = open_detached(wanted);
    if (made.fd >= 0) attach(made, wanted);
    return made;
}

address backend_fixture::dead_address(family of) {
    const int fd = network_->open(of, 0);
    EXPECT_GE(fd, 0);
    const address where = network_->local(fd);
    network_->close(fd);
    return where;
}

void backend_fixture::wait_in_set(steady_time deadline) {
    if (backend_->prepare_to_wait()) return;
    set_->wait_until(deadline);
    [[maybe_unused]] const int ready = system::poll_one(set_->descriptor(), POLLIN, nullptr);
}

void backend_fixture::turn(steady_time deadline) {
    sink into(*this);
    if (is_watched() && deadline != at_once) {
        wait_in_set(deadline);
        deadline = at_once;
    }
    is_turning_ = true;
    backend_->turn(deadline, into);
    is_turning_ = false;
    if (mode_ == leases::give_back) release_held();
}

void backend_fixture::turn_at_once(int count) {
    for (int i = 0; i < count; ++i)
        turn(at_once);
}

bool backend_fixture::turn_until(const condition& holds, std::string_view what) {
    const auto deadline = clock::now() + patience;
    while (!holds()) {
        if (clock::now() >= deadline || HasFatalFailure()) {
            ADD_FAILURE() << what << " did not come true; seen:\n" << describe();
            return false;
        }
        turn(deadline);
    }
    return true;
}

void backend_fixture::take(std::span<const event> batch) {
    EXPECT_TRUE(is_turning_) << "deliver() was called outside turn()";
    EXPECT_FALSE(batch.empty()) << "an empty batch was delivered";
    ++deliveries_;
    for (const event& one : batch) {
        events_.push_back(one);
        const auto found = seen_.find(one.tag);
        if (found == seen_.end()) {
            ADD_FAILURE() << "an event with a tag that no source has: " << one.tag;
            continue;
        }
        seen_source& from = found->second;
        EXPECT_FALSE(from.is_detached) << "an event of kind " << static_cast<int>(one.kind)
                                       << " followed the last one of source " << one.tag;
        ++from.counts[one.kind];
        if (one.kind == event_kind::detached) from.is_detached = true;
        if (one.kind == event_kind::datagram) take_datagram(one, from);
        if (one.kind == event_kind::bytes) take_bytes(one, from);
        if (one.kind == event_kind::accepted) from.accepted.push_back(static_cast<int>(one.value));
    }
}

bool backend_fixture::take_buffer(const event& one) {
    const auto which = static_cast<std::size_t>(one.pool);
    buffer_pool& pool = *pools_[which];
    if (one.buffer >= pool.count() || is_out_[which][one.buffer]) {
        ADD_FAILURE() << "buffer " << one.buffer << " was delivered while somebody holds it";
        return false;
    }
    is_out_[which][one.buffer] = true;
    pool.adopt(one.buffer, 0);
    held_.emplace_back(one.pool, one.buffer);
    return true;
}

void backend_fixture::take_bytes(const event& one, seen_source& from) {
    if (!take_buffer(one)) return;
    EXPECT_GT(one.value, 0U) << "an empty stretch of a stream";
    EXPECT_EQ(from.counts[event_kind::end_of_stream] + from.counts[event_kind::failed], 0U)
        << "bytes behind the end of a stream";
    const auto got = pools_[static_cast<std::size_t>(one.pool)]->used(one.buffer, one.value);
    from.bytes.append(reinterpret_cast<const char*>(got.data()), got.size());
}

void backend_fixture::take_datagram(const event& one, seen_source& from) {
    if (!take_buffer(one)) return;
    ++datagrams_seen_;
    const buffer_pool& pool = *pools_[static_cast<std::size_t>(one.pool)];
    const auto bytes = pool.used(one.buffer, one.value);
    const parsed_message message = parse_message(bytes, from.layout, payload_size_limit);
    EXPECT_EQ(message.state, message_state::valid);
    EXPECT_LE(one.value, pool.stride());
    if (message.state != message_state::valid) return;
    from.datagrams.push_back(
        {.payload = {reinterpret_cast<const char*>(bytes.data()) + from.layout.payload_offset(),
                     message.size_total},
         .original_size = message.first.original_size,
         .length = one.value,
         .segment = one.segment,
         .count = message.count(),
         .buffer = one.buffer,
         .peer = message.first.peer});
}

void backend_fixture::release_held(std::size_t count) {
    count = std::min(count, held_.size());
    for (std::size_t i = 0; i < count; ++i) {
        const auto [which, buffer] = held_[i];
        is_out_[static_cast<std::size_t>(which)][buffer] = false;
        pools_[static_cast<std::size_t>(which)]->release(buffer);
    }
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
    if (backend_ == nullptr) return;
    std::vector<std::uint32_t> returned;
    for (std::size_t i = 0; i < buffer_class_count; ++i) {
        returned.reserve(pools_[i]->count());
        pools_[i]->take_returned(returned);
        if (!returned.empty()) backend_->recycle(static_cast<buffer_class>(i), returned);
    }
}

std::vector<std::string> backend_fixture::payloads(const receiver& from) {
    std::vector<std::string> all;
    for (const seen_datagram& one : datagrams(from))
        all.push_back(one.payload);
    return all;
}

std::size_t backend_fixture::count(const receiver& from, event_kind kind) {
    return seen_[from.tag].counts[kind];
}

void backend_fixture::detach_and_close(const receiver& one) {
    backend_->detach(one.id);
    close_socket(one.fd);
    turn_until([&] { return count(one, event_kind::detached) == 1; }, "`detached`");
}

void backend_fixture::expect_every_buffer_works(buffer_class which) {
    release_held();
    const leases before = std::exchange(mode_, leases::keep);
    const receiver_options wanted{.pool = which};
    const receiver all = open_receiver(wanted);
    const int peer = open_socket();
    // One at a time: the socket's own buffer does not hold as many as the pool.
    for (std::uint32_t i = 0; i < pool(which).count(); ++i) {
        ASSERT_EQ(send(peer, std::to_string(i), all.local), 0);
        if (!turn_until([&] { return datagrams(all).size() == i + 1; }, "a datagram per buffer")) {
            break;
        }
    }
    EXPECT_EQ(held(), pool(which).count());
    mode_ = before;
    release_held();
    detach_and_close(all);
}

std::string backend_fixture::describe() const {
    std::ostringstream out;
    out << deliveries_ << " deliveries, " << ledger_.turns.get() << " turns, " << held_.size()
        << " buffers held, " << ledger_.rearmed_starved.get() << " times re-armed after starving\n";
    std::size_t lines_left = 20;
    for (const auto& [tag, source] : seen_) {
        if (lines_left-- == 0) {
            out << "  ...\n";
            break;
        }
        const auto number = [&source](event_kind kind) {
            const auto found = source.counts.find(kind);
            return found == source.counts.end() ? std::size_t{0} : found->second;
        };
        out << "  source " << tag << ": " << number(event_kind::datagram) << " datagrams, "
            << number(event_kind::failed) << " failed, " << number(event_kind::starved)
            << " starved, " << number(event_kind::writable) << " writable, "
            << number(event_kind::detached) << " detached\n";
    }
    return out.str();
}

}  // namespace quoit::test
