// The version of the library, as pyproject.toml has it.
#pragma once

#include <string_view>

namespace fleetmesh {

[[nodiscard]] std::string_view version() noexcept;

}  // namespace fleetmesh
