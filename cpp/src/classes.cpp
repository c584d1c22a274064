#include "fleetmesh/classes.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

namespace fleetmesh {

// For each member, who hears it.
struct Hearers {
  std::uint64_t topology_version = 0;
  std::vector<MemberSet> of;

  MemberSet any_of(const MemberSet& publishers) const {
    MemberSet result;
    publishers.each([&](ClusterId id) { result |= of[id]; });
    return result;
  }
};

namespace {

void put(std::string& key, std::uint64_t value) {
  key.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Everything of a spec that selection reads; addresses and types of frontends are not among it.
std::string selection_key(const ServiceSpec& spec) {
  std::string key;
  put(key, static_cast<std::uint64_t>(spec.effective_affinity()));
  std::set<std::tuple<Family, std::uint8_t, StringId>> kinds;
  for (const auto& frontend : spec.frontends)
    kinds.emplace(frontend.address.family, frontend.protocol, frontend.port_name);
  for (const auto& [family, protocol, name] : kinds)
    put(key, static_cast<std::uint64_t>(family) << 40 | std::uint64_t{protocol} << 32 | name);
  put(key, spec.prefer_clusters.size());
  for (const StringId cluster : spec.prefer_clusters) put(key, cluster);
  put(key, spec.cluster_weights.size());
  for (const auto& [cluster, weight] : spec.cluster_weights) put(key, std::uint64_t{weight} << 32 | cluster);
  return key;
}

bool listens(const ServiceSpec& spec, const MemberFacts& viewer) {
  if (spec.headless || spec.frontends.empty()) return false;
  // Hints of other members' backends count even where those are not used.
  return spec.is_global || (spec.distribution == Distribution::same_zone && viewer.service_topology);
}

std::shared_ptr<const ServiceClasses> work_out(const State& state, ServiceId service,
                                               const ServiceEntry& entry) {
  auto result = std::make_shared<ServiceClasses>();
  result->class_version = entry.class_version;
  result->topology_version = state.topology_version;
  std::map<std::string, std::size_t> known;
  entry.holders.each([&](ClusterId id) {
    const Offer& offer = *state.offers.find({service, id});
    if (!offer.spec) return;
    const MemberFacts& viewer = *state.members.find(id);
    if (sees_alone(*offer.spec, viewer)) {
      result->alone.add(id);
    } else {
      MemberSet inputs = viewer.hears;
      inputs.add(id);
      inputs &= entry.exporters;
      std::string key = selection_key(*offer.spec);
      for (const auto word : inputs.words()) put(key, word);
      const auto [at, fresh] = known.try_emplace(key, result->classes.size());
      if (fresh) result->classes.emplace_back();
      result->classes[at->second].add(id);
    }
    if (listens(*offer.spec, viewer)) result->listeners.add(id);
  });
  return result;
}

std::shared_ptr<const Hearers> hearers_of(const State& state, const Mesh& mesh) {
  Shared& shared = mesh.shared();
  {
    const std::scoped_lock lock(shared.classes_mutex);
    if (shared.hearers && shared.hearers->topology_version == state.topology_version) return shared.hearers;
  }
  auto fresh = std::make_shared<Hearers>();
  fresh->topology_version = state.topology_version;
  fresh->of.resize(std::size_t{mesh.capacity()} + 1);
  for (auto at = state.members.begin(); at; at.next())
    at.value().hears.each([&](ClusterId id) { fresh->of[id].add(at.key()); });
  const std::scoped_lock lock(shared.classes_mutex);
  shared.hearers = fresh;
  return fresh;
}

bool current(const ServiceClasses& classes, const State& state, const ServiceEntry& entry) {
  return classes.class_version == entry.class_version && classes.topology_version == state.topology_version;
}

}  // namespace

bool sees_alone(const ServiceSpec& spec, const MemberFacts& viewer) {
  return !spec.is_global || spec.affinity != Affinity::none || spec.node_matters(viewer.service_topology);
}

std::shared_ptr<const ServiceClasses> classes_of(const State& state, const Mesh& mesh, ServiceId service) {
  const ServiceEntry* entry = state.services.find(service);
  if (!entry) return std::make_shared<const ServiceClasses>();
  Shared& shared = mesh.shared();
  {
    const std::scoped_lock lock(shared.classes_mutex);
    const auto known = shared.classes.find(service);
    if (known != shared.classes.end() && current(*known->second, state, *entry)) return known->second;
  }
  auto fresh = work_out(state, service, *entry);
  const std::scoped_lock lock(shared.classes_mutex);
  shared.classes[service] = fresh;
  return fresh;
}

std::vector<DeltaEntry> entries_of(const Delta& delta, const Mesh& mesh) {
  std::vector<DeltaEntry> entries;
  const auto heard_before = hearers_of(*delta.before, mesh);
  const auto heard_after = hearers_of(*delta.after, mesh);
  for (const Touched& touched : delta.touched) {
    MemberSet concerned = touched.viewers;
    concerned |= heard_before->any_of(touched.records) | heard_after->any_of(touched.records);
    const ServiceEntry* old_entry = delta.before->services.find(touched.service);
    const ServiceEntry* new_entry = delta.after->services.find(touched.service);
    const auto after = classes_of(*delta.after, mesh, touched.service);
    const bool as_before = old_entry && current(*after, *delta.before, *old_entry);
    const auto before = as_before ? after : classes_of(*delta.before, mesh, touched.service);
    concerned &= before->listeners | after->listeners;
    if (old_entry && new_entry) concerned -= old_entry->covered & new_entry->covered;
    concerned |= touched.own;

    const auto add_each = [&](const MemberSet& viewers) {
      viewers.each([&](ClusterId id) {
        MemberSet one;
        one.add(id);
        entries.push_back({touched.service, one});
      });
    };
    const MemberSet uneven = new_entry ? new_entry->uneven : MemberSet();
    const MemberSet known = concerned & after->alone;
    add_each(known);
    MemberSet left = concerned - known;
    for (const auto& same : after->classes) {
      const MemberSet part = same & left;
      if (part.empty()) continue;
      left -= part;
      if (const MemberSet even = part - uneven; !even.empty()) entries.push_back({touched.service, even});
      add_each(part & uneven);
    }
    // Viewers that have no such Service any more.
    add_each(left & before->alone);
    for (const auto& same : before->classes)
      if (const MemberSet part = same & left; !part.empty()) entries.push_back({touched.service, part});
  }
  return entries;
}

}  // namespace fleetmesh
