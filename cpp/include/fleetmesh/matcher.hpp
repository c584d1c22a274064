// Finds the selectors that select an identity by its terms.
#pragma once

#include <cstdint>
#include <vector>

#include "fleetmesh/candidates.hpp"
#include "fleetmesh/number_map.hpp"
#include "fleetmesh/selector.hpp"

namespace fleetmesh::policy {

// Of one thread.
class Matcher {
 public:
  // `guard`: a requirement of the selector, the rarer the better, of which whoever it selects has a term;
  // null where there is none. Terms of a requirement are sorted.
  void add(SelectorId id, const Selector& selector, const Requirement* guard);
  // `guard`: the same.
  void remove(SelectorId id, const Requirement* guard);
  // In ascending order.
  void match(const std::vector<Term>& terms, std::vector<SelectorId>& into);

 private:
  // Of 64 terms that selectors have.
  struct TermBits {
    std::uint64_t guards = 0;  // whether any selector is guarded by it
    std::uint64_t here = 0;    // whether whoever is asked about has it
  };
  Candidates& guarded_by(Term term);

  std::vector<TermBits> bits_;
  NumberMap places_;  // term -> place in guarded_
  std::vector<Candidates> guarded_;
  Candidates unguarded_;
};

}  // namespace fleetmesh::policy
