// The decision procedure as plain C over tables that a reader can see through.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "datapath/abi.h"
#include "fleetmesh/maglev.hpp"

namespace {

// What every look-up answers, by the bytes of its key. A service's table has a rank for each slot.
struct Plain {
  template <class Value>
  using Map = std::map<std::string, Value>;

  fm_config config{};
  std::vector<std::uint32_t> ranks;
  std::vector<std::uint32_t> ids;
  Map<fm_service_value> services;
  std::map<std::uint32_t, fm_backend4> backends4;
  std::map<std::uint32_t, fm_backend6> backends6;
  Map<fm_identity_value> identities;
  Map<fm_ct4_value> connections4;
  Map<fm_ct6_value> connections6;
  Map<fm_affinity_value> affinities;
  std::map<std::uint32_t, fm_endpoint_value> endpoints;
  Map<fm_policy_value> policies;
};

template <class Key>
std::string bytes(const Key& key) {
  return {reinterpret_cast<const char*>(&key), sizeof key};
}
template <class Key, class Value>
Value* find(std::map<Key, Value>& map, const Key& key) {
  const auto at = map.find(key);
  return at == map.end() ? nullptr : &at->second;
}
template <class Value>
Value* living(Value* entry, std::uint64_t time) {
  return entry && entry->expires > time ? entry : nullptr;
}
bool takes_new(const Plain& tables, const fm_service_value* service, std::uint32_t id) {
  const auto first = tables.ids.begin() + service->ids_offset;
  return std::find(first, first + service->count, id) != first + service->count;
}

}  // namespace

#define FM_TABLES Plain&
#define FM_CONFIG(tables) (&(tables).config)
#define FM_SERVICE_4(tables, key) find((tables).services, bytes(*(key)))
#define FM_SERVICE_6(tables, key) find((tables).services, bytes(*(key)))
#define FM_RANK(tables, service, slot) (tables).ranks[(service)->table_offset + (slot)]
#define FM_BACKEND_ID(tables, service, rank) (tables).ids[(service)->ids_offset + (rank)]
#define FM_BACKEND_4(tables, id) find((tables).backends4, id)
#define FM_BACKEND_6(tables, id) find((tables).backends6, id)
#define FM_TAKES_NEW_4(tables, service, id) takes_new(tables, service, id)
#define FM_TAKES_NEW_6(tables, service, id) takes_new(tables, service, id)
#define FM_IDENTITY_4(tables, address) find((tables).identities, bytes(address))
#define FM_IDENTITY_6(tables, address) find((tables).identities, bytes(address))
#define FM_CT_FIND_4(tables, key, time) living(find((tables).connections4, bytes(*(key))), time)
#define FM_CT_FIND_6(tables, key, time) living(find((tables).connections6, bytes(*(key))), time)
#define FM_CT_PUT_4(tables, key, value) ((tables).connections4[bytes(*(key))] = *(value), 0)
#define FM_CT_PUT_6(tables, key, value) ((tables).connections6[bytes(*(key))] = *(value), 0)
#define FM_AFFINITY_FIND_4(tables, key) find((tables).affinities, bytes(*(key)))
#define FM_AFFINITY_FIND_6(tables, key) find((tables).affinities, bytes(*(key)))
#define FM_AFFINITY_PUT_4(tables, key, value) ((tables).affinities[bytes(*(key))] = *(value))
#define FM_AFFINITY_PUT_6(tables, key, value) ((tables).affinities[bytes(*(key))] = *(value))
#define FM_AFFINITY_REMOVE_4(tables, key) (tables).affinities.erase(bytes(*(key)))
#define FM_AFFINITY_REMOVE_6(tables, key) (tables).affinities.erase(bytes(*(key)))
#define FM_ENDPOINT(tables, identity) find((tables).endpoints, identity)
#define FM_POLICY_ENTRY(tables, key) find((tables).policies, bytes(*(key)))
#define FM_POLICY(tables, endpoint, direction, identity, protocol, port, value) \
  fm_policy_lookup(tables, &(tables).config, endpoint, direction, identity, protocol, port, value)
#define FM_AUTHENTICATED(tables, subject, peer, type) ((tables).config.seed4 == 1)
#include "datapath/policy.h"
// after what answers its look-ups
#include "datapath/decision.h"

