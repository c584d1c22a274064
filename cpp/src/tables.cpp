#include "fleetmesh/tables.hpp"

#include <stdexcept>

namespace fleetmesh {

std::shared_ptr<const Tables> Tables::of(std::shared_ptr<const Mesh> mesh, std::shared_ptr<const State> state,
                                         Viewer viewer, const TableOptions& options) {
  return std::shared_ptr<const Tables>(new Tables(std::move(mesh), std::move(state), viewer, options));
}

std::shared_ptr<const Tables> Tables::advance(std::shared_ptr<const State> state) const {
  auto next = std::shared_ptr<Tables>(new Tables(mesh_, std::move(state), viewer_, options_));
  const std::scoped_lock lock(mutex_);
  // What is gone for good leaves with the first generation that has fewer services than are remembered.
  if (compiled_.size() <= next->state_->services.size()) next->compiled_ = compiled_;
  return next;
}

const CompiledService* Tables::service(ServiceId service) const {
  const ServiceEntry* entry = state_->services.find(service);
  const Offer* offer = entry ? state_->offers.find({service, viewer_.cluster}) : nullptr;
  if (!offer || !offer->spec) return nullptr;
  const auto answer = [](const Compiled& compiled) {
    return compiled.service.frontends.empty() ? nullptr : &compiled.service;
  };
  const auto holds = [&](const Compiled& known) {
    if (known.topology_version != state_->topology_version) return false;
    return known.version == entry->version ||
           (known.own_version == offer->version && entry->covered.has(viewer_.cluster));
  };
  std::shared_ptr<const Compiled> older;
  {
    const std::scoped_lock lock(mutex_);
    if (const auto* known = compiled_.find(service)) {
      if (holds(**known)) return answer(**known);
      older = *known;
    }
  }
  auto fresh = compile(*mesh_, state_, viewer_, options_, service, *entry, *offer, older.get());
  const std::scoped_lock lock(mutex_);
  auto& place = compiled_[service];
  if (!place || !holds(*place)) place = std::move(fresh);  // else another thread was faster
  return answer(*place);
}

void Tables::require_comparable(const Tables& older) const {
  if (&older.mesh_->shared() != &mesh_->shared() || older.viewer_ != viewer_ || older.options_ != options_)
    throw std::invalid_argument("tables are compared with others of the same mesh, viewer and options only");
}

}  // namespace fleetmesh
