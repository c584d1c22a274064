// One change of a mesh: all of it or nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fleetmesh/state.hpp"

namespace fleetmesh {

struct EndpointFacts {
  std::vector<std::string> addresses;
  std::uint8_t conditions = kReady | kServing;
  std::string node;
  std::string hostname;
  std::string zone;
  std::vector<std::string> for_zones;
};

struct PortFacts {
  std::string name;
  std::uint8_t protocol = 6;
  std::uint16_t port = 0;
};

struct SliceFacts {
  std::vector<EndpointFacts> endpoints;
  std::vector<PortFacts> ports;
};

// One backend of a bulk load.
struct BulkRow {
  OfferKey offer;
  RowKey key;
  BackendState state = BackendState::active;
  bool remove = false;
};

// Calls arrive in order; each is one arrival. Dropped without commit, nothing has happened.
class Transaction {
 public:
  explicit Transaction(std::shared_ptr<Mesh> mesh);
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  void join(ClusterId id, std::string_view name, bool enable_ipv6, bool service_topology);
  void leave(ClusterId id);
  void hear(ClusterId viewer, const std::vector<ClusterId>& publishers);
  void set_node(ClusterId member, std::string_view node, std::string_view zone);
  void remove_node(ClusterId member, std::string_view node);
  void set_service(ClusterId member, std::string_view space, std::string_view name,
                   const std::shared_ptr<const ServiceSpec>& spec);
  void set_service(ClusterId member, ServiceId service, const std::shared_ptr<const ServiceSpec>& spec);
  void remove_service(ClusterId member, std::string_view space, std::string_view name);
  void set_slice(ClusterId member, std::string_view space, std::string_view service, std::string_view slice,
                 const std::vector<EndpointFacts>& endpoints, const std::vector<PortFacts>& ports,
                 std::uint16_t weight);
  void remove_slice(ClusterId member, std::string_view space, std::string_view service,
                    std::string_view slice);
  // The slices "0", "1" and so on of a service, in the place of as many as there were before.
  void set_numbered_slices(ClusterId member, std::string_view space, std::string_view service,
                           const std::vector<SliceFacts>& slices, std::size_t before);
  // Upserts and removes single backends; of two rows with one key the later counts. Their slice is 0, which
  // no slice of an object can be; it is older than all others.
  void load(std::span<const BulkRow> rows);

  Delta commit();

  Shared& shared() const { return mesh_->shared(); }
  const State& state() const { return state_; }
  // Throws if the transaction is over or the member is not in the mesh.
  void require_member(ClusterId id) const;

 private:
  using SliceRows = std::vector<std::pair<RowKey, Row>>;

  void require_open() const;
  Touched& touch(ServiceId service);
  SliceRows slice_rows(const SliceKey& key, const std::vector<EndpointFacts>& endpoints,
                       const std::vector<PortFacts>& ports, std::uint16_t weight) const;
  void replace_slice(const SliceKey& key, const SliceRows& rows);
  void prefetch(std::span<const std::span<const BulkRow>> runs) const;
  void load_offer(std::span<const BulkRow> rows);
  void drop_row(Offer& offer, const RowKey& key, const Row& row) const;
  void put_row(Offer& offer, const RowKey& key, const Row& row) const;
  void put_spec(ClusterId member, ServiceId service, const std::shared_ptr<const ServiceSpec>& spec);
  void claim(ClusterId member, ServiceId service, const ServiceSpec* before, const ServiceSpec* after);
  void touch_claimants(const ClaimKey& key);
  void renew(const OfferKey& key);
  // Brings what is derived from an offer up to date after it changed from `before`.
  void settle(const OfferKey& key, Offer& after, const OfferSaid& before);

  std::shared_ptr<Mesh> mesh_;
  std::shared_ptr<const State> before_;
  State state_;
  std::unordered_map<ServiceId, std::size_t> touched_at_;
  std::vector<Touched> touched_;
  MemberSet zones_changed_;
  bool open_ = true;
};

}  // namespace fleetmesh
