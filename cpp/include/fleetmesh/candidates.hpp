// Selectors that may select an identity, in one piece of memory, since each identity that comes is asked
// them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "fleetmesh/selector.hpp"

namespace fleetmesh::policy {

class Candidates {
 public:
  bool empty() const { return words_.empty(); }
  const std::uint32_t* words() const { return words_.data(); }

  // `guard`: a requirement that is known to hold of whoever is asked about; may be null.
  void add(SelectorId id, const Selector& selector, const Requirement* guard) {
    words_.push_back(id);
    const std::size_t length = words_.size();
    words_.push_back(0);
    for (const Requirement& each : selector) {
      if (&each == guard) continue;
      words_.push_back(static_cast<std::uint32_t>(each.any_of.size()) << 1U | each.negated);
      words_.insert(words_.end(), each.any_of.begin(), each.any_of.end());
    }
    words_[length] = static_cast<std::uint32_t>(words_.size() - length - 1);
  }

  void remove(SelectorId id) {
    for (auto at = words_.begin(); at != words_.end(); at += 2 + at[1]) {
      if (*at != id) continue;
      words_.erase(at, at + 2 + at[1]);
      return;
    }
  }

  // Appends those that select whoever has the terms of which `has` is true.
  template <class Has>
  void select(Has has, std::vector<SelectorId>& into) const {
    for (const std::uint32_t *at = words_.data(), *const end = at + words_.size(); at != end; at += 2 + at[1])
      if (holds(at + 2, at + 2 + at[1], has)) into.push_back(*at);
  }

 private:
  template <class Has>
  static bool holds(const std::uint32_t* at, const std::uint32_t* end, Has has) {
    while (at != end) {
      const bool negated = *at & 1U;
      const std::uint32_t* const next = at + 1 + (*at >> 1U);
      if (std::any_of(at + 1, next, has) == negated) return false;
      at = next;
    }
    return true;
  }

  // Of each: its number, how many words follow, and of each requirement whether it is negated, how many terms
  // it has, and those.
  std::vector<std::uint32_t> words_;
};

}  // namespace fleetmesh::policy
