// What a data path is told of policies, and that the two probes over it find what was resolved.
#include "fleetmesh/policy_tables.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

// The entries of a cluster as the kernel's maps have them.
struct Entries {
  fm_config config{};
  std::map<std::uint32_t, fm_endpoint_value> endpoints;
  std::map<std::string, fm_policy_value> policies;
};

std::string bytes(const fm_policy_key& key) { return {reinterpret_cast<const char*>(&key), sizeof key}; }
const fm_policy_value* entry(const Entries& entries, const fm_policy_key& key) {
  const auto at = entries.policies.find(bytes(key));
  return at == entries.policies.end() ? nullptr : &at->second;
}

}  // namespace

#define FM_TABLES const Entries&
#define FM_POLICY_ENTRY(tables, key) entry(tables, *(key))
#include "datapath/policy.h"

namespace fleetmesh::policy {
namespace {

constexpr IdentityNumber number(std::uint32_t cluster, std::uint32_t n) { return cluster << 16U | (256 + n); }
constexpr std::uint32_t kTerms = 6;

std::uint32_t stored(const std::string& address) {
  return __builtin_bswap32(static_cast<std::uint32_t>(Address::parse(address)->low));
}

class Random {
 public:
  explicit Random(unsigned seed) : random_(seed) {}
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  std::uint16_t port() {
    static constexpr std::array<std::uint16_t, 6> kPorts{1, 80, 81, 443, 8080, 65535};
    return below(4) ? kPorts[below(kPorts.size())] : static_cast<std::uint16_t>(1 + below(65535));
  }
  std::uint8_t protocol() { return std::array<std::uint8_t, 4>{6, 6, 17, 1}[below(4)]; }

  Rule rule() {
    Rule made;
    made.direction = static_cast<Direction>(below(2));
    made.tier = static_cast<std::uint8_t>(below(3));
    made.verdict = static_cast<Verdict>(below(made.tier == 0 ? 3 : 2));
    made.priority = below(2);
    made.subject = kTerms;
    made.default_deny = below(3) != 0;
    for (std::uint32_t i = below(3); i--;) made.peers.push_back(below(kTerms + 1));
    for (std::uint32_t i = below(3); i--;) made.ports.push_back(port_rule(made.verdict));
    if (made.verdict == Verdict::allow && !below(3))
      made.authentication = static_cast<std::uint8_t>(1 + below(3));
    return made;
  }

 private:
  PortRule port_rule(Verdict verdict) {
    PortRule made;
    const std::uint16_t one = port();
    const std::uint16_t other = port();
    made.ports.push_back({protocol(), std::min(one, other), std::max(one, other), 0});
    if (!below(4)) made.ports.back() = {static_cast<std::uint8_t>(below(2) ? 6 : 0), 0, 0, 0};
    if (verdict == Verdict::allow && !below(3)) {
      made.parser = Parser::http;
      made.proxy_port = 10001;
    }
    return made;
  }

