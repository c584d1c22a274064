// The compile step: what one viewer decides with, made of what it sees.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "fleetmesh/compile.hpp"
#include "fleetmesh/state.hpp"

namespace fleetmesh {

// What one viewer decides with at one generation. Nobody can see it change; any thread may read it. A service
// is compiled when it is first asked for, once for all viewers that see the same.
class Tables {
 public:
  static std::shared_ptr<const Tables> of(std::shared_ptr<const Mesh> mesh,
                                          std::shared_ptr<const State> state, Viewer viewer,
                                          const TableOptions& options = {});

  // The same viewer at another state of the mesh or of a fork; what did not change is not compiled again.
  std::shared_ptr<const Tables> advance(std::shared_ptr<const State> state) const;

  std::uint64_t generation() const { return state_->generation; }
  ClusterId viewer() const { return viewer_.cluster; }
  StringId node() const { return viewer_.node; }
  const TableOptions& options() const { return options_; }

  // Null where the viewer has no frontend of the service; else valid as long as the tables are.
  const CompiledService* service(ServiceId service) const;

  // Calls visit(const CompiledService&) for each service of which the viewer has a frontend, in order of ids.
  template <class Visit>
  void each_service(Visit visit) const {
    for (auto at = state_->holdings.lower_bound({viewer_.cluster, 0});
         at && at.key().member == viewer_.cluster; at.next())
      if (const CompiledService* compiled = service(at.key().service)) visit(*compiled);
  }

  // Calls visit(ServiceId) for each service that is not the same in `older`, which is of the same viewer.
  template <class Visit>
  void changed_since(const Tables& older, Visit visit) const {
    const auto look = [&](ServiceId id) {
      const CompiledService* before = older.service(id);
      const CompiledService* after = service(id);
      if (before != after && !(before && after && *before == *after)) visit(id);
    };
    require_comparable(older);
    if (older.state_ == state_) return;
    if (older.state_->topology_version == state_->topology_version) {
      decltype(State::services)::compare(
          older.state_->services, state_->services,
          [](const ServiceEntry& a, const ServiceEntry& b) { return a.version == b.version; }, look);
      return;
    }
    std::set<ServiceId> all;
    for (const Tables* side : {&older, this})
      for (auto at = side->state_->holdings.lower_bound({viewer_.cluster, 0});
           at && at.key().member == viewer_.cluster; at.next())
        all.insert(at.key().service);
    for (const ServiceId id : all) look(id);
  }

 private:
  Tables(std::shared_ptr<const Mesh> mesh, std::shared_ptr<const State> state, Viewer viewer,
         const TableOptions& options)
      : mesh_(std::move(mesh)), state_(std::move(state)), viewer_(viewer), options_(options) {}
  // Throws std::invalid_argument for tables of another viewer, other options or another mesh.
  void require_comparable(const Tables& older) const;

  std::shared_ptr<const Mesh> mesh_;
  std::shared_ptr<const State> state_;
  Viewer viewer_;
  TableOptions options_;
  mutable std::mutex
      mutex_;  // guards what was compiled so far; what an earlier generation left is checked first
  mutable PersistentMap<ServiceId, std::shared_ptr<const Compiled>, 8, 8> compiled_;
};

}  // namespace fleetmesh
