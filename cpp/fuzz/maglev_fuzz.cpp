// Seeds, the texts of backends and their hash, and small tables.
#include <algorithm>
#include <bit>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "bytes.hpp"
#include "fleetmesh/maglev.hpp"

namespace fleetmesh::fuzz {
namespace {

using namespace maglev;

// 12 bytes are 16 digits, and no padding is left to choose.
std::optional<Seed> read_seed(std::string_view text) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::uint32_t> values;
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    const auto value = digits.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    values.push_back(static_cast<std::uint32_t>(value));
  }
  if (values.size() != 16) return std::nullopt;
  const auto byte = [&](std::size_t at) {
    const std::uint32_t four = values[at / 3 * 4] << 18U | values[at / 3 * 4 + 1] << 12U |
                               values[at / 3 * 4 + 2] << 6U | values[at / 3 * 4 + 3];
    return four >> (16 - 8 * (at % 3)) & 0xffU;
  };
  const auto word = [&](std::size_t at) {
    return byte(at) << 24U | byte(at + 1) << 16U | byte(at + 2) << 8U | byte(at + 3);
  };
  return Seed{word(0), word(4), word(8)};
}

Seed check_seed(std::string_view text) {
  const auto wanted = read_seed(text);
  try {
    const Seed seed = Seed::parse(text);
    require(wanted == seed, "a seed is the base64 of 12 bytes");
    return seed;
  } catch (const std::invalid_argument&) {
    require(!wanted, "the base64 of 12 bytes is a seed");
    return {};
  }
}

// As the paper's author has it, byte by byte.
Hash plain_murmur(std::string_view text, std::uint32_t seed) {
  constexpr std::uint64_t c1 = 0x87c37b91114253d5;
  constexpr std::uint64_t c2 = 0x4cf5ad432745937f;
  const auto word = [&](std::size_t from) {
    std::uint64_t result = 0;
    for (std::size_t i = 0; i < 8 && from + i < text.size(); ++i)
      result |= std::uint64_t{static_cast<std::uint8_t>(text[from + i])} << (8 * i);
    return result;
  };
  const auto mix = [](std::uint64_t h) {
    h ^= h >> 33U;
    h *= 0xff51afd7ed558ccd;
    h ^= h >> 33U;
    h *= 0xc4ceb9fe1a85ec53;
    return h ^ h >> 33U;
  };
  std::uint64_t h1 = seed;
  std::uint64_t h2 = seed;
  std::size_t at = 0;
  for (; at + 16 <= text.size(); at += 16) {
    h1 ^= std::rotl(word(at) * c1, 31) * c2;
    h1 = std::rotl(h1, 27) + h2;
    h1 = h1 * 5 + 0x52dce729;
    h2 ^= std::rotl(word(at + 8) * c2, 33) * c1;
    h2 = std::rotl(h2, 31) + h1;
    h2 = h2 * 5 + 0x38495ab5;
  }
  if (text.size() > at + 8) h2 ^= std::rotl(word(at + 8) * c2, 33) * c1;
  if (text.size() > at) h1 ^= std::rotl(word(at) * c1, 31) * c2;
  h1 ^= text.size();
  h2 ^= text.size();
  h1 += h2;
  h2 += h1;
  h1 = mix(h1);
  h2 = mix(h2);
  h1 += h2;
  h2 += h1;
  return {h1, h2};
}

Candidate read_candidate(Bytes& bytes) {
  Candidate candidate;
  const std::uint8_t kind = bytes.u8();
  if (kind & 1U) {
    candidate.address = {Family::v6, bytes.u64(), bytes.u64()};
    if (kind & 2U) candidate.zone = std::string(bytes.text(bytes.u8() % 8));
  } else {
    candidate.address = Address::v4(bytes.u32());
  }
  candidate.internal = kind & 4U;
  candidate.port = bytes.u16();
  candidate.protocol = kind & 8U ? bytes.u8() : 6;
  candidate.cluster_id = kind & 16U ? bytes.u32() : 0;
  candidate.weight = kind & 32U ? bytes.u16() : 1;
  return candidate;
}

bool is_protocol(std::uint8_t number) {
  return number == 6 || number == 17 || number == 132 || number == kAnyProtocol || number == kNoProtocol;
}

void check_candidates(Bytes& bytes, const Seed& seed) {
  const std::uint32_t size = kSizes[bytes.u8() % 3];
  std::vector<Candidate> candidates;
  std::vector<Prepared> prepared;
  while (bytes.left() && candidates.size() < 40) {
    const Candidate candidate = read_candidate(bytes);
    try {
      prepared.push_back(prepare(candidate, seed));
      require(is_protocol(candidate.protocol), "only protocols with a name have a text");
      candidates.push_back(candidate);
    } catch (const std::invalid_argument&) {
      require(!is_protocol(candidate.protocol), "a protocol with a name has a text");
    }
  }
  std::set<std::string> texts;
  std::vector<Order::Item> items;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    require(prepared[i].hash == plain_murmur(prepared[i].text, seed.table), "the hash is MurmurHash3");
    texts.insert(prepared[i].text);
    items.push_back({&prepared[i], candidates[i].weight});
  }
  const bool different = texts.size() == candidates.size();
  try {
    const Order order(candidates, seed);
    require(different, "no text is there twice");
    const Order again(items);
    require(std::equal(order.inputs().begin(), order.inputs().end(), again.inputs().begin(),
                       again.inputs().end()),
            "both ways to order are one order");
    auto text = texts.begin();
    for (const auto input : order.inputs())
      require(prepared[input].text == *text++, "the order is that of texts");
    if (candidates.empty()) return;
    const auto table = build(size, order.ranked());
    require(table->size() == size && table->count() == candidates.size(), "a table has its size");
    for (std::uint32_t slot = 0; slot < size; ++slot)
      require(table->rank(slot) < candidates.size(), "a table leads to its backends");
  } catch (const std::invalid_argument&) {
    require(!different, "different texts have an order");
  }
}

}  // namespace
}  // namespace fleetmesh::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fleetmesh::fuzz;
  Bytes bytes(data, size);
  const auto seed = check_seed(bytes.text(bytes.u8() % 32));
  Bytes hashed = bytes;
  const auto text = hashed.text(hashed.left());
  require(fleetmesh::maglev::murmur3(text, seed.table) == plain_murmur(text, seed.table),
          "the hash is MurmurHash3");
  check_candidates(bytes, seed);
  return 0;
}
