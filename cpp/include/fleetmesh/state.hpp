// All facts of a mesh at one generation, and the mesh that goes from one to the next.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fleetmesh/facts.hpp"
#include "fleetmesh/persistent_map.hpp"

namespace fleetmesh {

// Service names, numbered. Shared by a mesh and its forks.
class ServiceNames {
 public:
  explicit ServiceNames(Interner& strings) : strings_(strings) {}
  ServiceId id(std::string_view space, std::string_view name);
  bool find(std::string_view space, std::string_view name, ServiceId& out) const;
  std::pair<std::string, std::string> name(ServiceId id) const;
  // The same; what it points to lives as long as this.
  std::pair<std::string_view, std::string_view> parts(ServiceId id) const;

 private:
  Interner& strings_;
};

struct ServiceClasses;
struct Hearers;
struct TableCaches;

// What a mesh shares with its forks: names, numbers that are never given twice, and what was worked
// out last about who is alike and who hears whom.
struct Shared {
  Interner strings;
  ServiceNames services{strings};
  std::atomic<std::uint64_t> versions{0};
  std::mutex classes_mutex;
  std::unordered_map<ServiceId, std::shared_ptr<const ServiceClasses>> classes;
  std::shared_ptr<const Hearers> hearers;
  std::shared_ptr<TableCaches> tables;  // selections keep it, and may outlive the mesh
};

struct State {
  std::uint64_t generation = 0;
  Revision revision = 0;
  std::uint64_t topology_version = 0;  // never the same for two different sets of members and links
  PersistentMap<ClusterId, MemberFacts, 16> members;
  PersistentMap<SliceKey, Revision, 64, 8> slices;
  PersistentMap<OfferKey, Offer, 4, 8> offers;  // few to a node: a change is of one of them
  // Of every offer, with its Service, if there is one.
  PersistentMap<HoldingKey, std::shared_ptr<const ServiceSpec>, 16, 8> holdings;
  PersistentMap<ServiceId, ServiceEntry, 16> services;
  PersistentMap<NodeKey, StringId> nodes;  // -> zone
  PersistentMap<ClaimKey, Revision> claims;

  const ServiceSpec* spec(ClusterId member, ServiceId service) const;
  // Calls `visit(member, key, row)` for the rows of a service, or of one member in it, in order.
  template <class Visit>
  void each_row(ServiceId service, ClusterId member, Visit visit) const {
    for (auto offer = offers.lower_bound({service, member}); offer; offer.next()) {
      if (offer.key().service != service || (member && offer.key().member != member)) break;
      for (auto at = offer.value().rows.begin(); at; at.next())
        visit(offer.key().member, at.key(), at.value());
    }
  }
};

// A service that a transaction touched.
struct Touched {
  ServiceId service = 0;
  MemberSet own;      // members whose own facts changed
  MemberSet records;  // members whose record changed
  MemberSet viewers;  // members that began or ceased to hear a record of it
};

struct Delta {
  std::shared_ptr<const State> before;
  std::shared_ptr<const State> after;
  std::vector<Touched> touched;
};

class Transaction;

// One mesh: its newest state and the right to change it. Reading a state needs no lock.
class Mesh {
 public:
  Mesh(bool strict, ClusterId capacity);

  bool strict() const { return strict_; }
  ClusterId capacity() const { return capacity_; }
  Shared& shared() const { return *shared_; }
  std::shared_ptr<const State> state() const;
  std::shared_ptr<Mesh> fork() const;

 private:
  friend class Transaction;
  Mesh(const Mesh& other);

  bool strict_;
  ClusterId capacity_;
  std::shared_ptr<Shared> shared_;
  mutable std::mutex mutex_;  // guards the pointer below, not what it points to
  std::shared_ptr<const State> state_;
  std::atomic<bool> writing_{false};
};

}  // namespace fleetmesh
