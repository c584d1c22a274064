// The compile step for policy: what the nodes of one cluster decide with, made of what was resolved.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "datapath/abi.h"
#include "fleetmesh/member_set.hpp"
#include "fleetmesh/persistent_map.hpp"
#include "fleetmesh/policy.hpp"
#include "fleetmesh/ranges.hpp"
#include "fleetmesh/verdicts.hpp"

namespace fleetmesh::policy {

// Who has which address, of pods and nodes. A copy costs nothing, and is not changed with the original.
class AddressBook {
 public:
  void set(const Address& address, const fm_identity_value& value);
  void remove(const Address& address);
  std::size_t size() const { return v4_.size() + v6_.size(); }

  // In network order, as packets have them.
  const fm_identity_value* find(std::uint32_t address) const { return v4_.find(address); }
  const fm_identity_value* find(const std::uint32_t* address) const { return v6_.find(words_of(address)); }

 private:
  using Words = std::array<std::uint64_t, 2>;
  static Words words_of(const std::uint32_t* address);

  PersistentMap<std::uint32_t, fm_identity_value> v4_;
  PersistentMap<Words, fm_identity_value> v6_;
};

// At one moment; any thread may read it.
class PolicyTables {
 public:
  // Whom the cluster takes an address for. Null: nobody knows.
  template <class Stored>
  const fm_identity_value* find(const Stored& address) const {
    const fm_identity_value* known = own_.size() ? own_.find(address) : nullptr;
    if (known) return known;
    known = book_.find(address);
    if (!known || !hears(known->cluster)) return ranges_->find(address);
    return known->identity == kRemoteNode && known->cluster == host_.cluster ? &host_ : known;
  }

  const fm_endpoint_value* endpoint(IdentityNumber identity) const {
    const Slot place = places_.find(identity);
    return place == kNoSlot ? nullptr : &endpoints_[place].value;
  }
  Answer lookup(const fm_endpoint_value& endpoint, Direction direction, IdentityNumber peer,
                std::uint8_t protocol, std::uint16_t port) const {
    const Endpoint& found = endpoints_[endpoint.endpoint - 1];
    const Verdicts* side = (direction == Direction::egress ? found.egress : found.ingress).get();
    return side ? side->lookup(peer, protocol, port) : Verdicts::kOpen;
  }

  ClusterId cluster() const { return host_.cluster; }
  std::uint8_t identity_bits() const { return identity_bits_; }

  // Calls visit(identity, const fm_endpoint_value&) for each endpoint, its lengths filled in, then
  // visit(const fm_policy_key&, const fm_policy_value&) for each of its entries: what the kernel's maps hold.
  template <class EachEndpoint, class EachEntry>
  void each(EachEndpoint each_endpoint, EachEntry each_entry) const {
    places_.each([&](IdentityNumber identity, Slot place) {
      const Endpoint& endpoint = endpoints_[place];
      fm_endpoint_value value = endpoint.value;
      for (const auto* side : {&endpoint.egress, &endpoint.ingress})
        if (*side)
          (*side)->each_entry([&](const Key& key, const Entry& entry) {
            note(value, key);
            each_entry(key_of(value, key), value_of(entry));
          });
      each_endpoint(identity, value);
    });
  }

  static fm_policy_value value_of(const Entry& entry) {
    return {entry.precedence, entry.proxy_port, entry.authentication,
            static_cast<std::uint8_t>(entry.explicit_authentication ? FM_POLICY_EXPLICIT_AUTH : 0),
            entry.rule + 1};  // kByDefault is none
  }

 private:
  friend class PolicyTablesMaker;
  static constexpr IdentityNumber kHost = 1;
  static constexpr IdentityNumber kRemoteNode = 6;

  struct Endpoint {
    fm_endpoint_value value{};
    std::shared_ptr<const Verdicts> egress;  // null: open
    std::shared_ptr<const Verdicts> ingress;
  };

  bool hears(ClusterId cluster) const { return cluster == host_.cluster || heard_.has(cluster); }
  static void note(fm_endpoint_value& value, const Key& key);
  static fm_policy_key key_of(const fm_endpoint_value& endpoint, const Key& key);

  fm_identity_value host_{};
  std::uint8_t identity_bits_ = 16;
  MemberSet heard_;
  AddressBook own_;
  AddressBook book_;
  std::shared_ptr<const Ranges> ranges_;
  NumberMap places_;
  std::vector<Endpoint> endpoints_;
};

// Keeps what tables are made of, and makes newer ones. Of one thread, with the policies that it was given.
class PolicyTablesMaker {
 public:
  PolicyTablesMaker(ClusterId cluster, std::uint8_t identity_bits);

  void hear(std::span<const ClusterId> clusters);
  // An address that this cluster takes for somebody else than the book says.
  void set_own(const Address& address, const fm_identity_value& value) { own_.set(address, value); }
  void forget_own() { own_ = {}; }
  // Where clusters are, and what addresses are outside of them.
  void locate(std::span<const Prefix> clusters, std::span<const Prefix> identities);
  // Whom its policies are about. One whose rules are in conflict is refused everything.
  void set_endpoint(IdentityNumber identity, const EndpointPolicy& policy);
  void remove_endpoint(IdentityNumber identity);

  std::shared_ptr<const PolicyTables> make(const AddressBook& book) const;

 private:
  fm_identity_value host_{};
  std::uint8_t identity_bits_;
  MemberSet heard_;
  AddressBook own_;
  std::shared_ptr<const Ranges> ranges_ = std::make_shared<const Ranges>();
  NumberMap places_;
  std::vector<std::pair<IdentityNumber, EndpointPolicy>> endpoints_;
};

}  // namespace fleetmesh::policy
