// SPDX-License-Identifier: MIT
#include "support/fake_backend.hpp"

#include "base/assert.hpp"
#include "net/sockaddr.hpp"
#include "net/system.hpp"
#include "support/messages.hpp"

#include <quoit/file_descriptor.hpp>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#ifndef UDP_GRO
#define UDP_GRO 104  // since Linux 5.0, <linux/udp.h>
#endif

namespace quoit::test {

using namespace quoit::detail;

namespace {

constexpr std::size_t payload_size_max_v4 = 65'507;
constexpr std::size_t payload_size_max_v6 = 65'527;

std::vector<std::byte> gro_control(std::uint16_t segment) {
    std::vector<std::byte> control(CMSG_SPACE(sizeof(int)));
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(sizeof(int));
    header.cmsg_level = SOL_UDP;
    header.cmsg_type = UDP_GRO;
    const int value = segment;
    std::memcpy(control.data(), &header, sizeof header);
    std::memcpy(control.data() + CMSG_LEN(0), &value, sizeof value);
    return control;
}

}  // namespace

fake_network::socket& fake_network::at(int fd) {
    const auto found = sockets_.find(fd);
    QUOIT_ASSERT(found != sockets_.end(), "a fake descriptor that is not open");
    return found->second;
}

const fake_network::socket& fake_network::at(int fd) const {
    return const_cast<fake_network&>(*this).at(fd);
}

fake_network::socket* fake_network::find_bound(const address& to) {
    const auto found =
        std::ranges::find_if(sockets_, [&to](const auto& one) { return one.second.local == to; });
    return found == sockets_.end() ? nullptr : &found->second;
}

void fake_network::notify(const socket& where) const {
    if (where.waker >= 0) system::event_raise(where.waker);
}

std::expected<int, int> fake_network::open(family of, std::uint16_t port) {
    const std::scoped_lock lock(mutex_);
    const ip host = of == family::ipv6 ? ip("::1") : ip("127.0.0.1");
    if (port == 0) {
        while (find_bound(address(host, next_port_)) != nullptr)
            ++next_port_;
        port = next_port_++;
    } else if (find_bound(address(host, port)) != nullptr) {
        return std::unexpected(-EADDRINUSE);
    }
    // The lowest number that is free, as the kernel does: numbers are reused at once.
    int fd = 0;
    while (sockets_.contains(fd))
        ++fd;
    sockets_[fd].local = address(host, port);
    return fd;
}

int fake_network::connect(int fd, const address& to) {
    const std::scoped_lock lock(mutex_);
    at(fd).peer = to;
    return 0;
}

void fake_network::close(int fd) {
    const std::scoped_lock lock(mutex_);
    QUOIT_ASSERT(at(fd).waker < 0, "a socket was closed while a backend receives from it");
    sockets_.erase(fd);
}

address fake_network::local(int fd) const {
    const std::scoped_lock lock(mutex_);
    return at(fd).local;
}

void fake_network::arrive(socket& where, arrival what) {
    if (where.queue.size() >= where.queue_size_max) {
        ++where.dropped;
        return;
    }
    where.queue.push_back(std::move(what));
    notify(where);
}

int fake_network::send(int fd, std::span<const std::byte> payload, const address* to,
                       std::uint16_t segment) {
    const std::scoped_lock lock(mutex_);
    socket& from = at(fd);
    if (from.error != 0) return -std::exchange(from.error, 0);
    if (to == nullptr && !from.peer) return -EDESTADDRREQ;
    const address where = to != nullptr ? *to : *from.peer;
    const bool is_v6 = where.family() == family::ipv6;
    if (payload.size() > (is_v6 ? payload_size_max_v6 : payload_size_max_v4)) return -EMSGSIZE;
    if (from.send_room) {
        if (*from.send_room == 0) return -EAGAIN;
        --*from.send_room;
    }
    socket* const target = find_bound(where);
    if (target == nullptr) {
        if (from.peer) {
            from.error = ECONNREFUSED;
            notify(from);
        }
        return 0;
    }
    if (target->peer && *target->peer != from.local) return 0;
    const bool is_whole = segment == 0 || payload.size() <= segment || target->has_gro;
    if (is_whole) {
        const bool is_train = segment != 0 && payload.size() > segment;
        arrive(*target, {.from = from.local,
                         .payload = {payload.begin(), payload.end()},
                         .control = is_train ? gro_control(segment) : std::vector<std::byte>{}});
        return 0;
    }
    while (!payload.empty()) {
        const auto part = payload.first(std::min<std::size_t>(segment, payload.size()));
        arrive(*target, {.from = from.local, .payload = {part.begin(), part.end()}, .control = {}});
        payload = payload.subspan(part.size());
    }
    return 0;
}

std::expected<fake_network::arrival, int> fake_network::receive(int fd) {
    const std::scoped_lock lock(mutex_);
    socket& from = at(fd);
    if (from.error != 0) return std::unexpected(-std::exchange(from.error, 0));
    if (from.queue.empty()) return std::unexpected(-EAGAIN);
    arrival first = std::move(from.queue.front());
    from.queue.pop_front();
    return first;
}

void fake_network::inject(int fd, arrival what) {
    const std::scoped_lock lock(mutex_);
    arrive(at(fd), std::move(what));
}

void fake_network::set_error(int fd, int error) {
    const std::scoped_lock lock(mutex_);
    at(fd).error = error;
    notify(at(fd));
}

void fake_network::set_send_room(int fd, std::optional<std::size_t> messages) {
    const std::scoped_lock lock(mutex_);
    at(fd).send_room = messages;
    notify(at(fd));
}

void fake_network::set_queue_size_max(int fd, std::size_t datagrams) {
    const std::scoped_lock lock(mutex_);
    at(fd).queue_size_max = datagrams;
}

void fake_network::set_gro(int fd, bool is_on) {
    const std::scoped_lock lock(mutex_);
    at(fd).has_gro = is_on;
}

std::size_t fake_network::queued(int fd) const {
    const std::scoped_lock lock(mutex_);
    return at(fd).queue.size();
}

bool fake_network::has_error(int fd) const {
    const std::scoped_lock lock(mutex_);
    return at(fd).error != 0;
}

std::uint64_t fake_network::dropped(int fd) const {
    const std::scoped_lock lock(mutex_);
    return at(fd).dropped;
}

fake_network::readiness fake_network::look(int fd) const {
    const std::scoped_lock lock(mutex_);
    const socket& one = at(fd);
    return {.is_readable = !one.queue.empty() || one.error != 0,
            .is_writable = !one.send_room || *one.send_room > 0};
}

void fake_network::watch(int fd, int waker) {
    const std::scoped_lock lock(mutex_);
    at(fd).waker = waker;
}

namespace {

constexpr std::size_t datagrams_per_turn = 64;  // from one source, so that others have theirs
constexpr std::size_t events_per_delivery = 256;

class fake_backend final : public io_backend {
  public:
    fake_backend(const backend_options& options, fake_network& net, file_descriptor waker)
        : net_(net), pools_(options.pools), ledger_(*options.ledger), waker_(std::move(waker)),
          sources_(options.source_count_max) {
        for (std::size_t i = 0; i < buffer_class_count; ++i) {
            if (pools_[i] == nullptr) continue;
            for (std::uint32_t buffer = 0; buffer < pools_[i]->count(); ++buffer) {
                free_[i].push_back(buffer);
            }
        }
    }
    ~fake_backend() override {
        for (const source& one : sources_) {
            if (one.is_used && !one.is_detached) net_.watch(one.fd, -1);
        }
    }

