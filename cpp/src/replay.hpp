// Packets of flows that are known, and how flows become known.
#pragma once

#include "ahead.hpp"
#include "fleetmesh/packets.hpp"

namespace fleetmesh {

template <class F>
void prefetch_entries(const Flow<F>& flow, OwnTables<F>& own) {
  const auto& table = own.connections(flow.key.protocol());
  for (const std::uint32_t number :
       {std::uint32_t{flow.service_entry}, std::uint32_t{flow.out_entry}, flow.in_entry})
    if (number) table.prefetch_number(number);
}

// Does to the connection what the packet does (`fm_ct_take`, of a packet that neither opens nor closes).
// False, and nothing is done, where the flow is no longer what it was.
template <class F>
[[gnu::always_inline]] inline bool keep_alive(const Flow<F>& flow, std::uint64_t expires, std::uint8_t seen,
                                              std::uint64_t time, ConnectionTable<F>& table) {
  auto* const service = table.numbered(flow.service_entry);
  auto* const out = table.numbered(flow.out_entry);
  auto* const in = table.numbered(flow.in_entry);
  if ((flow.service_entry && !table.intact(service, flow.service_stamp, time)) ||
      (flow.out_entry && !table.intact(out, flow.stamp, time)) ||
      (flow.in_entry && !table.intact(in, flow.stamp, time)))
    return false;

  const auto keep = [&](F::Connection* entry, std::uint8_t& seen_there) {
    table.use(entry);
    entry->expires = expires;
    seen_there |= seen;
  };
  if (flow.service_entry) keep(service, service->out_seen);
  if (flow.out_entry) keep(out, out->out_seen);
  if (flow.in_entry) keep(in, in->in_seen);
  return true;
}

// False, and nothing is done, where the packet has to be looked at.
template <class F>
[[gnu::always_inline]] inline bool replay(const Flow<F>& flow, std::uint8_t tcp_flags, std::uint64_t time,
                                          OwnTables<F>& own) {
  if (flow.key.protocol() != FM_PROTOCOL_TCP)
    return keep_alive(flow, time + FM_LIFETIME_OTHER, 0, time, own.other);
  return !(tcp_flags & kOpensOrCloses) && keep_alive(flow, time + FM_LIFETIME_TCP, tcp_flags, time, own.tcp);
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
  out.proxy_port[at] = 0;
}

// Whether the next packet will find all it needs in the entries' stamps: none of them is closed, each has
// seen a packet that was no SYN, and there is at least one whose stamp tells of the connection.
template <class F>
bool settled(const Trace& trace, std::uint8_t protocol, OwnTables<F>& own) {
  if (!trace.steady || (!trace.found[Trace::out] && !trace.found[Trace::in])) return false;
  constexpr int both = FM_CT_OUT_CLOSING | FM_CT_IN_CLOSING;
  for (const std::uint32_t number : trace.found)
    if (number && (own.connections(protocol).numbered(number)->flags & both) == both) return false;
  return true;
}

// Keeps the outcome of packet `at`, which was just written, if the next one of its flow will fare alike.
template <class F>
void remember(const Packet<F>& s, const Trace& trace, const FlowKey<F>& key, std::uint32_t hash,
              const PacketColumns<typename F::Column>& packets,
              const DecisionColumns<typename F::Column>& decisions, std::size_t at, OwnTables<F>& own) {
  constexpr std::size_t width = F::family == Family::v4 ? 1 : 16;
  constexpr std::size_t bytes = width * sizeof(typename F::Column);
  if (s.opened || s.verdict != FM_VERDICT_ALLOW || !settled(trace, s.protocol, own)) return;
  const auto* source = decisions.source + at * width;
  const auto* destination = decisions.destination + at * width;
  const bool new_source = std::memcmp(source, packets.source + at * width, bytes) != 0 ||
                          decisions.source_port[at] != packets.source_port[at];
  const bool new_destination = std::memcmp(destination, packets.destination + at * width, bytes) != 0 ||
                               decisions.destination_port[at] != packets.destination_port[at];
  if (new_source && new_destination) return;  // there is room for one
  if (s.service && s.service->table_offset >> 23U) return;

  constexpr std::uint32_t kMost = 0xfffffff;
  const auto& table = own.connections(s.protocol);
  const auto [service, out, in] = trace.found;
  Flow<F> flow;
  flow.key = key;
  flow.to_source = new_source;
  std::memcpy(flow.address.data(), new_source ? source : destination, bytes);
  flow.port = new_source ? decisions.source_port[at] : decisions.destination_port[at];
  flow.backend = s.backend_id;
  flow.service = s.service_number;
  flow.source_identity = s.source_identity;
  flow.destination_identity = s.destination_identity;
  if (s.service) flow.counter = s.service->table_offset << 9U | s.backend->cluster;
  flow.state = s.ct;
  flow.egress = s.egress;
  flow.ingress = s.ingress & 15U;
  flow.service_entry = service & kMost;
  flow.out_entry = out & kMost;
  flow.in_entry = in;
  if (service) flow.service_stamp = table.stamp(service);
  flow.stamp = table.stamp(out ? out : in);
  own.flows.put(flow, hash);
}

}  // namespace fleetmesh
