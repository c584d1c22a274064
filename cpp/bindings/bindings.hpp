// One register function for each subject; module.cpp calls them in turn.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "fleetmesh/ranges.hpp"
#include "fleetmesh/state.hpp"
#include "fleetmesh/tables.hpp"

namespace fleetmesh::bindings {

void register_build(pybind11::module_& module);
void register_maglev(pybind11::module_& module);
void register_policy(pybind11::module_& module);
void register_reachability(pybind11::module_& module);
void register_policy_tables(pybind11::module_& module);
void register_spec(pybind11::module_& module);
void register_mesh(pybind11::module_& module);
void register_snapshot(pybind11::module_& module);
void register_tables(pybind11::module_& module);
void register_datapath(pybind11::module_& module);
void register_wire(pybind11::module_& module);

// What a Service says, with names as strings: a spec that belongs to no mesh yet.
struct SpecArguments {
  using Frontend = std::tuple<int, bool, std::string, int, int, std::string>;

  bool is_global = false;
  bool shared = true;
  bool namespace_global = true;
  int affinity = 0;
  bool headless = false;
  bool external_name = false;
  bool record_valid = true;
  bool internal_local = false;
  bool external_local = false;
  int distribution = 0;
  std::uint32_t session_affinity_seconds = 0;
  std::vector<Frontend> frontends;
  std::optional<std::vector<std::string>> exposed_on;
  std::uint64_t record_digest = 0;
  std::string created;
  std::vector<std::string> prefer_clusters;
  std::vector<std::pair<std::string, int>> cluster_weights;
  std::uint32_t min_local_backends = 1;

  bool operator==(const SpecArguments&) const = default;
};

// Throws std::invalid_argument for a number out of range or an address that can't be parsed.
std::shared_ptr<const ServiceSpec> to_spec(const SpecArguments& arguments, Interner& strings);
SpecArguments from_spec(const ServiceSpec& spec, const Interner& strings);

// A state of one mesh, as Python holds it.
struct Snapshot {
  std::shared_ptr<const State> state;
  std::shared_ptr<const Mesh> mesh;
};

// Of a service that anybody has ever named.
std::optional<ServiceId> service_id(const Snapshot& snapshot, const std::string& space,
                                    const std::string& name);

// Frontends by type, address, port, protocol and scope, as text: the order in which people read them.
std::vector<std::size_t> reading_order(const std::vector<FrontendSpec>& frontends);

// The tables of one viewer; keeps the mesh, whose names it needs.
struct PyTables {
  std::shared_ptr<const Tables> tables;
  Snapshot at;
};

// (address, prefix length, cluster id or identity) each.
using PrefixArguments = std::vector<std::tuple<std::string, int, std::uint32_t>>;

// Throws std::invalid_argument for what is no prefix.
std::vector<Prefix> prefixes_of(const PrefixArguments& arguments);

// Throws std::out_of_range if no member has the id.
ClusterId require_member(const State& state, long long id);

}  // namespace fleetmesh::bindings
