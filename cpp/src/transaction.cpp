#include "fleetmesh/transaction.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <stdexcept>
#include <tuple>

#include "fleetmesh/merge.hpp"

namespace fleetmesh {
namespace {

// The dummy endpoint that Cilium's ingress and gateway controllers write; every agent ignores it in
// its own cluster (pkg/loadbalancer/reflectors/conversions.go).
constexpr Address kIngressDummy{Family::v4, 0, 0xC0C0C0C0};
constexpr std::uint16_t kIngressDummyPort = 9999;

constexpr std::size_t kAhead = 32;  // so many changes are fetched before the first of them is made

std::uint64_t mix(std::uint64_t seed, std::uint64_t value) {
  std::uint64_t z = (seed ^ value) + 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

// Of a row as its record has it; records of equal rows in any order have equal sums.
std::uint64_t record_hash(const RowKey& key, const Row& row, bool strict) {
  if (!row.exportable) return 0;
  std::uint64_t hash = mix(static_cast<std::uint64_t>(key.family), key.high);
  hash = mix(hash, key.low);
  hash = mix(hash, std::uint64_t{key.port} << 16 | std::uint64_t{key.protocol} << 1 | row.unnamed);
  hash = mix(hash, std::uint64_t{row.names} << 32 | row.zone);
  hash = mix(hash, row.hostname);
  if (strict) hash = mix(hash, std::uint64_t{row.weight} << 8 | static_cast<unsigned>(row.state));
  return hash;
}

// pkg/loadbalancer/reflectors/conversions.go, convertEndpoints.
BackendState state_of(std::uint8_t conditions, bool maintenance) {
  if (maintenance) return BackendState::maintenance;
  if (conditions & kReady) return BackendState::active;
  if (!(conditions & kTerminating)) return BackendState::maintenance;
  return conditions & kServing ? BackendState::terminating : BackendState::terminating_not_serving;
}

}  // namespace

Transaction::Transaction(std::shared_ptr<Mesh> mesh) : mesh_(std::move(mesh)) {
  bool writing = false;
  if (!mesh_->writing_.compare_exchange_strong(writing, true))
    throw std::logic_error("a mesh has one transaction at a time; commit or drop the other one");
  before_ = mesh_->state();
  state_ = *before_;
}

Transaction::~Transaction() {
  if (open_) mesh_->writing_.store(false);
}

void Transaction::require_open() const {
  if (!open_) throw std::logic_error("the transaction was committed; begin another one");
}

void Transaction::require_member(ClusterId id) const {
  require_open();
  if (!state_.members.find(id)) throw std::out_of_range("no member has cluster id " + std::to_string(id));
}

Touched& Transaction::touch(ServiceId service) {
  const auto [at, fresh] = touched_at_.try_emplace(service, touched_.size());
  if (fresh) touched_.emplace_back().service = service;
  return touched_[at->second];
}

void Transaction::join(ClusterId id, std::string_view name, bool enable_ipv6, bool service_topology) {
  require_open();
  if (id == 0 || id > mesh_->capacity())
    throw std::invalid_argument("cluster id " + std::to_string(id) + " is not within 1.." +
                                std::to_string(mesh_->capacity()));
  if (state_.members.find(id)) throw std::invalid_argument("cluster id " + std::to_string(id) + " is taken");
  MemberFacts& member = state_.members[id];
  member.name = shared().strings.id(name);
  member.enable_ipv6 = enable_ipv6;
  member.service_topology = service_topology;
  member.joined = ++state_.revision;
  state_.topology_version = ++shared().versions;
}

void Transaction::leave(ClusterId id) {
  require_member(id);
  ++state_.revision;
  MemberSet listeners;
  std::vector<ClusterId> others;
  for (auto at = state_.members.begin(); at; at.next())
    if (at.value().hears.has(id)) others.push_back(at.key());
  for (const ClusterId other : others) {
    listeners.add(other);
    state_.members[other].hears.remove(id);
  }
  std::vector<std::pair<ServiceId, std::shared_ptr<const ServiceSpec>>> held;
  for (auto at = state_.holdings.lower_bound({id, 0}); at && at.key().member == id; at.next())
    held.emplace_back(at.key().service, at.value());
  for (const auto& [service, spec] : held) {
    std::vector<SliceKey> slices;
    for (auto at = state_.slices.lower_bound({service, id, 0});
         at && at.key().service == service && at.key().member == id; at.next())
      slices.push_back(at.key());
    for (const auto& slice : slices) state_.slices.erase(slice);
    claim(id, service, spec.get(), nullptr);
    const OfferKey key{service, id};
    Offer& offer = state_.offers[key];
    const OfferSaid before(offer);
    if (before.exports) touch(service).viewers |= listeners;
    offer = {};
    settle(key, offer, before);
  }
  std::vector<NodeKey> nodes;
  for (auto at = state_.nodes.lower_bound({id, 0}); at && at.key().member == id; at.next())
    nodes.push_back(at.key());
  for (const auto& node : nodes) state_.nodes.erase(node);
  state_.members.erase(id);
  state_.topology_version = ++shared().versions;
}

void Transaction::hear(ClusterId viewer, const std::vector<ClusterId>& publishers) {
  require_member(viewer);
  MemberSet heard;
  for (const ClusterId publisher : publishers) {
    require_member(publisher);
    if (publisher != viewer) heard.add(publisher);
  }
  const MemberSet known = state_.members.find(viewer)->hears;
  if (heard == known) return;
  MemberFacts& member = state_.members[viewer];
  auto since = member.heard_since ? std::make_shared<std::vector<Revision>>(*member.heard_since)
                                  : std::make_shared<std::vector<Revision>>();
  since->resize(std::size_t{mesh_->capacity()} + 1);
  const Revision now = ++state_.revision;
  (heard - known).each([&](ClusterId id) { (*since)[id] = now; });
  member.hears = heard;
  member.heard_since = std::move(since);
  state_.topology_version = ++shared().versions;
  ((heard - known) | (known - heard)).each([&](ClusterId id) {
    for (auto at = state_.holdings.lower_bound({id, 0}); at && at.key().member == id; at.next())
      if (at.value() && at.value()->exports()) touch(at.key().service).viewers.add(viewer);
  });
}

void Transaction::set_node(ClusterId member, std::string_view node, std::string_view zone) {
  require_member(member);
  const NodeKey key{member, shared().strings.id(node)};
  const StringId zone_id = shared().strings.id(zone);
  if (const StringId* known = state_.nodes.find(key); known && *known == zone_id) return;
  ++state_.revision;
  state_.nodes[key] = zone_id;
  zones_changed_.add(member);
}

void Transaction::remove_node(ClusterId member, std::string_view node) {
  require_member(member);
  StringId id = 0;
  if (!shared().strings.find(node, id) || !state_.nodes.erase({member, id})) return;
  ++state_.revision;
  zones_changed_.add(member);
}

void Transaction::set_service(ClusterId member, std::string_view space, std::string_view name,
                              const std::shared_ptr<const ServiceSpec>& spec) {
  set_service(member, shared().services.id(space, name), spec);
}

void Transaction::set_service(ClusterId member, ServiceId service,
                              const std::shared_ptr<const ServiceSpec>& spec) {
  require_member(member);
  put_spec(member, service, spec);
}

void Transaction::remove_service(ClusterId member, std::string_view space, std::string_view name) {
  require_member(member);
  ServiceId service = 0;
  if (shared().services.find(space, name, service)) put_spec(member, service, nullptr);
}

void Transaction::put_spec(ClusterId member, ServiceId service,
                           const std::shared_ptr<const ServiceSpec>& spec) {
  const OfferKey key{service, member};
  const ServiceSpec* known = state_.spec(member, service);
  const bool same = known && spec ? *known == *spec : known == spec.get();
  if (same) return;
  ++state_.revision;
  claim(member, service, known, spec.get());
  Offer& offer = state_.offers[key];
  const OfferSaid before(offer);
  auto& holding = state_.holdings[{member, service}];
  const auto kept_until_settled = std::exchange(holding, spec);
  offer.spec = spec.get();
  settle(key, offer, before);
}

void Transaction::claim(ClusterId member, ServiceId service, const ServiceSpec* before,
                        const ServiceSpec* after) {
  const auto claims_of = [&](const ServiceSpec* spec) {
    std::vector<ClaimKey> claims;
    if (!spec) return claims;
    for (const auto& frontend : spec->frontends)
      claims.push_back(
          {member, frontend.address, frontend.port, frontend.protocol, frontend.internal, service});
    std::sort(claims.begin(), claims.end());
    claims.erase(std::unique(claims.begin(), claims.end()), claims.end());
    return claims;
  };
  const auto old_claims = claims_of(before);
  const auto new_claims = claims_of(after);
  for (const auto& key : old_claims) {
    touch_claimants(key);
    if (!std::binary_search(new_claims.begin(), new_claims.end(), key)) state_.claims.erase(key);
  }
  for (const auto& key : new_claims) {
    if (std::binary_search(old_claims.begin(), old_claims.end(), key)) continue;
    state_.claims[key] = state_.revision;
    touch_claimants(key);
  }
}

// Who is refused an address gives up the others that it claims, so that a contest reaches as far as claims
// are linked.
void Transaction::touch_claimants(const ClaimKey& key) {
  std::vector<ClaimKey> open{key};
  std::set<ServiceId> seen{key.service};
  while (!open.empty()) {
    ClaimKey from = open.back();
    open.pop_back();
    from.service = 0;
    for (auto at = state_.claims.lower_bound(from); at; at.next()) {
      ClaimKey same = at.key();
      same.service = 0;
      if (same != from) break;
      const ServiceId claimant = at.key().service;
      if (!seen.insert(claimant).second) continue;
      touch(claimant).own.add(key.member);
      renew({claimant, key.member});
      for (const auto& own : state_.spec(key.member, claimant)->frontends)
        open.push_back({key.member, own.address, own.port, own.protocol, own.internal, 0});
    }
  }
}

// Something else than its own facts changed what an offer means to its member.
void Transaction::renew(const OfferKey& key) {
  state_.services[key.service].version = state_.offers[key].version = ++shared().versions;
}

void Transaction::settle(const OfferKey& key, Offer& after, const OfferSaid& before) {
  const bool has = after.exports();
  const bool record_changed =
      before.exports != has || (has && (before.rows_digest != after.rows_digest ||
                                        before.spec->record_digest != after.spec->record_digest));
  Touched& touched = touch(key.service);
  touched.own.add(key.member);
  if (record_changed) {
    touched.records.add(key.member);
    after.record_revision = state_.revision;
  }
  ServiceEntry& entry = state_.services[key.service];
  entry.version = after.version = ++shared().versions;
  if (before.spec != after.spec || before.exports != has) entry.class_version = entry.version;
  if (!entry.holders.has(key.member)) state_.holdings[{key.member, key.service}];  // at least its key
  const bool held = after.held();
  entry.holders.set(key.member, held);
  entry.exporters.set(key.member, has);
  entry.uneven.set(key.member, !after.even());
  entry.covered.set(key.member, after.covered(shared().strings));
  if (held) return;
  if (entry.holders.empty()) state_.services.erase(key.service);
  state_.holdings.erase({key.member, key.service});
  state_.offers.erase(key);
}

Transaction::SliceRows Transaction::slice_rows(const SliceKey& key,
                                               const std::vector<EndpointFacts>& endpoints,
                                               const std::vector<PortFacts>& ports,
                                               std::uint16_t weight) const {
  Interner& strings = shared().strings;
  struct Names {
    std::vector<std::string> named;
    bool unnamed = false;
    StringId list = 0;
  };
  std::map<std::pair<std::uint8_t, std::uint16_t>, Names> by_port;
  for (const auto& port : ports) {
    Names& names = by_port[{port.protocol, port.port}];
    if (port.name.empty())
      names.unnamed = true;
    else
      names.named.push_back(port.name);
  }
  std::vector<std::pair<Address, const EndpointFacts*>> by_address;
  by_address.reserve(endpoints.size());
  for (const auto& endpoint : endpoints)
    for (const auto& text : endpoint.addresses)
      if (const auto address = Address::parse(text)) by_address.emplace_back(*address, &endpoint);
  std::stable_sort(by_address.begin(), by_address.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });

