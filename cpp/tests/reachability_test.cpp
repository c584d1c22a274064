#include "fleetmesh/reachability.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <stdexcept>
#include <vector>

#include "fleetmesh/verdict_spans.hpp"

namespace fleetmesh::policy {
namespace {

constexpr Window kSmall{100, 163};

SpanLists::Id random_list(SpanLists& lists, std::mt19937& random) {
  std::set<PortKey> starts{0};
  for (int each = 0; each < 6; ++each) starts.insert(static_cast<PortKey>(random() % 200));
  SpanLists::Draft draft(lists.window());
  for (const PortKey start : starts) draft.add(start, static_cast<Outcome>(random() % 3));
  return lists.of(draft);
}

TEST(SpanLists, keep_the_lower_outcome_of_two_at_each_port_of_their_window) {
  std::mt19937 random(1);
  SpanLists lists(kSmall);
  for (int round = 0; round < 2000; ++round) {
    const auto one = random_list(lists, random);
    const auto other = random_list(lists, random);
    const auto both = lists.both(one, other);
    for (PortKey key = kSmall.first; key <= kSmall.last; ++key)
      ASSERT_EQ(lists.at(both, key), std::min(lists.at(one, key), lists.at(other, key)));
    const auto& spans = lists.spans(both);
    ASSERT_EQ(spans.front().start, kSmall.first);
    for (std::size_t at = 1; at < spans.size(); ++at) {
      ASSERT_LT(spans[at - 1].start, spans[at].start);
      ASSERT_NE(spans[at - 1].outcome, spans[at].outcome);
    }
    EXPECT_EQ(lists.both(other, one), both);
  }
}

TEST(SpanLists, of_equal_spans_are_one) {
  SpanLists lists(kSmall);
  SpanLists::Draft draft(kSmall);
  draft.add(0, Outcome::deny);
  draft.add(50, Outcome::allow);  // before the window begins
  draft.add(120, Outcome::allow);
  draft.add(164, Outcome::deny);  // behind it
  EXPECT_EQ(lists.of(draft), lists.everywhere(Outcome::allow));
}

// Two clusters of three groups of two pods; nobody has rules.
Population small() {
  static const EndpointPolicy kOpen(nullptr, nullptr);
  Population population{{1, 2}, 16, {}, {{0, {0, 0}}, {1, {0, 0}}}, {}};
  for (std::uint32_t cluster = 0; cluster < 2; ++cluster)
    for (std::uint32_t number = 0; number < 3; ++number)
      population.groups.push_back({cluster, (cluster + 1) << 16U | (256 + number), cluster, 2, &kOpen});
  return population;
}

TEST(Reachability, has_one_class_of_each_cluster_where_nobody_has_rules) {
  const Reachability found(small(), {});
  EXPECT_EQ(found.class_of(), (std::vector<Reachability::ClassId>{0, 0, 0, 1, 1, 1}));
  // Twelve pods, to each of the others.
  EXPECT_EQ(found.count(0), (std::array<std::uint64_t, 3>{0, 0, 132}));
}

TEST(Reachability, refuses_everything_of_whom_no_policy_can_be_made) {
  Population population = small();
  population.groups.back().policy = nullptr;
  Reachability found(population, {});
  EXPECT_EQ(found.classes(), 3U);
  // Two pods, to and from ten others and each other.
  EXPECT_EQ(found.count(0), (std::array<std::uint64_t, 3>{42, 0, 90}));
  EXPECT_EQ(found.span_list(found.spans(2, 0)), (std::vector<Span>{{0, Outcome::deny}}));
}

TEST(Reachability, refuses_places_that_there_are_not) {
  Population population = small();
  population.groups[0].eyes = 2;
  EXPECT_THROW(Reachability(population, {}), std::out_of_range);
  population = small();
  population.groups[0].eyes = 1;  // of another cluster
  EXPECT_THROW(Reachability(population, {}), std::out_of_range);
  population = small();
  population.eyes[0].looks = {0, 1};  // there are none
  EXPECT_THROW(Reachability(population, {}), std::out_of_range);
  population.looks = {{7, 8}};  // of two groups, where there are three
  EXPECT_THROW(Reachability(population, {}), std::out_of_range);
  Reachability found(small(), {});
  EXPECT_THROW(found.span_list(99), std::out_of_range);
  EXPECT_THROW(found.around({{1}, false, nullptr, 0}, Direction::egress, 0), std::out_of_range);
}

}  // namespace
}  // namespace fleetmesh::policy
