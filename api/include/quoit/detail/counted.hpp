// SPDX-License-Identifier: MIT
//
// counted_ptr: a pointer that keeps its object alive by the object's own retain() and release().
// For what lives on a loop's thread, whose counts are plain integers.
//
// Thread safety: that of the object's retain() and release(): one thread.
#pragma once

#include <utility>

namespace quoit::detail {

template <class T>
class counted_ptr {
  public:
    counted_ptr() noexcept = default;
    explicit counted_ptr(T* object) noexcept : object_(object) {
        if (object_ != nullptr) object_->retain();
    }
    counted_ptr(const counted_ptr& other) noexcept : counted_ptr(other.object_) {}
    counted_ptr(counted_ptr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    counted_ptr& operator=(counted_ptr other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~counted_ptr() {
        if (object_ != nullptr) object_->release();
    }

    [[nodiscard]] T* get() const noexcept { return object_; }
    T* operator->() const noexcept { return object_; }
    T& operator*() const noexcept { return *object_; }
    [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }

  private:
    T* object_ = nullptr;
};

}  // namespace quoit::detail