namespace {

std::uint32_t v4(const char* text) {
  std::uint32_t address = 0;
  EXPECT_EQ(inet_pton(AF_INET, text, &address), 1) << text;
  return address;
}
std::array<std::uint32_t, 4> v6(const char* text) {
  std::array<std::uint32_t, 4> address{};
  EXPECT_EQ(inet_pton(AF_INET6, text, address.data()), 1) << text;
  return address;
}

std::uint16_t port(const std::string& text) { return htons(static_cast<std::uint16_t>(std::stoul(text))); }

// The value of a name in a line that is one flat JSON object.
std::string field(const std::string& line, const std::string& name) {
  const std::string key = "\"" + name + "\": ";
  const auto at = line.find(key);
  if (at == std::string::npos) return "";
  const auto from = at + key.size();
  if (line[from] == '"') return line.substr(from + 1, line.find('"', from + 1) - from - 1);
  return line.substr(from, line.find_first_of(",}", from) - from);
}

TEST(DecisionHash, IsCiliums) {
  const auto file = std::filesystem::path(__FILE__).parent_path() / "../../tests/golden/packet_hash.json";
  std::ifstream in(file);
  ASSERT_TRUE(in) << file;
  int cases = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.find("\"slot_16381\"") == std::string::npos || line.find("\"source\"") == std::string::npos)
      continue;
    ++cases;
    const auto seed = fleetmesh::maglev::Seed::parse(field(line, "seed"));
    const std::string source = field(line, "source");
    const std::uint16_t from =
        field(line, "affinity") == "true" ? std::uint16_t{0} : port(field(line, "source_port"));
    const auto protocol = static_cast<std::uint8_t>(std::stoul(field(line, "protocol")));
    const std::uint32_t hash =
        source.find(':') == std::string::npos
            ? fm_hash4(v4(source.c_str()), from, port(field(line, "destination_port")), protocol,
                       seed.packet_v4)
            : fm_hash6(v6(source.c_str()).data(), from, port(field(line, "destination_port")), protocol,
                       seed.packet_v6);
    EXPECT_EQ(hash, std::stoul(field(line, "hash"))) << line;
    EXPECT_EQ(hash % 16381, std::stoul(field(line, "slot_16381"))) << line;
  }
  EXPECT_EQ(cases, 240);
}

// 10.96.0.1:80 with backend 1, 10.2.0.1:8080.
Plain one_service() {
  Plain tables;
  tables.config.abi = FM_ABI_VERSION;
  tables.ranks.assign(251, 0);
  tables.ids = {1};
  const fm_service4_key key{v4("10.96.0.1"), htons(80), FM_PROTOCOL_TCP, FM_SCOPE_EXTERNAL};
  fm_service_value& service = tables.services[bytes(key)];
  service.table_size = 251;
  service.count = 1;
  service.number = 7;
  tables.backends4[1] = {v4("10.2.0.1"), htons(8080), FM_PROTOCOL_TCP, FM_BACKEND_ACTIVE, 2, 0};
  return tables;
}

fm_state4 to_service() {
  fm_state4 packet{};
  packet.source = v4("10.1.0.7");
  packet.destination = v4("10.96.0.1");
  packet.source_port = htons(40000);
  packet.destination_port = htons(80);
  packet.protocol = FM_PROTOCOL_TCP;
  packet.tcp_flags = FM_TCP_SYN;
  return packet;
}

TEST(Decision, SendsToTheBackendAndGivesTheAnswerTheAddressOfTheService) {
  Plain tables = one_service();
  fm_state4 there = to_service();

  ASSERT_TRUE(fm_from_endpoint4(&there, tables));
  EXPECT_EQ(there.destination, v4("10.2.0.1"));
  EXPECT_EQ(there.destination_port, htons(8080));
  EXPECT_EQ(there.service_number, 7U);
  EXPECT_TRUE(there.opened);

  fm_state4 back{};
  back.source = there.destination;
  back.destination = there.source;
  back.source_port = there.destination_port;
  back.destination_port = there.source_port;
  back.protocol = FM_PROTOCOL_TCP;
  back.tcp_flags = FM_TCP_SYN | FM_TCP_ACK;
  ASSERT_TRUE(fm_to_endpoint4(&back, tables));
  EXPECT_EQ(back.ct, FM_CT_REPLY);
  EXPECT_EQ(back.source, v4("10.96.0.1"));
  EXPECT_EQ(back.source_port, htons(80));
}

