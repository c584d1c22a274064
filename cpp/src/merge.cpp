// The second half of a merge: which of the known backends serve a frontend.
#include "fleetmesh/merge.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

#include "fleetmesh/preference.hpp"

namespace fleetmesh {

struct Reader::Group {
  StringId node = 0;  // one that stands for all
  StringId zone = 0;
  std::vector<StringId> nodes;
};

struct Reader::Selection {
  std::vector<Rule> rules;           // beside the candidates
  std::vector<std::uint32_t> order;  // of the selected candidates
  std::uint32_t in_use = 0;
  std::uint32_t affinity_count = 0;  // healthy backends on the side that affinity prefers
  Preferred preferred;
};

const char* name_of(Rule rule) {
  switch (rule) {
    case Rule::in_use:
      return "in-use";
    case Rule::selected:
      return "selected";
    case Rule::no_service:
      return "no-service";
    case Rule::headless:
      return "headless";
    case Rule::node_exposure:
      return "node-exposure";
    case Rule::frontend_conflict:
      return "frontend-conflict";
    case Rule::not_heard:
      return "not-heard";
    case Rule::publisher_not_global:
      return "publisher-not-global";
    case Rule::publisher_not_shared:
      return "publisher-not-shared";
    case Rule::namespace_not_global:
      return "namespace-not-global";
    case Rule::record_refused:
      return "record-refused";
    case Rule::not_exported:
      return "not-exported";
    case Rule::viewer_not_global:
      return "viewer-not-global";
    case Rule::slice_overlap:
      return "slice-overlap";
    case Rule::shared_row:
      return "shared-row";
    case Rule::hidden_by_local:
      return "hidden-by-local";
    case Rule::ingress_dummy:
      return "ingress-dummy";
    case Rule::ipv6_disabled:
      return "ipv6-disabled";
    case Rule::family:
      return "family";
    case Rule::protocol:
      return "protocol";
    case Rule::port_name:
      return "port-name";
    case Rule::traffic_policy:
      return "traffic-policy";
    case Rule::same_node:
      return "same-node";
    case Rule::zone_hints:
      return "zone-hints";
    case Rule::affinity_local:
      return "affinity-local";
    case Rule::min_local:
      return "min-local-backends";
    case Rule::affinity_remote:
      return "affinity-remote";
    case Rule::preferred_cluster:
      return "preferred-cluster";
    case Rule::cluster_weights:
      return "cluster-weights";
  }
  return "";
}

namespace {

// The zones that hints name for a backend; none for an endpoint without a zone.
bool hinted(const Interner& strings, StringId zone) {
  return strings.text(zone).find('\0') != std::string::npos;
}

bool hinted_for(const Interner& strings, StringId backend_zone, StringId zone) {
  const std::string_view list = strings.text(backend_zone);
  const auto end = list.find('\0');
  return end != std::string_view::npos && list_holds(list.substr(end + 1), strings.text(zone));
}

std::size_t different_ports(const ServiceSpec& spec) {
  std::set<std::pair<std::uint8_t, StringId>> ports;
  for (const auto& frontend : spec.frontends) ports.emplace(frontend.protocol, frontend.port_name);
  return ports.size();
}

}  // namespace

Rule Reader::fit(const Candidate& c, const FrontendSpec& frontend, bool unnamed_remote_fits) const {
  if (c.address.family != frontend.address.family) return Rule::family;
  if (c.protocol != frontend.protocol) return Rule::protocol;
  if (frontend.port_name == 0 || c.names == frontend.port_name) return Rule::selected;
  const Interner& strings = shared_->strings;
  const bool named = c.names != 0 ? list_holds(strings.text(c.names), strings.text(frontend.port_name))
                                  : !c.remote || unnamed_remote_fits;
  return named ? Rule::selected : Rule::port_name;
}

Reader::Selection Reader::select(const std::vector<Candidate>& candidates, const ServiceSpec& spec,
                                 const MemberFacts& viewer, const FrontendSpec& frontend, StringId node,
                                 StringId zone) const {
  const Interner& strings = shared_->strings;
  Selection result;
  auto& rules = result.rules;
  rules.resize(candidates.size());
  const bool unnamed_remote_fits = !strict_ || different_ports(spec) == 1;
  const bool local_only = spec.local_only(frontend);

  const auto each_selected = [&](auto visit) {
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (rules[i] == Rule::selected) visit(candidates[i], rules[i]);
  };

  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    rules[i] = c.dropped;
    if (rules[i] != Rule::selected) continue;
    rules[i] = fit(c, frontend, unnamed_remote_fits);
  }

