// Packets by several threads, each of which has a shard of what packets leave behind.
#pragma once

#include <algorithm>
#include <array>
#include <barrier>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "replay.hpp"
#include "steps.hpp"

namespace fleetmesh {

// Block by block all packets go through the first part of the work, then through the second.
template <class F>
struct ShardedBlock {
  static constexpr std::size_t kPackets = 16384;

  // A packet between the parts.
  struct Passage {
    const Flow<F>* flow = nullptr;  // did the first part; null: the state has what that found
    Footing footing;
    bool goes_on = false;
  };

  std::vector<std::uint8_t> first;  // numbers of shards
  std::vector<std::uint8_t> second;
  std::vector<Packet<F>> states;
  std::vector<Passage> passages;
  std::barrier<> together;

  ShardedBlock(std::size_t packets, std::size_t workers)
      : first(packets),
        second(packets),
        states(packets),
        passages(packets),
        together(static_cast<std::ptrdiff_t>(workers)) {}
};

// The work is divided by what it keeps: its first part, which knows services and affinity, by the client's
// address; its second, which knows connections, by both ends as they are after translation.
//
// What is known of a flow is kept in the shard of its first part, where its next packet will look for it.
// Other shards read it during the second part, so that it changes only in a third.
template <class F>
class ShardWorker {
 public:
  using Column = F::Column;
  using Shards = std::vector<std::unique_ptr<Shard>>;

  ShardWorker(SharedTables& shared, const Shards& shards, std::size_t number, ShardedBlock<F>& block,
              const PacketColumns<Column>& packets, const DecisionColumns<Column>& decisions)
      : shards_(shards),
        number_(number),
        own_(shards[number]->of<F>()),
        counters_(shards[number]->counters),
        tables_(shared, *shards[number]),
        secret_(shared.secret),
        block_(block),
        packets_(packets),
        decisions_(decisions),
        first_(block.first.size()),
        second_(block.first.size()) {}

  void run() {
    for (from_ = 0; from_ < packets_.count; from_ += ShardedBlock<F>::kPackets) {
      const std::size_t some = std::min(ShardedBlock<F>::kPackets, packets_.count - from_);
      divide(some);
      block_.together.arrive_and_wait();
      const Places first = mine(block_.first, some, first_);
      in_groups(first, [this](Places group) { first_part(group); });
      block_.together.arrive_and_wait();
      in_groups(mine(block_.second, some, second_), [this](Places group) { second_part(group); });
      block_.together.arrive_and_wait();
      learn(first);
      block_.together.arrive_and_wait();
    }
  }

 private:
  using Places = std::span<const std::uint16_t>;  // in the block
  static constexpr std::size_t kGroup = Ahead<F>::kPackets;

  std::size_t at(std::uint16_t place) const { return from_ + place; }
  std::uint64_t time_of(std::size_t at) const { return packets_.time[packets_.one_time ? 0 : at]; }

  void divide(std::size_t some) {
    // Nobody puts anything meanwhile, so all see the same laps.
    std::uint64_t laps = 0;
    for (const auto& shard : shards_) laps += shard->of<F>().laps();
    own_.watch(laps);
    own_.flows.fit(own_.entries());

    const std::size_t workers = shards_.size();
    for (std::size_t i = some * number_ / workers; i < some * (number_ + 1) / workers; ++i) {
      typename F::AffinityKey key{};
      F::read(packets_.source, from_ + i, key.client);
      block_.first[i] = shard_of(affinity_hash<F>(key, secret_) >> 4U);
    }
  }

  // Of 28 bits of a hash.
  std::uint8_t shard_of(std::uint32_t hash) const {
    return static_cast<std::uint8_t>(hash * std::uint64_t{shards_.size()} >> 28U);
  }

