// What the tables of all viewers of a mesh and its forks share. Nothing here keeps alive what nobody uses.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "fleetmesh/maglev.hpp"
#include "fleetmesh/selection.hpp"

namespace fleetmesh {

struct ClassSelections;

struct TableCaches {
  maglev::Tables tables;
  maglev::Shared<Selection> selections;
  std::mutex mutex;
  std::unordered_map<ServiceId, std::vector<std::weak_ptr<const ClassSelections>>> classes;
  std::size_t classes_limit = 64;
};

}  // namespace fleetmesh
