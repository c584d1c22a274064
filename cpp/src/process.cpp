// Packets through the stages of decision.h, one after another or in shards.
#include <algorithm>
#include <barrier>
#include <string>
#include <thread>

#include "datapath_parts.hpp"
#include "replay.hpp"

namespace fleetmesh {
namespace {

// The stages of each family under one name. The first part knows services and affinity by the client's
// address, the second knows the connection by both ends as they are after translation: shards divide the work
// there.
#define FM_STAGES(N)                                                                                       \
  [[gnu::always_inline]] inline bool balance(fm_state##N& s, Lookups<V##N>& tables) {                      \
    tables.begin_service(s.source, s.destination, s.source_port, s.destination_port, s.protocol);          \
    return fm_stage_parse##N(&s) && fm_stage_source##N(&s, tables) && fm_stage_service##N(&s, tables) &&   \
           fm_stage_balance##N(&s, tables) && fm_stage_rewrite##N(&s);                                     \
  }                                                                                                        \
  [[gnu::always_inline]] inline bool leave(fm_state##N& s, Lookups<V##N>& tables) {                        \
    tables.begin_ends(s.source, s.destination, s.source_port, s.destination_port, s.protocol);             \
    return fm_stage_track_out##N(&s, tables) && fm_stage_destination##N(&s, tables) &&                     \
           fm_stage_egress_policy##N(&s);                                                                  \
  }                                                                                                        \
  /* After `leave` or `enter` with the same tables. */                                                     \
  [[gnu::always_inline]] inline bool arrive(fm_state##N& s, const Lookups<V##N>& tables) {                 \
    tables.begin_arrival();                                                                                \
    return fm_stage_track_in##N(&s, tables) && fm_stage_ingress_policy##N(&s) && fm_stage_restore##N(&s);  \
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

// The destination's part, where it has one: a forward packet that leaves the cluster is not looked at again.
template <class S, class LookUp>
void arrive_here(S& s, const LookUp& tables) {
  const bool tracked = tracked_out(s);
  const std::uint8_t ct = s.ct;
  if (tracked && ct != FM_CT_REPLY && !s.destination_here) return;
  s.ct = FM_CT_NEW;
  arrive(s, tables);
  if (tracked) s.ct = ct;
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
  Counter& counter = counters.of(s.service->table_offset, served ? s.backend->cluster : ClusterId{0});
  ++counter.packets;
  counter.connections += served && s.opened;
}

template <class F>
[[gnu::always_inline]] inline void decide(Packet<F>& s, Lookups<F>& tables, Counters& counters) {
  tables.time = s.time;
  if (balance(s, tables) && leave(s, tables)) arrive_here(s, tables);
  if (opens_or_closes(s.protocol, s.tcp_flags)) tables.restamp(s.protocol);
  count(s, counters);
}

template <class F>
FlowKey<F> key_of(const PacketColumns<typename F::Column>& packets, std::size_t at, std::uint32_t round) {
  const std::size_t width = F::family == Family::v4 ? 1 : 16;
  return {packets.source + at * width, packets.destination + at * width,
          packets.source_port[at],     packets.destination_port[at],
          packets.protocol[at],        round};
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
    own_.watch_laps();
    for (std::size_t from = 0; from < packets_.count; from += Ahead<F>::kPackets) {
      const std::size_t some = std::min(Ahead<F>::kPackets, packets_.count - from);
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
        prefetch_entries(*flow, own_);
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
    if (!flow || !replay(*flow, packets.tcp_flags[at], packets.time[packets.one_time ? 0 : at], own_))
      return false;
    if (flow->counter != Flow<F>::kNotCounted)
      ++counters_.known(flow->counter >> 9U, flow->counter & 511U).packets;
    write<F>(*flow, packets, decisions, at);
    return true;
  }

  void anew(Packet<F>& s, const FlowKey<F>& key, std::uint32_t hash, std::size_t at) {
    decide(s, tables_, counters_);
    write<F>(s, decisions_, at);
    own_.watch_laps();
    if (key == key_of<F>(packets_, at, own_.flows.round()))
      remember(s, tables_.trace, key, hash, packets_, decisions_, at, own_);
  }

  OwnTables<F>& own_;
  Counters& counters_;
  Lookups<F> tables_;
  Ahead<F> ahead_;
  std::uint64_t secret_;
  const PacketColumns<Column> packets_;
  const DecisionColumns<Column> decisions_;
};

// Each part of the work is divided by what it keeps: the first by the client's address, the second by both
// ends.
template <class F>
std::uint32_t first_shard(const Packet<F>& s, std::uint64_t secret) {
  typename F::AffinityKey key{};
  std::memcpy(&key.client, &s.source, sizeof s.source);
  return affinity_hash<F>(key, secret);
}

template <class F>
std::uint32_t second_shard(const Packet<F>& s, std::uint64_t secret) {
  // Another secret, as the shard must not decide on the bucket within it.
  return connection_hash<F>(s.source, s.destination, s.source_port, s.destination_port, s.protocol, ~secret);
}

template <class F>
void run_in_shards(SharedTables& shared, std::vector<std::unique_ptr<Shard>>& shards,
                   const PacketColumns<typename F::Column>& packets,
                   const DecisionColumns<typename F::Column>& decisions) {
  constexpr std::size_t kBlock = 16384;
  const auto workers = static_cast<std::uint32_t>(shards.size());
  std::vector<Packet<F>> states(std::min(kBlock, packets.count));
  std::vector<std::uint16_t> mine(states.size());
  std::vector<std::uint8_t> goes_on(states.size());
  std::barrier<> together(workers);

  const auto work = [&](std::uint32_t number) {
    Shard& shard = *shards[number];
    Lookups<F> tables(shared, shard);
    for (std::size_t from = 0; from < packets.count; from += kBlock) {
      const std::size_t some = std::min(kBlock, packets.count - from);
      const std::size_t begin = some * number / workers;
      const std::size_t end = some * (number + 1) / workers;
      for (std::size_t i = begin; i < end; ++i) {
        read<F>(packets, from + i, states[i]);
        mine[i] = static_cast<std::uint16_t>(first_shard<F>(states[i], shared.secret) % workers);
      }
      together.arrive_and_wait();
      for (std::size_t i = 0; i < some; ++i) {
        if (mine[i] != number) continue;
        tables.time = states[i].time;
        goes_on[i] = balance(states[i], tables);
        count(states[i], shard.counters);
      }
      together.arrive_and_wait();
      for (std::size_t i = begin; i < end; ++i)
        mine[i] = static_cast<std::uint16_t>(second_shard<F>(states[i], shared.secret) % workers);
      together.arrive_and_wait();
      for (std::size_t i = 0; i < some; ++i) {
        if (mine[i] != number) continue;
        tables.time = states[i].time;
        if (goes_on[i] && leave(states[i], tables)) arrive_here(states[i], tables);
        write<F>(states[i], decisions, from + i);
      }
      together.arrive_and_wait();
    }
  };
  std::vector<std::jthread> threads;
  for (std::uint32_t number = 1; number < workers; ++number) threads.emplace_back(work, number);
  work(0);
}

template <class Column>
std::uint64_t last_time(const PacketColumns<Column>& packets) {
  return packets.time[packets.one_time ? 0 : packets.count - 1];
}

template <class Column>
void check_time(const PacketColumns<Column>& packets, std::uint64_t before) {
  const std::size_t times = packets.one_time ? 1 : packets.count;
  for (std::size_t i = 0; i < times; ++i) {
    if (packets.time[i] < before)
      throw std::invalid_argument("column time: packet " + std::to_string(i) + " is at " +
                                  std::to_string(packets.time[i]) + " ns, before " + std::to_string(before) +
                                  " ns, the time of the packet before it; expected times that don't go back");
    before = packets.time[i];
  }
}

}  // namespace

template <class F>
void Datapath::Parts::process(const PacketColumns<typename F::Column>& packets,
                              const DecisionColumns<typename F::Column>& decisions) {
  if (!packets.count) return;
  check_time(packets, time);
  time = last_time(packets);
  if (shards.size() == 1)
    InTurn<F>(shared, *shards[0], packets, decisions).run();
  else
    run_in_shards<F>(shared, shards, packets, decisions);
}

void Datapath::process(const PacketColumns<std::uint32_t>& packets,
                       const DecisionColumns<std::uint32_t>& decisions) {
  parts_->process<V4>(packets, decisions);
}

void Datapath::process(const PacketColumns<std::uint8_t>& packets,
                       const DecisionColumns<std::uint8_t>& decisions) {
  parts_->process<V6>(packets, decisions);
}

DatapathChain::DatapathChain(std::vector<Datapath*> paths, std::span<const Prefix> everywhere)
    : paths_(std::move(paths)), everywhere_(everywhere) {
  for (const Datapath* path : paths_)
    if (path && path->parts_->shards.size() != 1)
      throw std::invalid_argument("the data paths of a chain have one shard each");
}

template <class F, class Column>
void DatapathChain::run(const PacketColumns<Column>& packets, const DecisionColumns<Column>& decisions) {
  if (!packets.count) return;
  std::uint64_t before = 0;
  for (const Datapath* path : paths_)
    if (path) before = std::max(before, path->time());
  check_time(packets, before);

  const auto path_at = [&](const F::Stored& address) -> Datapath::Parts* {
    const fm_identity_value* known = everywhere_.find(address);
    Datapath* path = known && known->cluster < paths_.size() ? paths_[known->cluster] : nullptr;
    return path ? path->parts_.get() : nullptr;
  };
  for (std::size_t i = 0; i < packets.count; ++i) {
    Packet<F> s;
    read<F>(packets, i, s);
    bool goes_on = true;
    bool tracked = false;
    if (Datapath::Parts* parts = path_at(s.source)) {
      Lookups<F> tables(parts->shared, *parts->shards[0]);
      tables.time = parts->time = s.time;
      goes_on = balance(s, tables) && leave(s, tables);
      if (opens_or_closes(s.protocol, s.tcp_flags)) tables.restamp(s.protocol);
      tracked = true;
      count(s, parts->shards[0]->counters);
    }
    if (Datapath::Parts* parts = goes_on ? path_at(s.destination) : nullptr) {
      Lookups<F> tables(parts->shared, *parts->shards[0]);
      tables.time = parts->time = s.time;
      const std::uint8_t ct = s.ct;
      s.ct = FM_CT_NEW;
      s.source_here = s.destination_here = 0;
      goes_on = enter(s, tables) && arrive(s, tables);
      if (opens_or_closes(s.protocol, s.tcp_flags)) tables.restamp(s.protocol);
      if (tracked) s.ct = ct;
    } else if (!tracked && goes_on) {
      s.verdict = fm_tracked(s.protocol) ? FM_VERDICT_ALLOW : FM_VERDICT_DENY;
      s.reason = fm_tracked(s.protocol) ? FM_REASON_NONE : FM_REASON_UNKNOWN_PROTOCOL;
    }
    write<F>(s, decisions, i);
  }
}

void DatapathChain::process(const PacketColumns<std::uint32_t>& packets,
                            const DecisionColumns<std::uint32_t>& decisions) {
  run<V4>(packets, decisions);
}

void DatapathChain::process(const PacketColumns<std::uint8_t>& packets,
                            const DecisionColumns<std::uint8_t>& decisions) {
  run<V6>(packets, decisions);
}

}  // namespace fleetmesh
