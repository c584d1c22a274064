#include "fleetmesh/transaction.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "fleet.hpp"

namespace fleetmesh {
namespace {

using testing::Fleet;
using testing::ids;
using Backends = std::vector<std::string>;

std::vector<ClusterId> viewers(const Fleet& fleet, const Delta& delta) {
  MemberSet all;
  for (const auto& entry : entries_of(delta, *fleet.mesh)) all |= entry.viewers;
  return all.list();
}

TEST(Transaction, dropped_it_has_done_nothing) {
  Fleet fleet({1, 2});
  const auto generation = fleet.mesh->state()->generation;
  {
    Transaction change(fleet.mesh);
    change.leave(2);
  }
  EXPECT_EQ(fleet.mesh->state()->generation, generation);
  EXPECT_NE(fleet.mesh->state()->members.find(2), nullptr);
}

TEST(Transaction, there_is_one_at_a_time) {
  Fleet fleet({1});
  Transaction change(fleet.mesh);
  EXPECT_THROW(Transaction(fleet.mesh), std::logic_error);
  change.commit();
  EXPECT_THROW(change.leave(1), std::logic_error);
  const Transaction next(fleet.mesh);
}

TEST(Transaction, refuses_members_that_are_not_there_and_ids_out_of_range) {
  Fleet fleet({1});
  Transaction change(fleet.mesh);
  EXPECT_THROW(change.leave(9), std::out_of_range);
  EXPECT_THROW(change.join(0, "x", true, false), std::invalid_argument);
  EXPECT_THROW(change.join(256, "x", true, false), std::invalid_argument);
  EXPECT_THROW(change.join(1, "x", true, false), std::invalid_argument);
}

TEST(Transaction, equal_content_touches_nothing) {
  Fleet fleet({1, 2});
  fleet.set_service(1, "echo", fleet.spec("10.100.1.1"));
  fleet.set_slice(1, "echo", {"10.1.0.1"});
  EXPECT_TRUE(fleet.set_service(1, "echo", fleet.spec("10.100.1.1")).touched.empty());
  EXPECT_TRUE(fleet.set_slice(1, "echo", {"10.1.0.1"}).touched.empty());
}

SliceFacts slice_of(const std::vector<std::string>& addresses, std::uint16_t port) {
  SliceFacts slice;
  for (const auto& address : addresses)
    slice.endpoints.push_back({{address}, kReady | kServing, "", "", "", {}});
  slice.ports = {{"http", 6, port}};
  return slice;
}

TEST(Transaction, numbered_slices_take_the_place_of_as_many_as_there_were) {
  Fleet fleet({1});
  fleet.set_service(1, "echo", fleet.spec("10.100.0.1"));
  const auto set = [&](const std::vector<SliceFacts>& slices, std::size_t before) {
    Transaction change(fleet.mesh);
    change.set_numbered_slices(1, "shop", "echo", slices, before);
    change.commit();
  };
  set({slice_of({"10.1.0.1"}, 80), slice_of({"no address"}, 81), slice_of({"10.1.0.2"}, 82)}, 0);
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.1", "1:10.1.0.2"}));
  set({slice_of({"10.1.0.3"}, 80)}, 3);
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.3"}));
  EXPECT_EQ(fleet.mesh->state()->slices.size(), 1U);
  set({}, 1);
  EXPECT_EQ(fleet.mesh->state()->slices.size(), 0U);
}

TEST(Transaction, a_slice_is_what_it_would_be_without_what_it_was) {
  const std::vector<Backends> steps = {{"10.1.0.1", "10.1.0.3", "10.1.0.5"},
                                       {"10.1.0.1", "10.1.0.2", "10.1.0.5"},
                                       {"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.4"},
                                       {"10.1.0.0", "10.1.0.6"},
                                       {"10.1.0.6"},
                                       {"10.1.0.0", "10.1.0.1", "10.1.0.6", "10.1.0.7"}};
  for (const auto conditions : {kReady | kServing, kServing | kTerminating}) {
    Fleet fleet({1});
    fleet.set_service(1, "echo", fleet.spec("10.100.0.1"));
    for (const auto& addresses : steps) {
      fleet.set_slice(1, "echo", addresses, static_cast<std::uint8_t>(conditions));
      Fleet fresh({1});
      fresh.set_service(1, "echo", fresh.spec("10.100.0.1"));
      fresh.set_slice(1, "echo", addresses, static_cast<std::uint8_t>(conditions));
      EXPECT_EQ(fleet.backends(1, "echo"), fresh.backends(1, "echo"));
      const Offer& offer = *fleet.mesh->state()->offers.find({fleet.service("echo"), 1});
      const Offer& expected = *fresh.mesh->state()->offers.find({fresh.service("echo"), 1});
      EXPECT_EQ(offer.rows_digest, expected.rows_digest);
      EXPECT_EQ(offer.rows.size(), expected.rows.size());
      EXPECT_EQ(offer.uneven, expected.uneven);
    }
    fleet.set_slice(1, "echo", {"10.1.0.6"}, kReady | kServing);
    EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.6"});
  }
}

TEST(Transaction, viewers_with_equal_inputs_are_one_class) {
  Fleet fleet({1, 2, 3});
  for (const auto id : ids({1, 2, 3}))
    fleet.set_service(id, "echo", fleet.spec("10.100.0." + std::to_string(id)));
  const Delta delta = fleet.set_slice(2, "echo", {"10.2.0.1"});
  const auto entries = entries_of(delta, *fleet.mesh);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].viewers.list(), (std::vector<ClusterId>{1, 2, 3}));
}

