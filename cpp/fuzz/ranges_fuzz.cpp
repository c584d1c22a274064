// Prefixes laid flat, beside a look at each of them.
#include <array>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "bytes.hpp"
#include "fleetmesh/ranges.hpp"

namespace fleetmesh::fuzz {
namespace {

unsigned bits_of(Family family) { return family == Family::v4 ? 32 : 128; }

// The first `length` bits of a family's address, the others 0.
Address cut(Address address, unsigned length) {
  const unsigned bits = bits_of(address.family);
  for (unsigned bit = length; bit < bits; ++bit) {
    const unsigned from_end = bits - 1 - bit;
    (from_end < 64 ? address.low : address.high) &= ~(std::uint64_t{1} << from_end % 64);
  }
  return address;
}

Address last_of(const Prefix& prefix) {
  Address address = prefix.address;
  const unsigned bits = bits_of(address.family);
  for (unsigned from_end = 0; from_end + prefix.length < bits; ++from_end)
    (from_end < 64 ? address.low : address.high) |= std::uint64_t{1} << from_end % 64;
  return address;
}

Address beside(Address address, int step) {
  const std::uint64_t low = address.low;
  address.low += static_cast<std::uint64_t>(step);
  if (address.family == Family::v4) {
    address.low &= 0xffffffffU;
  } else if (step > 0 && address.low < low) {
    ++address.high;
  } else if (step < 0 && address.low > low) {
    --address.high;
  }
  return address;
}

std::uint32_t look_at_each(const std::vector<Prefix>& prefixes, const Address& address) {
  const Prefix* best = nullptr;
  for (const Prefix& prefix : prefixes)
    if (prefix.address.family == address.family && cut(address, prefix.length) == prefix.address &&
        (!best || prefix.length > best->length))
      best = &prefix;
  return best ? best->value : 0;
}

fm_identity_value look_up(const Ranges& ranges, const Address& address) {
  const fm_identity_value* known = nullptr;
  if (address.family == Family::v4) {
    known = ranges.find(__builtin_bswap32(static_cast<std::uint32_t>(address.low)));
  } else {
    const std::array<std::uint64_t, 2> words{__builtin_bswap64(address.high), __builtin_bswap64(address.low)};
    std::array<std::uint32_t, 4> stored{};
    std::memcpy(stored.data(), words.data(), sizeof words);
    known = ranges.find(stored.data());
  }
  return known ? *known : fm_identity_value{};
}

Address read_address(Bytes& bytes, bool v6) {
  if (!v6) return Address::v4(bytes.u32());
  return {Family::v6, bytes.u64(), bytes.u64()};
}

}  // namespace
}  // namespace fleetmesh::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fleetmesh;
  using namespace fleetmesh::fuzz;
  Bytes bytes(data, size);
  std::vector<Prefix> clusters;
  std::vector<Prefix> identities;
  std::vector<Address> asked;
  bool good = true;
  while (bytes.left() && asked.size() < 64) {
    const std::uint8_t kind = bytes.u8();
    std::vector<Prefix>& prefixes = kind & 32U ? identities : clusters;
    const bool v6 = kind & 1U;
    // Mostly within the one before, so that they nest.
    const bool near =
        kind & 2U && !prefixes.empty() && prefixes.back().address.family == (v6 ? Family::v6 : Family::v4);
    Address address = near ? prefixes.back().address : read_address(bytes, v6);
    if (near) (kind & 4U && v6 ? address.high : address.low) |= bytes.u16();
    asked.push_back(address);
    const std::uint8_t length = bytes.u8() % (kind & 8U ? 140 : bits_of(address.family) + 1);
    const std::uint32_t value = bytes.u16() % (kind & 16U ? 600U : 512U);
    good = good && length <= bits_of(address.family) && (value <= 511 || kind & 32U);
    prefixes.push_back({length <= bits_of(address.family) ? cut(address, length) : address, length, value});
  }
  try {
    const Ranges ranges(clusters, identities);
    require(good, "a prefix is no longer than its address, and a cluster id at most 511");
    for (const auto* prefixes : {&clusters, &identities})
      for (const Prefix& prefix : *prefixes)
        for (const Address& end : {prefix.address, last_of(prefix)})
          for (const int step : {-1, 0, 1}) asked.push_back(beside(end, step));
    for (const Address& address : asked) {
      const fm_identity_value found = look_up(ranges, address);
      require(found.cluster == look_at_each(clusters, address), "the longest prefix of a cluster counts");
      require(found.identity == look_at_each(identities, address), "so does that of an identity");
    }
  } catch (const std::invalid_argument&) {
    require(!good, "good prefixes are taken");
  }
  return 0;
}
