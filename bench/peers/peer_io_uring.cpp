// SPDX-License-Identifier: MIT
//
// peer_io_uring: one io_uring, as liburing 2.3 lets one use it. A multishot recvmsg fills a buffer
// ring; replies are SENDMSG entries pointing into the same buffers, submitted by the enter that
// waits for the next datagrams, so that a batch costs one system call. With --offload trains are
// received by UDP_GRO and sent back as one message with UDP_SEGMENT.
//
// The tuning, and what it rests on:
// - SINGLE_ISSUER and DEFER_TASKRUN: completions are made in our own enter, never by interrupting.
// - The file and the ring's own descriptor are registered.
// - Sends carry MSG_DONTWAIT and CQE_SKIP_SUCCESS: they finish inside the enter that submits them
//   and post nothing, so their buffers are free once the submission queue's head has passed them.
//   SUBMIT_ALL: one refused reply does not stop the batch.
// - A completion without IORING_CQE_F_MORE ends the multishot whatever its result says: an empty
//   datagram or a full completion queue ends it with success. Re-armed after the sends in hand
//   have given their buffers back, because arming on an empty ring fails at once with ENOBUFS.
// - Buffers circulate in turn, so their number times what a datagram touches should stay in the
//   L2 cache: 32 trains or 256 datagrams. Starts are an odd number of cache lines apart.
#include "peer.hpp"

#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include <liburing.h>
#include <netinet/udp.h>
#include <sys/mman.h>

namespace {

constexpr unsigned train_buffer_count = 32;
constexpr unsigned datagram_buffer_count = 256;
constexpr unsigned short buffer_group = 0;
constexpr int registered_file = 0;
constexpr std::size_t cache_line_size = 64;
// Header (16), name and control put the payload at offset 64; without control at offset 32.
constexpr socklen_t name_size_offload = 24;
constexpr socklen_t name_size_plain = 16;
constexpr std::size_t control_size = CMSG_SPACE(sizeof(int));
constexpr std::size_t overhead_max =
    sizeof(io_uring_recvmsg_out) + name_size_offload + control_size;
constexpr std::size_t buffer_size = peer::datagram_size_max + overhead_max;
constexpr std::size_t buffer_stride =
    ((buffer_size + cache_line_size - 1) / cache_line_size | 1U) * cache_line_size;

enum class tag : std::uint64_t { receive, send };

class ring {
  public:
    explicit ring(unsigned entries) {
        io_uring_params parameters{};
        parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                           IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
        constexpr unsigned completions_per_entry = 4;
        parameters.cq_entries = entries * completions_per_entry;
        const int result = ::io_uring_queue_init_params(entries, &ring_, &parameters);
        if (result < 0) peer::fail("cannot set up an io_uring", -result);
        ::io_uring_register_ring_fd(&ring_);  // an optimisation: works without
    }
    ~ring() { ::io_uring_queue_exit(&ring_); }
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;

    [[nodiscard]] io_uring* get() noexcept { return &ring_; }

