// What one thread of a data path works on: the tables that all share, and its own.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <unordered_map>
#include <vector>

#include "family.hpp"
#include "fleetmesh/bounded_table.hpp"
#include "fleetmesh/datapath.hpp"
#include "fleetmesh/numbers.hpp"
#include "flow_cache.hpp"

// Beside their types, which are C's, so that BoundedTable finds them.
inline std::uint64_t expires(const fm_ct4_value& value) { return value.expires; }
inline std::uint64_t expires(const fm_ct6_value& value) { return value.expires; }
// Whether an affinity is over depends on its service.
inline std::uint64_t expires(const fm_affinity_value&) { return ~std::uint64_t{0}; }

namespace fleetmesh {

template <class F>
struct BackendRecord {
  struct Key {
    F::Stored address{};
    std::uint16_t port = 0;
    std::uint8_t protocol = 0;
    std::uint8_t pad = 0;
    friend bool operator==(const Key& a, const Key& b) { return std::memcmp(&a, &b, sizeof(Key)) == 0; }
  };
  Key key;
  F::Backend value{};
  std::array<std::uint32_t, 5> uses{};  // by state: a backend of several services is as good as the best says
  std::uint32_t used = 0;
  std::uint16_t weight = kDefaultWeight;

  bool lives() const { return used != 0; }
  static std::uint32_t hash(const Key& key) { return number_hash(key); }
};

template <class F>
struct FrontendRecord {
  struct Key : F::ServiceKey {
    friend bool operator==(const Key& a, const Key& b) { return std::memcmp(&a, &b, sizeof(Key)) == 0; }
  };
  Key key{};
  fm_service_value value{};  // both offsets are the frontend's place among those in force
  bool in_force = false;

  bool lives() const { return in_force; }
  static std::uint32_t hash(const Key& key) { return number_hash(key); }
};

// A selection and its backends' ids, first those that take new connections, in order of rank.
struct Used {
  std::shared_ptr<const Selection> selection;
  std::vector<std::uint32_t> ids;
  std::uint32_t frontends = 0;
};

// A frontend in force.
struct Placed {
  ServiceId service = 0;
  FrontendSpec frontend;
  const Selection* selection = nullptr;
  const std::uint32_t* ids = nullptr;                 // of the backends, by rank
  std::atomic<const maglev::Table*> table = nullptr;  // fetched when a packet first needs it
  Placed() = default;
  Placed(const Placed& other) { *this = other; }
  Placed& operator=(const Placed& other) {
    if (this == &other) return *this;
    service = other.service;
    frontend = other.frontend;
    selection = other.selection;
    ids = other.ids;
    table = other.table.load();
    return *this;
  }
};

template <class F>
struct FamilyTables {
  Numbered<FrontendRecord<F>> frontends;
  Numbered<BackendRecord<F>> backends;
  std::unordered_map<const Selection*, Used> used;
};

struct SharedTables {
  std::shared_ptr<const Tables> tables;
  std::shared_ptr<const policy::PolicyTables> policy;
  fm_config config{};
  std::uint64_t secret = 0;
  FamilyTables<V4> v4;
  FamilyTables<V6> v6;
  std::vector<Placed> placed;
  std::vector<std::uint32_t> free_places;

  template <class F>
  FamilyTables<F>& of() {
    if constexpr (F::family == Family::v4)
      return v4;
    else
      return v6;
  }
};

template <class F>
using ConnectionTable = BoundedTable<typename F::ConnectionKey, typename F::Connection>;

template <class F>
struct OwnTables {
  ConnectionTable<F> tcp;
  ConnectionTable<F> other;
  BoundedTable<typename F::AffinityKey, fm_affinity_value> affinities;
  FlowCache<F> flows;

  explicit OwnTables(const DatapathOptions& options)
      : tcp(options.tcp_connections), other(options.other_connections), affinities(options.affinities) {}
  auto& connections(std::uint8_t protocol) { return protocol == FM_PROTOCOL_TCP ? tcp : other; }
  std::size_t entries() const { return std::size_t{tcp.size()} + other.size(); }
  // How often stamps began anew, and that they don't while so many packets are under way.
  std::uint64_t laps() const { return tcp.laps() + other.laps(); }
  void have_stamps_for(std::size_t packets) {
    constexpr std::uint32_t kOfEach = 8;  // at most three entries are put, and as many stamped again
    tcp.have_stamps(static_cast<std::uint32_t>(packets) * kOfEach);
    other.have_stamps(static_cast<std::uint32_t>(packets) * kOfEach);
  }
  // Stamps that began anew, in whatever table flows rely on, tell nothing of flows from before.
  void watch(std::uint64_t laps) {
    if (laps == laps_) return;
    laps_ = laps;
    flows.forget();
  }

