// What this build was made from.
#include <pybind11/pybind11.h>

#include "bindings.hpp"
#include "fleetmesh/version.hpp"
#include "source_digest.hpp"

namespace fleetmesh::bindings {

void register_build(pybind11::module_& module) {
  module.attr("__version__") = std::string(version());
  module.attr("source_digest") = FLEETMESH_SOURCE_DIGEST;
}

}  // namespace fleetmesh::bindings
