// Packets through the stages of decision.h, one after another or in shards.
#include <algorithm>
#include <barrier>
#include <string>
#include <thread>

#include "datapath_parts.hpp"

namespace fleetmesh {
namespace {

template <class F>
struct StateOf;
template <>
struct StateOf<V4> {
  using Type = fm_state4;
};
template <>
struct StateOf<V6> {
  using Type = fm_state6;
};
template <class F>
using Packet = StateOf<F>::Type;

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

// Sequential in effect: what is fetched ahead is only looked at, never changed.
template <class F>
class Ahead {
 public:
  static constexpr std::size_t kPackets = 32;
  // Below this, tables stay in the cache by themselves.
  static constexpr std::uint32_t kWorthIt = 8192;

  Ahead(const SharedTables& shared, OwnTables<F>& own, const FamilyTables<F>& family)
      : secret_(shared.secret), own_(own), family_(family) {}

  bool worth_it() const { return own_.tcp.size() + own_.other.size() > kWorthIt; }

  void fetch(const Packet<F>* states, std::size_t count) {
    std::array<std::uint32_t, kPackets> hashes;
    for (std::size_t i = 0; i < count; ++i) {
      const Packet<F>& s = states[i];
      hashes[i] = hash(s, s.destination, s.destination_port, kServiceSide);
      own_.connections(s.protocol).prefetch_slot(hashes[i]);
    }
    for (std::size_t i = 0; i < count; ++i) own_.connections(states[i].protocol).prefetch_entry(hashes[i]);
    std::array<std::uint32_t, kPackets> backends{};
    for (std::size_t i = 0; i < count; ++i) {
      const auto* likely = own_.connections(states[i].protocol).likely(hashes[i]);
      if (!likely) continue;
      backends[i] = likely->backend;
      family_.backends.prefetch(likely->backend);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const Packet<F>& s = states[i];
      const auto* backend = backends[i] ? family_.backends.find(backends[i]) : nullptr;
      hashes[i] = backend ? hash(s, backend->value.address, backend->value.port, 0)
                          : hash(s, s.destination, s.destination_port, 0);
      own_.connections(s.protocol).prefetch_slot(hashes[i]);
    }
    for (std::size_t i = 0; i < count; ++i) own_.connections(states[i].protocol).prefetch_entry(hashes[i]);
  }

 private:
  std::uint32_t hash(const Packet<F>& s, const F::Stored& destination, std::uint16_t port,
                     std::uint8_t side) const {
    return connection_hash<F>(s.source, destination, s.source_port, port,
                              static_cast<std::uint8_t>(s.protocol ^ side), secret_);
  }

  std::uint64_t secret_;
  OwnTables<F>& own_;
  const FamilyTables<F>& family_;
};

template <class F>
void run_in_turn(SharedTables& shared, Shard& shard, const PacketColumns<typename F::Column> packets,
                 const DecisionColumns<typename F::Column> decisions) {
  Lookups<F> tables(shared, shard);
  Ahead<F> ahead(shared, shard.of<F>(), shared.of<F>());
  std::array<Packet<F>, Ahead<F>::kPackets> states;
  for (std::size_t from = 0; from < packets.count; from += states.size()) {
    const std::size_t some = std::min(states.size(), packets.count - from);
    for (std::size_t i = 0; i < some; ++i) read<F>(packets, from + i, states[i]);
    if (ahead.worth_it()) ahead.fetch(states.data(), some);
    for (std::size_t i = 0; i < some; ++i) {
      Packet<F>& s = states[i];
      tables.time = s.time;
      if (balance(s, tables) && leave(s, tables)) arrive_here(s, tables);
      count(s, shard.counters);
      write<F>(s, decisions, from + i);
    }
  }
}

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
    run_in_turn<F>(shared, *shards[0], packets, decisions);
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
