// Which viewers are alike for a service, and which of them a change concerns.
#pragma once

#include <memory>
#include <vector>

#include "fleetmesh/state.hpp"

namespace fleetmesh {

// The viewers of one service, grouped by equal inputs: the same own Service as far as selection
// goes and the same records. One whose own rows are uneven (ServiceEntry) is a class by itself.
struct ServiceClasses {
  std::uint64_t class_version = 0;
  std::uint64_t topology_version = 0;
  std::vector<MemberSet> classes;  // by their lowest member
  MemberSet alone;                 // viewers that are a class by themselves, not among `classes`
  MemberSet listeners;             // viewers whom other members' records concern
};

// Whether a viewer's answer hangs on more than what its class has in common: it is a class by itself.
bool sees_alone(const ServiceSpec& spec, const MemberFacts& viewer);

std::shared_ptr<const ServiceClasses> classes_of(const State& state, const Mesh& mesh, ServiceId service);

// One class whose inputs changed, and which of its viewers that concerns.
struct DeltaEntry {
  ServiceId service = 0;
  MemberSet viewers;
};

// Every (service, class) whose answer may have changed; what isn't listed has not changed.
std::vector<DeltaEntry> entries_of(const Delta& delta, const Mesh& mesh);

}  // namespace fleetmesh