 private:
  std::uint64_t laps_ = 0;
};

// By place of the frontend, then by cluster id. A counter has a number as long as its place is not taken.
class Counters {
 public:
  std::uint32_t number(std::uint32_t place, ClusterId cluster) {
    if (place >= first_.size()) first_.resize(place + std::size_t{1}, kNone);
    if (first_[place] == kNone) {
      if (free_.empty()) {
        free_.push_back(static_cast<std::uint32_t>(counters_.size()));
        counters_.resize(counters_.size() + kClusters);
      }
      first_[place] = free_.back();
      free_.pop_back();
    }
    return first_[place] + cluster;
  }
  Counter& numbered(std::uint32_t number) { return counters_[number]; }
  // Hands over what was counted at a place.
  template <class Visit>
  void take(std::uint32_t place, Visit visit) {
    if (place >= first_.size() || first_[place] == kNone) return;
    for (ClusterId cluster = 0; cluster < kClusters; ++cluster) {
      Counter& counter = counters_[first_[place] + cluster];
      if (counter.packets) visit(cluster, counter);
      counter = {};
    }
    free_.push_back(first_[place]);
    first_[place] = kNone;
  }
  template <class Visit>
  void each(Visit visit) const {
    for (std::uint32_t place = 0; place < first_.size(); ++place)
      if (first_[place] != kNone)
        for (ClusterId cluster = 0; cluster < kClusters; ++cluster)
          if (const Counter& counter = counters_[first_[place] + cluster]; counter.packets)
            visit(place, cluster, counter);
  }

 private:
  static constexpr std::uint32_t kNone = ~0U;
  static constexpr ClusterId kClusters = 512;

  std::vector<std::uint32_t> first_;  // number of cluster 0's counter
  std::vector<Counter> counters_;
  std::vector<std::uint32_t> free_;
};

struct Shard {
  OwnTables<V4> v4;
  OwnTables<V6> v6;
  Counters counters;
  explicit Shard(const DatapathOptions& options) : v4(options), v6(options) {}
  template <class F>
  OwnTables<F>& of() {
    if constexpr (F::family == Family::v4)
      return v4;
    else
      return v6;
  }
};

// Which entries a packet was found to belong to, and whether it left everything else as it was.
struct Trace {
  enum Side : std::uint8_t {
    service,
    out,
    in
  };  // what the client's side knows, the source's, the destination's
  std::array<std::uint32_t, 3> found{};  // by side: the entry's number, 0 for none
  Side side = service;
  bool steady = true;
};

// The look-ups of decision.h.
template <class F>
class Lookups {
 public:
  Lookups(SharedTables& shared, Shard& shard)
      : config(&shared.config),
        shared_(&shared),
        policy_(shared.policy.get()),
        family_(&shared.of<F>()),
        own_(&shard.of<F>()) {}

  const fm_config* config;
  std::uint64_t time = 0;
  mutable Trace trace;  // of one packet

  // A packet is looked for under few hashes, each worked out once: what the client sees, and, after
  // translation, the same one for both ends and both directions.
  void begin_service(const F::Stored& source, const F::Stored& destination, std::uint16_t source_port,
                     std::uint16_t destination_port, std::uint8_t protocol) {
    hash_ = connection_hash<F>(source, destination, source_port, destination_port,
                               static_cast<std::uint8_t>(protocol ^ kServiceSide), shared_->secret);
    trace = {};
  }
  void begin_ends(const F::Stored& source, const F::Stored& destination, std::uint16_t source_port,
                  std::uint16_t destination_port, std::uint8_t protocol) {
    hash_ = connection_hash<F>(source, destination, source_port, destination_port, protocol, shared_->secret);
    trace.side = Trace::out;
  }
  void begin_arrival() const { trace.side = Trace::in; }

