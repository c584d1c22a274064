#include "fleetmesh/datapath.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "datapath/abi.h"
#include "fleet.hpp"

namespace fleetmesh {
namespace {

using testing::Fleet;

constexpr std::uint64_t kSecond = 1000000000;
constexpr std::uint8_t kSyn = 2;
constexpr std::uint8_t kRst = 4;
constexpr std::uint8_t kAck = 16;

std::uint32_t number(const std::string& address) {
  return static_cast<std::uint32_t>(Address::parse(address)->low);
}

struct Packet {
  std::string source = "10.1.0.9";
  std::uint16_t source_port = 1000;
  std::string destination = "10.100.0.1";
  std::uint16_t destination_port = 80;
  std::uint8_t tcp_flags = kAck;
  std::uint64_t time = 0;
  std::uint8_t protocol = 6;
};

struct Decision {
  std::uint8_t verdict = 0, egress = 0, ingress = 0, reason = 0, state = 0;
  std::uint32_t source = 0, destination = 0;
  std::uint16_t source_port = 0, destination_port = 0;
  std::uint32_t backend = 0, service = 0, source_identity = 0, destination_identity = 0;
  std::uint16_t proxy_port = 0;
};

// Two clusters that serve one address with one backend each.
class DatapathTest : public ::testing::Test {
 protected:
  DatapathTest() : fleet({1, 2}) {
    for (const ClusterId id : testing::ids({1, 2})) {
      fleet.set_service(id, "echo", fleet.spec("10.100.0.1"));
      fleet.set_slice(id, "echo", {"10." + std::to_string(id) + ".0.1"});
    }
    path = std::make_unique<Datapath>(tables(1), policy(1), options);
  }

  std::shared_ptr<const Tables> tables(ClusterId viewer) const {
    return Tables::of(fleet.mesh, fleet.mesh->state(), {viewer, 0});
  }

  std::shared_ptr<const policy::PolicyTables> policy(ClusterId viewer) const {
    return testing::open_policy(viewer, where);
  }
  void adopt() { path->adopt(tables(1), policy(1)); }

  std::vector<Decision> decide(Datapath& by, const std::vector<Packet>& packets) const {
    std::vector<Decision> decisions;
    for (const Packet& packet : packets) {
      const std::uint32_t source = number(packet.source);
      const std::uint32_t destination = number(packet.destination);
      Decision d;
      by.process(PacketColumns<std::uint32_t>{1, &source, &destination, &packet.source_port,
                                              &packet.destination_port, &packet.protocol, &packet.tcp_flags,
                                              &packet.time},
                 {&d.verdict, &d.egress, &d.ingress, &d.reason, &d.state, &d.source, &d.destination,
                  &d.source_port, &d.destination_port, &d.backend, &d.service, &d.source_identity,
                  &d.destination_identity, &d.proxy_port});
      decisions.push_back(d);
    }
    return decisions;
  }
  Decision decide(const Packet& packet) const { return decide(*path, {packet})[0]; }

