// What members have said: the facts, each stored once under the member that said it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fleetmesh/address.hpp"
#include "fleetmesh/interner.hpp"
#include "fleetmesh/member_set.hpp"
#include "fleetmesh/persistent_map.hpp"

namespace fleetmesh {

using ServiceId = StringId;      // of a namespace/name, the same for all members
using Revision = std::uint64_t;  // arrivals are numbered through the life of a mesh and its forks

enum class FrontendType : std::uint8_t { cluster_ip, node_port, load_balancer, external_ips };
enum class Affinity : std::uint8_t { none, local, remote };
enum class Distribution : std::uint8_t { none, same_zone, same_node };

// In Cilium's order (pkg/loadbalancer/loadbalancer.go), which is also that of the service map.
enum class BackendState : std::uint8_t {
  active,
  terminating,
  terminating_not_serving,
  quarantined,
  maintenance,
};

inline constexpr std::uint16_t kDefaultWeight = 100;

// Conditions of an endpoint with unset ones resolved (pkg/k8s/endpoints.go).
inline constexpr std::uint8_t kReady = 1;
inline constexpr std::uint8_t kServing = 2;
inline constexpr std::uint8_t kTerminating = 4;

struct FrontendSpec {
  FrontendType type = FrontendType::cluster_ip;
  bool internal = false;
  std::uint8_t protocol = 6;
  std::uint16_t port = 0;
  StringId port_name = 0;
  Address address;

  auto operator<=>(const FrontendSpec&) const = default;
};

// What one member's Service says.
struct ServiceSpec {
  bool is_global = false;
  bool shared = true;
  bool namespace_global = true;
  bool headless = false;
  bool external_name = false;
  bool record_valid = true;  // false: receivers refuse the record as a whole
  bool internal_local = false;
  bool external_local = false;
  Affinity affinity = Affinity::none;
  Distribution distribution = Distribution::none;
  std::uint32_t session_affinity_seconds = 0;
  std::vector<FrontendSpec> frontends;
  std::optional<std::vector<StringId>> exposed_on;  // nodes; nothing: everywhere
  std::uint64_t record_digest = 0;                  // of what the record holds besides backends
  std::string created;                              // RFC 3339, "" where unknown
  // Preference between clusters, by their names (preference.hpp).
  std::vector<StringId> prefer_clusters;  // the most preferred first
  std::vector<std::pair<StringId, std::uint16_t>> cluster_weights;
  // With affinity local: how many own backends must be active to keep the others out.
  std::uint32_t min_local_backends = 1;

  bool operator==(const ServiceSpec&) const = default;

  bool has_record() const { return is_global && shared && namespace_global; }
  bool exports() const { return has_record() && record_valid; }
  Affinity effective_affinity() const { return is_global ? affinity : Affinity::none; }
  bool exposed(StringId node) const;
  bool node_matters(bool service_topology) const;
  // Whether a frontend of this type and scope takes backends of its own node only
  // (pkg/loadbalancer/writer/writer.go, shouldUseLocalBackends).
  bool local_only(const FrontendSpec& frontend) const;
};

// The protocol of a row that stands for an address without ports. Only records have such rows.
inline constexpr std::uint8_t kNoProtocol = 0;

// One address and port that a slice lists. Small, as changes copy rows along with their neighbours.
struct RowKey {
  RowKey() = default;
  RowKey(StringId its_slice, const Address& address, std::uint16_t its_port, std::uint8_t its_protocol)
      : high(address.high),
        low(address.low),
        slice(its_slice),
        port(its_port),
        protocol(its_protocol),
        family(address.family) {}

  std::uint64_t high = 0;  // this and `low`: the address
  std::uint64_t low = 0;
  StringId slice = 0;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  Family family = Family::v4;

  Address address() const { return {family, high, low}; }
  bool has_port() const { return protocol != kNoProtocol; }

