#include "fleetmesh/facts.hpp"

#include <algorithm>

namespace fleetmesh {

bool ServiceSpec::exposed(StringId node) const {
  return !exposed_on || std::find(exposed_on->begin(), exposed_on->end(), node) != exposed_on->end();
}

bool ServiceSpec::local_only(const FrontendSpec& frontend) const {
  if (frontend.internal || frontend.type == FrontendType::cluster_ip) return internal_local;
  return external_local;
}

bool ServiceSpec::node_matters(bool service_topology) const {
  return internal_local || external_local || exposed_on ||
         (distribution != Distribution::none && service_topology);
}

void Offer::count(const RowKey& key, const Row& row, bool added) {
  const std::uint32_t step = added ? 1U : ~0U;
  if (!key.has_port()) {
    portless += step;
    return;
  }
  if (!row.plain()) uneven += step;
  if (row.state != BackendState::active || row.ingress_dummy) return;
  for (std::size_t i = 0; i < std::min<std::size_t>(active_kinds, active.size()); ++i) {
    auto& kind = active[i];
    if (kind.names == row.names && kind.protocol == key.protocol && kind.family == key.family) {
      kind.active += step;
      return;
    }
  }
  if (!added || active_kinds > active.size()) return;
  if (active_kinds < active.size()) active[active_kinds] = {row.names, key.protocol, key.family, 1};
  ++active_kinds;
}

bool Offer::covered(const Interner& strings) const {
  if (!spec || spec->effective_affinity() != Affinity::local) return false;
  if (spec->internal_local || spec->external_local || spec->exposed_on ||
      spec->distribution != Distribution::none)
    return false;
  if (active_kinds > active.size() || (slices > 1 && uneven > 0)) return false;
  // An address in several slices is counted once in each.
  if (slices > 1 && spec->min_local_backends > 1) return false;
  for (const auto& frontend : spec->frontends) {
    std::uint32_t serving = 0;
    for (std::size_t i = 0; i < active_kinds; ++i) {
      const auto& kind = active[i];
      if (kind.protocol != frontend.protocol || kind.family != frontend.address.family) continue;
      const bool named = !frontend.port_name || !kind.names ||
                         list_holds(strings.text(kind.names), strings.text(frontend.port_name));
      // In several slices one address may have several names, of which only one list counts.
      if (!named && slices > 1) return false;
      if (named) serving += kind.active;
    }
    if (serving == 0 || serving < spec->min_local_backends) return false;
  }
  return true;
}

}  // namespace fleetmesh
