// Who can reach whom in a whole mesh: sources' classes x destinations' classes x spans of ports.
//
// Nothing is kept for pairs. A rule set says the same of everybody but its peers; pods about which the same
// is said, and of whom everybody says the same, are one class.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "fleetmesh/policy.hpp"
#include "fleetmesh/verdict_spans.hpp"

namespace fleetmesh::policy {

class PodClasses;

// Pods of one cluster that have the same identity, and that everybody takes for the same.
struct PodGroup {
  std::uint32_t cluster = 0;  // place of its cluster
  IdentityNumber number = 0;  // who it is to those who hear its cluster; the host: its node's network
  std::uint32_t eyes = 0;     // place of the eyes it sees others with
  std::uint32_t pods = 0;
  // What it is judged by; none refuses everything.
  const EndpointPolicy* policy = nullptr;
};

// For whom somebody takes the groups of each cluster, where that is not their own number.
struct Eyes {
  std::uint32_t cluster = 0;         // place of their own
  std::vector<std::uint32_t> looks;  // by place of a cluster: 0 their own numbers, else 1 + place of a look
};

// The number of each group of one cluster, in their order.
using Look = std::vector<IdentityNumber>;

struct Population {
  std::vector<std::uint32_t> clusters;  // ids, by place
  std::uint32_t cluster_shift = 16;
  std::vector<PodGroup> groups;
  std::vector<Eyes> eyes;
  std::vector<Look> looks;
};

// What a mesh says at one time: it does not follow what changes. Any number of threads may ask.
class Reachability {
 public:
  using ClassId = std::uint32_t;

  // Throws std::out_of_range if a place is none.
  Reachability(const Population& population, const Window& window);
  ~Reachability();
  Reachability(const Reachability&) = delete;
  Reachability& operator=(const Reachability&) = delete;

  // The class of each group. They are in the order of clusters, eyes and their first group.
  const std::vector<ClassId>& class_of() const;
  std::size_t classes() const;
  // What a list of spans is; throws std::out_of_range if there is none of that number.
  std::vector<Span> span_list(SpanLists::Id id) const;
  // How many different sides there are, and how many peers they name.
  std::pair<std::size_t, std::size_t> size() const;

  // Numbers of what the source's side and the destination's say; equal ones say the same.
  std::pair<std::uint32_t, std::uint32_t> sides(ClassId of) const;

  // Of pods of these classes, which are not one and the same pod.
  SpanLists::Id spans(ClassId source, ClassId destination);
  Outcome outcome(ClassId source, ClassId destination, PortKey key);
  // All destinations of a source, or all sources of a destination: classes by what becomes of connections.
  using Cells = std::vector<std::pair<SpanLists::Id, std::vector<ClassId>>>;
  Cells cells(ClassId of, Direction direction);

  // Somebody who need not be a pod.
  struct End {
    std::vector<IdentityNumber> numbers;  // for whom each of the eyes takes it
    bool judged = false;                  // whether it is in a cluster of the mesh, and if so:
    const EndpointPolicy* policy = nullptr;
    std::uint32_t eyes = 0;
  };
  // What becomes of connections from (egress) or to (ingress) it at one port, for each class.
  std::vector<Outcome> around(const End& end, Direction direction, PortKey key);
  std::vector<Outcome> around(ClassId end, Direction direction, PortKey key) const;

  // How many ordered pairs of different pods have each outcome, by its number.
  std::array<std::uint64_t, 3> count(PortKey key) const;

 private:
  std::vector<Outcome> outcomes(PortKey key) const;

  mutable std::mutex mutex_;  // of lists_, where new ones come as they are asked for
  SpanLists lists_;
  std::unique_ptr<const PodClasses> classes_;
};

}  // namespace fleetmesh::policy
