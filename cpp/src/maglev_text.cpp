#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "fleetmesh/maglev.hpp"

namespace fleetmesh::maglev {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t kSeedBytes = 12;

std::invalid_argument bad_seed(std::string_view text, const std::string& found) {
  return std::invalid_argument("seed \"" + std::string(text) + "\" " + found +
                               ", expected the base64 of 12 bytes, such as \"" + std::string(kDefaultSeed) +
                               "\"");
}

// As Go's base64.StdEncoding, which skips ends of lines.
std::vector<std::uint8_t> decode(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  std::uint32_t bits = 0;
  std::size_t digits = 0;
  std::size_t padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    if (c == '=' && digits % 4 >= 2 && digits % 4 + padding < 4) {
      ++padding;
      continue;
    }
    const auto value = kAlphabet.find(c);
    if (value == std::string_view::npos || padding > 0) throw bad_seed(text, "is not base64");
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    // Each digit but the first of four completes a byte.
    if (const auto place = digits++ % 4; place > 0)
      bytes.push_back(static_cast<std::uint8_t>(bits >> (6 - 2 * place)));
  }
  if ((digits + padding) % 4 != 0) throw bad_seed(text, "is not base64 (its length is no multiple of 4)");
  return bytes;
}

std::string_view name_of_protocol(std::uint8_t protocol) {
  switch (protocol) {
    case 6:
      return "TCP";
    case 17:
      return "UDP";
    case 132:
      return "SCTP";
    case kAnyProtocol:
      return "ANY";
    case kNoProtocol:
      return "NONE";
    default:
      throw std::invalid_argument("protocol " + std::to_string(protocol) +
                                  ", expected TCP (6), UDP (17), SCTP (132), ANY (0) or NONE (255)");
  }
}

void append_number(std::string& text, std::uint32_t number) {
  std::array<char, 10> digits{};
  std::size_t at = digits.size();
  do digits[--at] = static_cast<char>('0' + number % 10);
  while ((number /= 10) > 0);
  text.append(digits.data() + at, digits.size() - at);
}

void append_text(std::string& text, const Candidate& c) {
  const bool v6 = c.address.family == Family::v6;
  text += v6 ? "[[" : "[";
  text += c.address.text();
  if (v6 && !c.zone.empty()) (text += '%') += c.zone;
  if (c.cluster_id != 0) append_number(text += '@', c.cluster_id);
  if (v6) text += ']';
  append_number(text += ':', c.port);
  (text += '/') += name_of_protocol(c.protocol);
  if (c.internal) text += "/i";
  text += ",State:active]";
}

std::uint64_t load(const char* bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

constexpr std::uint64_t kC1 = 0x87c37b91114253d5;
constexpr std::uint64_t kC2 = 0x4cf5ad432745937f;

std::uint64_t mix_first(std::uint64_t k) { return std::rotl(k * kC1, 31) * kC2; }
std::uint64_t mix_second(std::uint64_t k) { return std::rotl(k * kC2, 33) * kC1; }

std::uint64_t finish(std::uint64_t h) {
  h = (h ^ h >> 33) * 0xff51afd7ed558ccd;
  h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53;
  return h ^ h >> 33;
}

}  // namespace

Seed Seed::parse(std::string_view base64) {
  const auto bytes = decode(base64);
  if (bytes.size() != kSeedBytes)
    throw bad_seed(base64, "decodes to " + std::to_string(bytes.size()) + " bytes");
  const auto word = [&](std::size_t at) {
    return static_cast<std::uint32_t>(bytes[at]) << 24 | static_cast<std::uint32_t>(bytes[at + 1]) << 16 |
           static_cast<std::uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
  };
  return {word(0), word(4), word(8)};
}

std::string text_of(const Candidate& candidate) {
  std::string text;
  append_text(text, candidate);
  return text;
}

