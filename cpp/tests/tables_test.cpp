#include "fleetmesh/tables.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "fleet.hpp"
#include "fleetmesh/table_caches.hpp"

using namespace fleetmesh;
using fleetmesh::testing::Fleet;

namespace {

constexpr std::uint8_t kDraining = kServing | kTerminating;

std::shared_ptr<const Tables> tables(const Fleet& fleet, ClusterId viewer, StringId node = 0,
                                     const TableOptions& options = {}) {
  return Tables::of(fleet.mesh, fleet.mesh->state(), {viewer, node}, options);
}

const Selection* first(const std::shared_ptr<const Tables>& of, const Fleet& fleet, const std::string& name) {
  const CompiledService* service = of->service(fleet.service(name));
  return service ? service->frontends.front().selection.get() : nullptr;
}

std::vector<std::string> ranks(const Selection& selection) {
  std::vector<std::string> result;
  for (const auto& backend : selection.backends())
    result.push_back(std::to_string(backend.cluster) + ":" + backend.address.text());
  return result;
}

std::vector<ServiceId> changed(const Tables& older, const Tables& newer) {
  std::vector<ServiceId> result;
  newer.changed_since(older, [&](ServiceId service) { result.push_back(service); });
  return result;
}

// Three members with a service of two backends each.
Fleet shop() {
  Fleet fleet({1, 2, 3});
  for (const ClusterId id : fleetmesh::testing::ids({1, 2, 3})) {
    const std::string own = std::to_string(id);
    fleet.set_service(id, "cart", fleet.spec("10.100.0." + own));
    fleet.set_slice(id, "cart", {"10." + own + ".0.2", "10." + own + ".0.10"});
  }
  return fleet;
}

using Names = std::vector<std::string>;

}  // namespace

TEST(Tables, ranks_are_in_the_order_of_maglevs_texts) {
  const Fleet fleet = shop();
  const auto of = tables(fleet, 2);
  const Selection& cart = *first(of, fleet, "cart");
  EXPECT_EQ(ranks(cart),
            (Names{"1:10.1.0.10", "1:10.1.0.2", "2:10.2.0.10", "2:10.2.0.2", "3:10.3.0.10", "3:10.3.0.2"}));
  EXPECT_EQ(cart.in_use(), 6U);
  EXPECT_EQ(cart.backends()[1].port, 8080);
  EXPECT_EQ(of->service(fleet.service("cart"))->frontends[0].frontend.address.text(), "10.100.0.2");
  ASSERT_TRUE(cart.table());
  std::vector<maglev::Candidate> candidates;
  for (const auto& backend : cart.backends())
    candidates.push_back({backend.address, backend.port, backend.protocol, false, backend.weight, 0, {}});
  const maglev::Order order(candidates, of->options().seed);
  const auto expected = maglev::build(of->options().size, order.ranked());
  for (std::uint32_t slot = 0; slot < expected->size(); ++slot)
    ASSERT_EQ(cart.table()->rank(slot), expected->rank(slot));
}

TEST(Tables, viewers_of_one_class_have_one_selection) {
  const Fleet fleet = shop();
  const auto one = tables(fleet, 1);
  const auto two = tables(fleet, 2);
  EXPECT_EQ(first(one, fleet, "cart"), first(two, fleet, "cart"));
  EXPECT_EQ(first(one, fleet, "cart")->table(), first(two, fleet, "cart")->table());
}

TEST(Tables, classes_that_differ_in_one_thing_do_not_share) {
  Fleet fleet = shop();
  auto local = fleet.spec("10.100.0.3");
  local.affinity = Affinity::local;
  fleet.set_service(3, "cart", local);
  const auto one = tables(fleet, 1);
  const auto three = tables(fleet, 3);
  EXPECT_EQ(ranks(*first(three, fleet, "cart")), (Names{"3:10.3.0.10", "3:10.3.0.2"}));
  EXPECT_EQ(first(one, fleet, "cart")->in_use(), 6U);
}

TEST(Tables, what_drains_follows_what_is_in_use) {
  const Fleet fleet = shop();
  fleet.set_slice(1, "cart", {"10.1.0.2"}, kDraining);
  const auto one = tables(fleet, 1);
  const Selection& own = *first(one, fleet, "cart");
  EXPECT_EQ(own.in_use(), 4U);
  EXPECT_EQ(own.backends()[4].address.text(), "10.1.0.2");
  EXPECT_EQ(own.backends()[4].state, BackendState::terminating);
  const auto two = tables(fleet, 2);  // records do not say that something drains
  EXPECT_EQ(first(two, fleet, "cart")->in_use(), 5U);
  EXPECT_EQ(first(two, fleet, "cart"), first(tables(fleet, 3), fleet, "cart"));
}

