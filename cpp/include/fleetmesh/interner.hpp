// Strings as small numbers: each different string is kept once and never moves.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fleetmesh {

using StringId = std::uint32_t;  // 0 is the empty string

// Writers take a lock; reading by id takes none, so snapshots on other threads can be read while a
// writer adds strings. Forks of a mesh share one.
class Interner {
 public:
  Interner();
  Interner(const Interner&) = delete;
  Interner& operator=(const Interner&) = delete;
  ~Interner();

  StringId id(std::string_view text);
  // The id of a text that is known already; false if it isn't.
  bool find(std::string_view text, StringId& out) const;
  const std::string& text(StringId id) const;

  // Lists are kept as one string, the parts joined by NUL.
  StringId list(const std::vector<std::string>& parts);
  StringId list(const std::string& first, std::span<const std::string> rest);
  std::vector<std::string> parts(StringId id) const;

 private:
  static constexpr std::size_t kChunk = 4096;
  static constexpr std::size_t kChunks = 16384;
  using Chunk = std::array<std::string, kChunk>;

  mutable std::mutex mutex_;
  std::unordered_map<std::string_view, StringId> ids_;
  std::unique_ptr<std::array<std::atomic<Chunk*>, kChunks>> chunks_;
  std::size_t count_ = 0;
};

// Whether the NUL-joined list `joined` holds `part`.
bool list_holds(std::string_view joined, std::string_view part);

}  // namespace fleetmesh
