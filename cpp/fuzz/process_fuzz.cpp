// Packets and changes of the mesh in turn, through several data paths that have to agree.
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <tuple>

#include "datapath/abi.h"
#include "packets.hpp"

namespace fleetmesh::fuzz {
namespace {

constexpr std::uint8_t kFin = 1;
constexpr std::uint8_t kSyn = 2;
constexpr std::uint8_t kRst = 4;
constexpr std::uint8_t kAck = 16;

using Place = std::tuple<Address, std::uint16_t, std::uint8_t>;

// Which backends the tables have, each with its best state.
std::map<Place, BackendState> backends_of(const Tables& tables) {
  std::map<Place, BackendState> states;
  tables.each_service([&](const CompiledService& service) {
    for (const auto& [frontend, selection] : service.frontends)
      for (const TableBackend& backend : selection->backends()) {
        const auto [at, fresh] =
            states.try_emplace({backend.address, backend.port, backend.protocol}, backend.state);
        if (!fresh && backend.state < at->second) at->second = backend.state;
      }
  });
  return states;
}

// What is surely known of connections to services: they are there until then, at least, with that backend.
class Kept {
 public:
  void see(const Packet& packet, const Decision& decision, const std::optional<Place>& backend,
           const std::map<Place, BackendState>& there) {
    const Key key{packet.source, packet.source_port, packet.destination, packet.destination_port,
                  packet.protocol};
    const bool tcp = packet.protocol == FM_PROTOCOL_TCP;
    const std::uint8_t flags = tcp ? packet.flags : 0;
    if (!backend || decision.verdict != FM_VERDICT_ALLOW) {
      known_.erase(key);
      return;
    }
    const bool opens = (flags & (kSyn | kAck)) == kSyn && !(flags & (kFin | kRst));
    auto known = known_.find(key);
    if (known != known_.end() && (packet.time >= known->second.until || (opens && known->second.closed)))
      known = known_.erase(known), known = known_.end();
    if (known != known_.end()) {
      const auto state = there.find(known->second.backend);
      const bool stays = state != there.end() && (state->second == BackendState::active || !(flags & kSyn));
      require(!stays || known->second.backend == *backend, "a connection keeps its backend while it lives");
    } else {
      known = known_.emplace(key, Connection{}).first;
      known->second.until = packet.time + 60 * kSecond;
    }
    Connection& connection = known->second;
    connection.backend = *backend;
    if (flags & (kFin | kRst)) connection.closed = true;
    connection.until = connection.closed ? std::min(connection.until, packet.time + 10 * kSecond)
                                         : packet.time + 60 * kSecond;
  }

 private:
  using Key = std::tuple<Address, std::uint16_t, Address, std::uint16_t, std::uint8_t>;
  struct Connection {
    Place backend;
    std::uint64_t until = 0;
    bool closed = false;
  };
  std::map<Key, Connection> known_;
};

void check_decision(const Packet& packet, const Decision& decision) {
  if (decision.verdict == FM_VERDICT_ALLOW) {
    require(decision.reason == FM_REASON_NONE, "what is allowed has no reason");
  } else {
    require(decision.verdict == FM_VERDICT_DENY, "every packet is allowed or denied");
    require(decision.reason == FM_REASON_NO_BACKEND || decision.reason == FM_REASON_UNKNOWN_PROTOCOL,
            "what is denied has a reason");
    require(decision.destination == packet.destination && decision.source == packet.source,
            "what is denied stays as it is");
  }
  require(decision.egress == FM_VERDICT_UNKNOWN && decision.ingress == FM_VERDICT_UNKNOWN &&
              decision.proxy_port == 0 && decision.source_identity == 0 && decision.destination_identity == 0,
          "no policy is judged");
  require(decision.state <= FM_CT_REPLY, "a state is one of three");
  require(decision.reason != FM_REASON_NO_BACKEND || decision.service, "only a service lacks a backend");
}

class Run {
 public:
  explicit Run(std::uint8_t how)
      : tiny_(how & 1U), tables_{SmallMesh::first_tables(1), SmallMesh::first_tables(2)} {
    DatapathOptions options;
    options.tcp_connections = tiny_ ? 1 + (how >> 1U & 7U) : 4096;
    options.other_connections = tiny_ ? 1 + (how >> 4U & 3U) : 4096;
    options.affinities = tiny_ ? 1 + (how >> 6U & 3U) : 4096;
    const auto add = [&](ClusterId viewer, std::uint32_t shards, std::uint64_t secret) {
      options.shards = shards;
      options.secret = secret;
      paths_.push_back(std::make_unique<Datapath>(tables_[viewer - 1U], policy_[viewer - 1U], options));
    };
    add(1, 1, 1);
    add(1, 1, 0x123456789abcdef);
    add(1, 2, 3);
    add(1, 1, 4);
    add(2, 1, 5);
    chain_.emplace(std::vector<Datapath*>{nullptr, paths_[3].get(), paths_[4].get()}, policy::AddressBook(),
                   where_clusters_are());
    there_ = backends_of(*tables_[0]);
  }