Hash murmur3(std::string_view text, std::uint32_t seed) {
  Hash h{seed, seed};
  const char* at = text.data();
  std::size_t left = text.size();
  for (; left >= 16; left -= 16, at += 16) {
    h.first = (std::rotl(h.first ^ mix_first(load(at)), 27) + h.second) * 5 + 0x52dce729;
    h.second = (std::rotl(h.second ^ mix_second(load(at + 8)), 31) + h.first) * 5 + 0x38495ab5;
  }
  if (left > 0) {
    std::array<char, 16> tail{};
    std::memcpy(tail.data(), at, left);
    // A half without bytes is 0, and mixes to 0.
    h.first ^= mix_first(load(tail.data()));
    h.second ^= mix_second(load(tail.data() + 8));
  }
  h.first ^= text.size();
  h.second ^= text.size();
  h.first += h.second;
  h.second += h.first;
  h.first = finish(h.first);
  h.second = finish(h.second);
  h.first += h.second;
  h.second += h.first;
  return h;
}

Prepared prepare(const Candidate& candidate, const Seed& seed) {
  Prepared result{text_of(candidate), {}};
  result.hash = murmur3(result.text, seed.table);
  return result;
}

// The start of a text as numbers, so that few comparisons go to the text. Texts start with `[`.
struct Order::Key {
  std::array<std::uint64_t, 3> start{};
  std::string_view text;
  std::uint32_t input = 0;

  Key(std::string_view whole, std::uint32_t at) : text(whole), input(at) {
    std::array<char, 24> bytes{};
    std::memcpy(bytes.data(), whole.data() + 1, std::min(bytes.size(), whole.size() - 1));
    for (std::size_t i = 0; i < start.size(); ++i) start[i] = __builtin_bswap64(load(bytes.data() + 8 * i));
  }

  bool operator<(const Key& other) const {
    for (std::size_t i = 0; i < start.size(); ++i)
      if (start[i] != other.start[i]) return start[i] < other.start[i];
    return text < other.text;
  }
};

// Leaves `inputs_` as the order. After a change of a few, the others still stand in order: those are merged,
// and only the rest is sorted.
void Order::sort(std::vector<Key>& keys) {
  std::vector<Key> rest;
  auto end = keys.begin();
  for (auto& key : keys) {
    if (end == keys.begin() || *(end - 1) < key)
      *end++ = key;
    else
      rest.push_back(key);
  }
  const auto middle = std::copy(rest.begin(), rest.end(), end);
  std::sort(end, middle);
  std::inplace_merge(keys.begin(), end, middle);
  inputs_.reserve(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (i > 0 && keys[i - 1].text == keys[i].text)
      throw std::invalid_argument("candidates " + std::to_string(keys[i - 1].input) + " and " +
                                  std::to_string(keys[i].input) + " are both " + std::string(keys[i].text) +
                                  ", expected each backend once");
    inputs_.push_back(keys[i].input);
  }
}

Order::Order(std::span<const Item> items) {
  std::vector<Key> keys;
  keys.reserve(items.size());
  for (const auto& item : items)
    keys.emplace_back(item.prepared->text, static_cast<std::uint32_t>(keys.size()));
  sort(keys);
  ranked_.reserve(items.size());
  for (const auto input : inputs_) ranked_.push_back({items[input].prepared->hash, items[input].weight});
}

Order::Order(std::span<const Candidate> candidates, const Seed& seed) {
  std::string texts;
  std::vector<std::size_t> ends;
  ends.reserve(candidates.size());
  for (const auto& candidate : candidates) {
    append_text(texts, candidate);
    ends.push_back(texts.size());
  }
  std::vector<Key> keys;
  keys.reserve(candidates.size());
  std::size_t from = 0;
  for (const auto end : ends) {
    keys.emplace_back(std::string_view(texts).substr(from, end - from),
                      static_cast<std::uint32_t>(keys.size()));
    from = end;
  }
  sort(keys);
  ranked_.reserve(candidates.size());
  for (const auto& key : keys)
    ranked_.push_back({murmur3(key.text, seed.table), candidates[key.input].weight});
}

}  // namespace fleetmesh::maglev
