// Packets of flows that are known, and how flows become known.
#pragma once

#include "ahead.hpp"
#include "fleetmesh/packets.hpp"

namespace fleetmesh {

template <class F>
FlowKey<F> key_of(const PacketColumns<typename F::Column>& packets, std::size_t at, std::uint32_t round) {
  const std::size_t width = F::family == Family::v4 ? 1 : 16;
  return {packets.source + at * width, packets.destination + at * width,
          packets.source_port[at],     packets.destination_port[at],
          packets.protocol[at],        round};
}

// What a packet that is replayed does to the entries of its flow (`fm_ct_take`, of a packet that neither
// opens nor closes).
struct Renewal {
  std::uint64_t expires = 0;
  std::uint8_t seen = 0;
};

inline Renewal renewal_by(std::uint8_t protocol, std::uint8_t tcp_flags, std::uint64_t time) {
  if (protocol == FM_PROTOCOL_TCP) return {time + FM_LIFETIME_TCP, tcp_flags};
  return {time + FM_LIFETIME_OTHER, 0};
}

// An entry that a flow goes by; of number 0 there is none.
template <class F>
class Held {
 public:
  using Entry = F::Connection;
  Held(std::uint32_t number, ConnectionTable<F>& table) : entry_(table.numbered(number)), is_(number != 0) {}

  bool intact(std::uint32_t stamp, std::uint64_t time) const {
    return !is_ || ConnectionTable<F>::intact(entry_, stamp, time);
  }
  void renew(const Renewal& renewal, std::uint8_t Entry::* seen) const {
    if (!is_) return;
    ConnectionTable<F>::use(entry_);
    entry_->expires = renewal.expires;
    entry_->*seen |= renewal.seen;
  }

 private:
  Entry* entry_;
  bool is_;
};

template <class F>
[[gnu::always_inline]] inline void write(const Flow<F>& flow,
                                         const PacketColumns<typename F::Column>& packets,
                                         const DecisionColumns<typename F::Column>& out, std::size_t at) {
  constexpr std::size_t width = F::family == Family::v4 ? 1 : 16;
  constexpr std::size_t bytes = width * sizeof(typename F::Column);
  out.verdict[at] = flow.verdict();
  out.egress[at] = static_cast<std::uint8_t>(flow.egress);
  out.ingress[at] = static_cast<std::uint8_t>(flow.ingress);
  out.reason[at] = FM_REASON_NONE;
  out.state[at] = static_cast<std::uint8_t>(flow.state);
  const auto* source = flow.to_source ? flow.address.data() : packets.source + at * width;
  const auto* destination = flow.to_source ? packets.destination + at * width : flow.address.data();
  std::memcpy(out.source + at * width, source, bytes);
  std::memcpy(out.destination + at * width, destination, bytes);
  out.source_port[at] = flow.to_source ? flow.port : packets.source_port[at];
  out.destination_port[at] = flow.to_source ? packets.destination_port[at] : flow.port;
  out.backend[at] = flow.backend;
  out.service[at] = flow.service;
  out.source_identity[at] = flow.source_identity;
  out.destination_identity[at] = flow.destination_identity;
  out.proxy_port[at] = flow.proxy_port;
}

// Whether an entry, if there is one, is not closed.
template <class F>
bool goes_on(std::uint32_t number, ConnectionTable<F>& table) {
  constexpr int both = FM_CT_OUT_CLOSING | FM_CT_IN_CLOSING;
  return !number || (table.numbered(number)->flags & both) != both;
}

// What a packet went by, and whether the next of its flow will: no entry is closed, each has seen a packet
// that was no SYN, and there is at least one whose stamp tells of the connection.
struct Footing {
  std::array<std::uint32_t, 3> entries{};  // as in Trace
  std::uint32_t service_stamp = 0;
  std::uint32_t stamp = 0;
  bool firm = false;

  // After the first part of the work, and after the second.
  template <class F>
  void take_service(const Trace& trace, ConnectionTable<F>& table) {
    const std::uint32_t number = trace.found[Trace::service];
    firm = trace.steady && goes_on<F>(number, table);
    entries[Trace::service] = number;
    if (number) service_stamp = table.stamp(number);
  }
  template <class F>
  void take_ends(const Trace& trace, ConnectionTable<F>& table) {
    const std::uint32_t out = entries[Trace::out] = trace.found[Trace::out];
    const std::uint32_t in = entries[Trace::in] = trace.found[Trace::in];
    firm = firm && trace.steady && (out || in) && goes_on<F>(out, table) && goes_on<F>(in, table);
    if (firm) stamp = table.stamp(out ? out : in);
  }
};

// Keeps the outcome of packet `at`, which was written before, if the next one of its flow will fare alike.
template <class F>
void remember(const Packet<F>& s, const Footing& footing, const FlowKey<F>& key, std::uint32_t hash,
              const PacketColumns<typename F::Column>& packets,
              const DecisionColumns<typename F::Column>& decisions, std::size_t at, FlowCache<F>& flows,
              Counters& counters) {
  constexpr std::size_t width = F::family == Family::v4 ? 1 : 16;
  constexpr std::size_t bytes = width * sizeof(typename F::Column);
  if (s.opened || s.verdict == FM_VERDICT_DENY || !footing.firm) return;
  const auto* source = decisions.source + at * width;
  const auto* destination = decisions.destination + at * width;
  const bool new_source = std::memcmp(source, packets.source + at * width, bytes) != 0 ||
                          decisions.source_port[at] != packets.source_port[at];
  const bool new_destination = std::memcmp(destination, packets.destination + at * width, bytes) != 0 ||
                               decisions.destination_port[at] != packets.destination_port[at];
  if (new_source && new_destination) return;  // there is room for one

  constexpr std::uint32_t kMost = 0xfffffff;
  Flow<F> flow;
  flow.key = key;
  flow.to_source = new_source;
  std::memcpy(flow.address.data(), new_source ? source : destination, bytes);
  flow.port = new_source ? decisions.source_port[at] : decisions.destination_port[at];
  flow.backend = s.backend_id;
  flow.service = s.service_number;
  flow.source_identity = s.source_identity;
  flow.destination_identity = s.destination_identity;
  if (s.service) flow.counter = counters.number(s.service->table_offset, s.backend->cluster);
  flow.state = s.ct & 7U;
  flow.egress = s.egress & 15U;
  flow.ingress = s.ingress & 15U;
  flow.proxy_port = s.proxy_port;
  flow.service_entry = footing.entries[Trace::service] & kMost;
  flow.out_entry = footing.entries[Trace::out] & kMost;
  flow.in_entry = footing.entries[Trace::in] & kMost;
  flow.service_stamp = footing.service_stamp;
  flow.stamp = footing.stamp;
  flows.put(flow, hash);
}

}  // namespace fleetmesh
