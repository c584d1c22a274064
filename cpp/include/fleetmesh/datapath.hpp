// The decision procedure over arrays of packets, for one cluster or one node of it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fleetmesh/facts.hpp"
#include "fleetmesh/packets.hpp"
#include "fleetmesh/policy_tables.hpp"
#include "fleetmesh/ranges.hpp"
#include "fleetmesh/tables.hpp"

namespace fleetmesh {

struct DatapathOptions {
  std::uint32_t tcp_connections = 524288;  // Cilium's defaults (pkg/option/config.go)
  std::uint32_t other_connections = 262144;
  std::uint32_t affinities = 65536;
  std::uint32_t shards = 1;  // threads; each has its part of the connections
  std::uint64_t secret = 0;  // keys the hashes of the tables, so that nobody can aim at one bucket
};

struct Counter {
  std::uint64_t packets = 0;
  std::uint64_t connections = 0;
};

// Of one service and one cluster that served it; cluster 0: packets that got no backend.
struct ServiceCount {
  ServiceId service = 0;
  ClusterId cluster = 0;
  Counter counter;
};

struct DatapathBackend {
  Address address;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  ClusterId cluster = 0;
  BackendState state = BackendState::active;
  std::uint16_t weight = kDefaultWeight;
};

struct DatapathConnections {
  std::uint32_t tcp = 0;  // entries, of which a connection through a service has up to three
  std::uint32_t other = 0;
  std::uint64_t evicted = 0;
};

// Owns what packets leave behind: connections, affinity, counters. Belongs to one thread.
//
// Connections and affinities are those of Cilium (bpf/lib/conntrack.h, bpf/lib/lb.h): see decision.h.
class Datapath {
 public:
  Datapath(std::shared_ptr<const Tables> tables, std::shared_ptr<const policy::PolicyTables> policy,
           const DatapathOptions& options);
  ~Datapath();
  Datapath(const Datapath&) = delete;
  Datapath& operator=(const Datapath&) = delete;

  // Takes a newer state of the same viewer; costs what changed.
  void adopt(std::shared_ptr<const Tables> tables, std::shared_ptr<const policy::PolicyTables> policy);
  const Tables& tables() const;

  // Throws std::invalid_argument, and has done nothing then, if time runs backwards.
  void process(const PacketColumns<std::uint32_t>& packets, const DecisionColumns<std::uint32_t>& decisions);
  void process(const PacketColumns<std::uint8_t>& packets, const DecisionColumns<std::uint8_t>& decisions);

  std::uint64_t time() const;  // of the newest packet
  DatapathConnections connections() const;
  std::vector<ServiceCount> counters() const;
  // False for numbers that were never given.
  bool backend(std::uint32_t id, DatapathBackend& out) const;
  bool frontend(std::uint32_t number, ServiceId& service, FrontendSpec& out) const;

 private:
  friend class DatapathChain;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// The data paths of a whole mesh: each packet leaves through its source's and arrives through its
// destination's.
class DatapathChain {
 public:
  // By cluster id; null where there is none. The book has who is at an address, `clusters` where others are.
  DatapathChain(std::vector<Datapath*> paths, policy::AddressBook book, std::span<const Prefix> clusters);

  void process(const PacketColumns<std::uint32_t>& packets, const DecisionColumns<std::uint32_t>& decisions);
  void process(const PacketColumns<std::uint8_t>& packets, const DecisionColumns<std::uint8_t>& decisions);

 private:
  template <class Family, class Column>
  void run(const PacketColumns<Column>& packets, const DecisionColumns<Column>& decisions);

  std::vector<Datapath*> paths_;
  policy::AddressBook book_;
  Ranges clusters_;
};

}  // namespace fleetmesh
