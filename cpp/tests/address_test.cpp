#include "fleetmesh/address.hpp"

#include <gtest/gtest.h>

#include <array>

namespace fleetmesh {
namespace {

std::string round_trip(std::string_view text) {
  const auto address = Address::parse(text);
  return address ? address->text() : "refused";
}

TEST(Address, writes_what_go_writes) {
  EXPECT_EQ(round_trip("10.1.0.9"), "10.1.0.9");
  EXPECT_EQ(round_trip("255.255.255.255"), "255.255.255.255");
  EXPECT_EQ(round_trip("::"), "::");
  EXPECT_EQ(round_trip("::1"), "::1");
  EXPECT_EQ(round_trip("fd00:0:0:0:1:0:0:2"), "fd00::1:0:0:2");
  EXPECT_EQ(round_trip("fd00:0:1:0:0:0:1:2"), "fd00:0:1::1:2");
  EXPECT_EQ(round_trip("FD00:ABCD::"), "fd00:abcd::");
  EXPECT_EQ(round_trip("1:2:3:4:5:6:7:0"), "1:2:3:4:5:6:7:0");
  EXPECT_EQ(round_trip("1:0:3:4:5:6:7:8"), "1:0:3:4:5:6:7:8");
  EXPECT_EQ(round_trip("::ffff:10.0.0.1"), "::ffff:10.0.0.1");
  EXPECT_EQ(round_trip("::10.0.0.1"), "::a00:1");
  EXPECT_EQ(round_trip("64:ff9b::192.0.2.33"), "64:ff9b::c000:221");
}

TEST(Address, refuses_what_go_refuses) {
  for (const auto* text : {"",
                           "10.0.0",
                           "10.0.0.1.2",
                           "10.0.0.256",
                           "010.0.0.1",
                           "10.0.0.01",
                           "10..0.1",
                           "a",
                           ":",
                           ":::",
                           "1::2::3",
                           "1:2:3:4:5:6:7",
                           "1:2:3:4:5:6:7:8:9",
                           "1:2:3:4:5:6:7:8::",
                           "12345::",
                           "fe80::1%eth0",
                           "1:",
                           ":1",
                           "::g",
                           "1:2:3:4:5:6:7:1.2.3.4",
                           "10.0.0.1 "})
    EXPECT_EQ(round_trip(text), "refused") << text;
}

TEST(Address, reads_bytes) {
  std::array<std::uint8_t, 16> bytes{0xfd, 0};
  bytes[15] = 9;
  EXPECT_EQ(Address::v6(bytes.data()).text(), "fd00::9");
  EXPECT_EQ(Address::v4(0x0A000001).text(), "10.0.0.1");
}

TEST(Address, orders_families_apart) { EXPECT_LT(*Address::parse("255.0.0.1"), *Address::parse("::1")); }

}  // namespace
}  // namespace fleetmesh
