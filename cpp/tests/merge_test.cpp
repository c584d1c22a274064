#include "fleetmesh/merge.hpp"

#include <gtest/gtest.h>

#include "fleet.hpp"

namespace fleetmesh {
namespace {

using testing::Fleet;
using testing::ids;
using Backends = std::vector<std::string>;

Fleet two_clusters(bool strict = false) {
  Fleet fleet({1, 2}, strict);
  fleet.set_service(1, "echo", fleet.spec("10.100.1.1"));
  fleet.set_service(2, "echo", fleet.spec("10.100.2.1"));
  fleet.set_slice(1, "echo", {"10.1.0.1"});
  fleet.set_slice(2, "echo", {"10.2.0.1"});
  return fleet;
}

TEST(Merge, global_on_both_sides_uses_both) {
  const Fleet fleet = two_clusters();
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.1", "2:10.2.0.1"}));
  EXPECT_EQ(fleet.backends(2, "echo"), (Backends{"1:10.1.0.1", "2:10.2.0.1"}));
}

TEST(Merge, a_service_that_is_not_global_uses_its_own) {
  Fleet fleet = two_clusters();
  auto spec = fleet.spec("10.100.1.1");
  spec.is_global = false;
  fleet.set_service(1, "echo", spec);
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1"});
  EXPECT_EQ(fleet.backends(2, "echo"), Backends{"2:10.2.0.1"});
}

TEST(Merge, shared_false_gives_nothing_and_takes) {
  Fleet fleet = two_clusters();
  auto spec = fleet.spec("10.100.2.1");
  spec.shared = false;
  fleet.set_service(2, "echo", spec);
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1"});
  EXPECT_EQ(fleet.backends(2, "echo"), (Backends{"1:10.1.0.1", "2:10.2.0.1"}));
}

TEST(Merge, affinity_local_falls_over_when_no_own_backend_is_active) {
  Fleet fleet = two_clusters();
  auto spec = fleet.spec("10.100.1.1");
  spec.affinity = Affinity::local;
  fleet.set_service(1, "echo", spec);
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1"});
  fleet.set_slice(1, "echo", {"10.1.0.1"}, 0);
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"2:10.2.0.1", "1:10.1.0.1 idle"}));
}

TEST(Merge, affinity_remote_prefers_all_other_clusters) {
  Fleet fleet = two_clusters();
  auto spec = fleet.spec("10.100.1.1");
  spec.affinity = Affinity::remote;
  fleet.set_service(1, "echo", spec);
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"2:10.2.0.1"});
  fleet.set_slice(2, "echo", {});
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1"});
}

TEST(Merge, the_last_to_arrive_owns_an_address_that_two_publish) {
  Fleet fleet({1, 2, 3});
  for (const auto id : ids({1, 2, 3})) fleet.set_service(id, "echo", fleet.spec("10.100.0.1"));
  fleet.set_slice(3, "echo", {"10.9.0.1"});
  fleet.set_slice(2, "echo", {"10.9.0.1"});
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"2:10.9.0.1"});
  fleet.set_slice(3, "echo", {"10.9.0.1", "10.9.0.2"});
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"3:10.9.0.1", "3:10.9.0.2"}));
}

TEST(Merge, strict_gives_such_an_address_to_the_lowest_id) {
  Fleet fleet({1, 2, 3}, true);
  for (const auto id : ids({1, 2, 3})) fleet.set_service(id, "echo", fleet.spec("10.100.0.1"));
  fleet.set_slice(2, "echo", {"10.9.0.1"});
  fleet.set_slice(3, "echo", {"10.9.0.1"});
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"2:10.9.0.1"});
}

TEST(Merge, an_own_address_hides_the_same_one_elsewhere) {
  Fleet fleet = two_clusters();
  fleet.set_slice(2, "echo", {"10.1.0.1"});
  fleet.set_slice(1, "echo", {"10.1.0.1"}, 0);
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1 idle"});
}

TEST(Merge, policy_local_keeps_other_clusters_but_not_other_nodes) {
  Fleet fleet = two_clusters();
  auto spec = fleet.spec("10.100.1.1");
  spec.internal_local = true;
  fleet.set_service(1, "echo", spec);
  fleet.set_slice(1, "echo", {"10.1.0.1"}, kReady | kServing, "http", "s", "node-2");
  EXPECT_EQ(fleet.backends(1, "echo", "node-1"), Backends{"2:10.2.0.1"});
  EXPECT_EQ(fleet.backends(1, "echo", "node-2"), (Backends{"1:10.1.0.1", "2:10.2.0.1"}));
}

TEST(Merge, strict_policy_local_is_this_node_only) {
  Fleet fleet = two_clusters(true);
  auto spec = fleet.spec("10.100.1.1");
  spec.internal_local = true;
  fleet.set_service(1, "echo", spec);
  fleet.set_slice(1, "echo", {"10.1.0.1"}, kReady | kServing, "http", "s", "node-2");
  EXPECT_EQ(fleet.backends(1, "echo", "node-1"), Backends{});
  EXPECT_EQ(fleet.backends(1, "echo", "node-2"), Backends{"1:10.1.0.1"});
}

TEST(Merge, of_two_services_on_one_address_the_second_has_no_frontend) {
  Fleet fleet({1});
  fleet.set_service(1, "first", fleet.spec("203.0.113.9"));
  fleet.set_service(1, "second", fleet.spec("203.0.113.9"));
  fleet.set_slice(1, "first", {"10.1.0.1"});
  fleet.set_slice(1, "second", {"10.1.0.2"});
  EXPECT_EQ(fleet.backends(1, "first"), Backends{"1:10.1.0.1"});
  EXPECT_EQ(fleet.backends(1, "second"), Backends{"no frontend"});
}

TEST(Merge, verdicts_name_the_rule_for_every_backend) {
  Fleet fleet = two_clusters();
  fleet.set_slice(2, "echo", {"10.2.0.1"}, kReady | kServing, "web");
  const auto verdicts = fleet.reader().verdicts(1, fleet.service("echo"), 0);
  ASSERT_EQ(verdicts.size(), 2U);
  EXPECT_STREQ(name_of(verdicts[0].rule), "in-use");
  EXPECT_STREQ(name_of(verdicts[1].rule), "port-name");
  EXPECT_EQ(verdicts[1].detail, "web");
}

TEST(Merge, a_record_has_what_is_ready_or_serving) {
  Fleet fleet = two_clusters();
  fleet.set_slice(1, "echo", {"10.1.0.2"}, kServing | kTerminating, "http", "t");
  fleet.set_slice(1, "echo", {"10.1.0.3"}, kTerminating, "http", "u");
  std::vector<RecordEntry> entries;
  ASSERT_TRUE(fleet.reader().record(1, fleet.service("echo"), entries));
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].address.text(), "10.1.0.1");
  EXPECT_EQ(entries[1].address.text(), "10.1.0.2");
}

}  // namespace
}  // namespace fleetmesh