TEST(Tables, where_nothing_is_active_the_terminating_ones_are_in_use) {
  const Fleet fleet({1});
  fleet.set_service(1, "cart", fleet.spec("10.100.0.1"));
  fleet.set_slice(1, "cart", {"10.1.0.2", "10.1.0.3"}, kDraining);
  const auto of = tables(fleet, 1);
  EXPECT_EQ(first(of, fleet, "cart")->in_use(), 2U);
  EXPECT_TRUE(first(of, fleet, "cart")->table());
}

TEST(Tables, no_backend_is_an_empty_selection_and_no_service_is_none) {
  const Fleet fleet({1, 2});
  fleet.set_service(1, "cart", fleet.spec("10.100.0.1"));
  const auto one = tables(fleet, 1);
  ASSERT_TRUE(first(one, fleet, "cart"));
  EXPECT_EQ(first(one, fleet, "cart")->in_use(), 0U);
  EXPECT_FALSE(first(one, fleet, "cart")->table());
  EXPECT_FALSE(tables(fleet, 2)->service(fleet.service("cart")));
  EXPECT_FALSE(tables(fleet, 9)->service(fleet.service("cart")));
  EXPECT_FALSE(one->service(fleet.service("unheard of")));
}

TEST(Tables, an_advance_keeps_what_did_not_change) {
  const Fleet fleet = shop();
  fleet.set_service(1, "pay", fleet.spec("10.100.1.1"));
  fleet.set_slice(1, "pay", {"10.1.1.1"});
  const auto before = tables(fleet, 1);
  const Selection* cart = first(before, fleet, "cart");
  const Selection* pay = first(before, fleet, "pay");
  fleet.set_slice(2, "cart", {"10.2.0.2", "10.2.0.9"});
  const auto after = before->advance(fleet.mesh->state());
  EXPECT_EQ(after->generation(), before->generation() + 1);
  EXPECT_EQ(first(after, fleet, "pay"), pay);
  EXPECT_EQ(ranks(*first(after, fleet, "cart")),
            (Names{"1:10.1.0.10", "1:10.1.0.2", "2:10.2.0.2", "2:10.2.0.9", "3:10.3.0.10", "3:10.3.0.2"}));
  EXPECT_EQ(ranks(*cart)[2], "2:10.2.0.10");
  EXPECT_EQ(first(after, fleet, "cart"), first(tables(fleet, 2), fleet, "cart"));
  EXPECT_EQ(changed(*before, *after), (std::vector<ServiceId>{fleet.service("cart")}));
  EXPECT_EQ(changed(*after, *before), changed(*before, *after));
  EXPECT_TRUE(changed(*after, *after).empty());
}

TEST(Tables, a_change_that_the_viewer_does_not_notice_is_none) {
  Fleet fleet = shop();
  auto local = fleet.spec("10.100.0.3");
  local.affinity = Affinity::local;
  fleet.set_service(3, "cart", local);
  const auto before = tables(fleet, 3);
  fleet.set_slice(1, "cart", {"10.1.0.2"});
  EXPECT_TRUE(changed(*before, *before->advance(fleet.mesh->state())).empty());
}

TEST(Tables, another_topology_compares_what_both_have) {
  const Fleet fleet = shop();
  fleet.set_service(1, "pay", fleet.spec("10.100.1.1"));
  fleet.set_slice(1, "pay", {"10.1.1.1"});
  const auto before = tables(fleet, 1);
  const auto fork = fleet.mesh->fork();
  Transaction change(fork);
  change.leave(2);
  change.commit();
  const auto after = before->advance(fork->state());
  EXPECT_EQ(first(after, fleet, "cart")->in_use(), 4U);
  EXPECT_EQ(changed(*before, *after), (std::vector<ServiceId>{fleet.service("cart")}));
  EXPECT_EQ(first(after, fleet, "pay"), first(before, fleet, "pay"));
}

TEST(Tables, a_service_that_goes_is_a_change) {
  const Fleet fleet = shop();
  const auto before = tables(fleet, 1);
  Transaction change(fleet.mesh);
  change.remove_service(1, "shop", "cart");
  change.commit();
  const auto after = before->advance(fleet.mesh->state());
  EXPECT_FALSE(after->service(fleet.service("cart")));
  EXPECT_EQ(changed(*before, *after), (std::vector<ServiceId>{fleet.service("cart")}));
}

TEST(Tables, where_several_members_have_one_address_each_viewer_is_asked_alone) {
  const Fleet fleet = shop();
  fleet.set_slice(2, "cart", {"10.1.0.2", "10.2.0.2"});
  EXPECT_EQ(ranks(*first(tables(fleet, 1), fleet, "cart")),
            (Names{"1:10.1.0.10", "1:10.1.0.2", "2:10.2.0.2", "3:10.3.0.10", "3:10.3.0.2"}));
  EXPECT_EQ(ranks(*first(tables(fleet, 2), fleet, "cart")),
            (Names{"1:10.1.0.10", "2:10.1.0.2", "2:10.2.0.2", "3:10.3.0.10", "3:10.3.0.2"}));
}

