// What values of a store are made of, as Go writes it.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

namespace fleetmesh::wire {

// Whether it is UTF-8 as Unicode defines it: no surrogates, nothing longer than it has to be.
bool is_utf8(std::string_view text);

// Whether it is an IP address, written as Go's net/netip prints it.
bool is_canonical(std::string_view text);
// The same as Go's older net.IP prints it, which has no IPv4 addresses within IPv6.
bool is_canonical_ip(std::string_view text);

// Goes through a value from its front. What returns false has left it somewhere, and nothing more is read.
class Cursor {
 public:
  explicit Cursor(std::string_view value) : at_(value.data()), end_(value.data() + value.size()) {}

  bool done() const { return at_ == end_; }
  const char* place() const { return at_; }
  // What was passed since a place.
  std::string_view since(const char* place) const { return {place, static_cast<std::size_t>(at_ - place)}; }

  // Passes over exactly that; stays where it is if something else is there.
  bool skip(std::string_view text) {
    if (left() < text.size() || std::memcmp(at_, text.data(), text.size()) != 0) return false;
    at_ += text.size();
    return true;
  }

  // A text whose opening quote was passed, without escapes.
  bool text(std::string_view& into) {
    const char* first = at_;
    bool ascii = true;
    for (;;) {
      while (left() >= sizeof(std::uint64_t) && all_plain(at_)) at_ += sizeof(std::uint64_t);
      if (done()) return false;
      const auto byte = static_cast<unsigned char>(*at_);
      if (byte == '"') break;
      if (byte < 0x20 || byte == '\\') return false;
      ascii = ascii && byte < 0x80;
      ++at_;
    }
    into = since(first);
    ++at_;
    return ascii || is_utf8(into);
  }

  // A number that is no less than 0, without leading zeros, and no more than its type holds.
  template <class Number>
  bool number(Number& into) {
    static_assert(sizeof(Number) < sizeof(std::uint64_t));
    const char* first = at_;
    std::uint64_t read = 0;
    while (!done() && *at_ >= '0' && *at_ <= '9') {
      read = read * 10 + static_cast<std::uint64_t>(*at_++ - '0');
      if (read > std::numeric_limits<Number>::max()) return false;
    }
    into = static_cast<Number>(read);
    const auto digits = at_ - first;
    return digits == 1 || (digits > 1 && *first != '0');
  }

  bool boolean(bool& into) {
    into = skip("true");
    return into || skip("false");
  }

  // A map, or null. Calls `read(key)` behind each key, to read what it has.
  template <class Read>
  bool map(Read read) {
    if (skip("{}") || skip("null")) return true;
    if (!skip("{")) return false;
    std::string_view last;
    for (bool first = true;; first = false) {
      std::string_view key;
      if (!skip("\"") || !text(key) || (!first && key <= last) || !skip(":") || !read(key)) return false;
      if (skip("}")) return true;
      if (!skip(",")) return false;
      last = key;
    }
  }

  // A list. Calls `read()` at each element.
  template <class Read>
  bool list(Read read) {
    if (skip("[]")) return true;
    if (!skip("[")) return false;
    for (;;) {
      if (!read()) return false;
      if (skip("]")) return true;
      if (!skip(",")) return false;
    }
  }

 private:
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }

  // Whether eight bytes are characters of ASCII which stand for themselves.
  static bool all_plain(const char* bytes) {
    constexpr std::uint64_t each = 0x0101010101010101;
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    // A byte that is less than what is taken from it, or has its upper bit, leaves that bit in some byte.
    const std::uint64_t found =
        word | (word - each * 0x20) | ((word ^ each * '"') - each) | ((word ^ each * '\\') - each);
    return !(found & each * 0x80);
  }

  const char* at_;
  const char* end_;
};

}  // namespace fleetmesh::wire