  const fm_service_value* service(const F::ServiceKey* key) const {
    typename FrontendRecord<F>::Key wanted;
    static_cast<F::ServiceKey&>(wanted) = *key;
    const FrontendRecord<F>* known = family_->frontends.at(wanted);
    return known && known->lives() ? &known->value : nullptr;
  }
  std::uint32_t rank(const fm_service_value* service, std::uint32_t slot) const {
    Placed& placed = shared_->placed[service->table_offset];
    const maglev::Table* table = placed.table.load(std::memory_order_acquire);
    if (!table) {
      table = placed.selection->table();
      placed.table.store(table, std::memory_order_release);
    }
    return table->rank(slot);
  }
  std::uint32_t backend_id(const fm_service_value* service, std::uint32_t rank) const {
    return shared_->placed[service->ids_offset].ids[rank];
  }
  bool takes_new(const fm_service_value* service, std::uint32_t id) const {
    const std::uint32_t* ids = shared_->placed[service->ids_offset].ids;
    return std::find(ids, ids + service->count, id) != ids + service->count;
  }
  const F::Backend* backend(std::uint32_t id) const {
    const auto* known = family_->backends.find(id);
    return known && known->lives() ? &known->value : nullptr;
  }
  const fm_identity_value* identity(const F::Stored& address) const { return policy_->find(address); }
  const fm_endpoint_value* endpoint(std::uint32_t identity) const { return policy_->endpoint(identity); }
  // The outcome of both probes, which is worked out when a policy is resolved.
  int policy(const fm_endpoint_value* endpoint, std::uint8_t direction, std::uint32_t identity,
             std::uint8_t protocol, std::uint16_t port, fm_policy_value* value) const {
    const auto side = direction == FM_CT_OUT ? policy::Direction::egress : policy::Direction::ingress;
    const auto found = policy_->lookup(*endpoint, side, identity, protocol, __builtin_bswap16(port));
    *value = policy::PolicyTables::value_of(found.entry);
    return found.found;
  }
  F::Connection* find(const F::ConnectionKey* key, std::uint64_t now) const {
    auto& table = own_->connections(key->protocol);
    auto* found = table.find(*key, hash_ | entry_mark<F>(*key), now);
    if (found) trace.found[trace.side] = table.number_of(found);
    return found;
  }
  // After a packet that opens or closes its connection, which changes what entries say.
  void restamp(std::uint8_t protocol) const {
    trace.steady = false;
    for (const std::uint32_t number : trace.found)
      if (number) own_->connections(protocol).restamp(number);
  }
  int put(const F::ConnectionKey* key, const F::Connection* value) const {
    trace.steady = false;
    own_->connections(key->protocol).put(*key, hash_ | entry_mark<F>(*key), *value, time);
    return 0;
  }
  fm_affinity_value* affinity(const F::AffinityKey* key) const {
    trace.steady = false;
    return own_->affinities.find(*key, affinity_hash<F>(*key, shared_->secret), time);
  }
  void put_affinity(const F::AffinityKey* key, const fm_affinity_value* value) const {
    trace.steady = false;
    own_->affinities.put(*key, affinity_hash<F>(*key, shared_->secret), *value, time);
  }
  void remove_affinity(const F::AffinityKey* key) const {
    own_->affinities.remove(*key, affinity_hash<F>(*key, shared_->secret));
  }

 private:
  SharedTables* shared_;
  const policy::PolicyTables* policy_;
  FamilyTables<F>* family_;
  OwnTables<F>* own_;
  std::uint32_t hash_ = 0;
};

}  // namespace fleetmesh

#define FM_TABLES const auto&
#define FM_CONFIG(tables) ((tables).config)
#define FM_SERVICE_4(tables, key) (tables).service(key)
#define FM_SERVICE_6(tables, key) (tables).service(key)
#define FM_RANK(tables, service, slot) (tables).rank(service, slot)
#define FM_BACKEND_ID(tables, service, rank) (tables).backend_id(service, rank)
#define FM_BACKEND_4(tables, id) (tables).backend(id)
#define FM_BACKEND_6(tables, id) (tables).backend(id)
#define FM_TAKES_NEW_4(tables, service, id) (tables).takes_new(service, id)
#define FM_TAKES_NEW_6(tables, service, id) (tables).takes_new(service, id)
#define FM_IDENTITY_4(tables, address) (tables).identity(address)
#define FM_IDENTITY_6(tables, address) (tables).identity(address)
#define FM_CT_FIND_4(tables, key, time) (tables).find(key, time)
#define FM_CT_FIND_6(tables, key, time) (tables).find(key, time)
#define FM_CT_PUT_4(tables, key, value) (tables).put(key, value)
#define FM_CT_PUT_6(tables, key, value) (tables).put(key, value)
#define FM_AFFINITY_FIND_4(tables, key) (tables).affinity(key)
#define FM_AFFINITY_FIND_6(tables, key) (tables).affinity(key)
#define FM_AFFINITY_PUT_4(tables, key, value) (tables).put_affinity(key, value)
#define FM_AFFINITY_PUT_6(tables, key, value) (tables).put_affinity(key, value)
#define FM_AFFINITY_REMOVE_4(tables, key) (tables).remove_affinity(key)
#define FM_AFFINITY_REMOVE_6(tables, key) (tables).remove_affinity(key)
#define FM_ENDPOINT(tables, identity) (tables).endpoint(identity)
#define FM_POLICY(tables, endpoint, direction, identity, protocol, port, value) \
  (tables).policy(endpoint, direction, identity, protocol, port, value)
// Whoever is asked to prove who it is is taken to have done so, as in `decide`.
#define FM_AUTHENTICATED(tables, subject, peer, type) 1
#include "datapath/decision.h"
