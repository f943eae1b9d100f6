// SPDX-License-Identifier: MIT
//
// Owns a file descriptor: closes it when destroyed. Holds nothing (-1) when default-constructed,
// moved from or released. What the engine keeps its own descriptors in, and what those that a UNIX
// datagram brought come in (unix_datagram::take_descriptors()).
//
//   for (quoit::file_descriptor& file : datagram.take_descriptors()) use(file.get());
//
// Thread safety: none; one thread at a time.
// Errors: closing keeps errno and reports nothing. close(2) may fail on Linux, but the descriptor
// is gone even after EINTR or EIO, and closing again could close one that another thread has just
// been given. EBADF means that somebody else closed it, which is a bug (a debug assertion).
// Source: close(2), "Dealing with error returns from close()".
#pragma once

#include <quoit/detail/archive_version.hpp>

#include <utility>

namespace quoit {

class [[nodiscard]] file_descriptor {
  public:
    file_descriptor() noexcept = default;

    /// Takes ownership of `fd`; any negative value means none.
    explicit file_descriptor(int fd) noexcept : fd_(fd < 0 ? none : fd) {}

    file_descriptor(file_descriptor&& other) noexcept : fd_(other.release()) {}
    file_descriptor& operator=(file_descriptor&& other) noexcept {
        // Goes through a third object, so that moving to itself changes nothing.
        file_descriptor moved(std::move(other));
        std::swap(fd_, moved.fd_);
        return *this;
    }
    file_descriptor(const file_descriptor&) = delete;
    file_descriptor& operator=(const file_descriptor&) = delete;

    ~file_descriptor() { reset(); }

    /// Closes what is held, if anything.
    void reset() noexcept {
        if (is_open()) close_keeping_errno(release());
    }

    /// Closes what is held, if anything, and takes ownership of `fd`.
    /// REQUIRES: `fd` is not the descriptor held.
    void reset(int fd) noexcept { *this = file_descriptor(fd); }

    /// Gives up ownership: the caller closes. -1 if nothing was held.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, none); }

    /// The descriptor, still owned; -1 if nothing is held.
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] bool is_open() const noexcept { return fd_ != none; }
    [[nodiscard]] explicit operator bool() const noexcept { return is_open(); }

  private:
    static constexpr int none = -1;

    static void close_keeping_errno(int fd) noexcept;

    int fd_ = none;
};

}  // namespace quoit
