// SPDX-License-Identifier: MIT
#include "standard_input.hpp"

#include "failure.hpp"
#include "line_splitter.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <semaphore>
#include <system_error>
#include <thread>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace quoit::program {

namespace {

constexpr std::size_t piece_size = 64UZ << 10U;

std::error_code last_error() { return {errno, std::system_category()}; }

}  // namespace

// Shared with what was posted to the loop, which may run after the owner has gone.
class standard_input::reader : public std::enable_shared_from_this<reader> {
  public:
    explicit reader(std::size_t line_size_max)
        : loop_(loop::current()), splitter_(line_size_max),
          wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (!wake_) throw run_error("cannot make an eventfd: " + last_error().message());
    }

    void start() {
        // A pointer: what the thread shares with it must not be destroyed by the thread itself.
        thread_ = std::thread([this] { run(); });
    }
    void end() {
        is_ending_.store(true, std::memory_order_relaxed);
        const std::uint64_t one = 1;
        (void)!::write(wake_.get(), &one, sizeof one);
        taken_.release();
        thread_.join();
    }

    // --- of the loop's thread ---

    task<result<std::vector<std::string>>> next() {
        if (!arrived_->is_set()) {
            const auto waited = co_await arrived_->wait();
            if (!waited) co_return std::unexpected(waited.error());
        }
        auto lines = std::exchange(arrived_lines_, {});
        if (arrived_end_) {
            is_over_ = true;
            if (*arrived_end_) co_return failure(*arrived_end_, "standard input");
        } else {
            arrived_.emplace();
            taken_.release();
        }
        co_return lines;
    }
    [[nodiscard]] bool is_over() const noexcept { return is_over_; }

  private:
    // --- of the reading thread ---

    void run() {
        std::optional<std::error_code> end;
        while (!end && wait_for_input()) {
            std::vector<std::string> lines;
            end = read_some(lines);
            if (lines.empty() && !end) continue;
            if (end && !*end) splitter_.finish(lines);
            loop_.post([self = shared_from_this(), lines = std::move(lines), end]() mutable {
                self->arrived_lines_ = std::move(lines);
                self->arrived_end_ = end;
                self->arrived_->set_value();
            });
            taken_.acquire();
        }
    }

    // False when this is to end.
    bool wait_for_input() {
        std::array<pollfd, 2> both{{{STDIN_FILENO, POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
        // What poll() refuses is left to read() to explain.
        while (::poll(both.data(), both.size(), -1) < 0 && errno == EINTR) {
        }
        return !is_ending_.load(std::memory_order_relaxed);
    }

    // Appends the lines that are whole. Whether that was all, and why: 0 for the end of the input.
    std::optional<std::error_code> read_some(std::vector<std::string>& lines) {
        const ssize_t size = ::read(STDIN_FILENO, piece_.data(), piece_.size());
        if (size == 0) return std::error_code();
        if (size < 0) {
            if (errno == EINTR || errno == EAGAIN) return std::nullopt;
            return last_error();
        }
        if (splitter_.push({piece_.data(), static_cast<std::size_t>(size)}, lines)) {
            return std::nullopt;
        }
        return std::make_error_code(std::errc::message_size);
    }

    loop& loop_;
    line_splitter splitter_;
    file_descriptor wake_;
    std::array<char, piece_size> piece_{};
    std::thread thread_;
    std::atomic<bool> is_ending_ = false;
    std::counting_semaphore<> taken_{0};
    // What the thread has posted; of the loop's thread.
    std::optional<future<>> arrived_{std::in_place};
    std::vector<std::string> arrived_lines_;
    std::optional<std::error_code> arrived_end_;
    bool is_over_ = false;
};

standard_input::standard_input(std::size_t line_size_max)
    : reader_(std::make_shared<reader>(line_size_max)) {
    reader_->start();
}

standard_input::~standard_input() { reader_->end(); }

task<result<std::vector<std::string>>> standard_input::next() { return reader_->next(); }

bool standard_input::is_over() const noexcept { return reader_->is_over(); }

}  // namespace quoit::program
