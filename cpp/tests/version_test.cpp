#include "fleetmesh/version.hpp"

#include <gtest/gtest.h>

#include <algorithm>

// CMake reads the version from pyproject.toml with a pattern: one that stops matching gives an empty string.
TEST(Version, HasThreeNumbers) {
  const std::string_view version = fleetmesh::version();

  EXPECT_EQ(std::count(version.begin(), version.end(), '.'), 2) << version;
  EXPECT_EQ(version.find_first_not_of("0123456789."), std::string_view::npos) << version;
}
