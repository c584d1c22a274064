// From what a viewer sees of a service to what it decides with.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "fleetmesh/member_set.hpp"
#include "fleetmesh/selection.hpp"
#include "fleetmesh/state.hpp"

namespace fleetmesh {

struct CompiledFrontend {
  FrontendSpec frontend;
  std::shared_ptr<const Selection> selection;  // never null

  bool operator==(const CompiledFrontend&) const = default;
};

struct CompiledService {
  ServiceId service = 0;
  std::uint32_t affinity_seconds = 0;  // 0: no session affinity
  std::vector<CompiledFrontend> frontends;

  bool operator==(const CompiledService&) const = default;
};

// What all viewers of a class select, for each kind of frontend that they have.
struct ClassSelections {
  std::uint64_t version = 0;
  std::uint64_t topology_version = 0;
  TableOptions options;
  MemberSet viewers;
  bool disputed = false;  // between rows: then each viewer is asked alone, and there is nothing below
  std::vector<std::pair<FrontendSpec, std::shared_ptr<const Selection>>> of_kind;  // without address and port
};

// A service of one viewer, and how long that holds: while the service is of that version, or the viewer, who
// serves itself, has an offer of that version.
struct Compiled {
  CompiledService service;  // no frontends where the viewer has none
  std::uint64_t version = 0;
  std::uint64_t own_version = 0;  // 0: others matter
  std::uint64_t topology_version = 0;
  std::shared_ptr<const ClassSelections> of_class;  // kept for the others of the class
};

struct Viewer {
  ClusterId cluster = 0;
  StringId node = 0;  // 0: the cluster, as the union over its nodes

  bool operator==(const Viewer&) const = default;
};

// `older` is what the viewer had before, if anything: it saves work, and never changes the answer.
std::shared_ptr<const Compiled> compile(const Mesh& mesh, const std::shared_ptr<const State>& state,
                                        Viewer viewer, const TableOptions& options, ServiceId service,
                                        const ServiceEntry& entry, const Offer& offer, const Compiled* older);

}  // namespace fleetmesh