  bool operator==(const RowKey&) const = default;
  std::strong_ordering operator<=>(const RowKey& other) const {
    if (slice != other.slice) return slice <=> other.slice;
    if (family != other.family) return family <=> other.family;
    if (high != other.high) return high <=> other.high;
    if (low != other.low) return low <=> other.low;
    if (port != other.port) return port <=> other.port;
    return protocol <=> other.protocol;
  }
};

struct Row {
  StringId names = 0;  // list of port names, sorted, without the unnamed one
  StringId node = 0;
  StringId zone = 0;  // list: the zone, then the zones that hints name; 0 without a zone
  StringId hostname = 0;
  std::uint16_t weight = kDefaultWeight;
  BackendState state = BackendState::active;
  bool exportable : 1 = true;  // ready or serving
  bool unnamed : 1 = false;    // the record also lists it under the empty port name
  bool ingress_dummy : 1 = false;

  bool operator==(const Row&) const = default;

  // A row that says the same at home as in every other cluster.
  bool plain() const {
    return exportable && !ingress_dummy && state == BackendState::active && weight == kDefaultWeight;
  }
};

using Rows = PersistentMap<RowKey, Row, 32, 16>;

struct SliceKey {
  ServiceId service = 0;
  ClusterId member = 0;
  StringId slice = 0;
  auto operator<=>(const SliceKey&) const = default;
};

struct OfferKey {
  ServiceId service = 0;
  ClusterId member = 0;
  auto operator<=>(const OfferKey&) const = default;
};

// The same from the member's side.
struct HoldingKey {
  ClusterId member = 0;
  ServiceId service = 0;
  auto operator<=>(const HoldingKey&) const = default;
};

// How many active rows of one protocol, family and port names a member has of a service.
struct ActiveCount {
  StringId names = 0;
  std::uint8_t protocol = 0;
  Family family = Family::v4;
  std::uint32_t active = 0;
};

// What one member has of one service. Small, as changes copy it along with its neighbours.
struct Offer {
  Rows rows;
  const ServiceSpec* spec = nullptr;  // owned by State::holdings; null: endpoints without a Service
  std::uint64_t version = 0;          // never the same for two different contents, claims and nodes included
  Revision record_revision = 0;       // when its record last changed
  std::uint64_t rows_digest = 0;      // of the rows as the record has them
  std::uint32_t portless = 0;         // rows that stand for addresses without ports
  std::uint32_t uneven = 0;           // rows that are not plain
  std::uint32_t slices = 0;
  std::uint32_t loaded = 0;  // rows of the slice that bulk loads write
  std::array<ActiveCount, 3> active{};
  std::uint8_t active_kinds = 0;  // of `active` in use; more than it holds: not counted any more

  void count(const RowKey& key, const Row& row, bool added);
  void prefetch_counts() const { rows.prefetch_counts(); }
  bool has_ports() const { return rows.size() > portless; }
  bool held() const { return spec || !rows.empty(); }
  bool exports() const { return spec && spec->exports(); }
  // Whether own active backends surely serve every frontend, and are enough of them, so that affinity
  // local never looks at other clusters. False where that can't be told without looking at the rows.
  bool covered(const Interner& strings) const;
  // Whether the rows mean the same to the member itself as to all others.
  bool even() const { return uneven == 0 && (!has_ports() || exports()); }
};

// What an offer said before it was changed, as far as others are concerned.
struct OfferSaid {
  explicit OfferSaid(const Offer& offer)
      : spec(offer.spec), rows_digest(offer.rows_digest), exports(offer.exports()) {}
  const ServiceSpec* spec;
  std::uint64_t rows_digest;
  bool exports;
};

// What is known about a service over all members.
struct ServiceEntry {
  std::uint64_t version = 0;        // never the same for two different contents
  std::uint64_t class_version = 0;  // likewise, of what decides which viewers are alike
  MemberSet holders;                // members that have an offer
  MemberSet exporters;
  MemberSet uneven;   // members whose rows mean something else at home than elsewhere
  MemberSet covered;  // members with affinity local whose own backends serve every frontend
};

struct MemberFacts {
  StringId name = 0;
  bool enable_ipv6 = true;
  bool service_topology = false;
  Revision joined = 0;
  MemberSet hears;
  std::shared_ptr<const std::vector<Revision>> heard_since;  // by cluster id
};

struct NodeKey {
  ClusterId member = 0;
  StringId node = 0;
  auto operator<=>(const NodeKey&) const = default;
};

// That a service of a member claims a frontend address.
struct ClaimKey {
  ClusterId member = 0;
  Address address;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  bool internal = false;
  ServiceId service = 0;
  auto operator<=>(const ClaimKey&) const = default;
};

}  // namespace fleetmesh