  const Distribution distribution = viewer.service_topology ? spec.distribution : Distribution::none;
  bool same_node = false;
  if (distribution == Distribution::same_node)
    each_selected([&](const Candidate& c, Rule&) {
      same_node = same_node || (c.node == node && c.state == BackendState::active);
    });
  if (same_node) {
    each_selected([&](const Candidate& c, Rule& rule) {
      if (c.node != node || c.state != BackendState::active) rule = Rule::same_node;
    });
  } else {
    if (local_only)
      each_selected([&](const Candidate& c, Rule& rule) {
        if (c.node != node && (c.node != 0 || strict_)) rule = Rule::traffic_policy;
      });
    if (distribution == Distribution::same_zone && zone != 0) {
      bool found = false;
      bool missing = false;
      each_selected([&](const Candidate& c, Rule&) {
        if (c.state != BackendState::active) return;
        if (hinted(strings, c.zone))
          found = found || hinted_for(strings, c.zone, zone);
        else
          missing = true;
      });
      if (found && !missing)
        each_selected([&](const Candidate& c, Rule& rule) {
          if (!hinted_for(strings, c.zone, zone)) rule = Rule::zone_hints;
        });
    }
  }

  if (!spec.is_global) {
    each_selected([&](const Candidate& c, Rule& rule) {
      if (c.remote) rule = Rule::viewer_not_global;
    });
  } else if (spec.affinity != Affinity::none) {
    std::uint32_t local = 0;
    std::uint32_t local_active = 0;
    std::uint32_t remote = 0;
    std::uint32_t remote_active = 0;
    each_selected([&](const Candidate& c, Rule&) {
      const bool active = c.state == BackendState::active;
      if (!active && c.state != BackendState::terminating) return;
      if (c.remote) {
        ++remote;
        remote_active += active;
      } else {
        ++local;
        local_active += active;
      }
    });
    if (spec.affinity == Affinity::local) {
      result.affinity_count = local_active;
      const bool enough = local_active > 0 && local_active >= spec.min_local_backends;
      const Rule kept_out = enough && spec.min_local_backends > 1 ? Rule::min_local : Rule::affinity_local;
      if (enough || remote == 0)
        each_selected([&](const Candidate& c, Rule& rule) {
          if (c.remote) rule = kept_out;
        });
    } else {
      // Cilium lets a remote backend that terminates keep out healthy own ones; a record says so only
      // in strict mode, and there such a backend drains.
      result.affinity_count = remote;
      if ((strict_ ? remote_active : remote) > 0 || local == 0)
        each_selected([&](const Candidate& c, Rule& rule) {
          if (!c.remote) rule = Rule::affinity_remote;
        });
    }
  }

  result.preferred = prefer_clusters(*state_, spec, candidates, rules);

  for (std::size_t i = 0; i < candidates.size(); ++i)
    if (rules[i] == Rule::selected) result.order.push_back(static_cast<std::uint32_t>(i));
  // Candidates are in order of address and port already (bpf_reconciler.go, sortedBackends).
  std::stable_sort(result.order.begin(), result.order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return candidates[a].state < candidates[b].state;
  });
  const auto count = [&](BackendState state) {
    return static_cast<std::uint32_t>(
        std::count_if(result.order.begin(), result.order.end(),
                      [&](std::uint32_t i) { return candidates[i].state == state; }));
  };
  result.in_use = count(BackendState::active);
  if (result.in_use == 0) result.in_use = count(BackendState::terminating);  // KEP-1669
  for (std::uint32_t i = 0; i < result.in_use; ++i) rules[result.order[i]] = Rule::in_use;
  return result;
}

StringId Reader::zone_of(ClusterId viewer, StringId node) const {
  const StringId* zone = state_->nodes.find({viewer, node});
  return zone ? *zone : 0;
}

