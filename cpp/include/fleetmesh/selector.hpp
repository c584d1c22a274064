// Selectors of identities, by statements on their labels.
#pragma once

#include <cstdint>
#include <vector>

namespace fleetmesh::policy {

// A statement on labels that is true of an identity or not, such as `k8s:app=web`; whoever makes identities
// and selectors numbers them alike, from 1.
using Term = std::uint32_t;
using SelectorId = std::uint32_t;

struct Requirement {
  bool negated = false;
  std::vector<Term> any_of;
  friend auto operator<=>(const Requirement&, const Requirement&) = default;
};
// All of them; without any it selects everything, aggregates included.
using Selector = std::vector<Requirement>;

}  // namespace fleetmesh::policy