  private:
    io_uring ring_{};
};

/// The ring of provided buffers and their memory. REQUIRES: outlives the io_uring it is given to.
class buffer_ring {
  public:
    explicit buffer_ring(unsigned count)
        : count_(count),
          memory_(new(std::align_val_t{cache_line_size}) char[buffer_stride * count]),
          entries_size_(count * sizeof(io_uring_buf)) {
        std::memset(memory_.get(), 0, buffer_stride * count);  // fault the pages in
        void* const mapped = ::mmap(nullptr, entries_size_, PROT_READ | PROT_WRITE,
                                    MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
        if (mapped == MAP_FAILED) peer::fail("mmap");
        entries_ = static_cast<io_uring_buf_ring*>(mapped);
        ::io_uring_buf_ring_init(entries_);
    }
    ~buffer_ring() { ::munmap(entries_, entries_size_); }
    buffer_ring(const buffer_ring&) = delete;
    buffer_ring& operator=(const buffer_ring&) = delete;

    /// Registers the ring and fills it.
    void give_to(io_uring* to) {
        io_uring_buf_reg registration{};
        registration.ring_addr = reinterpret_cast<std::uintptr_t>(entries_);
        registration.ring_entries = count_;
        registration.bgid = buffer_group;
        const int result = ::io_uring_register_buf_ring(to, &registration, 0);
        if (result < 0) peer::fail("cannot register a buffer ring", -result);
        for (unsigned i = 0; i < count_; ++i)
            add(i);
        publish();
    }
    [[nodiscard]] char* at(unsigned id) const noexcept {
        return memory_.get() + buffer_stride * id;
    }
    /// Visible to the kernel after publish().
    void add(unsigned id) noexcept {
        ::io_uring_buf_ring_add(entries_, at(id), buffer_size, static_cast<unsigned short>(id),
                                ::io_uring_buf_ring_mask(count_), added_);
        ++added_;
    }
    void publish() noexcept {
        ::io_uring_buf_ring_advance(entries_, added_);
        added_ = 0;
    }

  private:
    struct aligned_delete {
        void operator()(char* memory) const noexcept {
            ::operator delete[](memory, std::align_val_t{cache_line_size});
        }
    };

    unsigned count_;
    std::unique_ptr<char[], aligned_delete> memory_;
    std::size_t entries_size_;
    io_uring_buf_ring* entries_ = nullptr;
    int added_ = 0;
};

class server {
  public:
    server(const peer::command_line& line, bool is_offloading)
        : socket_(line.bind()),
          buffer_count_(is_offloading ? train_buffer_count : datagram_buffer_count),
          buffers_(buffer_count_), replies_(buffer_count_), ring_(buffer_count_ * 2) {
        buffers_.give_to(ring_.get());
        in_flight_.reserve(buffer_count_);
        format_.msg_namelen = is_offloading ? name_size_offload : name_size_plain;
        format_.msg_controllen = is_offloading ? control_size : 0;
        if (is_offloading) socket_.set(SOL_UDP, UDP_GRO, 1);
        const int fd = socket_.fd();
        const int result = ::io_uring_register_files(ring_.get(), &fd, 1);
        if (result < 0) peer::fail("cannot register the socket", -result);
        arm();
    }

    [[nodiscard]] const peer::bound_socket& socket() const noexcept { return socket_; }
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

    void turn() {
        if (is_ended_) {
            enter(0);
            arm();
        }
        enter(1);
        drain();
    }

  private:
    // A message and its iovec must stay where they are until the send has been submitted.
    struct reply {
        msghdr header;
        iovec payload;
    };

    void arm() {
        io_uring_sqe* const entry = next_entry();
        ::io_uring_prep_recvmsg_multishot(entry, registered_file, &format_, 0);
        entry->flags |= IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE;
        entry->buf_group = buffer_group;
        ::io_uring_sqe_set_data64(entry, static_cast<std::uint64_t>(tag::receive));
        is_ended_ = false;
    }

    // Twice as many entries as buffers: there is always one.
    io_uring_sqe* next_entry() {
        io_uring_sqe* const entry = ::io_uring_get_sqe(ring_.get());
        if (entry == nullptr) peer::fail("the submission queue is full", ENOSPC);
        return entry;
    }

    // Submits, waits for `count` completions, and takes back the buffers of what was sent.
    void enter(unsigned count) {
        const int result = ::io_uring_submit_and_wait(ring_.get(), count);
        if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY) {
            peer::fail("io_uring_enter", -result);
        }
        if (in_flight_.empty() || ::io_uring_sq_ready(ring_.get()) != 0) return;
        for (const unsigned id : in_flight_)
            buffers_.add(id);
        buffers_.publish();
        in_flight_.clear();
    }

