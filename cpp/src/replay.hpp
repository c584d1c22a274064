// Packets of flows that are known, and how flows become known.
#pragma once

#include "ahead.hpp"
#include "fleetmesh/packets.hpp"

namespace fleetmesh {

inline bool opens_or_closes(std::uint8_t protocol, std::uint8_t tcp_flags) {
  return protocol == FM_PROTOCOL_TCP && (tcp_flags & (FM_TCP_FIN | FM_TCP_SYN | FM_TCP_RST));
}

// What `fm_ct_take` does with a packet that neither opens nor closes.
[[gnu::always_inline]] inline void keep(fm_ct4_value& entry, std::uint8_t protocol, std::uint64_t time,
                                        std::uint8_t tcp_flags, int in) {
  const int both = FM_CT_OUT_CLOSING | FM_CT_IN_CLOSING;
  if (FM_LIKELY((entry.flags & both) != both)) fm_ct_extend4(&entry, protocol, time, tcp_flags, in);
}
[[gnu::always_inline]] inline void keep(fm_ct6_value& entry, std::uint8_t protocol, std::uint64_t time,
                                        std::uint8_t tcp_flags, int in) {
  const int both = FM_CT_OUT_CLOSING | FM_CT_IN_CLOSING;
  if (FM_LIKELY((entry.flags & both) != both)) fm_ct_extend6(&entry, protocol, time, tcp_flags, in);
}

template <class F>
void prefetch_entries(const Flow<F>& flow, OwnTables<F>& own) {
  const auto& table = own.connections(flow.key.protocol());
  for (const std::uint32_t number :
       {std::uint32_t{flow.service_entry}, std::uint32_t{flow.out_entry}, flow.in_entry})
    if (number) table.prefetch_number(number - 1);
}

// Does to the connection what the packet does. False, and nothing is done, where the flow is no longer what
// it was, or the packet is one that has to be looked at.
template <class F>
[[gnu::always_inline]] inline bool replay(const Flow<F>& flow, std::uint8_t tcp_flags, std::uint64_t time,
                                          OwnTables<F>& own) {
  const std::uint8_t protocol = flow.key.protocol();
  if (opens_or_closes(protocol, tcp_flags)) return false;
  auto& table = own.connections(protocol);
  const auto held = [&](std::uint32_t number, std::uint32_t stamp) {
    return number ? table.held(number - 1, stamp, time) : nullptr;
  };
  auto* service = held(flow.service_entry, flow.service_stamp);
  auto* out = held(flow.out_entry, flow.stamp);
  auto* in = held(flow.in_entry, flow.stamp);
  if ((flow.service_entry && (!service || service->backend != flow.backend)) || (flow.out_entry && !out) ||
      (flow.in_entry && !in))
    return false;
  const std::uint8_t seen = protocol == FM_PROTOCOL_TCP ? tcp_flags : 0;
  const auto extend = [&](auto* entry, std::uint32_t number, int inwards) {
    if (!entry) return;
    table.use(number - 1);
    keep(*entry, protocol, time, seen, inwards);
  };
  extend(service, flow.service_entry, 0);
  extend(out, flow.out_entry, 0);
  extend(in, flow.in_entry, 1);
  return true;
}

template <class F>
[[gnu::always_inline]] inline void write(const Flow<F>& flow,
                                         const PacketColumns<typename F::Column>& packets,
                                         const DecisionColumns<typename F::Column>& out, std::size_t at) {
  constexpr std::size_t width = F::family == Family::v4 ? 1 : 16;
  constexpr std::size_t bytes = width * sizeof(typename F::Column);
  out.verdict[at] = FM_VERDICT_ALLOW;
  out.egress[at] = flow.egress;
  out.ingress[at] = flow.ingress;
  out.reason[at] = FM_REASON_NONE;
  out.state[at] = flow.state;
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

// Keeps the outcome of packet `at`, which was just written, if the next one of its flow will fare alike.
template <class F>
void remember(const Packet<F>& s, const Trace<F>& trace, const FlowKey<F>& key, std::uint32_t hash,
              const PacketColumns<typename F::Column>& packets,
              const DecisionColumns<typename F::Column>& decisions, std::size_t at, OwnTables<F>& own) {
  constexpr std::size_t width = F::family == Family::v4 ? 1 : 16;
  constexpr std::size_t bytes = width * sizeof(typename F::Column);
  const auto [service, out, in] = trace.found;
  // What no entry stands for could change unnoticed.
  if (!trace.steady || s.opened || s.verdict != FM_VERDICT_ALLOW || (!out && !in) ||
      opens_or_closes(s.protocol, s.tcp_flags))
    return;
  const auto* source = decisions.source + at * width;
  const auto* destination = decisions.destination + at * width;
  const bool new_source = std::memcmp(source, packets.source + at * width, bytes) != 0 ||
                          decisions.source_port[at] != packets.source_port[at];
  const bool new_destination = std::memcmp(destination, packets.destination + at * width, bytes) != 0 ||
                               decisions.destination_port[at] != packets.destination_port[at];
  if (new_source && new_destination) return;  // there is room for one
  if (s.service && s.service->table_offset >> 23U) return;

  constexpr std::uint32_t kMost = 0xfffffff;
  auto& table = own.connections(s.protocol);
  const auto number = [&](const F::Connection* entry) { return entry ? table.number_of(entry) + 1 : 0; };
  Flow<F> flow;
  flow.key = key;
  flow.to_source = new_source;
  std::memcpy(flow.address.data(), new_source ? source : destination, bytes);
  flow.port = new_source ? decisions.source_port[at] : decisions.destination_port[at];
  flow.proxy_port = s.proxy_port;
  flow.backend = s.backend_id;
  flow.service = s.service_number;
  flow.source_identity = s.source_identity;
  flow.destination_identity = s.destination_identity;
  flow.counted = s.service != nullptr;
  if (s.service) flow.counter = s.service->table_offset << 9U | s.backend->cluster;
  flow.state = s.ct & 3U;
  flow.egress = s.egress & 3U;
  flow.ingress = s.ingress & 3U;
  flow.service_entry = number(service) & kMost;
  flow.out_entry = number(out) & kMost;
  flow.in_entry = number(in);
  if (service) flow.service_stamp = table.stamp_of(service);
  flow.stamp = table.stamp_of(out ? out : in);
  own.flows.put(flow, hash);
}

}  // namespace fleetmesh
