// Preference between clusters: which of them take new connections, and how much each.
//
// fleetmesh's own, by annotations of the viewer's Service (docs/preference.md); Cilium has nothing like
// it. What comes of it are plain weights and fewer backends, which any data path carries.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fleetmesh/merge.hpp"

namespace fleetmesh {

// What kept other clusters out.
struct Preferred {
  StringId cluster = 0;       // the one that is preferred; 0 where weights decided
  std::uint32_t healthy = 0;  // active backends of what is preferred
};

// Drops what is selected of clusters that are not to take new connections while others have active
// backends: of those after the first preferred one that has, then of those without a weight.
Preferred prefer_clusters(const State& state, const ServiceSpec& spec,
                          const std::vector<Candidate>& candidates, std::vector<Rule>& rules);

// Gives the backends in use weights by which each cluster gets its share. Nothing changes where fewer
// than two clusters are in use, or one without a share is.
void share_by_cluster(const State& state, const ServiceSpec& spec, FrontendView& view);

// Backends of clusters that share new connections.
struct Part {
  std::uint32_t share = 0;             // of the cluster, not 0
  std::vector<std::uint16_t> weights;  // of its backends among themselves, none of them 0
};

// Weights 1..65535 by which each part gets its share of all, divided within it by `weights`. They are
// exact where so small numbers can be, else a part's sum is off by at most one half, or by one for each
// backend whose due is less than one; backends of equal weight then differ by at most one. Their mean is
// at least 2 up to 32,767 backends, as below that Cilium takes all for equal (pkg/maglev/maglev.go).
std::vector<std::vector<std::uint16_t>> apportion(std::span<const Part> parts);

}  // namespace fleetmesh