TEST(Transaction, who_serves_itself_under_affinity_local_is_not_concerned) {
  Fleet fleet({1, 2, 3});
  for (const auto id : ids({1, 2, 3})) {
    auto spec = fleet.spec("10.100.0." + std::to_string(id));
    spec.affinity = Affinity::local;
    fleet.set_service(id, "echo", spec);
  }
  fleet.set_slice(1, "echo", {"10.1.0.1"});
  EXPECT_EQ(viewers(fleet, fleet.set_slice(2, "echo", {"10.2.0.1"})), (std::vector<ClusterId>{2, 3}));
}

TEST(Transaction, leaving_takes_everything_along) {
  Fleet fleet({1, 2});
  for (const auto id : ids({1, 2})) {
    fleet.set_service(id, "echo", fleet.spec("10.100.0." + std::to_string(id)));
    fleet.set_slice(id, "echo", {"10." + std::to_string(id) + ".0.1"});
  }
  Transaction change(fleet.mesh);
  change.leave(2);
  const Delta delta = change.commit();
  EXPECT_EQ(viewers(fleet, delta), (std::vector<ClusterId>{1, 2}));
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1"});
  const auto state = fleet.mesh->state();
  EXPECT_EQ(state->holdings.size(), 1U);
  EXPECT_EQ(state->claims.size(), 1U);
  EXPECT_EQ(state->slices.size(), 1U);
  EXPECT_EQ(state->offers.size(), 1U);
}

TEST(Transaction, a_fork_goes_its_own_way) {
  Fleet fleet({1});
  fleet.set_service(1, "echo", fleet.spec("10.100.0.1"));
  fleet.set_slice(1, "echo", {"10.1.0.1"});
  Fleet other = fleet;
  other.mesh = fleet.mesh->fork();
  other.set_slice(1, "echo", {"10.1.0.2"});
  EXPECT_EQ(fleet.backends(1, "echo"), Backends{"1:10.1.0.1"});
  EXPECT_EQ(other.backends(1, "echo"), Backends{"1:10.1.0.2"});
}

TEST(Transaction, a_bulk_load_is_as_good_as_slices) {
  Fleet fleet({1, 2});
  for (const auto id : ids({1, 2}))
    fleet.set_service(id, "echo", fleet.spec("10.100.0." + std::to_string(id), ""));
  Transaction change(fleet.mesh);
  std::vector<BulkRow> rows;
  for (const auto id : ids({2, 1}))
    for (std::uint32_t i = 1; i <= 2; ++i)
      rows.push_back(
          {{fleet.service("echo"), id}, {0, Address::v4(0x0A000000U | unsigned{id} << 16 | i), 80, 6}});
  change.load(rows);
  change.commit();
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.1", "1:10.1.0.2", "2:10.2.0.1", "2:10.2.0.2"}));

  Transaction removal(fleet.mesh);
  std::vector<BulkRow> gone{{{fleet.service("echo"), 2}, {0, Address::v4(0x0A020001), 80, 6}}};
  gone[0].remove = true;
  removal.load(gone);
  removal.commit();
  EXPECT_EQ(fleet.backends(1, "echo"), (Backends{"1:10.1.0.1", "1:10.1.0.2", "2:10.2.0.2"}));
}

TEST(Transaction, readers_go_on_beside_the_writer) {
  Fleet fleet({1, 2});
  for (const auto id : ids({1, 2}))
    fleet.set_service(id, "echo", fleet.spec("10.100.0." + std::to_string(id)));
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      while (!done) {
        const auto views = fleet.reader().frontends(1, fleet.service("echo"), 0);
        ASSERT_EQ(views.size(), 1U);
        ASSERT_TRUE(views[0].backends.empty() || views[0].backends.size() == 3);
      }
    });
  for (int step = 0; step < 300; ++step) {
    Transaction change(fleet.mesh);
    std::vector<EndpointFacts> endpoints;
    if (step % 2) endpoints.push_back({{"10.2.0.1", "10.2.0.2", "10.2.0.3"}, kReady, "", "", "", {}});
    change.set_slice(2, "shop", "echo", "s", endpoints, {{"http", 6, 8080}}, kDefaultWeight);
    entries_of(change.commit(), *fleet.mesh);
  }
  done = true;
  for (auto& reader : readers) reader.join();
}

}  // namespace
}  // namespace fleetmesh
