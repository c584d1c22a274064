#include "fleetmesh/policy.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <vector>

namespace fleetmesh::policy {
namespace {

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;
constexpr Term kWeb = 1;
constexpr Term kDb = 2;
constexpr IdentityNumber kWebPod = 1U << 16U | 300U;
constexpr IdentityNumber kDbPod = 1U << 16U | 301U;
constexpr IdentityNumber kFarPod = 2U << 16U | 300U;
constexpr std::uint32_t kAll = 0;  // selectors
constexpr std::uint32_t kWebs = 1;

// One cluster, whose rules are about ingress of a database.
class PolicyTest : public ::testing::Test {
 protected:
  explicit PolicyTest(Options options = {.cluster = 1}) : repository(identities, options) {
    identities->set(kWebPod, {{kWeb}, {}});
    identities->set(kDbPod, {{kDb}, {}});
    identities->set(kFarPod, {{kWeb}, {}});
    repository.hear({2});
  }

  static Rule rule(Verdict verdict, std::vector<std::uint32_t> peers, std::vector<PortRule> ports = {}) {
    Rule made;
    made.direction = Direction::ingress;
    made.verdict = verdict;
    made.peers = std::move(peers);
    made.ports = std::move(ports);
    return made;
  }
  static PortRule ports(std::uint16_t first, std::uint16_t last, Parser parser = Parser::none) {
    return {{{kTcp, first, last, 0}}, parser};
  }

  EndpointPolicy resolve(std::vector<Rule> rules) {
    repository.set_rules("", {{}, {{false, {kWeb}}}}, std::move(rules));
    return repository.resolve({{kDb}, {}}, false, false);
  }
  Answer ask(const EndpointPolicy& policy, IdentityNumber peer, std::uint16_t port,
             std::uint8_t protocol = kTcp) const {
    return policy.lookup(Direction::ingress, peer, protocol, port);
  }
  bool allows(const EndpointPolicy& policy, IdentityNumber peer, std::uint16_t port,
              std::uint8_t protocol = kTcp) const {
    const Answer answer = ask(policy, peer, port, protocol);
    return answer.found && !answer.entry.denies();
  }