  Fleet fleet;
  DatapathOptions options;
  std::vector<Prefix> where{{*Address::parse("10.1.0.0"), 16, 1}, {*Address::parse("10.2.0.0"), 16, 2}};
  std::unique_ptr<Datapath> path;
};

TEST_F(DatapathTest, balances_a_service_and_translates_the_answer_back) {
  const Decision there = decide({.tcp_flags = kSyn});
  EXPECT_EQ(there.verdict, FM_VERDICT_ALLOW);
  EXPECT_EQ(there.state, FM_CT_NEW);
  EXPECT_NE(there.backend, 0U);
  EXPECT_EQ(there.destination_port, 8080);
  const std::string backend = Address::v4(there.destination).text();
  EXPECT_TRUE(backend == "10.1.0.1" || backend == "10.2.0.1");

  const Decision back = decide({backend, 8080, "10.1.0.9", 1000, kSyn | kAck});
  EXPECT_EQ(back.state, FM_CT_REPLY);
  EXPECT_EQ(Address::v4(back.source).text(), "10.100.0.1");
  EXPECT_EQ(back.source_port, 80);
  EXPECT_EQ(back.service, there.service);
}

TEST_F(DatapathTest, a_connection_keeps_its_backend_and_new_ones_spread) {
  std::map<std::uint32_t, int> spread;
  for (std::uint16_t port = 1000; port < 1200; ++port) {
    const Decision first = decide({.source_port = port, .tcp_flags = kSyn});
    ++spread[first.destination];
    EXPECT_EQ(decide({.source_port = port}).destination, first.destination);
  }
  ASSERT_EQ(spread.size(), 2U);
  for (const auto& [destination, count] : spread) EXPECT_GT(count, 60);
}

TEST_F(DatapathTest, a_connection_is_balanced_afresh_once_its_backend_is_gone) {
  Packet packet{.tcp_flags = kSyn};
  while (Address::v4(decide(packet).destination).text() != "10.2.0.1") ++packet.source_port;
  packet.tcp_flags = kAck;
  fleet.set_slice(1, "echo", {"10.1.0.1", "10.1.0.2"});
  adopt();
  EXPECT_EQ(Address::v4(decide(packet).destination).text(), "10.2.0.1");
  fleet.set_slice(2, "echo", {});
  adopt();
  EXPECT_EQ(decide(packet).destination >> 16U, 0x0A01U);
}

TEST_F(DatapathTest, no_backend_and_no_service_differ) {
  fleet.set_slice(1, "echo", {});
  fleet.set_slice(2, "echo", {});
  adopt();
  const Decision no_backend = decide({.tcp_flags = kSyn});
  EXPECT_EQ(no_backend.verdict, FM_VERDICT_DENY);
  EXPECT_EQ(no_backend.reason, FM_REASON_NO_BACKEND);
  EXPECT_NE(no_backend.service, 0U);
  const Decision no_service = decide({.destination = "10.100.0.2", .tcp_flags = kSyn});
  EXPECT_EQ(no_service.verdict, FM_VERDICT_ALLOW);
  EXPECT_EQ(no_service.service, 0U);
  EXPECT_EQ(no_service.destination, number("10.100.0.2"));
}

TEST_F(DatapathTest, one_port_to_one_backend_through_two_addresses_the_newest_gets_the_answers) {
  fleet.set_slice(2, "echo", {});
  fleet.set_service(1, "other", fleet.spec("10.100.0.2"));
  fleet.set_slice(1, "other", {"10.1.0.1"});
  adopt();
  const Packet answer{"10.1.0.1", 8080, "10.1.0.9", 1000, kAck};
  decide({.tcp_flags = kSyn});
  EXPECT_EQ(decide(answer).source, number("10.100.0.1"));
  decide({.destination = "10.100.0.2", .tcp_flags = kSyn});
  EXPECT_EQ(decide(answer).source, number("10.100.0.2"));
  decide({});
  EXPECT_EQ(decide(answer).source, number("10.100.0.1"));
}

TEST_F(DatapathTest, affinity_holds_a_client_until_its_time_is_over) {
  auto spec = fleet.spec("10.100.0.1");
  spec.session_affinity_seconds = 10;
  fleet.set_service(1, "echo", spec);
  fleet.set_slice(2, "echo", {});
  adopt();
  EXPECT_EQ(decide({.tcp_flags = kSyn}).destination, number("10.1.0.1"));
  fleet.set_slice(2, "echo", {"10.2.0.1", "10.2.0.2", "10.2.0.3", "10.2.0.4"});
  adopt();
  for (std::uint16_t port = 2000; port < 2020; ++port)
    EXPECT_EQ(decide({.source_port = port, .tcp_flags = kSyn, .time = kSecond}).destination,
              number("10.1.0.1"));
  const Decision later = decide({.source_port = 3000, .tcp_flags = kSyn, .time = 11 * kSecond});
  const Decision same = decide({.source_port = 3001, .tcp_flags = kSyn, .time = 12 * kSecond});
  EXPECT_EQ(later.destination, same.destination);
}

TEST_F(DatapathTest, a_full_table_forgets_the_oldest_that_was_not_used_since) {
  options.tcp_connections = 3;  // a connection that leaves the cluster has two entries
  fleet.set_slice(1, "echo", {});
  path = std::make_unique<Datapath>(tables(1), policy(1), options);
  for (std::uint16_t port = 1; port <= 10; ++port) decide({.source_port = port, .tcp_flags = kSyn});
  EXPECT_EQ(path->connections().tcp, 3U);
  EXPECT_EQ(path->connections().evicted, 17U);
  EXPECT_EQ(decide({.source_port = 1}).state, FM_CT_NEW);
}

TEST_F(DatapathTest, packets_of_a_flow_that_is_known_extend_its_connection_and_a_closing_one_ends_it) {
  constexpr std::uint64_t kHour = 3600 * kSecond;
  const Decision first = decide({.tcp_flags = kSyn});
  decide({.time = kSecond});
  for (std::uint64_t hour = 1; hour < 12; ++hour)
    EXPECT_EQ(decide({.time = hour * kHour}).state, FM_CT_ESTABLISHED) << hour;
  EXPECT_EQ(decide({.time = 17 * kHour - 1}).destination, first.destination);
  EXPECT_EQ(decide({.tcp_flags = kRst, .time = 17 * kHour}).state, FM_CT_ESTABLISHED);
  EXPECT_EQ(decide({.time = 17 * kHour + 9 * kSecond}).state, FM_CT_ESTABLISHED);
  // Closed, it is not extended any more.
  EXPECT_EQ(decide({.time = 17 * kHour + 10 * kSecond}).state, FM_CT_NEW);
}

TEST_F(DatapathTest, a_known_flow_is_looked_at_again_once_its_backend_is_gone) {
  decide({.tcp_flags = kSyn});
  Decision before;
  for (int i = 0; i < 3; ++i) before = decide({});
  for (const ClusterId id : testing::ids({1, 2}))
    fleet.set_slice(id, "echo", {"10." + std::to_string(id) + ".0.7"});
  adopt();
  const Decision after = decide({});
  EXPECT_NE(after.destination, before.destination);
  EXPECT_EQ(after.destination & 0xffU, 7U);
  EXPECT_EQ(decide({}).destination, after.destination);
}

TEST_F(DatapathTest, a_known_flow_is_looked_at_again_once_clusters_are_elsewhere) {
  decide({.destination = "10.2.0.1", .tcp_flags = kSyn});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(decide({.destination = "10.2.0.1"}).state, FM_CT_ESTABLISHED);
  where = {{*Address::parse("10.9.0.0"), 16, 1}};
  adopt();
  EXPECT_EQ(decide({.destination = "10.2.0.1"}).state, FM_CT_NEW) << "neither end is here any more";
}

TEST_F(DatapathTest, time_never_runs_backwards) {
  decide({.time = 5});
  EXPECT_THROW(decide({.time = 4}), std::invalid_argument);
  EXPECT_EQ(path->time(), 5U);
}

TEST_F(DatapathTest, shards_decide_as_one) {
  std::vector<std::uint32_t> source;
  std::vector<std::uint32_t> destination;
  std::vector<std::uint16_t> source_port;
  std::vector<std::uint16_t> destination_port;
  std::vector<std::uint8_t> protocol;
  std::vector<std::uint8_t> flags;
  for (std::uint32_t i = 0; i < 40000; ++i) {
    const bool back = i % 3 == 2;
    const std::uint32_t client = number("10.1.0.9") + i % 50;
    source.push_back(back ? number(i % 2 ? "10.1.0.1" : "10.2.0.1") : client);
    destination.push_back(back ? client : number("10.100.0.1"));
    source_port.push_back(static_cast<std::uint16_t>(back ? 8080 : 1000 + i % 700));
    destination_port.push_back(static_cast<std::uint16_t>(back ? 1000 + i % 700 : 80));
    protocol.push_back(6);
    flags.push_back(i % 5 ? kAck : kSyn);
  }
  const std::uint64_t time = 1;
  std::vector<std::vector<std::uint32_t>> answers;
  for (const std::uint32_t shards : {1U, 2U, 3U}) {
    options.shards = shards;
    Datapath by(tables(1), policy(1), options);
    const std::size_t n = source.size();
    std::vector<std::uint8_t> verdict(n), egress(n), ingress(n), reason(n), state(n);
    std::vector<std::uint32_t> from(n), to(n), backend(n), service(n), first(n), second(n);
    std::vector<std::uint16_t> from_port(n), to_port(n), proxy(n);
    by.process(
        PacketColumns<std::uint32_t>{n, source.data(), destination.data(), source_port.data(),
                                     destination_port.data(), protocol.data(), flags.data(), &time, true},
        {verdict.data(), egress.data(), ingress.data(), reason.data(), state.data(), from.data(), to.data(),
         from_port.data(), to_port.data(), backend.data(), service.data(), first.data(), second.data(),
         proxy.data()});
    std::vector<std::uint32_t> all = from;
    all.insert(all.end(), to.begin(), to.end());
    all.insert(all.end(), state.begin(), state.end());
    all.insert(all.end(), verdict.begin(), verdict.end());
    answers.push_back(std::move(all));
  }
  EXPECT_EQ(answers[0], answers[1]);
  EXPECT_EQ(answers[0], answers[2]);
}

// Of interest under ThreadSanitizer: data paths, one of them with threads of its own, compile and adopt
// tables, which share what they compiled, while the mesh changes.
TEST_F(DatapathTest, data_paths_go_on_beside_the_writer) {
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (const std::uint32_t shards : {1U, 1U, 2U})
    threads.emplace_back([&, shards] {
      DatapathOptions own = options;
      own.shards = shards;
      auto newest = tables(1);
      Datapath by(newest, policy(1), own);
      for (std::uint16_t port = 1000; !done || port < 1010; ++port) {
        newest = newest->advance(fleet.mesh->state());
        by.adopt(newest, policy(1));
        const auto opened = decide(by, {{.source_port = port, .tcp_flags = kSyn},
                                        {.source_port = port},
                                        {.source_port = port},
                                        {.destination = "10.100.0.2"}});
        ASSERT_EQ(opened[2].backend, opened[0].backend);
        ASSERT_EQ(opened[3].service, 0U);
        ASSERT_FALSE(by.counters().empty());
      }
    });
  for (std::uint8_t step = 1; step < 100; ++step)
    fleet.set_slice(2, "echo", {"10.2.0.1", "10.2.0." + std::to_string(1 + step)});
  done = true;
  for (auto& thread : threads) thread.join();
}

TEST_F(DatapathTest, a_chain_takes_each_packet_through_both_ends) {
  Datapath west(tables(2), policy(2), options);
  DatapathChain chain({nullptr, path.get(), &west}, {}, where);
  const std::uint32_t source = number("10.1.0.9");
  const std::uint32_t destination = number("10.100.0.1");
  const std::uint16_t port = 80;
  const std::uint8_t protocol = 6;
  const std::uint64_t time = 1;
  int remote = 0;
  for (std::uint16_t source_port = 1; source_port < 40; ++source_port) {
    Decision d;
    chain.process(
        PacketColumns<std::uint32_t>{1, &source, &destination, &source_port, &port, &protocol, &kSyn, &time},
        {&d.verdict, &d.egress, &d.ingress, &d.reason, &d.state, &d.source, &d.destination, &d.source_port,
         &d.destination_port, &d.backend, &d.service, &d.source_identity, &d.destination_identity,
         &d.proxy_port});
    if (d.destination != number("10.2.0.1")) continue;
    ++remote;
    Decision back;
    const std::uint16_t backend_port = 8080;
    chain.process(PacketColumns<std::uint32_t>{1, &d.destination, &source, &backend_port, &source_port,
                                               &protocol, &kAck, &time},
                  {&back.verdict, &back.egress, &back.ingress, &back.reason, &back.state, &back.source,
                   &back.destination, &back.source_port, &back.destination_port, &back.backend, &back.service,
                   &back.source_identity, &back.destination_identity, &back.proxy_port});
    EXPECT_EQ(back.source, destination);
    EXPECT_EQ(back.state, FM_CT_REPLY);
  }
  EXPECT_GT(remote, 5);
  EXPECT_EQ(west.connections().tcp, static_cast<std::uint32_t>(remote));
}

TEST(Ranges, the_longest_prefix_counts) {
  const std::vector<Prefix> prefixes{
      {*Address::parse("10.0.0.0"), 8, 1},  {*Address::parse("10.1.0.0"), 16, 2},
      {*Address::parse("10.1.2.0"), 24, 3}, {*Address::parse("10.1.2.3"), 32, 4},
      {*Address::parse("fd00::"), 16, 5},   {*Address::parse("fd00:1::"), 32, 6}};
  const Ranges ranges(prefixes);
  const auto cluster = [&](const std::string& text) {
    const Address address = *Address::parse(text);
    if (address.family == Family::v4) {
      const auto* known = ranges.find(__builtin_bswap32(static_cast<std::uint32_t>(address.low)));
      return known ? int{known->cluster} : 0;
    }
    const std::array<std::uint64_t, 2> words{__builtin_bswap64(address.high), __builtin_bswap64(address.low)};
    std::array<std::uint32_t, 4> stored{};
    std::memcpy(stored.data(), words.data(), sizeof words);
    const auto* known = ranges.find(stored.data());
    return known ? int{known->cluster} : 0;
  };
  EXPECT_EQ(cluster("9.255.255.255"), 0);
  EXPECT_EQ(cluster("10.0.0.0"), 1);
  EXPECT_EQ(cluster("10.1.1.255"), 2);
  EXPECT_EQ(cluster("10.1.2.2"), 3);
  EXPECT_EQ(cluster("10.1.2.3"), 4);
  EXPECT_EQ(cluster("10.1.2.4"), 3);
  EXPECT_EQ(cluster("10.1.3.0"), 2);
  EXPECT_EQ(cluster("10.2.0.0"), 1);
  EXPECT_EQ(cluster("11.0.0.0"), 0);
  EXPECT_EQ(cluster("fd00:2::1"), 5);
  EXPECT_EQ(cluster("fd00:1::1"), 6);
  EXPECT_EQ(cluster("fe00::1"), 0);
}

}  // namespace
}  // namespace fleetmesh
