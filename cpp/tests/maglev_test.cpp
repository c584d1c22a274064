#include "fleetmesh/maglev.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "fleetmesh/maglev_fill.hpp"

namespace fleetmesh::maglev {
namespace {

constexpr Seed kSeed{0x24b7ef82, 0x71dcda46, 0x92505688};  // kDefaultSeed

std::vector<Candidate> some(std::uint32_t count) {
  std::vector<Candidate> result(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    result[i].address = Address::v4(0x0a000000U + i);
    result[i].port = 80;
  }
  return result;
}

std::vector<std::uint16_t> filled(Cpu cpu, std::uint32_t size, std::span<const Walk> walks,
                                  std::span<const std::uint16_t> weights) {
  std::vector<std::uint16_t> table(size);
  fill(cpu, size, walks, weights, table.data());
  return table;
}

TEST(Maglev, seed_is_read_as_cilium_does) {
  EXPECT_EQ(Seed::parse(kDefaultSeed), kSeed);
  EXPECT_THROW(Seed::parse("AAAA"), std::invalid_argument);
  EXPECT_THROW(Seed::parse("JLfvgnHc2kaSUFa*"), std::invalid_argument);
}

TEST(Maglev, every_fill_is_the_plain_one) {
  std::mt19937 random(3);
  for (const std::uint32_t size : kSizes) {
    for (const std::uint32_t count : {1U, 2U, 3U, 10U, 63U, 64U, 65U, 100U, 128U, 129U, 250U, 1000U, 5000U}) {
      std::vector<Walk> walks;
      std::vector<std::uint16_t> weights;
      for (std::uint32_t i = 0; i < count; ++i) {
        walks.push_back({static_cast<std::uint32_t>(random() % size),
                         static_cast<std::uint32_t>(random() % (size - 1) + 1)});
        weights.push_back(static_cast<std::uint16_t>(i == 1 ? 60000 : random() % 20));
      }
      for (const bool weighted : {false, true}) {
        std::span<const std::uint16_t> counted = weights;
        if (!weighted || !weights_count(weights)) counted = {};
        std::vector<std::uint16_t> plain(size);
        fill_plain(size, walks, counted, plain.data());
        for (const Cpu cpu : runnable())
          EXPECT_EQ(filled(cpu, size, walks, counted), plain) << name_of(cpu) << ' ' << size << ' ' << count;
      }
    }
  }
}

TEST(Maglev, equal_weights_are_no_weights) {
  const std::vector<std::uint16_t> equal(5, 100);
  const std::vector<std::uint16_t> light{1, 2, 1, 2};
  const std::vector<std::uint16_t> different{100, 99};
  EXPECT_FALSE(weights_count(equal));
  EXPECT_FALSE(weights_count(light));
  EXPECT_TRUE(weights_count(different));
}

TEST(Maglev, order_is_that_of_the_texts_whatever_came_first) {
  auto candidates = some(300);
  std::mt19937 random(1);
  std::shuffle(candidates.begin(), candidates.end(), random);
  const Order order(candidates, kSeed);
  std::vector<Prepared> prepared;
  for (const auto& candidate : candidates) prepared.push_back(prepare(candidate, kSeed));
  std::vector<Order::Item> items;
  for (const auto& each : prepared) items.push_back({&each, 1});
  const Order again(items);

  std::vector<std::string> texts;
  for (const auto input : order.inputs()) texts.push_back(prepared[input].text);
  EXPECT_TRUE(std::is_sorted(texts.begin(), texts.end()));
  EXPECT_TRUE(std::ranges::equal(order.inputs(), again.inputs()));
  for (std::size_t rank = 0; rank < items.size(); ++rank)
    EXPECT_EQ(order.ranked()[rank].hash, again.ranked()[rank].hash);
}

TEST(Maglev, a_text_that_comes_twice_is_refused) {
  auto candidates = some(3);
  candidates.push_back(candidates[1]);
  EXPECT_THROW(Order(candidates, kSeed), std::invalid_argument);
}

TEST(Maglev, what_can_not_be_built_is_refused) {
  const auto candidates = some(3);
  const Order order(candidates, kSeed);
  EXPECT_THROW(build(1000, order.ranked()), std::invalid_argument);
  EXPECT_THROW(build(251, {}), std::invalid_argument);
}

TEST(Maglev, more_than_16_bits_count_are_wide) {
  const auto candidates = some(65'536);
  const Order order(candidates, kSeed);
  const auto table = build(251, order.ranked());
  EXPECT_TRUE(table->wide());
  EXPECT_EQ(table->ranks16(), nullptr);
  EXPECT_LT(table->rank(0), 251U);
}

TEST(Maglev, tables_are_shared_while_somebody_has_them) {
  Tables tables;
  const auto candidates = some(10);
  const Order order(candidates, kSeed);
  const auto first = tables.get(251, kSeed, order.ranked());
  EXPECT_EQ(tables.get(251, kSeed, order.ranked()), first);
  EXPECT_NE(tables.get(509, kSeed, order.ranked()), first);
}

TEST(Maglev, tables_that_are_gone_are_forgotten) {
  Tables tables;
  for (std::uint32_t count = 1; count <= 1000; ++count) {
    const auto candidates = some(count);
    const Order order(candidates, kSeed);
    EXPECT_NE(tables.get(251, kSeed, order.ranked()), nullptr);
  }
  EXPECT_LE(tables.remembered(), 65U);
}

TEST(Maglev, threads_that_ask_for_one_table_get_one) {
  Tables tables;
  const auto candidates = some(50);
  const Order order(candidates, kSeed);
  std::array<std::shared_ptr<const Table>, 4> got;
  std::vector<std::thread> threads;
  for (auto& each : got) threads.emplace_back([&] { each = tables.get(1021, kSeed, order.ranked()); });
  for (auto& thread : threads) thread.join();
  for (const auto& each : got) EXPECT_EQ(each, got[0]);
}

TEST(Maglev, movement_over_ranks_is_that_over_ids) {
  const auto before = some(10);
  const std::vector<Candidate> after(before.begin() + 1, before.end());
  const Order first(before, kSeed);
  const Order second(after, kSeed);
  const auto one = build(1021, first.ranked());
  const auto other = build(1021, second.ranked());
  std::vector<std::uint32_t> first_ids;
  std::vector<std::uint32_t> second_ids;
  for (const auto input : first.inputs()) first_ids.push_back(input);
  for (const auto input : second.inputs()) second_ids.push_back(input + 1);
  std::vector<std::uint32_t> one_table;
  std::vector<std::uint32_t> other_table;
  for (std::uint32_t slot = 0; slot < 1021; ++slot) {
    one_table.push_back(first_ids[one->rank(slot)]);
    other_table.push_back(second_ids[other->rank(slot)]);
  }

  const Movement moved = movement(*one, first_ids, *other, second_ids);
  EXPECT_EQ(moved, movement(one_table, other_table));
  EXPECT_GE(moved.ideal, 102U);
  EXPECT_GT(moved.moved, moved.ideal);
  EXPECT_THROW(movement(one_table, std::vector<std::uint32_t>{1}), std::invalid_argument);
}

}  // namespace
}  // namespace fleetmesh::maglev