    [[nodiscard]] const capabilities& about() const noexcept override { return about_; }

    source_id attach(int fd, const source_options& options) override {
        check_caller();
        const auto slot =
            std::ranges::find_if(sources_, [](const source& one) { return !one.is_used; });
        QUOIT_ASSERT(slot != sources_.end(), "more sources than source_count_max");
        QUOIT_ASSERT(pool_of(options) != nullptr &&
                         options.layout.payload_offset() < pool_of(options)->stride(),
                     "a layout that does not fit the buffers of its pool");
        *slot = source{.fd = fd, .options = options, .is_used = true};
        net_.watch(fd, waker_.get());
        return {static_cast<std::uint32_t>(slot - sources_.begin())};
    }

    void set(source_id id, interest wanted) override {
        check_caller();
        source& one = sources_[id.index];
        if (one.is_detached) return;
        switch (wanted) {
            case interest::receive: one.is_paused = false; break;
            case interest::pause: one.is_paused = true; break;
            case interest::writable: one.wants_writable = true; break;
        }
        if (one.is_paused) leave_line(id.index);
    }

    void detach(source_id id) override {
        check_caller();
        source& one = sources_[id.index];
        QUOIT_ASSERT(one.is_used && !one.is_detached, "a source was detached twice");
        leave_line(id.index);
        one.is_detached = true;
        net_.watch(one.fd, -1);
    }