TEST(Decision, DropsWhereTheServiceHasNoBackend) {
  Plain tables = one_service();
  for (auto& [key, service] : tables.services) service.count = 0;
  fm_state4 packet = to_service();

  EXPECT_FALSE(fm_from_endpoint4(&packet, tables));
  EXPECT_EQ(packet.verdict, FM_VERDICT_DENY);
  EXPECT_EQ(packet.reason, FM_REASON_NO_BACKEND);
}

TEST(Decision, LeavesAPacketToNoServiceAsItIs) {
  Plain tables = one_service();
  fm_state4 packet = to_service();
  packet.destination_port = htons(81);

  EXPECT_TRUE(fm_from_endpoint4(&packet, tables));
  EXPECT_EQ(packet.destination, v4("10.96.0.1"));
  EXPECT_EQ(packet.service_number, 0U);
}

TEST(Decision, IsTheSameForIpv6) {
  Plain tables = one_service();
  tables.services.clear();
  fm_service6_key key{};
  std::memcpy(key.address, v6("fd00:96::1").data(), 16);
  key.port = htons(80);
  key.protocol = FM_PROTOCOL_TCP;
  fm_service_value& service = tables.services[bytes(key)];
  service.table_size = 251;
  service.count = 1;
  service.number = 7;
  fm_backend6& backend = tables.backends6[1];
  std::memcpy(backend.address, v6("fd00:10:2::1").data(), 16);
  backend.port = htons(8080);
  fm_state6 packet{};
  std::memcpy(packet.source, v6("fd00:10:1::7").data(), 16);
  std::memcpy(packet.destination, key.address, 16);
  packet.source_port = htons(40000);
  packet.destination_port = htons(80);
  packet.protocol = FM_PROTOCOL_TCP;
  packet.tcp_flags = FM_TCP_SYN;

  ASSERT_TRUE(fm_from_endpoint6(&packet, tables));
  EXPECT_EQ(std::memcmp(packet.destination, backend.address, 16), 0);
  EXPECT_EQ(packet.destination_port, htons(8080));
}

// Pods 10.1.0.7 and 10.1.0.8 of cluster 1, and what the second lets in.
class DecisionPolicy : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kClient = 1U << 16U | 256U;
  static constexpr std::uint32_t kServer = 1U << 16U | 257U;

  DecisionPolicy() {
    tables.config.cluster = 1;
    tables.config.identity_bits = 16;
    tables.identities[bytes(v4("10.1.0.7"))] = {kClient, 1, 0};
    tables.identities[bytes(v4("10.1.0.8"))] = {kServer, 1, 0};
    fm_endpoint_value& server = tables.endpoints[kServer];
    server.endpoint = 1;
    server.enforced = 1U << FM_CT_IN;
  }

  void put(std::uint32_t identity, std::uint16_t number, std::uint8_t length, std::uint32_t precedence,
           std::uint16_t proxy_port = 0, std::uint8_t auth = 0) {
    const fm_policy_key key{1,
                            identity,
                            htons(number),
                            FM_CT_IN,
                            length ? std::uint8_t{FM_PROTOCOL_TCP} : std::uint8_t{0},
                            length,
                            0,
                            0};
    tables.policies[bytes(key)] = {precedence, proxy_port, auth, 0, 0};
    fm_endpoint_value& server = tables.endpoints[kServer];
    server.lengths[FM_CT_IN] |= 1U << length;
    if (length > 8)
      server.port_bits[FM_CT_IN] = std::max<std::uint8_t>(server.port_bits[FM_CT_IN], length - 8);
  }

  fm_state4 arrive(std::uint16_t number, const char* source = "10.1.0.7", std::uint8_t flags = FM_TCP_SYN) {
    fm_state4 packet{};
    packet.source = v4(source);
    packet.destination = v4("10.1.0.8");
    packet.source_port = htons(40000);
    packet.destination_port = htons(number);
    packet.protocol = FM_PROTOCOL_TCP;
    packet.tcp_flags = flags;
    fm_to_endpoint4(&packet, tables);
    return packet;
  }

  Plain tables;
};