TEST(Tables, slices_of_one_member_that_overlap_are_settled) {
  const Fleet fleet = shop();
  fleet.set_slice(2, "cart", {"10.2.0.2"}, kReady | kServing, "http", "another");
  EXPECT_EQ(first(tables(fleet, 1), fleet, "cart")->in_use(), 6U);
  EXPECT_EQ(first(tables(fleet, 2), fleet, "cart")->in_use(), 6U);
  fleet.set_slice(2, "cart", {"10.2.0.1"}, kReady | kServing, "http", "another");  // between the others
  EXPECT_EQ(first(tables(fleet, 1), fleet, "cart")->in_use(), 7U);
  EXPECT_EQ(first(tables(fleet, 1), fleet, "cart"), first(tables(fleet, 2), fleet, "cart"));
}

TEST(Tables, an_unnamed_port_in_strict_mode_is_not_the_same_at_home) {
  Fleet fleet({1, 2}, true);
  for (const ClusterId id : fleetmesh::testing::ids({1, 2})) {
    auto spec = fleet.spec("10.100.0." + std::to_string(id));
    spec.frontends.push_back(spec.frontends.front());
    spec.frontends.back().port = 443;
    spec.frontends.back().port_name = fleet.strings().id("https");
    fleet.set_service(id, "cart", spec);
    fleet.set_slice(id, "cart", {"10." + std::to_string(id) + ".0.1"}, kReady | kServing, "");
  }
  EXPECT_EQ(ranks(*first(tables(fleet, 1), fleet, "cart")), (Names{"1:10.1.0.1"}));
  EXPECT_EQ(ranks(*first(tables(fleet, 2), fleet, "cart")), (Names{"2:10.2.0.1"}));
}

TEST(Tables, a_viewer_without_ipv6_is_apart_only_where_there_is_any) {
  const auto mesh = std::make_shared<Mesh>(false, ClusterId{255});
  Transaction change(mesh);
  auto& strings = mesh->shared().strings;
  for (const ClusterId id : fleetmesh::testing::ids({1, 2}))
    change.join(id, "c" + std::to_string(id), id == 1, false);
  for (const ClusterId id : fleetmesh::testing::ids({1, 2})) {
    change.hear(id, {1, 2});
    const auto spec = std::make_shared<ServiceSpec>();
    spec->is_global = true;
    spec->frontends.push_back(
        {FrontendType::cluster_ip, false, 6, 80, strings.id(""), *Address::parse("fd00::1")});
    change.set_service(id, "shop", "cart", spec);
    change.set_slice(id, "shop", "cart", "s",
                     {{{"fd00:" + std::to_string(id) + "::1"}, kReady | kServing, "", "", "", {}}},
                     {{"", 6, 8080}}, kDefaultWeight);
  }
  change.commit();
  ServiceId cart = 0;
  ASSERT_TRUE(mesh->shared().services.find("shop", "cart", cart));
  const auto in_use = [&](ClusterId id) {
    return Tables::of(mesh, mesh->state(), {id, 0})->service(cart)->frontends[0].selection->in_use();
  };
  EXPECT_EQ(in_use(1), 2U);
  EXPECT_EQ(in_use(2), 1U);
}

TEST(Tables, nodes_with_their_own_view_have_their_own_tables) {
  Fleet fleet = shop();
  auto spec = fleet.spec("10.100.0.1");
  spec.internal_local = true;
  fleet.set_service(1, "cart", spec);
  fleet.set_slice(1, "cart", {"10.1.0.2"}, kReady | kServing, "http", "s", "n1");
  const auto node = tables(fleet, 1, fleet.strings().id("n1"));
  const auto other = tables(fleet, 1, fleet.strings().id("n2"));
  EXPECT_EQ(first(node, fleet, "cart")->in_use(), 5U);
  EXPECT_EQ(first(other, fleet, "cart")->in_use(), 4U);
  EXPECT_EQ(first(tables(fleet, 1), fleet, "cart"), first(node, fleet, "cart"));
}

TEST(Tables, a_node_that_comes_matters_to_who_shares_an_address_with_a_service_of_other_nodes) {
  const Fleet fleet({1});
  const auto join = [&](const std::string& node) {
    Transaction change(fleet.mesh);
    change.set_node(1, node, "");
    change.commit();
  };
  join("n1");
  auto older = fleet.spec("10.100.0.1");
  older.exposed_on = {fleet.strings().id("n1")};
  fleet.set_service(1, "older", older);
  fleet.set_service(1, "cart", fleet.spec("10.100.0.1"));
  const auto before = tables(fleet, 1);
  EXPECT_FALSE(before->service(fleet.service("cart")));  // n1 has the other one there
  join("n2");
  const auto after = before->advance(fleet.mesh->state());
  EXPECT_TRUE(after->service(fleet.service("cart")));
  EXPECT_EQ(changed(*before, *after), (std::vector<ServiceId>{fleet.service("cart")}));
}