std::vector<Reader::Group> Reader::groups(ClusterId viewer, ServiceId service, const ServiceSpec& spec,
                                          StringId node) const {
  const MemberFacts& here = *state_->members.find(viewer);
  const bool rivals = contested(*state_, viewer, service, spec);
  if (node != 0 || (!rivals && !spec.node_matters(here.service_topology)))
    return {{node, zone_of(viewer, node), {}}};

  std::set<StringId> with_rows;
  state_->each_row(service, viewer, [&](ClusterId, const RowKey& key, const Row& row) {
    if (key.has_port() && row.node != 0) with_rows.insert(row.node);
  });
  std::set<StringId> nodes = with_rows;
  for (auto at = state_->nodes.lower_bound({viewer, 0}); at && at.key().member == viewer; at.next())
    nodes.insert(at.key().node);
  if (nodes.empty()) nodes.insert(shared_->strings.id("node-1"));

  const bool each_alone = spec.exposed_on || rivals;
  std::map<std::pair<StringId, StringId>, Group> alike;  // by zone, and by node where that counts
  for (const StringId name : nodes) {
    const StringId zone = zone_of(viewer, name);
    Group& group = alike[{zone, each_alone || with_rows.contains(name) ? name : 0}];
    group.node = name;
    group.zone = zone;
    group.nodes.push_back(name);
  }
  std::vector<Group> result;
  for (auto& [key, group] : alike) result.push_back(std::move(group));
  return result;
}

std::vector<FrontendView> Reader::frontends(ClusterId viewer, ServiceId service, StringId node) const {
  std::vector<FrontendView> views;
  const ServiceSpec* spec = state_->spec(viewer, service);
  if (!spec || spec->headless || spec->frontends.empty()) return views;
  const MemberFacts& here = *state_->members.find(viewer);
  const auto candidates = collect(viewer, service, false);
  const auto alike = groups(viewer, service, *spec, node);
  const bool check_conflicts = contested(*state_, viewer, service, *spec);

  struct Use {
    std::vector<StringId> nodes;
    bool selected = false;
    bool in_use = false;
  };
  using Kind = std::tuple<Family, std::uint8_t, StringId, bool>;
  std::map<std::pair<Kind, std::size_t>, Selection> selections;  // by kind of frontend and group

  for (const auto& frontend : spec->frontends) {
    std::vector<Use> uses(candidates.size());
    bool exists = false;
    std::size_t seeing = 0;
    for (std::size_t g = 0; g < alike.size(); ++g) {
      const Group& group = alike[g];
      if (!spec->exposed(group.node)) continue;
      if (check_conflicts && conflict(viewer, service, frontend, group.node) != 0) continue;
      exists = true;
      seeing += group.nodes.size();
      const Kind kind{frontend.address.family, frontend.protocol, frontend.port_name,
                      spec->local_only(frontend)};
      auto known = selections.find({kind, g});
      if (known == selections.end())
        known = selections
                    .emplace(std::pair(kind, g),
                             select(candidates, *spec, here, frontend, group.node, group.zone))
                    .first;
      const Selection& selection = known->second;
      for (std::uint32_t rank = 0; rank < selection.order.size(); ++rank) {
        Use& use = uses[selection.order[rank]];
        use.selected = true;
        if (rank >= selection.in_use) continue;
        use.in_use = true;
        use.nodes.insert(use.nodes.end(), group.nodes.begin(), group.nodes.end());
      }
    }
    if (!exists) continue;
    FrontendView& view = views.emplace_back();
    view.frontend = frontend;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (!uses[i].selected) continue;
      view.in_use += uses[i].in_use;
      if (uses[i].nodes.size() == seeing) uses[i].nodes.clear();
      view.backends.push_back({candidates[i], std::move(uses[i].nodes)});
    }
    std::vector<std::size_t> of_backend;
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (uses[i].selected) of_backend.push_back(i);
    std::vector<std::size_t> order(view.backends.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::tuple(!uses[of_backend[a]].in_use, view.backends[a].backend.state) <
             std::tuple(!uses[of_backend[b]].in_use, view.backends[b].backend.state);
    });
    std::vector<BackendView> sorted;
    sorted.reserve(order.size());
    for (const std::size_t i : order) sorted.push_back(std::move(view.backends[i]));
    view.backends = std::move(sorted);
    share_by_cluster(*state_, *spec, view);
  }
  return views;
}