constexpr std::uint32_t kAllow = 0xffffff01;
constexpr std::uint32_t kDeny = 0xffffffff;
constexpr std::uint32_t kRedirect = 0xffffff99;

TEST_F(DecisionPolicy, WhatNoEntryAllowsIsRefusedAndNotRemembered) {
  const fm_state4 packet = arrive(80);
  EXPECT_EQ(packet.verdict, FM_VERDICT_DENY);
  EXPECT_EQ(packet.ingress, FM_VERDICT_DENY);
  EXPECT_EQ(packet.reason, FM_REASON_POLICY);
  EXPECT_TRUE(tables.connections4.empty());
}

TEST_F(DecisionPolicy, TheLongestPrefixOfThePortDecides) {
  put(kClient, 0x1000, 12, kAllow);  // 4096 to 8191
  put(kClient, 0x1234, 24, kDeny);
  EXPECT_EQ(arrive(0x1000).ingress, FM_VERDICT_ALLOW);
  EXPECT_EQ(arrive(0x1fff).ingress, FM_VERDICT_ALLOW);
  EXPECT_EQ(arrive(0x2000).ingress, FM_VERDICT_DENY);
  const fm_state4 denied = arrive(0x1234);
  EXPECT_EQ(denied.ingress, FM_VERDICT_DENY);
  EXPECT_EQ(denied.reason, FM_REASON_POLICY_DENY);
}

TEST_F(DecisionPolicy, TheHigherPrecedenceDecidesBetweenAnIdentityAndItsAggregate) {
  put(kClient, 80, 24, kAllow);
  put(FM_AGGREGATE_CLUSTER, 0, 0, kDeny - 256);
  EXPECT_EQ(arrive(80).ingress, FM_VERDICT_ALLOW);
  put(FM_AGGREGATE_CLUSTER, 0, 0, kDeny);
  EXPECT_EQ(arrive(80).ingress, FM_VERDICT_DENY);
}

TEST_F(DecisionPolicy, ARedirectCarriesThePortOfItsProxy) {
  put(kClient, 80, 24, kRedirect, 10001);
  for (const std::uint8_t flags : {FM_TCP_SYN, FM_TCP_ACK}) {
    const fm_state4 packet = arrive(80, "10.1.0.7", flags);
    EXPECT_EQ(packet.verdict, FM_VERDICT_REDIRECT);
    EXPECT_EQ(packet.proxy_port, 10001);
  }
}

TEST_F(DecisionPolicy, WhoHasNotProvedWhoItIsIsRefused) {
  put(kClient, 80, 24, kAllow, 0, 1);
  EXPECT_EQ(arrive(80).reason, FM_REASON_AUTH_REQUIRED);
  tables.config.seed4 = 1;  // which says here that everybody has
  EXPECT_EQ(arrive(80).ingress, FM_VERDICT_ALLOW);
}

TEST_F(DecisionPolicy, AnEstablishedConnectionIsJudgedAnewAndItsAnswersAreNot) {
  put(kClient, 80, 24, kAllow);
  arrive(80);
  tables.policies.clear();
  EXPECT_EQ(arrive(80, "10.1.0.7", FM_TCP_ACK).ingress, FM_VERDICT_DENY);

  fm_state4 answer{};
  answer.source = v4("10.1.0.8");
  answer.destination = v4("10.1.0.7");
  answer.source_port = htons(80);
  answer.destination_port = htons(40000);
  answer.protocol = FM_PROTOCOL_TCP;
  answer.tcp_flags = FM_TCP_ACK;
  tables.endpoints[kServer].enforced |= 1U << FM_CT_OUT;
  ASSERT_TRUE(fm_from_endpoint4(&answer, tables));
  EXPECT_EQ(answer.ct, FM_CT_REPLY);
  EXPECT_EQ(answer.egress, FM_VERDICT_UNKNOWN);
}

TEST_F(DecisionPolicy, WhoTalksToItselfIsNotJudged) {
  const fm_state4 packet = arrive(80, "10.1.0.8");
  EXPECT_EQ(packet.verdict, FM_VERDICT_ALLOW);
  EXPECT_EQ(packet.ingress, FM_VERDICT_UNKNOWN);
}

}  // namespace
