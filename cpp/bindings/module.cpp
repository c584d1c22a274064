#include <pybind11/pybind11.h>

#include "bindings.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "The core of fleetmesh: facts stored once, views by mask.";
  fleetmesh::bindings::register_build(module);
  fleetmesh::bindings::register_spec(module);
  fleetmesh::bindings::register_snapshot(module);
  fleetmesh::bindings::register_tables(module);
  fleetmesh::bindings::register_mesh(module);
  fleetmesh::bindings::register_maglev(module);
  fleetmesh::bindings::register_policy(module);
  fleetmesh::bindings::register_policy_tables(module);
  fleetmesh::bindings::register_datapath(module);
  fleetmesh::bindings::register_reachability(module);
  fleetmesh::bindings::register_wire(module);
}
