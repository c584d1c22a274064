#include "fleetmesh/preference.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "fleet.hpp"

namespace fleetmesh {
namespace {

using testing::Fleet;
using testing::ids;
using Backends = std::vector<std::string>;
using Weights = std::vector<std::vector<std::uint16_t>>;

Fleet three_clusters() {
  Fleet fleet({1, 2, 3});
  for (const auto id : ids({1, 2, 3})) {
    fleet.set_service(id, "echo", fleet.spec("10.100.0.1"));
    fleet.set_slice(id, "echo", {"10." + std::to_string(id) + ".0.1"});
  }
  return fleet;
}

void prefer(const Fleet& fleet, const std::vector<std::string>& clusters,
            Affinity affinity = Affinity::none) {
  auto spec = fleet.spec("10.100.0.1");
  spec.affinity = affinity;
  for (const auto& name : clusters) spec.prefer_clusters.push_back(fleet.strings().id(name));
  fleet.set_service(1, "echo", spec);
}

void share(const Fleet& fleet, const std::vector<std::pair<std::string, std::uint16_t>>& shares) {
  auto spec = fleet.spec("10.100.0.1");
  for (const auto& [name, weight] : shares)
    spec.cluster_weights.emplace_back(fleet.strings().id(name), weight);
  fleet.set_service(1, "echo", spec);
}

std::vector<std::uint16_t> weights(const Fleet& fleet) {
  std::vector<std::uint16_t> result;
  const auto views = fleet.reader().frontends(1, fleet.service("echo"), 0);
  for (const auto& view : views[0].backends) result.push_back(view.backend.weight);
  return result;
}

TEST(Preference, the_first_listed_cluster_with_a_healthy_backend_takes_all) {
  const Fleet fleet = three_clusters();
  prefer(fleet, {"c3", "c1"});
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"3:10.3.0.1"});
  fleet.set_slice(3, "echo", {});
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1"});
  fleet.set_slice(1, "echo", {"10.1.0.1"}, 0);
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"2:10.2.0.1", "1:10.1.0.1 idle"}));
}

TEST(Preference, unlisted_clusters_come_last_together) {
  const Fleet fleet = three_clusters();
  prefer(fleet, {"nobody"});
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.1", "2:10.2.0.1", "3:10.3.0.1"}));
}

TEST(Preference, it_counts_after_affinity) {
  const Fleet fleet = three_clusters();
  prefer(fleet, {"c3", "c2"}, Affinity::local);
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1"});
  fleet.set_slice(1, "echo", {});
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"3:10.3.0.1"});
}

TEST(Preference, it_is_the_viewers_alone) {
  const Fleet fleet = three_clusters();
  prefer(fleet, {"c3"});
  EXPECT_EQ(fleet.backends(2, "echo").size(), 3U);
}

TEST(Preference, weights_share_by_cluster_and_evenly_within) {
  const Fleet fleet = three_clusters();
  fleet.set_slice(1, "echo", {"10.1.0.1", "10.1.0.2", "10.1.0.3"});
  share(fleet, {{"c1", 80}, {"c2", 20}});
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.1", "1:10.1.0.2", "1:10.1.0.3", "2:10.2.0.1"}));
  EXPECT_EQ(weights(fleet), (std::vector<std::uint16_t>{4, 4, 4, 3}));
}

TEST(Preference, a_cluster_without_a_share_serves_when_nothing_with_one_is_left) {
  const Fleet fleet = three_clusters();
  share(fleet, {{"c2", 1}, {"c3", 0}});
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"2:10.2.0.1"});
  EXPECT_EQ(weights(fleet), std::vector<std::uint16_t>{kDefaultWeight});
  fleet.set_slice(2, "echo", {});
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.1", "3:10.3.0.1"}));
  EXPECT_EQ(weights(fleet), (std::vector<std::uint16_t>{kDefaultWeight, kDefaultWeight}));
}