  std::mt19937 random_;
};

TEST(PolicyTables, both_probes_find_what_was_resolved) {
  unsigned compared = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    Random random(seed);
    const auto identities = std::make_shared<Identities>();
    std::vector<IdentityNumber> peers{1, 2, 6, 9, 1U << 24U | 3U, 2U << 24U | 3U, number(3, 0)};
    for (const std::uint32_t reserved : {1U, 2U, 6U, 9U, 11U, 12U, 13U, 14U})
      identities->set(reserved, {{1 + random.below(kTerms)}, {}});
    for (std::uint32_t n = 0; n < 8; ++n) {
      peers.push_back(number(1 + n % 2, n));
      identities->set(peers.back(), {{1 + random.below(kTerms), 1 + random.below(kTerms)}, {}});
    }
    std::vector<Selector> selectors;
    for (Term term = 1; term <= kTerms; ++term) selectors.push_back({{random.below(4) == 0, {term}}});
    selectors.emplace_back();
    std::vector<Rule> rules(1 + random.below(8));
    for (Rule& rule : rules) rule = random.rule();
    Repository repository(identities, {.cluster = 1});
    repository.hear({2});
    repository.set_rules("", selectors, rules);
    const EndpointPolicy policy = repository.resolve({{1}, {}}, false, false);
    if (policy.conflict()) continue;

    PolicyTablesMaker maker(1, 16);
    maker.set_endpoint(number(1, 0), policy);
    const auto tables = maker.make({});
    Entries entries;
    entries.config.cluster = 1;
    entries.config.identity_bits = 16;
    tables->each(
        [&](IdentityNumber identity, const fm_endpoint_value& value) { entries.endpoints[identity] = value; },
        [&](const fm_policy_key& key, const fm_policy_value& value) {
          entries.policies[bytes(key)] = value;
        });
    const fm_endpoint_value& endpoint = entries.endpoints.at(number(1, 0));
    for (const IdentityNumber peer : peers)
      for (const auto direction : {Direction::egress, Direction::ingress})
        for (int i = 0; i < 20; ++i) {
          const auto at = static_cast<std::uint8_t>(direction == Direction::egress ? FM_CT_OUT : FM_CT_IN);
          if (!(endpoint.enforced & (1U << at))) continue;
          const std::uint8_t protocol = random.protocol();
          const std::uint16_t port = random.port();
          const Answer wanted = policy.lookup(direction, peer, protocol, port);
          const fm_policy_value value = PolicyTables::value_of(wanted.entry);
          fm_policy_value found{};
          const int is_found = fm_policy_lookup(entries, &entries.config, &endpoint, at, peer, protocol,
                                                __builtin_bswap16(port), &found);
          ++compared;
          ASSERT_EQ(is_found != 0, wanted.found) << "seed " << seed << ", peer " << peer << ", port " << port;
          if (!wanted.found) continue;
          ASSERT_EQ(found.precedence, value.precedence) << "seed " << seed << ", peer " << peer;
          ASSERT_EQ(found.auth, value.auth) << "seed " << seed << ", peer " << peer << ", port " << port;
          ASSERT_EQ(found.proxy_port, value.proxy_port) << "seed " << seed;
        }
  }
  EXPECT_GT(compared, 50000U);
}

TEST(PolicyTables, what_was_shared_stays_as_it_was_when_identities_come) {
  const auto identities = std::make_shared<Identities>();
  identities->set(number(1, 1), {{1}, {}});
  Repository repository(identities, {.cluster = 1});
  Rule rule;
  rule.direction = Direction::ingress;
  rule.peers = {0};
  repository.set_rules("", {{{false, {1}}}, {}}, {rule});
  PolicyTablesMaker maker(1, 16);
  Rule all = rule;
  all.subject = 1;
  repository.set_rules("", {{{false, {1}}}, {}}, {all});
  maker.set_endpoint(number(1, 0), repository.resolve({{}, {}}, false, false));
  const auto before = maker.make({});
  identities->set(number(1, 2), {{1}, {}});
  identities->remove(number(1, 1));
  const auto after = maker.make({});
  const auto reaches = [](const PolicyTables& tables, IdentityNumber peer) {
    return tables.lookup(*tables.endpoint(number(1, 0)), Direction::ingress, peer, 6, 80).found;
  };
  EXPECT_TRUE(reaches(*before, number(1, 1)));
  EXPECT_FALSE(reaches(*before, number(1, 2)));
  EXPECT_FALSE(reaches(*after, number(1, 1)));
  EXPECT_TRUE(reaches(*after, number(1, 2)));
}

TEST(PolicyTables, whom_an_address_is_depends_on_whom_a_cluster_hears) {
  AddressBook book;
  book.set(*Address::parse("10.1.0.1"), {number(1, 0), 1, 0});
  book.set(*Address::parse("10.2.0.1"), {number(2, 0), 2, 0});
  book.set(*Address::parse("192.168.1.1"), {6, 1, 0});
  book.set(*Address::parse("192.168.2.1"), {6, 2, 0});
  PolicyTablesMaker maker(1, 16);
  const std::vector<Prefix> clusters{{*Address::parse("10.1.0.0"), 16, 1}};
  const std::vector<Prefix> identities{{*Address::parse("0.0.0.0"), 0, 9},
                                       {*Address::parse("10.2.0.0"), 24, 1U << 24U}};
  maker.locate(clusters, identities);
  const auto deaf = maker.make(book);
  maker.hear(std::vector<ClusterId>{2});
  maker.set_own(*Address::parse("10.2.0.2"), {number(2, 7), 2, 0});
  const auto hearing = maker.make(book);
  const auto identity = [](const PolicyTables& tables, const std::string& address) {
    return tables.find(stored(address))->identity;
  };
  EXPECT_EQ(identity(*deaf, "10.1.0.1"), number(1, 0));
  EXPECT_EQ(identity(*deaf, "10.2.0.1"), 1U << 24U);
  EXPECT_EQ(identity(*hearing, "10.2.0.1"), number(2, 0));
  EXPECT_EQ(identity(*hearing, "10.2.0.2"), number(2, 7));
  EXPECT_EQ(identity(*deaf, "10.2.0.2"), 1U << 24U);
  EXPECT_EQ(identity(*hearing, "192.168.1.1"), 1U) << "the own node is the host";
  EXPECT_EQ(identity(*hearing, "192.168.2.1"), 6U);
  EXPECT_EQ(identity(*deaf, "192.168.2.1"), 9U);
  EXPECT_EQ(identity(*deaf, "10.1.0.2"), 9U);
  EXPECT_EQ(deaf->find(stored("10.1.0.2"))->cluster, 1);
}

TEST(PolicyTables, an_endpoint_that_is_removed_leaves_the_others_theirs) {
  const auto identities = std::make_shared<Identities>();
  Repository repository(identities, {.enforcement = Enforcement::always, .cluster = 1});
  PolicyTablesMaker maker(1, 16);
  for (std::uint32_t n = 0; n < 3; ++n)
    maker.set_endpoint(number(1, n), repository.resolve({{}, {}}, false, false));
  maker.remove_endpoint(number(1, 0));
  maker.remove_endpoint(number(1, 7));
  const auto tables = maker.make({});
  EXPECT_EQ(tables->endpoint(number(1, 0)), nullptr);
  for (const std::uint32_t n : {1U, 2U}) {
    ASSERT_NE(tables->endpoint(number(1, n)), nullptr);
    EXPECT_EQ(tables->endpoint(number(1, n))->enforced, 3);
  }
}

}  // namespace
}  // namespace fleetmesh::policy
