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

constexpr std::size_t kAhead = 16;  // so many changes are fetched before the first of them is made

std::uint64_t mix(std::uint64_t seed, std::uint64_t value) {
  std::uint64_t z = (seed ^ value) + 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

// Of a row as its record has it; records of equal rows in any order have equal sums.
std::uint64_t record_hash(const RowKey& key, const Row& row, bool strict) {
  if (!row.exportable) return 0;
  std::uint64_t hash = mix(static_cast<std::uint64_t>(key.address.family), key.address.high);
  hash = mix(hash, key.address.low);
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
  std::vector<ServiceId> services;
  for (auto at = state_.offers.lower_bound({id, 0}); at && at.key().member == id; at.next())
    services.push_back(at.key().service);
  for (const ServiceId service : services) {
    const OfferKey key{id, service};
    std::vector<RowKey> rows;
    state_.each_row(service, id, [&](const RowKey& row, const Row&) { rows.push_back(row); });
    for (const auto& row : rows) state_.rows.erase(row);
    std::vector<SliceKey> slices;
    for (auto at = state_.slices.lower_bound({service, id, 0});
         at && at.key().service == service && at.key().member == id; at.next())
      slices.push_back(at.key());
    for (const auto& slice : slices) state_.slices.erase(slice);
    const Offer before = *state_.offers.find(key);
    claim(id, service, before.spec, nullptr);
    if (before.exports()) touch(service).viewers |= listeners;
    const auto* const owned = state_.specs.find(key);
    const auto kept_until_settled = owned ? *owned : nullptr;
    state_.specs.erase(key);
    state_.offers[key] = Offer{};
    settle(key, before);
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
    for (auto at = state_.offers.lower_bound({id, 0}); at && at.key().member == id; at.next())
      if (at.value().exports()) touch(at.key().service).viewers.add(viewer);
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
  const OfferKey key{member, service};
  const Offer* known = state_.offers.find(key);
  const Offer before = known ? *known : Offer{};
  const bool same = before.spec && spec ? *before.spec == *spec : before.spec == spec.get();
  if (same) return;
  ++state_.revision;
  claim(member, service, before.spec, spec.get());
  const auto* const owned = state_.specs.find(key);
  const auto kept_until_settled = owned ? *owned : nullptr;
  if (spec)
    state_.specs[key] = spec;
  else
    state_.specs.erase(key);
  state_.offers[key].spec = spec.get();
  settle(key, before);
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
      renew({key.member, claimant});
      for (const auto& own : state_.spec(key.member, claimant)->frontends)
        open.push_back({key.member, own.address, own.port, own.protocol, own.internal, 0});
    }
  }
}

// Something else than its own facts changed what an offer means to its member.
void Transaction::renew(const OfferKey& key) {
  state_.services[key.service].version = state_.offers[key].version = ++shared().versions;
}

void Transaction::settle(const OfferKey& key, const Offer& before) {
  Offer& after = state_.offers[key];
  const bool had = before.exports();
  const bool has = after.exports();
  const bool record_changed =
      had != has || (has && (before.rows_digest != after.rows_digest ||
                             before.spec->record_digest != after.spec->record_digest));
  Touched& touched = touch(key.service);
  touched.own.add(key.member);
  if (record_changed) {
    touched.records.add(key.member);
    after.record_revision = state_.revision;
  }
  ServiceEntry& entry = state_.services[key.service];
  const bool held = after.spec || after.rows > 0 || after.portless > 0;
  entry.version = after.version = ++shared().versions;
  if (before.spec != after.spec || had != has) entry.class_version = entry.version;
  entry.holders.set(key.member, held);
  entry.exporters.set(key.member, has);
  entry.uneven.set(key.member, !after.even());
  entry.covered.set(key.member, after.covered(shared().strings));
  const bool nobody = entry.holders.empty();
  if (!held) state_.offers.erase(key);
  if (nobody) state_.services.erase(key.service);
}

