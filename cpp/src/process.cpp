// Packets through the stages of decision.h, one after another or in shards.
#include <algorithm>
#include <string>

#include "datapath_parts.hpp"
#include "in_shards.hpp"
#include "in_turn.hpp"

namespace fleetmesh {
namespace {

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

DatapathChain::DatapathChain(std::vector<Datapath*> paths, policy::AddressBook book,
                             std::span<const Prefix> clusters)
    : paths_(std::move(paths)), book_(std::move(book)), clusters_(clusters) {
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
    const fm_identity_value* known = book_.find(address);
    if (!known) known = clusters_.find(address);
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
      const Packet<F> left = s;
      s.ct = FM_CT_NEW;
      s.source_here = s.destination_here = 0;
      s.source_identity = s.destination_identity = 0;
      goes_on = enter(s, tables);
      s.verdict = std::max(s.verdict, left.egress);  // a proxy stays on the way
      goes_on = goes_on && arrive(s, tables);
      if (opens_or_closes(s.protocol, s.tcp_flags)) tables.restamp(s.protocol);
      if (tracked) {  // each side says what it takes the other for
        s.ct = left.ct;
        s.destination_identity = left.destination_identity;
      }
      keep_service(s);
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
