// Services of one member that claim the same frontend address.
#include <algorithm>
#include <map>
#include <set>

#include "fleetmesh/merge.hpp"

namespace fleetmesh {
namespace {

ClaimKey claim_of(ClusterId viewer, const FrontendSpec& frontend) {
  return {viewer, frontend.address, frontend.port, frontend.protocol, frontend.internal, 0};
}

// Calls `visit(service, since)` for each service that claims the address of `key`.
template <class Visit>
void each_claimant(const State& state, const ClaimKey& key, Visit visit) {
  for (auto at = state.claims.lower_bound(key); at; at.next()) {
    ClaimKey same = at.key();
    same.service = 0;
    if (same != key) return;
    visit(at.key().service, at.value());
  }
}

}  // namespace

bool contested(const State& state, ClusterId viewer, ServiceId service, const ServiceSpec& spec) {
  for (const auto& frontend : spec.frontends) {
    bool other = false;
    each_claimant(state, claim_of(viewer, frontend),
                  [&](ServiceId claimant, Revision) { other = other || claimant != service; });
    if (other) return true;
  }
  return false;
}

// Cilium refuses a service whole if one of its frontends belongs to another (writer.go,
// validateFrontends). From scratch: in the order in which services began to claim a contested
// address. Strict: the older Service keeps the address, the others lose that frontend only.
ServiceId Reader::conflict(ClusterId viewer, ServiceId service, const FrontendSpec& frontend,
                           StringId node) const {
  const auto exposed = [&](ServiceId claimant) {
    const ServiceSpec* spec = state_->spec(viewer, claimant);
    return spec && !spec->headless && spec->exposed(node);
  };
  if (strict_) {
    const auto age = [&](ServiceId claimant) {
      const std::string& created = state_->spec(viewer, claimant)->created;
      return std::tuple(created.empty(), created, shared_->services.name(claimant));
    };
    ServiceId oldest = service;
    each_claimant(*state_, claim_of(viewer, frontend), [&](ServiceId claimant, Revision) {
      if (exposed(claimant) && age(claimant) < age(oldest)) oldest = claimant;
    });
    return oldest == service ? 0 : oldest;
  }

  std::map<ServiceId, Revision> since;  // of all that the contest is about
  std::vector<ServiceId> open{service};
  since[service] = 0;
  while (!open.empty()) {
    const ServiceId here = open.back();
    open.pop_back();
    for (const auto& own : state_->spec(viewer, here)->frontends) {
      Revision claimed = 0;
      bool shared = false;
      each_claimant(*state_, claim_of(viewer, own), [&](ServiceId claimant, Revision revision) {
        if (claimant == here) claimed = revision;
        if (claimant == here || !exposed(claimant)) return;
        shared = true;
        if (since.try_emplace(claimant, 0).second) open.push_back(claimant);
      });
      if (shared) since[here] = std::max(since[here], claimed);
    }
  }
  if (since.size() == 1) return 0;
  std::vector<std::pair<Revision, ServiceId>> order;
  for (const auto& [claimant, revision] : since) order.emplace_back(revision, claimant);
  std::sort(order.begin(), order.end());
  std::map<ClaimKey, ServiceId> owners;
  for (const auto& [revision, claimant] : order) {
    ServiceId owner = 0;
    const auto& frontends = state_->spec(viewer, claimant)->frontends;
    for (const auto& own : frontends)
      if (const auto taken = owners.find(claim_of(viewer, own)); taken != owners.end()) owner = taken->second;
    if (claimant == service) return owner;
    if (owner) continue;
    for (const auto& own : frontends) owners.emplace(claim_of(viewer, own), claimant);
  }
  return 0;
}

}  // namespace fleetmesh
