// Packets one after another, by one thread.
#pragma once

#include <algorithm>
#include <array>

#include "replay.hpp"
#include "steps.hpp"

namespace fleetmesh {

template <class F>
[[gnu::always_inline]] inline void decide(Packet<F>& s, Lookups<F>& tables, Counters& counters) {
  tables.time = s.time;
  if (balance(s, tables) && leave(s, tables)) arrive_here(s, tables);
  if (opens_or_closes(s.protocol, s.tcp_flags)) tables.restamp(s.protocol);
  count(s, counters);
}

template <class F>
class InTurn {
 public:
  using Column = F::Column;
  InTurn(SharedTables& shared, Shard& shard, const PacketColumns<Column>& packets,
         const DecisionColumns<Column>& decisions)
      : own_(shard.of<F>()),
        counters_(shard.counters),
        tables_(shared, shard),
        ahead_(shared, own_, shared.of<F>(), tables_),
        secret_(shared.secret),
        packets_(packets),
        decisions_(decisions) {}

  void run() {
    for (std::size_t from = 0; from < packets_.count; from += Ahead<F>::kPackets) {
      const std::size_t some = std::min(Ahead<F>::kPackets, packets_.count - from);
      own_.have_stamps_for(some);
      own_.watch(own_.laps());
      own_.flows.fit(own_.entries());
      if (own_.entries() < Ahead<F>::kWorthIt)
        some_of_few(from, some);
      else
        some_of_many(from, some);
    }
  }

 private:
  // The columns are copied, so that their addresses are known not to change as they are written.
  void some_of_few(std::size_t from, std::size_t some) {
    const PacketColumns<Column> packets = packets_;
    const DecisionColumns<Column> decisions = decisions_;
    for (std::size_t at = from; at < from + some; ++at) {
      const FlowKey<F> key = key_of<F>(packets, at, own_.flows.round());
      const std::uint32_t hash = key.hash(secret_);
      if (again(key, hash, packets, decisions, at)) continue;
      Packet<F> s;
      read<F>(packets, at, s);
      anew(s, key, hash, at);
    }
  }

  void some_of_many(std::size_t from, std::size_t some) {
    std::array<FlowKey<F>, Ahead<F>::kPackets> keys;
    std::array<std::uint32_t, Ahead<F>::kPackets> hashes;
    for (std::size_t i = 0; i < some; ++i) {
      keys[i] = key_of<F>(packets_, from + i, own_.flows.round());
      hashes[i] = keys[i].hash(secret_);
      own_.flows.prefetch(hashes[i]);
    }
    std::array<Packet<F>, Ahead<F>::kPackets> states;
    std::array<std::uint8_t, Ahead<F>::kPackets> unknown;
    std::size_t unknowns = 0;
    for (std::size_t i = 0; i < some; ++i) {
      if (const Flow<F>* flow = own_.flows.find(keys[i], hashes[i])) {
        prefetch(*flow);
      } else {
        read<F>(packets_, from + i, states[unknowns]);
        unknown[unknowns++] = static_cast<std::uint8_t>(i);
      }
    }
    if (unknowns) ahead_.fetch(states.data(), unknowns);
    const PacketColumns<Column> packets = packets_;
    const DecisionColumns<Column> decisions = decisions_;
    std::size_t next = 0;
    for (std::size_t i = 0; i < some; ++i) {
      const bool has_state = next < unknowns && unknown[next] == i;
      Packet<F>& s = states[next];
      next += has_state;
      // What a packet of this very batch has left may be known by now.
      if (again(keys[i], hashes[i], packets, decisions, from + i)) continue;
      if (has_state) {
        anew(s, keys[i], hashes[i], from + i);
      } else {
        Packet<F> fresh;
        read<F>(packets_, from + i, fresh);
        anew(fresh, keys[i], hashes[i], from + i);
      }
    }
  }

  [[gnu::always_inline]] bool again(const FlowKey<F>& key, std::uint32_t hash,
                                    const PacketColumns<Column>& packets,
                                    const DecisionColumns<Column>& decisions, std::size_t at) {
    const Flow<F>* flow = own_.flows.find(key, hash);
    if (!flow || !replay(*flow, packets.tcp_flags[at], packets.time[packets.one_time ? 0 : at])) return false;
    if (flow->counter != Flow<F>::kNotCounted) ++counters_.numbered(flow->counter).packets;
    write<F>(*flow, packets, decisions, at);
    return true;
  }

  // False, and nothing is done, where the packet has to be looked at.
  [[gnu::always_inline]] bool replay(const Flow<F>& flow, std::uint8_t tcp_flags, std::uint64_t time) {
    if (flow.key.protocol() != FM_PROTOCOL_TCP)
      return keep_alive(flow, {time + FM_LIFETIME_OTHER, 0}, time, own_.other);
    return !(tcp_flags & kOpensOrCloses) &&
           keep_alive(flow, {time + FM_LIFETIME_TCP, tcp_flags}, time, own_.tcp);
  }

  [[gnu::always_inline]] static bool keep_alive(const Flow<F>& flow, const Renewal renewal,
                                                std::uint64_t time, ConnectionTable<F>& table) {
    const Held<F> service(flow.service_entry, table);
    const Held<F> out(flow.out_entry, table);
    const Held<F> in(flow.in_entry, table);
    if (!service.intact(flow.service_stamp, time) || !out.intact(flow.stamp, time) ||
        !in.intact(flow.stamp, time))
      return false;
    service.renew(renewal, &F::Connection::out_seen);
    out.renew(renewal, &F::Connection::out_seen);
    in.renew(renewal, &F::Connection::in_seen);
    return true;
  }

  void prefetch(const Flow<F>& flow) const {
    const auto& table = own_.connections(flow.key.protocol());
    for (const std::uint32_t number :
         {std::uint32_t{flow.service_entry}, std::uint32_t{flow.out_entry}, std::uint32_t{flow.in_entry}})
      if (number) table.prefetch_number(number);
  }

  void anew(Packet<F>& s, const FlowKey<F>& key, std::uint32_t hash, std::size_t at) {
    decide(s, tables_, counters_);
    write<F>(s, decisions_, at);
    auto& table = own_.connections(s.protocol);
    Footing footing;
    footing.take_service<F>(tables_.trace, table);
    footing.take_ends<F>(tables_.trace, table);
    remember(s, footing, key, hash, packets_, decisions_, at, own_.flows, counters_);
  }

  OwnTables<F>& own_;
  Counters& counters_;
  Lookups<F> tables_;
  Ahead<F> ahead_;
  std::uint64_t secret_;
  const PacketColumns<Column> packets_;
  const DecisionColumns<Column> decisions_;
};

}  // namespace fleetmesh