TEST(Tables, a_contest_reaches_services_that_share_no_address) {
  const Fleet fleet({1});
  auto both = fleet.spec("10.100.0.2");
  both.frontends.push_back(fleet.spec("10.100.0.1").frontends.front());
  fleet.set_service(1, "first", fleet.spec("10.100.0.2"));
  fleet.set_service(1, "both", both);  // refused as a whole, so that the third is not
  fleet.set_service(1, "third", fleet.spec("10.100.0.1"));
  const auto before = tables(fleet, 1);
  EXPECT_FALSE(before->service(fleet.service("both")));
  EXPECT_TRUE(before->service(fleet.service("third")));

  Transaction change(fleet.mesh);
  change.remove_service(1, "shop", "first");
  const auto delta = change.commit();
  const auto after = before->advance(delta.after);
  EXPECT_TRUE(after->service(fleet.service("both")));
  EXPECT_FALSE(after->service(fleet.service("third")));
  EXPECT_EQ(changed(*before, *after).size(), 3U);
  EXPECT_EQ(delta.touched.size(), 3U);
}

TEST(Tables, size_and_seed_make_other_tables) {
  const Fleet fleet = shop();
  TableOptions small;
  small.size = 251;
  TableOptions seeded;
  seeded.seed = maglev::Seed::parse("AAAAAAAAAAAAAAAB");
  const auto usual = tables(fleet, 1);
  EXPECT_EQ(first(tables(fleet, 2, 0, small), fleet, "cart")->table()->size(), 251U);
  EXPECT_NE(first(tables(fleet, 1, 0, seeded), fleet, "cart"), first(usual, fleet, "cart"));
  EXPECT_THROW(changed(*tables(fleet, 1, 0, small), *usual), std::invalid_argument);
  EXPECT_THROW(changed(*tables(fleet, 2), *usual), std::invalid_argument);
}

TEST(Tables, movement_is_told_by_what_a_backend_is_not_by_its_rank) {
  const Fleet fleet = shop();
  const auto before = tables(fleet, 1);
  fleet.set_slice(1, "cart", {"10.1.0.2"});  // all others have another rank now
  const auto after = before->advance(fleet.mesh->state());
  const Selection& six = *first(before, fleet, "cart");
  const Selection& five = *first(after, fleet, "cart");
  const auto moved = movement(six, five);
  const auto size = static_cast<double>(six.table()->size());
  EXPECT_NEAR(moved.ideal / size, 1.0 / 6, 0.001);
  EXPECT_GE(moved.moved, moved.ideal);
  EXPECT_NEAR(moved.moved / size, 1.0 / 6, 0.02);
  EXPECT_EQ(movement(six, six), maglev::Movement{});

  for (const ClusterId id : fleetmesh::testing::ids({1, 2, 3})) fleet.set_slice(id, "cart", {});
  const auto none = before->advance(fleet.mesh->state());
  const Selection& empty = *first(none, fleet, "cart");
  EXPECT_EQ(movement(six, empty), (maglev::Movement{16381, 16381}));
  EXPECT_EQ(movement(empty, six), maglev::Movement{});
  TableOptions small;
  small.size = 251;
  EXPECT_THROW(movement(six, *first(tables(fleet, 1, 0, small), fleet, "cart")), std::invalid_argument);
}

TEST(Tables, nothing_is_kept_that_nobody_has) {
  const Fleet fleet = shop();
  std::weak_ptr<const maglev::Table> table;
  {
    const auto of = tables(fleet, 1);
    table = of->service(fleet.service("cart"))->frontends[0].selection->shared_table();
    EXPECT_FALSE(table.expired());
  }
  EXPECT_TRUE(table.expired());
}

TEST(Tables, readers_of_one_object_need_no_lock) {
  const Fleet fleet = shop();
  const auto shared = tables(fleet, 1);
  std::vector<const Selection*> seen(4);
  std::vector<const maglev::Table*> built(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < seen.size(); ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        const auto of = i % 2 ? shared : tables(fleet, static_cast<ClusterId>(1 + i));
        seen[i] = first(i % 2 ? shared : of, fleet, "cart");
        built[i] = shared->service(fleet.service("cart"))->frontends[0].selection->table();
      }
    });
  for (int round = 0; round < 50; ++round) fleet.set_slice(2, "pay", {"10.2.1." + std::to_string(round + 1)});
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(seen[1], seen[3]);
  EXPECT_EQ(built[0], built[1]);
}