    void drain() {
        unsigned head = 0;
        unsigned seen = 0;
        io_uring_cqe* completion = nullptr;
        io_uring_for_each_cqe(ring_.get(), head, completion) {
            ++seen;
            handle(*completion);
        }
        ::io_uring_cq_advance(ring_.get(), seen);
    }

    void handle(const io_uring_cqe& completion) {
        if (completion.user_data == static_cast<std::uint64_t>(tag::send)) {
            ++refused_;  // successes post nothing
            return;
        }
        if ((completion.flags & IORING_CQE_F_MORE) == 0) is_ended_ = true;
        if ((completion.flags & IORING_CQE_F_BUFFER) == 0) {
            if (completion.res != -ENOBUFS && completion.res != -EINTR) {
                peer::fail("recvmsg", -completion.res);
            }
            return;
        }
        send_back(completion.flags >> IORING_CQE_BUFFER_SHIFT, completion.res);
    }

    void send_back(unsigned id, int size) {
        in_flight_.push_back(id);
        io_uring_recvmsg_out* const out =
            ::io_uring_recvmsg_validate(buffers_.at(id), size, &format_);
        if (out == nullptr) return;
        reply& one = replies_[id];
        one.payload = {.iov_base = ::io_uring_recvmsg_payload(out, &format_),
                       .iov_len = ::io_uring_recvmsg_payload_length(out, size, &format_)};
        one.header = {};
        one.header.msg_name = ::io_uring_recvmsg_name(out);
        one.header.msg_namelen = sizeof(sockaddr_in);
        one.header.msg_iov = &one.payload;
        one.header.msg_iovlen = 1;
        add_segment_size(*out, one);

        io_uring_sqe* const entry = next_entry();
        ::io_uring_prep_sendmsg(entry, registered_file, &one.header, MSG_DONTWAIT | MSG_NOSIGNAL);
        entry->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
        ::io_uring_sqe_set_data64(entry, static_cast<std::uint64_t>(tag::send));
    }

    // Turns UDP_GRO's control message (an int) into UDP_SEGMENT's (a u16) where it lies; leaves it
    // out for a single datagram, on which some drivers refuse it.
    void add_segment_size(io_uring_recvmsg_out& out, reply& one) noexcept {
        cmsghdr* const control = ::io_uring_recvmsg_cmsg_firsthdr(&out, &format_);
        if (control == nullptr || control->cmsg_type != UDP_GRO) return;
        int segment = 0;
        std::memcpy(&segment, CMSG_DATA(control), sizeof segment);
        if (static_cast<std::size_t>(segment) >= one.payload.iov_len) return;
        const auto value = static_cast<std::uint16_t>(segment);
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof value);
        std::memcpy(CMSG_DATA(control), &value, sizeof value);
        one.header.msg_control = control;
        one.header.msg_controllen = CMSG_SPACE(sizeof value);
    }

    peer::bound_socket socket_;
    unsigned buffer_count_;
    buffer_ring buffers_;
    std::vector<reply> replies_;
    std::vector<unsigned> in_flight_;  // buffers whose reply is queued or being submitted
    msghdr format_{};
    std::uint64_t refused_ = 0;
    bool is_ended_ = false;
    ring ring_;  // goes first: nothing the kernel may still use goes before it
};

void serve(const peer::command_line& line, bool is_offloading) {
    const peer::stop_signal stop(line.duration_s());
    server one(line, is_offloading);
    peer::announce(one.socket());
    while (!stop.is_requested())
        one.turn();
    peer::report_refused(one.refused());
}

}  // namespace

int main(int argument_count, char** arguments) {
    peer::command_line line("Echo server: io_uring, multishot recvmsg and SENDMSG entries.");
    bool is_offloading = false;
    line.app().add_flag("--offload", is_offloading, "UDP_GRO and UDP_SEGMENT");
    return peer::run_main(line, argument_count, arguments, [&] { serve(line, is_offloading); });
}