TEST(Preference, enough_own_backends_take_all_back) {
  const Fleet fleet = three_clusters();
  auto spec = fleet.spec("10.100.0.1");
  spec.affinity = Affinity::local;
  spec.min_local_backends = 2;
  fleet.set_service(1, "echo", spec);
  EXPECT_EQ(fleet.backends(1, "echo").size(), 3U);
  const auto delta = fleet.set_slice(2, "echo", {"10.2.0.1", "10.2.0.2"});
  EXPECT_EQ(fleet.backends(1, "echo").size(), 4U);
  bool concerned = false;
  for (const auto& entry : entries_of(delta, *fleet.mesh)) concerned = concerned || entry.viewers.has(1);
  EXPECT_TRUE(concerned);
  fleet.set_slice(1, "echo", {"10.1.0.1", "10.1.0.2"});
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.1", "1:10.1.0.2"}));
}

TEST(Preference, an_address_in_two_slices_is_one_own_backend) {
  const Fleet fleet = three_clusters();
  auto spec = fleet.spec("10.100.0.1");
  spec.affinity = Affinity::local;
  spec.min_local_backends = 2;
  fleet.set_service(1, "echo", spec);
  fleet.set_slice(1, "echo", {"10.1.0.1"}, kReady | kServing, "http", "t");
  EXPECT_EQ(fleet.backends(1, "echo").size(), 3U);
}

TEST(Preference, viewers_are_alike_only_if_they_prefer_the_same) {
  const Fleet fleet = three_clusters();
  const auto classes = [&] {
    return classes_of(*fleet.mesh->state(), *fleet.mesh, fleet.service("echo"))->classes.size();
  };
  EXPECT_EQ(classes(), 1U);
  prefer(fleet, {"c3"});
  EXPECT_EQ(classes(), 2U);
  share(fleet, {{"c3", 1}});
  EXPECT_EQ(classes(), 2U);
  fleet.set_service(1, "echo", fleet.spec("10.100.0.1"));
  EXPECT_EQ(classes(), 1U);
}

TEST(Apportion, small_whole_numbers_are_exact) {
  const std::vector<Part> parts{{80, {100, 100}}, {20, {100}}};
  EXPECT_EQ(apportion(parts), (Weights{{4, 4}, {2}}));
  const std::vector<Part> weighted{{1, {30, 10}}, {1, {7}}};
  EXPECT_EQ(apportion(weighted), (Weights{{3, 1}, {4}}));
}

TEST(Apportion, what_no_small_number_divides_is_close) {
  const std::vector<Part> parts{{65535, std::vector<std::uint16_t>(97, 100)},
                                {65521, {101, 103, 107, 65533}}};
  const auto found = apportion(parts);
  std::vector<double> sums;
  for (const auto& part : found) sums.push_back(std::accumulate(part.begin(), part.end(), 0.0));
  EXPECT_NEAR(sums[0] / (sums[0] + sums[1]), 65535.0 / (65535 + 65521), 1e-5);
  const auto [least, most] = std::minmax_element(found[0].begin(), found[0].end());
  EXPECT_LE(*most - *least, 1);
}

TEST(Apportion, a_backend_in_use_is_never_without_weight) {
  const std::vector<Part> parts{{65535, {100}}, {1, std::vector<std::uint16_t>(10, 100)}};
  EXPECT_EQ(apportion(parts), (Weights{{65533}, std::vector<std::uint16_t>(10, 1)}));
}

TEST(Apportion, the_mean_is_never_below_what_cilium_heeds) {
  for (const std::size_t count : {1U, 2U, 1000U, 32766U}) {
    const std::vector<Part> parts{{60000, {1}}, {1, std::vector<std::uint16_t>(count, 100)}};
    std::uint64_t sum = 0;
    for (const auto& part : apportion(parts)) sum = std::accumulate(part.begin(), part.end(), sum);
    EXPECT_GE(sum, 2 * (count + 1)) << count;
  }
}

}  // namespace
}  // namespace fleetmesh
