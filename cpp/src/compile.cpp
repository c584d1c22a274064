#include "fleetmesh/compile.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include "fleetmesh/classes.hpp"
#include "fleetmesh/merge.hpp"
#include "fleetmesh/table_caches.hpp"

namespace fleetmesh {
namespace {

// What a frontend has in common with others that select the same, where nodes don't matter.
FrontendSpec kind_of(const FrontendSpec& frontend) {
  FrontendSpec kind;
  kind.protocol = frontend.protocol;
  kind.port_name = frontend.port_name;
  kind.address.family = frontend.address.family;
  return kind;
}

TableBackend table_backend(const Candidate& c) {
  return {c.address, c.port, c.protocol, c.member, c.state, c.weight};
}

// Which of these take new connections (as Reader::frontends): the active ones; if there are none, those that
// terminate.
void mark_in_use(std::vector<SelectionMaker::Item>& items) {
  for (const BackendState state : {BackendState::active, BackendState::terminating}) {
    bool any = false;
    for (auto& item : items) any |= item.in_use = item.backend.state == state;
    if (any) return;
  }
}

class Compilation {
 public:
  Compilation(const Mesh& mesh, const std::shared_ptr<const State>& state, Viewer viewer,
              const TableOptions& options, ServiceId service, const ServiceEntry& entry, const Offer& offer,
              const Compiled* older)
      : mesh_(mesh),
        state_(state),
        viewer_(viewer),
        options_(options),
        service_(service),
        entry_(entry),
        offer_(offer),
        spec_(*offer.spec),
        older_(older),
        caches_(*mesh.shared().tables) {}

  std::shared_ptr<const Compiled> run() {
    auto result = std::make_shared<Compiled>();
    result->version = entry_.version;
    if (entry_.covered.has(viewer_.cluster)) result->own_version = offer_.version;
    result->topology_version = state_->topology_version;
    result->service.service = service_;
    result->service.affinity_seconds = spec_.session_affinity_seconds;
    if (spec_.headless || spec_.frontends.empty()) return result;
    auto& frontends = result->service.frontends;
    if (shares()) {
      result->of_class = class_selections();
      if (!result->of_class->disputed) {
        frontends.reserve(spec_.frontends.size());
        for (const auto& frontend : spec_.frontends)
          frontends.push_back({frontend, of_kind(*result->of_class, frontend)});
        return result;
      }
    }
    select_alone(frontends);
    return result;
  }

 private:
  // Whether the viewer surely sees what the others of its class do, unless rows are disputed.
  bool shares() const {
    const MemberFacts& here = *state_->members.find(viewer_.cluster);
    if (sees_alone(spec_, here) || entry_.uneven.has(viewer_.cluster)) return false;
    const auto v6 = [](const FrontendSpec& frontend) { return frontend.address.family == Family::v6; };
    if (!here.enable_ipv6 && std::any_of(spec_.frontends.begin(), spec_.frontends.end(), v6)) return false;
    return !contested(*state_, viewer_.cluster, service_, spec_);
  }

  bool holds(const ClassSelections& known) const {
    return known.version == entry_.version && known.topology_version == state_->topology_version &&
           known.viewers.has(viewer_.cluster) && known.options == options_;
  }

  std::shared_ptr<const ClassSelections> class_selections() {
    {
      const std::scoped_lock lock(caches_.mutex);
      if (auto known = find()) return known;
    }
    auto fresh = std::make_shared<ClassSelections>();
    fresh->version = entry_.version;
    fresh->topology_version = state_->topology_version;
    fresh->options = options_;
    for (const auto& viewers : classes_of(*state_, mesh_, service_)->classes)
      if (viewers.has(viewer_.cluster)) fresh->viewers = viewers;
    fresh->disputed = !select_for_class(*fresh);
    if (fresh->disputed) fresh->of_kind.clear();

    const std::scoped_lock lock(caches_.mutex);
    if (auto known = find()) return known;
    auto& places = caches_.classes[service_];
    std::erase_if(places, [](const auto& place) { return place.expired(); });
    places.push_back(fresh);
    if (caches_.classes.size() > caches_.classes_limit) forget();
    return fresh;
  }

  std::shared_ptr<const ClassSelections> find() const {
    const auto at = caches_.classes.find(service_);
    if (at == caches_.classes.end()) return nullptr;
    for (const auto& place : at->second)
      if (auto known = place.lock(); known && holds(*known)) return known;
    return nullptr;
  }