  void step(Bytes& bytes) {
    const std::uint8_t what = bytes.u8();
    if ((what & 7U) == 0) {
      mesh_.change(bytes);
      adopt(what & 8U);
    } else if ((what & 15U) == 1) {
      mesh_.fork();
    } else if ((what & 15U) == 2) {
      go_back();
    } else {
      packets(bytes, what & 16U);
    }
  }

 private:
  void adopt(bool anew) {
    for (const ClusterId viewer : kClusters) {
      auto& tables = tables_[viewer - 1U];
      tables = anew ? mesh_.tables(viewer) : tables->advance(mesh_.state());
    }
    for (std::size_t i = 0; i < paths_.size(); ++i) paths_[i]->adopt(tables_[i == 4], policy_[i == 4]);
    there_ = backends_of(*tables_[0]);
  }

  // Time that runs backwards is refused, and has changed nothing.
  void go_back() {
    if (!paths_[0]->time()) return;
    Packet packet{pod(false, 1, 9), vip(false, 1, 0), 1, 80, 6, kSyn, paths_[0]->time() - 1};
    const auto before = connections();
    for (std::size_t i = 0; i < 3; ++i) {
      const std::uint64_t time = paths_[i]->time();
      bool refused = false;
      try {
        decide(*paths_[i], {packet});
      } catch (const std::invalid_argument&) {
        refused = true;
      }
      require(refused && paths_[i]->time() == time, "time does not run backwards");
    }
    require(before == connections(), "what is refused has not happened");
  }

  void packets(Bytes& bytes, bool v6) {
    const auto packets = maker_.make(bytes, v6);
    const auto decisions = decide(*paths_[0], packets);
    require(decisions.size() == packets.size(), "a decision for each packet");
    require(decide(*paths_[1], packets) == decisions, "the same packets are decided on alike");
    const auto sharded = decide(*paths_[2], packets);
    if (!tiny_) require(sharded == decisions, "shards decide as one where nothing is evicted");
    const auto chained = decide(*chain_, packets);
    for (std::size_t i = 0; i < packets.size(); ++i) {
      check_decision(packets[i], decisions[i]);
      check_decision(packets[i], sharded[i]);
      check_decision(packets[i], chained[i]);
      const auto backend = backend_of(packets[i], decisions[i]);
      if (!tiny_) kept_.see(packets[i], decisions[i], backend, there_);
      expected_packets_ += backend || decisions[i].reason == FM_REASON_NO_BACKEND;
    }
    check_totals();
    maker_.note(packets, decisions);
  }

  std::optional<Place> backend_of(const Packet& packet, const Decision& decision) {
    if (!decision.backend) {
      require(decision.reason == FM_REASON_NO_BACKEND || decision.destination == packet.destination,
              "without a backend nothing is translated");
      return std::nullopt;
    }
    DatapathBackend found;
    require(paths_[0]->backend(decision.backend, found), "a number stands for a backend");
    require(decision.destination == found.address && decision.destination_port == found.port &&
                packet.protocol == found.protocol,
            "a packet goes to its backend");
    ServiceId service = 0;
    FrontendSpec frontend;
    require(paths_[0]->frontend(decision.service, service, frontend), "a number stands for a frontend");
    require(there_.contains({found.address, found.port, found.protocol}),
            "a packet goes to a backend that is there");
    return Place{found.address, found.port, found.protocol};
  }

  void check_totals() {
    std::uint64_t total = 0;
    for (const ServiceCount& count : paths_[0]->counters()) {
      require(count.counter.connections <= count.counter.packets, "a connection has a packet");
      total += count.counter.packets;
    }
    require(total == expected_packets_, "every packet to a service is counted once");
    const auto all = connections();
    require(all[0] == all[1], "the same packets leave the same behind");
    require(tiny_ || all[0] == all[2], "shards keep what one does");
    require(tiny_ || std::get<2>(all[0]) == 0, "nothing is evicted while there is room");
  }

  std::vector<std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>> connections() const {
    std::vector<std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>> all;
    for (const auto& path : paths_) {
      const DatapathConnections found = path->connections();
      all.emplace_back(found.tcp, found.other, found.evicted);
    }
    return all;
  }

  bool tiny_;
  SmallMesh mesh_;
  PacketMaker maker_;
  std::array<std::shared_ptr<const Tables>, 2> tables_;
  std::array<std::shared_ptr<const policy::PolicyTables>, 2> policy_{without_policies(1),
                                                                     without_policies(2)};
  // One, one with another secret, one in shards; then a chain of both clusters' own.
  std::vector<std::unique_ptr<Datapath>> paths_;
  std::optional<DatapathChain> chain_;
  std::map<Place, BackendState> there_;
  Kept kept_;
  std::uint64_t expected_packets_ = 0;
};

}  // namespace
}  // namespace fleetmesh::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fleetmesh::fuzz;
  Bytes bytes(data, size);
  Run run(bytes.u8());
  while (bytes.left()) run.step(bytes);
  return 0;
}
