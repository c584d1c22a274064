#include "fleetmesh/persistent_map.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace fleetmesh {
namespace {

// Small nodes, so that a few hundred keys make a deep tree.
using Small = PersistentMap<int, std::shared_ptr<int>, 4, 4>;
using Plain = std::map<int, int>;

// Leaves that have room for 4 entries at first, and for 8, 16 and 32 as they grow.
using Growing = PersistentMap<int, std::shared_ptr<int>, 32, 4>;

template <class Map>
Plain plain(const Map& map) {
  Plain result;
  for (auto at = map.begin(); at; at.next()) result[at.key()] = *at.value();
  return result;
}

template <class Map>
void put(Map& map, Plain& beside, int key, int value) {
  map[key] = std::make_shared<int>(value);
  beside[key] = value;
}

TEST(PersistentMap, is_empty_at_first) {
  const Small map;
  EXPECT_TRUE(map.empty());
  EXPECT_FALSE(map.begin());
  EXPECT_FALSE(map.lower_bound(7));
  EXPECT_EQ(map.find(7), nullptr);
}

template <class Map>
void change_at_random() {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    Map map;
    Plain beside;
    const int keys = 1 + static_cast<int>(random() % 400);
    for (int step = 0; step < 1500; ++step) {
      const int key = static_cast<int>(random() % static_cast<unsigned>(keys));
      if (random() % 3 == 0) {
        EXPECT_EQ(map.erase(key), beside.erase(key) == 1);
      } else {
        put(map, beside, key, step);
      }
      ASSERT_EQ(map.size(), beside.size());
      const int probe = static_cast<int>(random() % static_cast<unsigned>(keys));
      const auto expected = beside.lower_bound(probe);
      const auto found = map.lower_bound(probe);
      ASSERT_EQ(static_cast<bool>(found), expected != beside.end());
      if (found) {
        ASSERT_EQ(found.key(), expected->first);
        ASSERT_EQ(*found.value(), expected->second);
      }
      const auto* exact = map.find(probe);
      ASSERT_EQ(exact != nullptr, beside.contains(probe));
    }
    ASSERT_EQ(plain(map), beside);
  }
}

TEST(PersistentMap, does_what_a_plain_map_does_through_random_changes) { change_at_random<Small>(); }

TEST(PersistentMap, so_it_does_with_leaves_that_grow) { change_at_random<Growing>(); }

TEST(PersistentMap, keys_in_order_leave_full_leaves) {
  PersistentMap<int, int, 8, 8> map;
  for (int key = 0; key < 1000; ++key) map[key] = key;
  int expected = 0;
  for (auto at = map.begin(); at; at.next()) EXPECT_EQ(at.key(), expected++);
  EXPECT_EQ(expected, 1000);
}

template <class Map>
void change_beside_copies() {
  std::mt19937 random(11);
  Map map;
  Plain beside;
  std::vector<std::pair<Map, Plain>> copies;
  for (int step = 0; step < 3000; ++step) {
    const int key = static_cast<int>(random() % 300);
    if (random() % 3 == 0) {
      map.erase(key);
      beside.erase(key);
    } else {
      put(map, beside, key, step);
    }
    if (step % 100 == 0) copies.emplace_back(map, beside);
  }
  for (const auto& [copy, expected] : copies) ASSERT_EQ(plain(copy), expected);
}

TEST(PersistentMap, a_copy_stays_as_it_was) { change_beside_copies<Small>(); }

TEST(PersistentMap, so_it_does_beside_leaves_that_grow) { change_beside_copies<Growing>(); }

TEST(PersistentMap, compare_names_exactly_the_keys_that_differ) {
  std::mt19937 random(13);
  for (int round = 0; round < 200; ++round) {
    Small before;
    Plain before_plain;
    for (int i = 0; i < 300; ++i) put(before, before_plain, static_cast<int>(random() % 500), i);
    Small after = before;
    Plain after_plain = before_plain;
    const int changes = static_cast<int>(random() % 60);
    for (int i = 0; i < changes; ++i) {
      const int key = static_cast<int>(random() % 500);
      if (random() % 2) {
        put(after, after_plain, key, 1000 + i);
      } else {
        after.erase(key);
        after_plain.erase(key);
      }
    }
    std::set<int> expected;
    for (int key = 0; key < 500; ++key) {
      const auto a = before_plain.find(key);
      const auto b = after_plain.find(key);
      const bool here = a != before_plain.end();
      const bool there = b != after_plain.end();
      if (here != there || (here && a->second != b->second)) expected.insert(key);
    }
    std::set<int> found;
    Small::compare(
        before, after, [](const auto& a, const auto& b) { return *a == *b; },
        [&](int key) { EXPECT_TRUE(found.insert(key).second); });
    ASSERT_EQ(found, expected);
  }
}

TEST(PersistentMap, compare_visits_little_of_what_is_shared) {
  PersistentMap<int, int> before;
  for (int key = 0; key < 100000; ++key) before[key] = key;
  auto after = before;
  after[50000] = -1;
  int looked_at = 0;
  std::vector<int> changed;
  decltype(before)::compare(
      before, after,
      [&](int a, int b) {
        ++looked_at;
        return a == b;
      },
      [&](int key) { changed.push_back(key); });
  EXPECT_EQ(changed, std::vector<int>{50000});
  EXPECT_LT(looked_at, 3000);
}

TEST(PersistentMap, values_are_released_when_the_last_copy_goes) {
  const auto value = std::make_shared<int>(1);
  {
    Small map;
    for (int key = 0; key < 100; ++key) map[key] = value;
    const Small copy = map;
    for (int key = 0; key < 100; ++key) map.erase(key);
    EXPECT_TRUE(map.empty());
    EXPECT_GT(value.use_count(), 100);
  }
  EXPECT_EQ(value.use_count(), 1);
}

TEST(PersistentMap, readers_of_copies_need_no_lock) {
  PersistentMap<int, int> map;
  for (int key = 0; key < 5000; ++key) map[key] = 0;
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 3; ++reader)
    readers.emplace_back([copy = map] {
      for (int round = 0; round < 20; ++round)
        for (auto at = copy.begin(); at; at.next()) ASSERT_EQ(at.value(), 0);
    });
  for (int step = 1; step < 50000; ++step) map[step % 5000] = step;
  for (auto& reader : readers) reader.join();
}

}  // namespace
}  // namespace fleetmesh