    send_result send(source_id id, std::span<const outgoing> messages) override {
        check_caller();
        send_result result;
        for (const outgoing& message : messages) {
            const std::string text = text_of(message);
            const int error = net_.send(sources_[id.index].fd, std::as_bytes(std::span(text)),
                                        message.to, message.segment);
            if (error < 0) {
                result.error = -error;
                break;
            }
            ++result.sent;
        }
        return result;
    }

    void recycle(buffer_class pool, std::span<const std::uint32_t> buffers) override {
        check_caller();
        const auto which = static_cast<std::size_t>(pool);
        free_[which].insert(free_[which].end(), buffers.begin(), buffers.end());
        QUOIT_ASSERT(free_[which].size() <= pools_[which]->count(),
                     "a buffer was recycled that was not out");
        for (std::size_t left = free_[which].size(); left > 0 && !starved_[which].empty(); --left) {
            sources_[starved_[which].front()].is_starved = false;
            rearmed_.push_back(starved_[which].front());
            starved_[which].pop_front();
            ++ledger_.rearmed_starved;
        }
    }

    void turn(steady_time deadline, event_sink& sink) override {
        if (turned_by_ == std::thread::id{}) turned_by_ = std::this_thread::get_id();
        check_caller();
        ++ledger_.turns;
        for (;;) {
            system::event_clear(waker_.get());
            collect();
            // Acquire: pairs with the release in wake(); what its caller did before is seen.
            const bool is_woken = is_woken_.exchange(false, std::memory_order_acquire);
            if (!events_.empty()) return deliver(sink);
            const timespec left =
                deadline == no_deadline ? timespec{} : system::time_until(deadline);
            const bool is_over = deadline != no_deadline && left.tv_sec == 0 && left.tv_nsec == 0;
            if (is_woken || is_over) return;
            ++ledger_.system_calls;
            [[maybe_unused]] const int ready =
                system::poll_one(waker_.get(), POLLIN, deadline == no_deadline ? nullptr : &left);
        }
    }

    status join(waiting_set& set) override { return set.add(waker_.get()); }

    bool prepare_to_wait() override {
        check_caller();
        system::event_clear(waker_.get());
        if (!rearmed_.empty() || is_woken_.load(std::memory_order_acquire)) return true;
        return std::ranges::any_of(sources_, [this](const source& one) {
            if (!one.is_used) return false;
            if (one.is_detached) return true;
            const auto now = net_.look(one.fd);
            const bool reads = !one.is_paused && !one.is_starved;
            return (reads && (now.is_readable || one.pending_error != 0)) ||
                   (one.wants_writable && now.is_writable);
        });
    }

    // Sets the flag first: turn() clears the eventfd before it looks at the flag.
    void wake() noexcept override {
        is_woken_.store(true, std::memory_order_release);
        system::event_raise(waker_.get());
    }

  private:
    struct source {
        int fd = -1;
        source_options options{};
        int pending_error = 0;  // taken from the socket, not yet reported
        bool is_used = false;
        bool is_detached = false;
        bool is_paused = false;
        bool is_starved = false;
        bool wants_writable = false;
    };

    // Rules 1 and 2.
    void check_caller() const {
        QUOIT_ASSERT(turned_by_ == std::thread::id{} || turned_by_ == std::this_thread::get_id(),
                     "a backend was used by another thread than the one that turns it");
        QUOIT_ASSERT(!is_delivering_, "deliver() called back into its backend");
    }
    [[nodiscard]] buffer_pool* pool_of(const source_options& options) const noexcept {
        return pools_[static_cast<std::size_t>(options.pool)];
    }

    void leave_line(std::uint32_t index) {
        source& one = sources_[index];
        one.is_starved = false;
        std::erase(starved_[static_cast<std::size_t>(one.options.pool)], index);
    }

    void collect() {
        for (source& one : sources_) {
            if (!one.is_used || !one.is_detached) continue;
            emit(one, {.kind = event_kind::detached});
            one.is_used = false;
        }
        // Those whose turn has come go before those that never waited.
        for (const std::uint32_t index : std::exchange(rearmed_, {}))
            receive(index);
        for (std::uint32_t index = 0; index < sources_.size(); ++index) {
            source& one = sources_[index];
            if (one.is_used && one.wants_writable && net_.look(one.fd).is_writable) {
                one.wants_writable = false;
                emit(one, {.kind = event_kind::writable});
            }
            receive(index);
        }
    }