std::vector<BackendView> Reader::used(ClusterId viewer, ServiceId service, StringId node) const {
  const auto key = [](const BackendView& view) {
    const Candidate& c = view.backend;
    return std::tie(c.member, c.address, c.port, c.protocol);
  };
  std::vector<BackendView> all;
  for (auto& frontend : frontends(viewer, service, node)) {
    frontend.backends.resize(frontend.in_use);
    std::move(frontend.backends.begin(), frontend.backends.end(), std::back_inserter(all));
  }
  std::stable_sort(all.begin(), all.end(),
                   [&](const BackendView& a, const BackendView& b) { return key(a) < key(b); });
  std::vector<BackendView> result;
  for (auto& view : all) {
    if (result.empty() || key(result.back()) != key(view)) {
      result.push_back(std::move(view));
      continue;
    }
    auto& nodes = result.back().nodes;  // none: all of them, which no more can be added to
    if (nodes.empty() || view.nodes.empty()) {
      nodes.clear();
      continue;
    }
    nodes.insert(nodes.end(), view.nodes.begin(), view.nodes.end());
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  }
  return result;
}

std::vector<Verdict> Reader::verdicts(ClusterId viewer, ServiceId service, StringId node) const {
  std::vector<Verdict> verdicts;
  const auto candidates = collect(viewer, service, true);
  const ServiceSpec* spec = state_->spec(viewer, service);
  const Interner& strings = shared_->strings;
  const auto detail_of = [&](const Candidate& c, Rule rule, const Selection& selection) {
    switch (rule) {
      case Rule::shared_row:
        return strings.text(state_->members.find(static_cast<ClusterId>(c.detail))->name);
      case Rule::slice_overlap:
        return strings.text(c.detail);
      case Rule::port_name: {
        std::string names;
        for (const auto& name : strings.parts(c.names)) {
          if (!names.empty()) names += ',';
          names += name;
        }
        return names;
      }
      case Rule::affinity_local:
      case Rule::min_local:
      case Rule::affinity_remote:
        return std::to_string(selection.affinity_count);
      case Rule::preferred_cluster:
        return strings.text(selection.preferred.cluster) + ' ' + std::to_string(selection.preferred.healthy);
      case Rule::cluster_weights:
        return std::to_string(selection.preferred.healthy);
      default:
        return std::string();
    }
  };
  if (!spec || spec->headless || spec->frontends.empty()) {
    const Rule none = spec ? Rule::headless : Rule::no_service;
    for (const auto& c : candidates) {
      const Rule rule = c.dropped == Rule::selected ? none : c.dropped;
      verdicts.push_back({-1, c, rule, detail_of(c, rule, {})});
    }
    return verdicts;
  }
  const MemberFacts& here = *state_->members.find(viewer);
  auto alike = groups(viewer, service, *spec, node);
  // What is told is told of the first of them: by name, since nodes are numbered as they come.
  for (Group& group : alike)
    std::sort(group.nodes.begin(), group.nodes.end(),
              [&](StringId a, StringId b) { return strings.text(a) < strings.text(b); });
  std::sort(alike.begin(), alike.end(), [&](const Group& a, const Group& b) {
    return !a.nodes.empty() && !b.nodes.empty() &&
           strings.text(a.nodes.front()) < strings.text(b.nodes.front());
  });
  std::int32_t index = -1;
  for (const auto& frontend : spec->frontends) {
    std::vector<Verdict> best;
    Rule absent = Rule::node_exposure;
    ServiceId rival = 0;
    for (const Group& group : alike) {
      if (!spec->exposed(group.node)) continue;
      if (const ServiceId other = conflict(viewer, service, frontend, group.node)) {
        absent = Rule::frontend_conflict;
        rival = other;
        continue;
      }
      const auto selection = select(candidates, *spec, here, frontend, group.node, group.zone);
      const bool first = best.empty();
      if (first) ++index;
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        const Rule rule = selection.rules[i];
        if (first)
          best.push_back({index, candidates[i], rule, detail_of(candidates[i], rule, selection)});
        else if (rule == Rule::in_use || (rule == Rule::selected && best[i].rule != Rule::in_use))
          best[i] = {index, candidates[i], rule, ""};
      }
      if (first && candidates.empty()) break;
    }
    if (best.empty() && !candidates.empty()) {
      std::string other;
      if (rival) {
        const auto [space, name] = shared_->services.name(rival);
        other.append(space).append("/").append(name);
      }
      for (const auto& c : candidates)
        best.push_back({-1, c, c.dropped == Rule::selected ? absent : c.dropped,
                        c.dropped == Rule::selected ? other : detail_of(c, c.dropped, {})});
    }
    verdicts.insert(verdicts.end(), best.begin(), best.end());
  }
  return verdicts;
}

}  // namespace fleetmesh
