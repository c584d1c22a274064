// A set of members, by cluster id.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fleetmesh {

using ClusterId = std::uint16_t;  // 1..511

class MemberSet {
 public:
  bool has(ClusterId id) const { return (words_[id / 64U] >> (id % 64U)) & 1U; }
  void add(ClusterId id) { words_[id / 64U] |= std::uint64_t{1} << (id % 64U); }
  void remove(ClusterId id) { words_[id / 64U] &= ~(std::uint64_t{1} << (id % 64U)); }
  void set(ClusterId id, bool present) { present ? add(id) : remove(id); }

  bool empty() const {
    for (const auto word : words_)
      if (word) return false;
    return true;
  }

  std::size_t count() const {
    std::size_t total = 0;
    for (const auto word : words_) total += static_cast<std::size_t>(std::popcount(word));
    return total;
  }

  MemberSet& operator|=(const MemberSet& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
    return *this;
  }
  MemberSet& operator&=(const MemberSet& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
    return *this;
  }
  MemberSet& operator-=(const MemberSet& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
    return *this;
  }
  friend MemberSet operator&(MemberSet a, const MemberSet& b) { return a &= b; }
  friend MemberSet operator|(MemberSet a, const MemberSet& b) { return a |= b; }
  friend MemberSet operator-(MemberSet a, const MemberSet& b) { return a -= b; }
  bool operator==(const MemberSet&) const = default;

  // In ascending order.
  template <class Visit>
  void each(Visit visit) const {
    for (std::size_t i = 0; i < words_.size(); ++i)
      for (std::uint64_t word = words_[i]; word; word &= word - 1)
        visit(static_cast<ClusterId>(i * 64 + static_cast<std::size_t>(std::countr_zero(word))));
  }

  std::vector<ClusterId> list() const {
    std::vector<ClusterId> ids;
    each([&](ClusterId id) { ids.push_back(id); });
    return ids;
  }

  const std::array<std::uint64_t, 8>& words() const { return words_; }

 private:
  std::array<std::uint64_t, 8> words_{};
};

}  // namespace fleetmesh