  Places mine(const std::vector<std::uint8_t>& shard, std::size_t some,
              std::vector<std::uint16_t>& places) const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < some; ++i) {
      places[count] = static_cast<std::uint16_t>(i);
      count += shard[i] == number_;
    }
    return Places(places).first(count);
  }

  template <class Part>
  static void in_groups(Places places, Part part) {
    for (; !places.empty(); places = places.subspan(std::min(kGroup, places.size())))
      part(places.first(std::min(kGroup, places.size())));
  }

  void first_part(Places group) {
    std::array<FlowKey<F>, kGroup> keys;
    std::array<std::uint32_t, kGroup> hashes;
    for (std::size_t i = 0; i < group.size(); ++i) {
      keys[i] = key_of<F>(packets_, at(group[i]), own_.flows.round());
      hashes[i] = keys[i].hash(secret_);
      own_.flows.prefetch(hashes[i]);
    }
    std::array<const Flow<F>*, kGroup> flows;
    for (std::size_t i = 0; i < group.size(); ++i) {
      flows[i] = own_.flows.find(keys[i], hashes[i]);
      if (flows[i]) own_.connections(flows[i]->key.protocol()).prefetch_number(flows[i]->service_entry);
    }
    for (std::size_t i = 0; i < group.size(); ++i)
      if (!flows[i] || !replay_first(*flows[i], group[i])) balance_anew(group[i]);
  }

  bool replay_first(const Flow<F>& flow, std::uint16_t place) {
    const std::uint8_t tcp_flags = packets_.tcp_flags[at(place)];
    const std::uint8_t protocol = flow.key.protocol();
    const std::uint64_t time = time_of(at(place));
    const Held<F> service(flow.service_entry, own_.connections(protocol));
    if (opens_or_closes(protocol, tcp_flags) || !service.intact(flow.service_stamp, time)) return false;
    service.renew(renewal_by(protocol, tcp_flags, time), &F::Connection::out_seen);
    if (flow.counter != Flow<F>::kNotCounted) ++counters_.numbered(flow.counter).packets;

    typename F::Stored source;
    typename F::Stored destination;
    F::read(packets_.source, at(place), source);
    std::uint16_t port = packets_.destination_port[at(place)];
    if (flow.to_source) {
      F::read(packets_.destination, at(place), destination);
    } else {
      F::read(flow.address.data(), 0, destination);
      port = flow.port;
    }
    block_.second[place] =
        shard_of_ends(source, destination, __builtin_bswap16(packets_.source_port[at(place)]),
                      __builtin_bswap16(port), protocol);
    block_.passages[place].flow = &flow;
    return true;
  }

  void balance_anew(std::uint16_t place) {
    Packet<F>& s = block_.states[place];
    read<F>(packets_, at(place), s);
    tables_.time = s.time;
    auto& passage = block_.passages[place];
    passage.flow = nullptr;
    passage.goes_on = balance(s, tables_);
    if (opens_or_closes(s.protocol, s.tcp_flags)) tables_.restamp(s.protocol);
    passage.footing.template take_service<F>(tables_.trace, own_.connections(s.protocol));
    count(s, counters_);
    block_.second[place] =
        shard_of_ends(s.source, s.destination, s.source_port, s.destination_port, s.protocol);
  }

  std::uint8_t shard_of_ends(const F::Stored& source, const F::Stored& destination, std::uint16_t source_port,
                             std::uint16_t destination_port, std::uint8_t protocol) const {
    // Another secret, as the shard must not decide on the bucket within it.
    return shard_of(
        connection_hash<F>(source, destination, source_port, destination_port, protocol, ~secret_));
  }

  void second_part(Places group) {
    for (const std::uint16_t place : group) __builtin_prefetch(block_.passages[place].flow);
    for (const std::uint16_t place : group)
      if (const Flow<F>* flow = block_.passages[place].flow) {
        const auto& table = own_.connections(flow->key.protocol());
        table.prefetch_number(flow->out_entry);
        table.prefetch_number(flow->in_entry);
      }
    for (const std::uint16_t place : group)
      if (const Flow<F>* flow = block_.passages[place].flow; !flow || !replay_second(*flow, place))
        finish_anew(flow, place);
  }

  bool replay_second(const Flow<F>& flow, std::uint16_t place) {
    const std::uint8_t protocol = flow.key.protocol();
    const std::uint64_t time = time_of(at(place));
    const Held<F> out(flow.out_entry, own_.connections(protocol));
    const Held<F> in(flow.in_entry, own_.connections(protocol));
    if (!out.intact(flow.stamp, time) || !in.intact(flow.stamp, time)) return false;
    const Renewal renewal = renewal_by(protocol, packets_.tcp_flags[at(place)], time);
    out.renew(renewal, &F::Connection::out_seen);
    in.renew(renewal, &F::Connection::in_seen);
    write<F>(flow, packets_, decisions_, at(place));
    return true;
  }

  void finish_anew(const Flow<F>* flow, std::uint16_t place) {
    Packet<F>& s = block_.states[place];
    auto& passage = block_.passages[place];
    if (flow) {
      read<F>(packets_, at(place), s);
      balanced(s, tables_, flow->backend);
      passage.goes_on = true;
      passage.footing.entries[Trace::service] = flow->service_entry;
      passage.footing.service_stamp = flow->service_stamp;
      passage.footing.firm = true;
      passage.flow = nullptr;
    }
    tables_.time = s.time;
    tables_.trace = {};
    if (passage.goes_on && leave(s, tables_)) arrive_here(s, tables_);
    if (opens_or_closes(s.protocol, s.tcp_flags)) tables_.restamp(s.protocol);
    passage.footing.template take_ends<F>(tables_.trace, own_.connections(s.protocol));
    write<F>(s, decisions_, at(place));
  }

  void learn(Places first) {
    for (const std::uint16_t place : first) {
      const auto& passage = block_.passages[place];
      if (passage.flow || !passage.footing.firm) continue;
      const FlowKey<F> key = key_of<F>(packets_, at(place), own_.flows.round());
      remember(block_.states[place], passage.footing, key, key.hash(secret_), packets_, decisions_, at(place),
               own_.flows, counters_);
    }
    own_.have_stamps_for(ShardedBlock<F>::kPackets);
  }

  const Shards& shards_;
  std::size_t number_;
  OwnTables<F>& own_;
  Counters& counters_;
  Lookups<F> tables_;
  std::uint64_t secret_;
  ShardedBlock<F>& block_;
  const PacketColumns<Column> packets_;
  const DecisionColumns<Column> decisions_;
  std::vector<std::uint16_t> first_;  // places of this shard
  std::vector<std::uint16_t> second_;
  std::size_t from_ = 0;
};

template <class F>
void run_in_shards(SharedTables& shared, const std::vector<std::unique_ptr<Shard>>& shards,
                   const PacketColumns<typename F::Column>& packets,
                   const DecisionColumns<typename F::Column>& decisions) {
  ShardedBlock<F> block(std::min(ShardedBlock<F>::kPackets, packets.count), shards.size());
  const auto work = [&](std::size_t number) {
    ShardWorker<F>(shared, shards, number, block, packets, decisions).run();
  };
  std::vector<std::jthread> threads;
  for (std::size_t number = 1; number < shards.size(); ++number) threads.emplace_back(work, number);
  work(0);
}

}  // namespace fleetmesh
