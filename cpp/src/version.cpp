#include "fleetmesh/version.hpp"

namespace fleetmesh {

std::string_view version() noexcept { return FLEETMESH_VERSION; }

}  // namespace fleetmesh