Transaction::SliceRows Transaction::slice_rows(const SliceKey& key,
                                               const std::vector<EndpointFacts>& endpoints,
                                               const std::vector<PortFacts>& ports,
                                               std::uint16_t weight) const {
  Interner& strings = shared().strings;
  struct Names {
    std::vector<std::string> named;
    bool unnamed = false;
  };
  std::map<std::pair<std::uint8_t, std::uint16_t>, Names> by_port;
  for (const auto& port : ports) {
    Names& names = by_port[{port.protocol, port.port}];
    if (port.name.empty())
      names.unnamed = true;
    else
      names.named.push_back(port.name);
  }
  std::map<Address, const EndpointFacts*> by_address;  // the later one decides
  for (const auto& endpoint : endpoints)
    for (const auto& text : endpoint.addresses)
      if (const auto address = Address::parse(text)) by_address[*address] = &endpoint;

  SliceRows rows;
  rows.reserve(by_address.size() * by_port.size());
  for (auto& [port, names] : by_port) {
    std::sort(names.named.begin(), names.named.end());
    names.named.erase(std::unique(names.named.begin(), names.named.end()), names.named.end());
  }
  for (const auto& [address, endpoint] : by_address) {
    Row row;
    row.node = strings.id(endpoint->node);
    row.hostname = strings.id(endpoint->hostname);
    if (!endpoint->zone.empty()) {
      std::vector<std::string> zone{endpoint->zone};
      zone.insert(zone.end(), endpoint->for_zones.begin(), endpoint->for_zones.end());
      row.zone = strings.list(zone);
    }
    row.weight = weight;
    row.state = state_of(endpoint->conditions, weight == 0);
    row.exportable = endpoint->conditions & (kReady | kServing);
    // Records list an address without ports too, and so it hides the address in older slices.
    if (by_port.empty() && row.exportable)
      rows.emplace_back(RowKey{key.service, key.member, key.slice, address, 0, kNoProtocol}, row);
    for (const auto& [port, names] : by_port) {
      row.names = strings.list(names.named);
      row.unnamed = names.unnamed;
      row.ingress_dummy = address == kIngressDummy && port.second == kIngressDummyPort;
      rows.emplace_back(RowKey{key.service, key.member, key.slice, address, port.second, port.first}, row);
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

void Transaction::replace_slice(const SliceKey& key, const SliceRows& rows) {
  SliceRows old;
  RowKey from;
  from.service = key.service;
  from.member = key.member;
  from.slice = key.slice;
  for (auto at = state_.rows.lower_bound(from);
       at && at.key().service == key.service && at.key().member == key.member && at.key().slice == key.slice;
       at.next())
    old.emplace_back(at.key(), at.value());
  if (old == rows) return;

  ++state_.revision;
  const OfferKey offer_key{key.member, key.service};
  const Offer* known = state_.offers.find(offer_key);
  const Offer before = known ? *known : Offer{};
  Offer after = before;
  const bool strict = mesh_->strict();
  for (const auto& [row_key, row] : old) {
    after.count(row_key, row, false);
    after.rows_digest -= record_hash(row_key, row, strict);
  }
  for (const auto& [row_key, row] : rows) {
    after.count(row_key, row, true);
    after.rows_digest += record_hash(row_key, row, strict);
  }
  auto next = rows.begin();
  for (const auto& [row_key, row] : old) {
    while (next != rows.end() && next->first < row_key) ++next;
    if (next == rows.end() || next->first != row_key) state_.rows.erase(row_key);
  }
  for (const auto& [row_key, row] : rows) state_.rows[row_key] = row;
  if (rows.empty())
    state_.slices.erase(key);
  else
    state_.slices[key] = state_.revision;
  after.slices += (old.empty() ? 1U : 0U) - (rows.empty() ? 1U : 0U);
  state_.offers[offer_key] = after;
  settle(offer_key, before);
}

void Transaction::load(std::span<const BulkRow> rows) {
  require_open();
  std::vector<std::span<const BulkRow>> runs;  // of one offer each
  const auto offer_of = [](const BulkRow& row) { return std::tuple(row.key.service, row.key.member); };
  for (std::size_t at = 0; at < rows.size();) {
    std::size_t end = at + 1;
    while (end < rows.size() && offer_of(rows[end]) == offer_of(rows[at])) ++end;
    runs.push_back(rows.subspan(at, end - at));
    at = end;
  }
  // In order of keys neighbours in the maps are written one after the other.
  std::stable_sort(runs.begin(), runs.end(),
                   [&](const auto& a, const auto& b) { return offer_of(a.front()) < offer_of(b.front()); });
  for (std::size_t at = 0; at < runs.size(); ++at) {
    if (at % kAhead == 0) prefetch(std::span(runs).subspan(at, std::min(kAhead, runs.size() - at)));
    load_offer(runs[at]);
  }
}

// A large mesh doesn't fit into the cache, and changes are spread all over it.
void Transaction::prefetch(std::span<const std::span<const BulkRow>> runs) const {
  std::array<RowKey, kAhead> row_keys;
  std::array<OfferKey, kAhead> offer_keys;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    row_keys[i] = runs[i].front().key;
    offer_keys[i] = {row_keys[i].member, row_keys[i].service};
  }
  state_.rows.prefetch(row_keys, runs.size());
  state_.offers.prefetch(offer_keys, runs.size());
}

void Transaction::load_offer(std::span<const BulkRow> rows) {
  const RowKey& first = rows.front().key;
  require_member(first.member);
  ++state_.revision;
  const OfferKey offer_key{first.member, first.service};
  const Offer* known = state_.offers.find(offer_key);
  const Offer before = known ? *known : Offer{};
  Offer after = before;
  const bool strict = mesh_->strict();
  bool changed = false;
  for (const BulkRow& bulk : rows) {
    Row row;
    row.state = bulk.state;
    row.unnamed = true;
    row.exportable = bulk.state == BackendState::active || bulk.state == BackendState::terminating;
    const Row* old = state_.rows.find(bulk.key);
    if (bulk.remove ? !old : old && *old == row) continue;
    changed = true;
    if (old) {
      after.count(bulk.key, *old, false);
      after.rows_digest -= record_hash(bulk.key, *old, strict);
      --after.loaded;
    }
    if (bulk.remove) {
      state_.rows.erase(bulk.key);
      continue;
    }
    after.count(bulk.key, row, true);
    after.rows_digest += record_hash(bulk.key, row, strict);
    ++after.loaded;
    state_.rows[bulk.key] = row;
  }
  if (!changed) return;
  after.slices += (after.loaded > 0 ? 1U : 0U) - (before.loaded > 0 ? 1U : 0U);
  state_.offers[offer_key] = after;
  settle(offer_key, before);
}

Delta Transaction::commit() {
  require_open();
  zones_changed_.each([&](ClusterId member) {
    const MemberFacts* facts = state_.members.find(member);
    if (!facts) return;
    std::vector<OfferKey> concerned;
    for (auto at = state_.offers.lower_bound({member, 0}); at && at.key().member == member; at.next()) {
      const ServiceSpec* spec = at.value().spec;
      // Of services that contest an address each node has the one that is exposed there.
      if (!spec || (!spec->node_matters(facts->service_topology) &&
                    !contested(state_, member, at.key().service, *spec)))
        continue;
      concerned.push_back(at.key());
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
