// What a viewer uses of a service: own backends and the records it hears, put together.
//
// The rules are those of Cilium 1.20 (pkg/clustermesh/{service_merger,selectbackends}.go,
// pkg/loadbalancer/writer/writer.go, pkg/loadbalancer/reconciler/bpf_reconciler.go), or in strict
// mode those of the specifications.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fleetmesh/state.hpp"

namespace fleetmesh {

// Why a backend is where it is.
enum class Rule : std::uint8_t {
  in_use,
  selected,  // without taking new connections
  no_service,
  headless,
  node_exposure,
  frontend_conflict,
  not_heard,
  publisher_not_global,
  publisher_not_shared,
  namespace_not_global,
  record_refused,
  not_exported,
  viewer_not_global,
  slice_overlap,
  shared_row,
  hidden_by_local,
  ingress_dummy,
  ipv6_disabled,
  family,
  protocol,
  port_name,
  traffic_policy,
  same_node,
  zone_hints,
  affinity_local,
  min_local,
  affinity_remote,
  preferred_cluster,
  cluster_weights,
};

const char* name_of(Rule rule);

// A backend as a viewer has it: own rows as they are, others as their record says.
struct Candidate {
  Address address;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  ClusterId member = 0;
  bool remote = false;
  BackendState state = BackendState::active;
  std::uint16_t weight = kDefaultWeight;
  StringId names = 0;
  StringId node = 0;
  StringId zone = 0;
  StringId slice = 0;
  Rule dropped = Rule::selected;  // `selected`: not dropped before frontends were looked at
  std::uint32_t detail = 0;       // of `dropped`: a cluster id or a slice

  bool operator==(const Candidate&) const = default;
};

struct BackendView {
  Candidate backend;
  std::vector<StringId> nodes;  // of the viewer, that have it in use; none: all of them
};

struct FrontendView {
  FrontendSpec frontend;
  std::vector<BackendView> backends;
  std::uint32_t in_use = 0;  // so many of the first take new connections
};

struct Verdict {
  std::int32_t frontend = -1;  // index into the frontends, -1 where there is none
  Candidate backend;
  Rule rule = Rule::selected;
  std::string detail;
};

// What a member publishes of one address.
struct RecordEntry {
  Address address;
  StringId hostname = 0;
  StringId zone = 0;
  std::vector<RowKey> ports;
  std::vector<Row> rows;  // beside `ports`
};

// Whether another service of the viewer claims one of the addresses.
bool contested(const State& state, ClusterId viewer, ServiceId service, const ServiceSpec& spec);

// Answers questions about one state. Cheap to make; safe to use from any thread.
class Reader {
 public:
  Reader(std::shared_ptr<const State> state, const Mesh& mesh)
      : state_(std::move(state)), shared_(&mesh.shared()), strict_(mesh.strict()) {}

  // `node` 0: the union over the viewer's nodes. Empty where the viewer has no such Service.
  std::vector<FrontendView> frontends(ClusterId viewer, ServiceId service, StringId node) const;
  // The union of what the viewer's frontends have in use, in order of cluster id, address, port, protocol.
  std::vector<BackendView> used(ClusterId viewer, ServiceId service, StringId node) const;
  std::vector<Verdict> verdicts(ClusterId viewer, ServiceId service, StringId node) const;
  // What the member's record of the service holds; false if it has none.
  bool record(ClusterId member, ServiceId service, std::vector<RecordEntry>& entries) const;
  // All that the viewer knows of, in order of member, address, port and protocol, if no rule has to choose
  // between rows of one member; else false. Rows of several members with one address and port are left to the
  // caller.
  bool undisputed(ClusterId viewer, ServiceId service, std::vector<Candidate>& candidates) const;
  // `selected` if the family, protocol and port name are those of the frontend.
  Rule fit(const Candidate& candidate, const FrontendSpec& frontend, bool unnamed_remote_fits) const;
  // Another service that keeps `frontend` from `service` on that node; 0 if there is none.
  ServiceId conflict(ClusterId viewer, ServiceId service, const FrontendSpec& frontend, StringId node) const;

 private:
  struct Group;      // of viewer nodes that see the same
  struct Selection;  // of backends for one kind of frontend

  Candidate known_as(const MemberFacts& here, bool mine, ClusterId member, const RowKey& key,
                     const Row& row) const;
  std::vector<Candidate> collect(ClusterId viewer, ServiceId service, bool explain) const;
  void settle_slices(std::vector<Candidate>& run, ServiceId service, bool whole_address) const;
  void settle_members(std::vector<Candidate>& candidates, ClusterId viewer, ServiceId service) const;
  Rule publisher_rule(ClusterId viewer, ClusterId publisher, ServiceId service) const;
  Revision arrival(ClusterId viewer, ClusterId publisher, ServiceId service) const;
  Revision slice_revision(ServiceId service, const Candidate& candidate) const;
  Selection select(const std::vector<Candidate>& candidates, const ServiceSpec& spec,
                   const MemberFacts& viewer, const FrontendSpec& frontend, StringId node,
                   StringId zone) const;
  std::vector<Group> groups(ClusterId viewer, ServiceId service, const ServiceSpec& spec,
                            StringId node) const;
  StringId zone_of(ClusterId viewer, StringId node) const;

  std::shared_ptr<const State> state_;
  Shared* shared_;
  bool strict_;
};

}  // namespace fleetmesh
