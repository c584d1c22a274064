// Maglev look-up tables, equal to those of Cilium (pkg/maglev) byte for byte.
//
// A table is built from candidates in the order of their texts; it holds ranks in that order, so that equal
// backend sets share one table whatever ids their backends have.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fleetmesh/address.hpp"

namespace fleetmesh::maglev {

inline constexpr std::array<std::uint32_t, 10> kSizes{251,  509,   1021,  2039,  4093,
                                                      8191, 16381, 32749, 65521, 131071};
inline constexpr std::uint32_t kDefaultSize = 16381;
inline constexpr std::string_view kDefaultSeed = "JLfvgnHc2kaSUFaI";

struct Seed {
  std::uint32_t table = 0;
  std::uint32_t packet_v4 = 0;
  std::uint32_t packet_v6 = 0;

  auto operator<=>(const Seed&) const = default;

  // Throws std::invalid_argument if the text is not base64, or not that of 12 bytes.
  static Seed parse(std::string_view base64);
};

// Protocol numbers that Cilium has names for, and no packet carries.
inline constexpr std::uint8_t kAnyProtocol = 0;
inline constexpr std::uint8_t kNoProtocol = 255;

struct Candidate {
  Address address;
  std::uint16_t port = 0;
  std::uint8_t protocol = 6;  // TCP 6, UDP 17, SCTP 132, or one of the two above
  bool internal = false;
  std::uint16_t weight = 1;
  std::uint32_t cluster_id = 0;  // 0: not part of the text
  // Of an IPv6 address. GCC warns where a field without an initializer is left out.
  std::string zone = {};  // NOLINT(readability-redundant-member-init)
};

// As Cilium's BackendInfo.setHashString. Throws std::invalid_argument for another protocol.
std::string text_of(const Candidate& candidate);

struct Hash {
  std::uint64_t first = 0;
  std::uint64_t second = 0;

  auto operator<=>(const Hash&) const = default;
};

// MurmurHash3 x64 128 with the seed in both halves.
Hash murmur3(std::string_view text, std::uint32_t seed);

// What stays the same for a backend while its weight and its company change: worth keeping.
struct Prepared {
  std::string text;
  Hash hash;
};
Prepared prepare(const Candidate& candidate, const Seed& seed);

struct Ranked {
  Hash hash;
  std::uint16_t weight = 0;
};

// Candidates in the order of their texts: rank r is input inputs()[r].
class Order {
 public:
  struct Item {
    const Prepared* prepared = nullptr;
    std::uint16_t weight = 0;
  };

  // Throws std::invalid_argument if two texts are equal. Items that are mostly in order already cost less.
  explicit Order(std::span<const Item> items);
  Order(std::span<const Candidate> candidates, const Seed& seed);

  std::span<const Ranked> ranked() const { return ranked_; }
  std::span<const std::uint32_t> inputs() const { return inputs_; }

 private:
  struct Key;
  void sort(std::vector<Key>& keys);

  std::vector<Ranked> ranked_;
  std::vector<std::uint32_t> inputs_;
};

// Immutable, and shared by all who have the same candidates.
class Table {
 public:
  Table(std::uint32_t size, std::span<const Ranked> ranked);  // see build()

  std::uint32_t size() const { return size_; }
  std::uint32_t count() const { return count_; }
  bool wide() const { return count_ > 0xffff; }
  const std::uint16_t* ranks16() const { return ranks16_.get(); }  // null if wide
  const std::uint32_t* ranks32() const { return ranks32_.get(); }  // null if not
  std::uint32_t rank(std::uint32_t slot) const { return wide() ? ranks32_[slot] : ranks16_[slot]; }

 private:
  std::uint32_t size_;
  std::uint32_t count_;
  std::unique_ptr<std::uint16_t[]> ranks16_;
  std::unique_ptr<std::uint32_t[]> ranks32_;
};

// Throws std::invalid_argument if the size is not one of kSizes or nothing is ranked.
std::shared_ptr<const Table> build(std::uint32_t size, std::span<const Ranked> ranked);

// Values that are kept as long as somebody has them, by a digest of what they were made from. Any thread may
// ask; two that ask for the same at once may both make it, and get the same one.
template <class Value>
class Shared {
 public:
  template <class Make>
  std::shared_ptr<const Value> get(const Hash& digest, Make&& make) {
    if (auto known = find(digest)) return known;
    std::shared_ptr<const Value> made = make();
    const std::scoped_lock lock(mutex_);
    auto& place = known_[digest];
    if (auto known = place.lock()) return known;
    place = made;
    if (known_.size() > limit_) forget();
    return made;
  }

  // How many digests are remembered, those of values that are gone included.
  std::size_t remembered() const {
    const std::scoped_lock lock(mutex_);
    return known_.size();
  }

 private:
  struct Low {
    std::size_t operator()(const Hash& hash) const { return static_cast<std::size_t>(hash.first); }
  };

  std::shared_ptr<const Value> find(const Hash& digest) const {
    const std::scoped_lock lock(mutex_);
    const auto at = known_.find(digest);
    return at == known_.end() ? nullptr : at->second.lock();
  }

  // Whenever the list has doubled, what is gone leaves it: it is never more than twice what was in use.
  void forget() {
    std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
    limit_ = std::max<std::size_t>(kLeast, 2 * known_.size());
  }

  static constexpr std::size_t kLeast = 64;
  mutable std::mutex mutex_;
  std::unordered_map<Hash, std::weak_ptr<const Value>, Low> known_;
  std::size_t limit_ = kLeast;
};

// A digest of all that a table depends on.
Hash digest_of(std::uint32_t size, const Seed& seed, std::span<const Ranked> ranked);

class Tables {
 public:
  // As build(), or a table that somebody has already.
  std::shared_ptr<const Table> get(std::uint32_t size, const Seed& seed, std::span<const Ranked> ranked);
  std::size_t remembered() const { return tables_.remembered(); }

 private:
  Shared<Table> tables_;
};

// How many entries changed hands, and how few would have, had only those moved that the new shares take away.
struct Movement {
  std::uint32_t moved = 0;
  std::uint32_t ideal = 0;

  bool operator==(const Movement&) const = default;
};

// Ids say which backend of one table is which of the other. Throws std::invalid_argument if the sizes differ.
Movement movement(std::span<const std::uint32_t> before, std::span<const std::uint32_t> after);
// The same over ranks, with the id of each rank.
Movement movement(const Table& before, std::span<const std::uint32_t> ids_before, const Table& after,
                  std::span<const std::uint32_t> ids_after);

}  // namespace fleetmesh::maglev