  SliceRows rows;
  rows.reserve(by_address.size() * by_port.size());
  for (auto& [port, names] : by_port) {
    std::sort(names.named.begin(), names.named.end());
    names.named.erase(std::unique(names.named.begin(), names.named.end()), names.named.end());
    names.list = strings.list(names.named);
  }
  for (std::size_t at = 0; at < by_address.size(); ++at) {
    const auto& [address, endpoint] = by_address[at];
    if (at + 1 < by_address.size() && by_address[at + 1].first == address) continue;  // the later one decides
    Row row;
    row.node = strings.id(endpoint->node);
    row.hostname = strings.id(endpoint->hostname);
    if (!endpoint->zone.empty()) row.zone = strings.list(endpoint->zone, endpoint->for_zones);
    row.weight = weight;
    row.state = state_of(endpoint->conditions, weight == 0);
    row.exportable = endpoint->conditions & (kReady | kServing);
    // Records list an address without ports too, and so it hides the address in older slices.
    if (by_port.empty() && row.exportable) rows.emplace_back(RowKey(key.slice, address, 0, kNoProtocol), row);
    for (const auto& [port, names] : by_port) {
      row.names = names.list;
      row.unnamed = names.unnamed;
      row.ingress_dummy = address == kIngressDummy && port.second == kIngressDummyPort;
      rows.emplace_back(RowKey(key.slice, address, port.second, port.first), row);
    }
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return rows;
}

void Transaction::set_slice(ClusterId member, std::string_view space, std::string_view service,
                            std::string_view slice, const std::vector<EndpointFacts>& endpoints,
                            const std::vector<PortFacts>& ports, std::uint16_t weight) {
  require_member(member);
  const SliceKey key{shared().services.id(space, service), member, shared().strings.id(slice)};
  replace_slice(key, slice_rows(key, endpoints, ports, weight));
}

void Transaction::remove_slice(ClusterId member, std::string_view space, std::string_view service,
                               std::string_view slice) {
  require_member(member);
  SliceKey key{0, member, 0};
  if (shared().services.find(space, service, key.service) && shared().strings.find(slice, key.slice))
    replace_slice(key, {});
}

void Transaction::set_numbered_slices(ClusterId member, std::string_view space, std::string_view service,
                                      const std::vector<SliceFacts>& slices, std::size_t before) {
  require_member(member);
  SliceKey key{shared().services.id(space, service), member, 0};
  for (std::size_t i = 0; i < std::max(slices.size(), before); ++i) {
    key.slice = shared().strings.id(std::to_string(i));
    const bool gone = i >= slices.size();
    replace_slice(key,
                  gone ? SliceRows() : slice_rows(key, slices[i].endpoints, slices[i].ports, kDefaultWeight));
  }
}

void Transaction::drop_row(Offer& offer, const RowKey& key, const Row& row) const {
  offer.count(key, row, false);
  offer.rows_digest -= record_hash(key, row, mesh_->strict());
}

void Transaction::put_row(Offer& offer, const RowKey& key, const Row& row) const {
  offer.count(key, row, true);
  offer.rows_digest += record_hash(key, row, mesh_->strict());
  offer.rows[key] = row;
}

void Transaction::replace_slice(const SliceKey& key, const SliceRows& rows) {
  const OfferKey offer_key{key.service, key.member};
  SliceRows old;
  RowKey from;
  from.slice = key.slice;
  if (const Offer* known = state_.offers.find(offer_key))
    for (auto at = known->rows.lower_bound(from); at && at.key().slice == key.slice; at.next())
      old.emplace_back(at.key(), at.value());
  if (old == rows) return;

  ++state_.revision;
  Offer& offer = state_.offers[offer_key];
  const OfferSaid before(offer);
  // Both are sorted, and mostly one endpoint of many is another.
  auto next = rows.begin();
  for (const auto& [row_key, row] : old) {
    for (; next != rows.end() && next->first < row_key; ++next) put_row(offer, next->first, next->second);
    if (next == rows.end() || next->first != row_key) {
      drop_row(offer, row_key, row);
      offer.rows.erase(row_key);
      continue;
    }
    if (next->second != row) {
      drop_row(offer, row_key, row);
      put_row(offer, row_key, next->second);
    }
    ++next;
  }
  for (; next != rows.end(); ++next) put_row(offer, next->first, next->second);
  if (rows.empty())
    state_.slices.erase(key);
  else
    state_.slices[key] = state_.revision;
  offer.slices += (old.empty() ? 1U : 0U) - (rows.empty() ? 1U : 0U);
  settle(offer_key, offer, before);
}

void Transaction::load(std::span<const BulkRow> rows) {
  require_open();
  std::vector<std::span<const BulkRow>> runs;  // of one offer each
  for (std::size_t at = 0; at < rows.size();) {
    std::size_t end = at + 1;
    while (end < rows.size() && rows[end].offer == rows[at].offer) ++end;
    runs.push_back(rows.subspan(at, end - at));
    at = end;
  }
  // In order of keys neighbours in the maps are written one after the other.
  std::stable_sort(runs.begin(), runs.end(),
                   [](const auto& a, const auto& b) { return a.front().offer < b.front().offer; });
  for (std::size_t at = 0; at < runs.size(); ++at) {
    if (at % kAhead == 0) prefetch(std::span(runs).subspan(at, std::min(kAhead, runs.size() - at)));
    load_offer(runs[at]);
  }
}

// A large mesh doesn't fit into the cache, and changes are spread all over it.
void Transaction::prefetch(std::span<const std::span<const BulkRow>> runs) const {
  std::array<OfferKey, kAhead> keys;
  for (std::size_t i = 0; i < runs.size(); ++i) keys[i] = runs[i].front().offer;
  state_.offers.prefetch(keys, runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (const Offer* offer = state_.offers.find(keys[i])) offer->rows.prefetch_top();
}

namespace {

// The row that a bulk load makes.
Row row_of(const BulkRow& bulk) {
  Row row;
  row.state = bulk.state;
  row.unnamed = true;
  row.exportable = bulk.state == BackendState::active || bulk.state == BackendState::terminating;
  return row;
}

}  // namespace

void Transaction::load_offer(std::span<const BulkRow> rows) {
  const OfferKey& key = rows.front().offer;
  require_member(key.member);
  const auto differs = [](const Row* old, const BulkRow& bulk) {
    return bulk.remove ? old != nullptr : !old || *old != row_of(bulk);
  };
  const Offer* known = state_.offers.find(key);
  auto at = std::find_if(rows.begin(), rows.end(), [&](const BulkRow& bulk) {
    return differs(known ? known->rows.find(bulk.key) : nullptr, bulk);
  });
  if (at == rows.end()) return;

  ++state_.revision;
  Offer& offer = state_.offers[key];
  const OfferSaid before(offer);
  const bool had_loaded = offer.loaded > 0;
  for (; at != rows.end(); ++at) {
    const Row* old = offer.rows.find(at->key);
    if (!differs(old, *at)) continue;
    if (old) {
      drop_row(offer, at->key, *old);
      --offer.loaded;
    }
    if (at->remove) {
      offer.rows.erase(at->key);
    } else {
      put_row(offer, at->key, row_of(*at));
      ++offer.loaded;
    }
  }
  offer.slices += (offer.loaded > 0 ? 1U : 0U) - (had_loaded ? 1U : 0U);
  settle(key, offer, before);
}

Delta Transaction::commit() {
  require_open();
  zones_changed_.each([&](ClusterId member) {
    const MemberFacts* facts = state_.members.find(member);
    if (!facts) return;
    std::vector<OfferKey> concerned;
    for (auto at = state_.holdings.lower_bound({member, 0}); at && at.key().member == member; at.next()) {
      const ServiceSpec* spec = at.value().get();
      // Of services that contest an address each node has the one that is exposed there.
      if (!spec || (!spec->node_matters(facts->service_topology) &&
                    !contested(state_, member, at.key().service, *spec)))
        continue;
      concerned.push_back({at.key().service, member});
    }
    for (const OfferKey& key : concerned) {
      touch(key.service).own.add(member);
      renew(key);
    }
  });
  ++state_.generation;
  auto after = std::make_shared<const State>(std::move(state_));
  {
    const std::scoped_lock lock(mesh_->mutex_);
    mesh_->state_ = after;
  }
  open_ = false;
  mesh_->writing_.store(false);
  return {std::move(before_), std::move(after), std::move(touched_)};
}

}  // namespace fleetmesh
