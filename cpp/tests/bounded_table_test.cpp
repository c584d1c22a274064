#include "fleetmesh/bounded_table.hpp"

#include <gtest/gtest.h>

namespace fleetmesh {
namespace {

struct Value {
  std::uint64_t until = 0;
  std::uint32_t content = 0;
};
std::uint64_t expires(const Value& value) { return value.until; }

using Table = BoundedTable<std::uint32_t, Value>;
constexpr std::uint32_t kOneOfKin = 0x10000005;
constexpr std::uint32_t kOtherOfKin = 0x20000005;
constexpr std::uint32_t kStranger = 0x10000006;

std::uint32_t put(Table& table, std::uint32_t key, std::uint32_t hash, std::uint64_t until = 100) {
  table.put(key, hash, {until, key}, 0);
  return table.number_of(table.find(key, hash, 0));
}

TEST(BoundedTable, a_stamp_holds_until_the_entry_or_its_kin_is_put) {
  Table table(8);
  const std::uint32_t one = put(table, 1, kOneOfKin);
  const std::uint32_t stranger = put(table, 2, kStranger);
  const std::uint32_t stamp = table.stamp(one);
  const std::uint32_t strange = table.stamp(stranger);
  EXPECT_TRUE(Table::intact(table.numbered(one), stamp, 99));
  EXPECT_FALSE(Table::intact(table.numbered(one), stamp, 100)) << "its time is over";

  const std::uint32_t other = put(table, 3, kOtherOfKin);
  EXPECT_FALSE(Table::intact(table.numbered(one), stamp, 0));
  EXPECT_EQ(table.stamp(one), table.stamp(other));
  EXPECT_TRUE(Table::intact(table.numbered(stranger), strange, 0));

  const std::uint32_t before = table.stamp(one);
  put(table, 3, kOtherOfKin);
  EXPECT_NE(table.stamp(one), before) << "a value that is replaced counts";
  table.restamp(stranger);
  EXPECT_NE(table.stamp(stranger), strange);
}

TEST(BoundedTable, an_entry_that_is_gone_is_never_intact_nor_is_number_0) {
  Table table(1);
  const std::uint32_t one = put(table, 1, kOneOfKin);
  const std::uint32_t stamp = table.stamp(one);
  const std::uint32_t next = put(table, 2, kStranger);
  EXPECT_EQ(next, one) << "the table is full, so the place is given anew";
  EXPECT_FALSE(Table::intact(table.numbered(one), stamp, 0));
  table.remove(2, kStranger);
  EXPECT_FALSE(Table::intact(table.numbered(next), table.stamp(next) + 1, 0));
  EXPECT_FALSE(Table::intact(table.numbered(0), 1, 0));
}

TEST(BoundedTable, stamps_that_begin_anew_say_so) {
  Table table(8, 0xffffffff);
  EXPECT_EQ(table.laps(), 0U);
  const std::uint32_t one = put(table, 1, kOneOfKin);
  EXPECT_EQ(table.laps(), 1U);
  put(table, 2, kStranger);
  EXPECT_EQ(table.laps(), 1U);
  EXPECT_EQ(table.stamp(one), 0xffffffffU);
}

}  // namespace
}  // namespace fleetmesh