  std::shared_ptr<Identities> identities = std::make_shared<Identities>();
  Repository repository;
};

TEST_F(PolicyTest, without_a_rule_nothing_is_enforced) {
  const auto policy = resolve({});
  EXPECT_FALSE(policy.enforced(Direction::ingress));
  EXPECT_TRUE(allows(policy, kWebPod, 80));
}

TEST_F(PolicyTest, what_no_rule_allows_is_refused) {
  const auto policy = resolve({rule(Verdict::allow, {kWebs}, {ports(80, 80)})});
  EXPECT_TRUE(policy.isolated(Direction::ingress));
  EXPECT_TRUE(allows(policy, kWebPod, 80));
  EXPECT_FALSE(allows(policy, kWebPod, 81));
  EXPECT_FALSE(allows(policy, kWebPod, 80, kUdp));
  EXPECT_FALSE(ask(policy, kDbPod, 80).found);
  EXPECT_FALSE(policy.enforced(Direction::egress));
}

TEST_F(PolicyTest, the_own_node_gets_through_but_for_a_deny) {
  constexpr IdentityNumber kHost = 1;
  EXPECT_TRUE(allows(resolve({rule(Verdict::allow, {kWebs})}), kHost, 80));
  EXPECT_FALSE(allows(resolve({rule(Verdict::deny, {kAll})}), kHost, 80));
}

TEST_F(PolicyTest, a_range_is_the_ports_in_it) {
  const auto policy = resolve(
      {rule(Verdict::allow, {kAll}, {ports(1, 65534)}), rule(Verdict::deny, {kAll}, {ports(100, 107)})});
  for (std::uint32_t port = 0; port < 65536; ++port)
    ASSERT_EQ(allows(policy, kWebPod, static_cast<std::uint16_t>(port)),
              port >= 1 && port <= 65534 && (port < 100 || port > 107))
        << port;
}

TEST_F(PolicyTest, a_broad_deny_beats_a_narrow_allow) {
  const auto policy = resolve({rule(Verdict::allow, {kWebs}, {ports(80, 80)}), rule(Verdict::deny, {kAll})});
  EXPECT_FALSE(allows(policy, kWebPod, 80));
}

TEST_F(PolicyTest, a_redirect_is_of_its_own_ports) {
  const auto policy = resolve({rule(Verdict::allow, {kAll}, {ports(80, 80, Parser::http), ports(81, 81)})});
  EXPECT_TRUE(ask(policy, kWebPod, 80).entry.redirects());
  EXPECT_FALSE(ask(policy, kWebPod, 81).entry.redirects());
  EXPECT_TRUE(allows(policy, kWebPod, 81));
}

TEST_F(PolicyTest, an_earlier_tier_decides_and_a_pass_leaves_it_to_the_next) {
  Rule admin = rule(Verdict::deny, {kAll});
  admin.tier = 0;
  admin.priority = 2;
  Rule pass = rule(Verdict::pass, {kWebs}, {ports(80, 80)});
  pass.tier = 0;
  pass.priority = 1;
  admin.default_deny = pass.default_deny = false;
  Rule normal = rule(Verdict::allow, {kAll});
  normal.tier = 1;

  const auto policy = resolve({admin, normal, pass});

  EXPECT_TRUE(allows(policy, kWebPod, 80));
  EXPECT_TRUE(allows(policy, kFarPod, 80));
  EXPECT_FALSE(allows(policy, kWebPod, 81));
  EXPECT_FALSE(allows(policy, kDbPod, 80));
}

TEST_F(PolicyTest, what_is_passed_to_nobody_is_refused_where_something_isolates) {
  Rule pass = rule(Verdict::pass, {kAll});
  pass.tier = 0;
  pass.default_deny = false;
  Rule normal = rule(Verdict::allow, {kWebs});
  normal.tier = 1;

  const auto policy = resolve({pass, normal});

  EXPECT_TRUE(allows(policy, kWebPod, 80));
  EXPECT_TRUE(ask(policy, kDbPod, 80).found);
  EXPECT_FALSE(allows(policy, kDbPod, 80));
}

TEST_F(PolicyTest, identities_that_are_new_are_selected) {
  repository.set_rules("", {{}, {{false, {kWeb}}}}, {rule(Verdict::allow, {kWebs})});
  constexpr IdentityNumber kNew = 1U << 16U | 400U;
  EXPECT_FALSE(allows(repository.resolve({{kDb}, {}}, false, false), kNew, 80));
  identities->set(kNew, {{kWeb}, {}});
  EXPECT_TRUE(allows(repository.resolve({{kDb}, {}}, false, false), kNew, 80));
  identities->remove(kNew);
  EXPECT_FALSE(allows(repository.resolve({{kDb}, {}}, false, false), kNew, 80));
}

TEST_F(PolicyTest, what_was_resolved_follows_identities_and_who_is_heard) {
  repository.set_rules("", {{}, {{false, {kWeb}}}}, {rule(Verdict::allow, {kWebs})});
  const auto policy = repository.resolve({{kDb}, {}}, false, false);
  constexpr IdentityNumber kNew = 2U << 16U | 400U;
  EXPECT_TRUE(allows(policy, kFarPod, 80));
  identities->set(kNew, {{kWeb}, {}});
  EXPECT_TRUE(allows(policy, kNew, 80));
  repository.hear({});
  EXPECT_FALSE(allows(policy, kNew, 80));
  EXPECT_FALSE(allows(policy, kFarPod, 80));
  EXPECT_TRUE(allows(policy, kWebPod, 80));
  repository.hear({2});
  identities->set(kNew, {{kDb}, {}});
  EXPECT_FALSE(allows(policy, kNew, 80));
  EXPECT_TRUE(allows(policy, kFarPod, 80));
}

TEST_F(PolicyTest, endpoints_that_are_gone_leave_the_others_as_they_are) {
  std::vector<Rule> rules;
  for (std::uint32_t number = 0; number < 300; ++number) {
    Rule own = rule(Verdict::allow, {kWebs}, {ports(static_cast<std::uint16_t>(1 + number), 400)});
    own.subject = 2 + number;
    rules.push_back(own);
  }
  std::vector<Selector> selectors{{}, {{false, {kWeb}}}};
  for (Term number = 0; number < 300; ++number) selectors.push_back({{false, {100 + number}}});
  repository.set_rules("", selectors, rules);
  const auto kept = repository.resolve({{100}, {}}, false, false);
  for (Term number = 0; number < 300; ++number) {
    const auto policy = repository.resolve({{100 + number}, {}}, false, false);
    EXPECT_FALSE(allows(policy, kWebPod, static_cast<std::uint16_t>(number)));
    EXPECT_TRUE(allows(policy, kWebPod, static_cast<std::uint16_t>(1 + number)));
  }
  EXPECT_TRUE(allows(kept, kWebPod, 1));
}

TEST_F(PolicyTest, rules_that_ask_for_different_proxies_are_in_conflict) {
  const auto policy = resolve({rule(Verdict::allow, {kWebs}, {ports(80, 80, Parser::http)}),
                               rule(Verdict::allow, {kWebs}, {ports(80, 80, Parser::dns)})});
  ASSERT_TRUE(policy.conflict());
  EXPECT_EQ(policy.conflict()->rule, 0U);
  EXPECT_EQ(policy.conflict()->other, 1U);
  EXPECT_FALSE(resolve({rule(Verdict::allow, {kWebs}, {ports(80, 80, Parser::http)}),
                        rule(Verdict::allow, {kAll}, {ports(80, 80, Parser::dns)})})
                   .conflict());
}

TEST_F(PolicyTest, more_levels_than_there_is_room_for_refuse_everything) {
  std::vector<Rule> rules;
  for (const std::uint8_t tier : {std::uint8_t{0}, std::uint8_t{1}})
    for (int priority = 0; priority < 4100; ++priority) {
      Rule each = rule(Verdict::pass, {kAll});
      each.tier = tier;
      each.priority = priority;
      each.default_deny = false;
      rules.push_back(std::move(each));
    }
  const EndpointPolicy policy = resolve(rules);
  ASSERT_TRUE(policy.conflict());
  EXPECT_NE(policy.conflict()->why.find("more levels than there is room for"), std::string::npos);
  EXPECT_FALSE(allows(policy, kWebPod, 80));
  rules.resize(4200);
  EXPECT_FALSE(resolve(rules).conflict());
}

TEST_F(PolicyTest, a_rule_may_name_only_what_there_is) {
  EXPECT_THROW(resolve({rule(Verdict::allow, {7})}), std::invalid_argument);
  Rule far = rule(Verdict::allow, {kAll});
  far.tier = 9;
  EXPECT_THROW(resolve({far}), std::invalid_argument);
}

TEST_F(PolicyTest, a_policy_that_changes_leaves_endpoints_of_which_it_says_nothing_their_rule_sets) {
  const std::vector<Selector> selectors{{}, {{false, {kWeb}}}, {{false, {kDb}}}};
  Rule about_db = rule(Verdict::allow, {kWebs});
  about_db.subject = 2;
  Rule about_web = rule(Verdict::allow, {kAll}, {ports(80, 80)});
  about_web.subject = kWebs;
  repository.set_rules("a", selectors, {about_db});
  repository.set_rules("b", selectors, {about_web});
  const auto db = repository.resolve({{kDb}, {}}, false, false);
  const auto web = repository.resolve({{kWeb}, {}}, false, false);

  about_web.ports = {ports(81, 81)};
  repository.set_rules("b", selectors, {about_web});

  EXPECT_EQ(repository.resolve({{kDb}, {}}, false, false), db);
  const auto web_now = repository.resolve({{kWeb}, {}}, false, false);
  EXPECT_NE(web_now, web);
  EXPECT_TRUE(allows(web, kDbPod, 80));
  EXPECT_FALSE(allows(web_now, kDbPod, 80));
  EXPECT_TRUE(allows(web_now, kDbPod, 81));

  repository.remove_rules("b");
  EXPECT_EQ(repository.resolve({{kDb}, {}}, false, false), db);
  EXPECT_FALSE(repository.resolve({{kWeb}, {}}, false, false).enforced(Direction::ingress));
  repository.remove_rules("a");
  repository.remove_rules("a");
  EXPECT_FALSE(repository.resolve({{kDb}, {}}, false, false).enforced(Direction::ingress));
}

TEST_F(PolicyTest, of_equal_rules_that_of_the_first_policy_is_named_whichever_came_first) {
  const std::vector<Selector> selectors{{}, {{false, {kWeb}}}};
  const std::uint32_t later = repository.set_rules("b", selectors, {rule(Verdict::allow, {kWebs})});
  const std::uint32_t earlier = repository.set_rules("a", selectors, {rule(Verdict::allow, {kWebs})});
  EXPECT_NE(later, earlier);
  EXPECT_EQ(ask(repository.resolve({{kDb}, {}}, false, false), kWebPod, 80).entry.rule, earlier);
  const std::uint32_t again = repository.set_rules("b", selectors, {rule(Verdict::allow, {kWebs})});
  EXPECT_EQ(ask(repository.resolve({{kDb}, {}}, false, false), kWebPod, 80).entry.rule, earlier);
  repository.remove_rules("a");
  EXPECT_EQ(ask(repository.resolve({{kDb}, {}}, false, false), kWebPod, 80).entry.rule, again);
}

TEST_F(PolicyTest, a_policy_that_is_refused_changes_nothing) {
  repository.set_rules("a", {{}, {{false, {kWeb}}}}, {rule(Verdict::allow, {kWebs})});
  const auto before = repository.resolve({{kDb}, {}}, false, false);
  EXPECT_THROW(repository.set_rules("a", {{}}, {rule(Verdict::allow, {kWebs})}), std::invalid_argument);
  EXPECT_EQ(repository.resolve({{kDb}, {}}, false, false), before);
}

TEST(Aggregates, are_by_scope_and_cluster) {
  const Options small{.cluster = 1};
  EXPECT_EQ(aggregate_of(kWebPod, small), kAggregateCluster);
  EXPECT_EQ(aggregate_of(kFarPod, small), kAggregateClusterMesh);
  EXPECT_EQ(aggregate_of(1U << 24U | 5U, small), kAggregateWorld);
  EXPECT_EQ(aggregate_of(2U << 24U | 5U, small), kAggregateRemoteNode);
  EXPECT_EQ(aggregate_of(2, small), kAny);
  EXPECT_EQ(aggregate_of(kAggregateWorld, small), kAggregateWorld);
  const Options large{.cluster = 511, .cluster_shift = 15};
  EXPECT_EQ(aggregate_of(511U << 15U | 300U, large), kAggregateCluster);
  EXPECT_EQ(aggregate_of(510U << 15U | 300U, large), kAggregateClusterMesh);
}

}  // namespace
}  // namespace fleetmesh::policy