    void receive(std::uint32_t index) {
        source& one = sources_[index];
        const auto pool = static_cast<std::size_t>(one.options.pool);
        if (!one.is_used || one.is_detached || one.is_paused || one.is_starved) return;
        for (std::size_t count = 0; count < datagrams_per_turn;) {
            if (!net_.look(one.fd).is_readable) break;
            if (free_[pool].empty()) {
                one.is_starved = true;
                starved_[pool].push_back(index);
                ++ledger_.starved;
                emit(one, {.kind = event_kind::starved});
                return;
            }
            const auto got = net_.receive(one.fd);
            if (got) {
                fill(one, *got);
                ++count;
            } else if (got.error() != -EAGAIN) {
                one.pending_error = -got.error();  // reported behind what is queued
            }
        }
        if (one.pending_error != 0 && net_.queued(one.fd) == 0) {
            emit(one, {.value = static_cast<std::uint32_t>(std::exchange(one.pending_error, 0)),
                       .kind = event_kind::failed});
            ++ledger_.rearmed_error;
        }
    }

    void fill(const source& one, const fake_network::arrival& what) {
        auto& free = free_[static_cast<std::size_t>(one.options.pool)];
        const std::uint32_t buffer = free.back();
        free.pop_back();
        const buffer_pool& pool = *pool_of(one.options);
        const message_layout layout = one.options.layout;
        pool.unpoison(buffer);
        std::byte* const data = pool.data(buffer);

        // As recvmsg(2): lengths are what there was for the name and the payload (MSG_TRUNC), and
        // what was written for the control messages.
        const socket_address name(what.from);
        std::memcpy(data + message_layout::header_size, name.get(),
                    std::min<std::size_t>(name.size(), layout.name_size));
        const bool is_control_cut = what.control.size() > layout.control_size;
        const std::size_t control_size = is_control_cut ? 0 : what.control.size();
        std::copy_n(what.control.data(), control_size, data + layout.control_offset());
        const std::size_t room = pool.stride() - layout.payload_offset();
        const std::size_t size = std::min(room, what.payload.size());
        std::copy_n(what.payload.data(), size, data + layout.payload_offset());

        const message_header header{
            .name_size = name.size(),
            .control_size = static_cast<std::uint32_t>(control_size),
            .payload_size = static_cast<std::uint32_t>(what.payload.size()),
            .flags = static_cast<std::uint32_t>((size < what.payload.size() ? MSG_TRUNC : 0) |
                                                (is_control_cut ? MSG_CTRUNC : 0))};
        std::memcpy(data, &header, sizeof header);
        const auto length = static_cast<std::uint32_t>(layout.payload_offset() + size);
        emit(one, {.buffer = buffer,
                   .value = length,
                   .segment = one.options.has_gro ? segment_of(pool.used(buffer, length), layout)
                                                  : std::uint16_t{0},
                   .kind = event_kind::datagram});
        ++ledger_.completions;
    }

    void emit(const source& one, event what) {
        what.tag = one.options.tag;
        what.pool = one.options.pool;
        events_.push_back(what);
    }

    void deliver(event_sink& sink) {
        is_delivering_ = true;
        for (std::span<const event> left = events_; !left.empty();) {
            const auto batch = left.first(std::min(events_per_delivery, left.size()));
            sink.deliver(batch);
            left = left.subspan(batch.size());
        }
        is_delivering_ = false;
        events_.clear();
    }

    fake_network& net_;
    std::array<buffer_pool*, buffer_class_count> pools_;
    backend_ledger& ledger_;
    file_descriptor waker_;
    capabilities about_{
        .backend = backend::automatic, .reason = "a fake, in memory", .defer_taskrun = false};
    std::vector<source> sources_;
    std::array<std::vector<std::uint32_t>, buffer_class_count> free_;
    std::array<std::deque<std::uint32_t>, buffer_class_count> starved_;  // first in, first out
    std::vector<std::uint32_t> rearmed_;
    std::vector<event> events_;
    std::thread::id turned_by_;
    bool is_delivering_ = false;
    std::atomic<bool> is_woken_{false};
    static_assert(std::atomic<bool>::is_always_lock_free, "wake() is called by signal handlers");
};

}  // namespace

result<std::unique_ptr<io_backend>> make_fake_backend(const backend_options& options,
                                                      fake_network& net) {
    const int waker = system::event_open();
    if (waker < 0) {
        return failure(std::error_code(-waker, std::system_category()), "create an eventfd");
    }
    return std::make_unique<fake_backend>(options, net, file_descriptor(waker));
}

}  // namespace quoit::test
