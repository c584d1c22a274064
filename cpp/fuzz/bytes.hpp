// What a fuzzer's bytes are read with, and what it fails by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace fleetmesh::fuzz {

// Ends the run, which libFuzzer reports with the input.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Takes numbers from the front; past the end all are 0.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  std::size_t left() const { return left_; }

  std::uint8_t u8() {
    if (!left_) return 0;
    --left_;
    return *data_++;
  }
  std::uint16_t u16() {
    const auto high = u8();
    return static_cast<std::uint16_t>(high << 8U | u8());
  }
  std::uint32_t u32() {
    const std::uint32_t high = u16();
    return high << 16U | u16();
  }
  std::uint64_t u64() {
    const std::uint64_t high = u32();
    return high << 32U | u32();
  }
  std::string_view text(std::size_t size) {
    const std::size_t taken = size < left_ ? size : left_;
    const std::string_view result(reinterpret_cast<const char*>(data_), taken);
    data_ += taken;
    left_ -= taken;
    return result;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

}  // namespace fleetmesh::fuzz