  // Whenever the list has doubled, services that nobody uses any more leave it.
  void forget() {
    std::erase_if(caches_.classes, [](const auto& entry) {
      return std::all_of(entry.second.begin(), entry.second.end(),
                         [](const auto& place) { return place.expired(); });
    });
    caches_.classes_limit = std::max<std::size_t>(64, 2 * caches_.classes.size());
  }

  static const std::shared_ptr<const Selection>& of_kind(const ClassSelections& known,
                                                         const FrontendSpec& frontend) {
    const FrontendSpec kind = kind_of(frontend);
    return std::find_if(known.of_kind.begin(), known.of_kind.end(),
                        [&](const auto& entry) { return entry.first == kind; })
        ->second;
  }

  // False if rows are disputed.
  bool select_for_class(ClassSelections& result) const {
    const Reader reader(state_, mesh_);
    std::vector<Candidate> candidates;
    if (!reader.undisputed(viewer_.cluster, service_, candidates)) return false;
    std::set<std::pair<std::uint8_t, StringId>> ports;
    for (const auto& frontend : spec_.frontends) ports.emplace(frontend.protocol, frontend.port_name);
    // In strict mode an unnamed port means another thing at home than elsewhere.
    if (mesh_.strict() && ports.size() > 1 &&
        std::any_of(candidates.begin(), candidates.end(), [](const Candidate& c) { return c.names == 0; }))
      return false;
    std::vector<SelectionMaker::Item> items;
    items.reserve(candidates.size());
    for (const auto& frontend : spec_.frontends) {
      const FrontendSpec kind = kind_of(frontend);
      if (std::any_of(result.of_kind.begin(), result.of_kind.end(),
                      [&](const auto& entry) { return entry.first == kind; }))
        continue;
      items.clear();
      for (const Candidate& c : candidates)
        if (reader.fit(c, kind, true) == Rule::selected) items.push_back({table_backend(c), false});
      mark_in_use(items);
      auto selection = make(items, kind);
      if (!selection) return false;
      result.of_kind.emplace_back(kind, std::move(selection));
    }
    return true;
  }

  void select_alone(std::vector<CompiledFrontend>& frontends) const {
    const auto views = Reader(state_, mesh_).frontends(viewer_.cluster, service_, viewer_.node);
    const FrontendView* last = nullptr;  // mostly several frontends in turn select the same
    std::vector<SelectionMaker::Item> items;
    for (const auto& view : views) {
      const auto same = [](const BackendView& a, const BackendView& b) { return a.backend == b.backend; };
      if (!last || last->in_use != view.in_use ||
          !std::equal(last->backends.begin(), last->backends.end(), view.backends.begin(),
                      view.backends.end(), same)) {
        items.clear();
        for (std::uint32_t i = 0; i < view.backends.size(); ++i)
          items.push_back({table_backend(view.backends[i].backend), i < view.in_use});
        std::sort(items.begin(), items.end(),
                  [](const auto& a, const auto& b) { return by_cluster(a.backend, b.backend) < 0; });
        frontends.push_back({view.frontend, make(items, kind_of(view.frontend))});
      } else {
        frontends.push_back({view.frontend, frontends.back().selection});
      }
      last = &view;
    }
  }

  std::shared_ptr<const Selection> make(const std::vector<SelectionMaker::Item>& items,
                                        const FrontendSpec& kind) const {
    const Selection* like = nullptr;
    if (older_)
      for (const auto& known : older_->service.frontends)
        if (kind_of(known.frontend) == kind) like = known.selection.get();
    return SelectionMaker(mesh_.shared().tables, options_).make(items, like);
  }

  const Mesh& mesh_;
  const std::shared_ptr<const State>& state_;
  Viewer viewer_;
  const TableOptions& options_;
  ServiceId service_;
  const ServiceEntry& entry_;
  const Offer& offer_;
  const ServiceSpec& spec_;
  const Compiled* older_;
  TableCaches& caches_;
};

}  // namespace

std::shared_ptr<const Compiled> compile(const Mesh& mesh, const std::shared_ptr<const State>& state,
                                        Viewer viewer, const TableOptions& options, ServiceId service,
                                        const ServiceEntry& entry, const Offer& offer,
                                        const Compiled* older) {
  return Compilation(mesh, state, viewer, options, service, entry, offer, older).run();
}

}  // namespace fleetmesh
