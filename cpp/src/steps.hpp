// A packet through the stages of decision.h, in the two parts that shards divide.
#pragma once

#include "ahead.hpp"
#include "fleetmesh/packets.hpp"
#include "shard.hpp"

namespace fleetmesh {

// The stages of each family under one name. The first part knows services and affinity by the client's
// address, the second knows the connection by both ends as they are after translation: shards divide the work
// there.
#define FM_STAGES(N)                                                                                       \
  [[gnu::always_inline]] inline bool balance(fm_state##N& s, Lookups<V##N>& tables) {                      \
    tables.begin_service(s.source, s.destination, s.source_port, s.destination_port, s.protocol);          \
    return fm_stage_parse##N(&s) && fm_stage_source##N(&s, tables) && fm_stage_service##N(&s, tables) &&   \
           fm_stage_balance##N(&s, tables) && fm_stage_rewrite##N(&s);                                     \
  }                                                                                                        \
  /* The same, of a packet whose backend is known. */                                                      \
  inline void balanced(fm_state##N& s, const Lookups<V##N>& tables, std::uint32_t backend) {               \
    fm_stage_parse##N(&s);                                                                                 \
    fm_stage_source##N(&s, tables);                                                                        \
    fm_stage_service##N(&s, tables);                                                                       \
    if (s.service) {                                                                                       \
      s.backend_id = backend;                                                                              \
      s.backend = tables.backend(backend);                                                                 \
    }                                                                                                      \
    fm_stage_rewrite##N(&s);                                                                               \
  }                                                                                                        \
  [[gnu::always_inline]] inline bool leave(fm_state##N& s, Lookups<V##N>& tables) {                        \
    tables.begin_ends(s.source, s.destination, s.source_port, s.destination_port, s.protocol);             \
    return fm_stage_track_out##N(&s, tables) && fm_stage_destination##N(&s, tables) &&                     \
           fm_stage_egress_policy##N(&s, tables) && fm_stage_open_out##N(&s, tables);                      \
  }                                                                                                        \
  /* After `leave` or `enter` with the same tables. */                                                     \
  [[gnu::always_inline]] inline bool arrive(fm_state##N& s, const Lookups<V##N>& tables) {                 \
    tables.begin_arrival();                                                                                \
    return fm_stage_track_in##N(&s, tables) && fm_stage_ingress_policy##N(&s, tables) &&                   \
           fm_stage_open_in##N(&s, tables) && fm_stage_restore##N(&s);                                     \
  }                                                                                                        \
  [[gnu::always_inline]] inline bool enter(fm_state##N& s, Lookups<V##N>& tables) {                        \
    tables.begin_ends(s.source, s.destination, s.source_port, s.destination_port, s.protocol);             \
    return fm_stage_parse##N(&s) && fm_stage_source##N(&s, tables) && fm_stage_destination##N(&s, tables); \
  }
FM_STAGES(4)
FM_STAGES(6)
#undef FM_STAGES

// A connection that this side keeps track of as it leaves.
template <class S>
bool tracked_out(const S& s) {
  return s.source_here || s.service;
}

// What arrives as an answer through one service may have gone to another, which is the one that it belongs
// to.
template <class S>
void keep_service(S& s) {
  if (s.service) s.service_number = s.service->number;
}

// The destination's part, where it has one: a forward packet that leaves the cluster is not looked at again.
template <class S, class LookUp>
void arrive_here(S& s, const LookUp& tables) {
  const bool tracked = tracked_out(s);
  const std::uint8_t ct = s.ct;
  if (tracked && ct != FM_CT_REPLY && !s.destination_here) return;
  s.ct = FM_CT_NEW;
  arrive(s, tables);
  if (tracked) s.ct = ct;
  keep_service(s);
}

template <class F>
[[gnu::always_inline]] inline void read(const PacketColumns<typename F::Column> packets, std::size_t at,
                                        Packet<F>& s) {
  s = {};
  F::read(packets.source, at, s.source);
  F::read(packets.destination, at, s.destination);
  s.source_port = __builtin_bswap16(packets.source_port[at]);
  s.destination_port = __builtin_bswap16(packets.destination_port[at]);
  s.protocol = packets.protocol[at];
  s.tcp_flags = packets.tcp_flags[at];
  s.time = packets.time[packets.one_time ? 0 : at];
}

// By value: the columns' addresses are known not to change as the columns are written.
template <class F>
[[gnu::always_inline]] inline void write(const Packet<F>& s, const DecisionColumns<typename F::Column> out,
                                         std::size_t at) {
  out.verdict[at] = s.verdict;
  out.egress[at] = s.egress;
  out.ingress[at] = s.ingress;
  out.reason[at] = s.reason;
  out.state[at] = s.ct;
  F::write(s.source, out.source, at);
  F::write(s.destination, out.destination, at);
  out.source_port[at] = __builtin_bswap16(s.source_port);
  out.destination_port[at] = __builtin_bswap16(s.destination_port);
  out.backend[at] = s.backend_id;
  out.service[at] = s.service_number;
  out.source_identity[at] = s.source_identity;
  out.destination_identity[at] = s.destination_identity;
  out.proxy_port[at] = s.proxy_port;
}

template <class S>
[[gnu::always_inline]] inline void count(const S& s, Counters& counters) {
  if (!s.service) return;
  const bool served = s.verdict != FM_VERDICT_DENY || s.reason != FM_REASON_NO_BACKEND;
  const ClusterId cluster = served ? s.backend->cluster : ClusterId{0};
  Counter& counter = counters.numbered(counters.number(s.service->table_offset, cluster));
  ++counter.packets;
  counter.connections += served && s.opened;
}

}  // namespace fleetmesh
