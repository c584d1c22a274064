#include "fleetmesh/policy_tables.hpp"

#include <algorithm>
#include <cstring>

namespace fleetmesh::policy {
namespace {

std::uint32_t in_network_order(const Address& address) {
  return __builtin_bswap32(static_cast<std::uint32_t>(address.low));
}

// Without any class, so that nothing is found.
std::shared_ptr<const Verdicts> nothing_at_all(Direction direction, ClusterId cluster, std::uint8_t bits) {
  Options options;
  options.cluster = cluster;
  options.cluster_shift = bits;
  return std::make_shared<const Verdicts>(direction, options, true, std::bitset<256>());
}

constexpr std::uint8_t bit_of(Direction direction) {
  return direction == Direction::egress ? 1U << FM_CT_OUT : 1U << FM_CT_IN;
}

}  // namespace

AddressBook::Words AddressBook::words_of(const std::uint32_t* address) {
  Words words;
  std::memcpy(words.data(), address, sizeof words);
  return words;
}

void AddressBook::set(const Address& address, const fm_identity_value& value) {
  if (address.family == Family::v4)
    v4_[in_network_order(address)] = value;
  else
    v6_[{__builtin_bswap64(address.high), __builtin_bswap64(address.low)}] = value;
}

void AddressBook::remove(const Address& address) {
  if (address.family == Family::v4)
    v4_.erase(in_network_order(address));
  else
    v6_.erase({__builtin_bswap64(address.high), __builtin_bswap64(address.low)});
}

void PolicyTables::note(fm_endpoint_value& value, const Key& key) {
  const auto at = static_cast<std::size_t>(key.direction == Direction::egress ? FM_CT_OUT : FM_CT_IN);
  value.lengths[at] |= 1U << key.length;
  const int bits = std::max(0, key.length - FM_POLICY_PROTOCOL_LENGTH);
  value.port_bits[at] = std::max(value.port_bits[at], static_cast<std::uint8_t>(bits));
}

fm_policy_key PolicyTables::key_of(const fm_endpoint_value& endpoint, const Key& key) {
  fm_policy_key made{};
  made.endpoint = endpoint.endpoint;
  made.identity = key.identity;
  made.port = __builtin_bswap16(key.port);
  made.direction = key.direction == Direction::egress ? FM_CT_OUT : FM_CT_IN;
  made.protocol = key.protocol;
  made.port_prefix = key.length;
  return made;
}

PolicyTablesMaker::PolicyTablesMaker(ClusterId cluster, std::uint8_t identity_bits)
    : host_{PolicyTables::kHost, cluster, 0}, identity_bits_(identity_bits) {}

void PolicyTablesMaker::hear(std::span<const ClusterId> clusters) {
  heard_ = {};
  for (const ClusterId cluster : clusters) heard_.add(cluster);
}

void PolicyTablesMaker::locate(std::span<const Prefix> clusters, std::span<const Prefix> identities) {
  ranges_ = std::make_shared<const Ranges>(clusters, identities);
}

void PolicyTablesMaker::set_endpoint(IdentityNumber identity, const EndpointPolicy& policy) {
  const Slot place = places_.find(identity);
  if (place != kNoSlot) {
    endpoints_[place].second = policy;
    return;
  }
  places_.set(identity, static_cast<Slot>(endpoints_.size()));
  endpoints_.emplace_back(identity, policy);
}

// The last one takes its place.
void PolicyTablesMaker::remove_endpoint(IdentityNumber identity) {
  const Slot place = places_.find(identity);
  if (place == kNoSlot) return;
  endpoints_[place] = endpoints_.back();
  places_.set(endpoints_[place].first, place);
  endpoints_.pop_back();
  places_.remove(identity);
}

std::shared_ptr<const PolicyTables> PolicyTablesMaker::make(const AddressBook& book) const {
  auto tables = std::make_shared<PolicyTables>();
  tables->host_ = host_;
  tables->identity_bits_ = identity_bits_;
  tables->heard_ = heard_;
  tables->own_ = own_;
  tables->book_ = book;
  tables->ranges_ = ranges_;
  tables->places_ = places_;
  tables->endpoints_.reserve(endpoints_.size());
  for (const auto& [identity, policy] : endpoints_) {
    auto& made = tables->endpoints_.emplace_back();
    made.value.endpoint = static_cast<std::uint32_t>(tables->endpoints_.size());
    for (const Direction direction : {Direction::egress, Direction::ingress}) {
      auto& side = direction == Direction::egress ? made.egress : made.ingress;
      side = policy.conflict() ? nothing_at_all(direction, host_.cluster, identity_bits_)
                               : policy.verdicts(direction);
      if (side) made.value.enforced |= bit_of(direction);
    }
  }
  return tables;
}

}  // namespace fleetmesh::policy
