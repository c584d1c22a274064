#include "fleetmesh/interner.hpp"

#include <stdexcept>

namespace fleetmesh {

Interner::Interner() : chunks_(std::make_unique<std::array<std::atomic<Chunk*>, kChunks>>()) { id(""); }

Interner::~Interner() {
  for (auto& chunk : *chunks_) delete chunk.load(std::memory_order_relaxed);
}

StringId Interner::id(std::string_view text) {
  const std::scoped_lock lock(mutex_);
  if (const auto known = ids_.find(text); known != ids_.end()) return known->second;
  if (count_ == kChunk * kChunks) throw std::length_error("more different names than a mesh can hold");
  auto& slot = (*chunks_)[count_ / kChunk];
  Chunk* chunk = slot.load(std::memory_order_relaxed);
  if (!chunk) {
    chunk = new Chunk();
    slot.store(chunk, std::memory_order_release);
  }
  std::string& kept = (*chunk)[count_ % kChunk];
  kept = text;
  const auto fresh = static_cast<StringId>(count_++);
  ids_.emplace(kept, fresh);
  return fresh;
}

bool Interner::find(std::string_view text, StringId& out) const {
  const std::scoped_lock lock(mutex_);
  const auto known = ids_.find(text);
  if (known == ids_.end()) return false;
  out = known->second;
  return true;
}

const std::string& Interner::text(StringId id) const {
  const Chunk* chunk = (*chunks_)[id / kChunk].load(std::memory_order_acquire);
  return (*chunk)[id % kChunk];
}

namespace {

void require_part(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) throw std::invalid_argument("a name has a NUL character");
}

}  // namespace

StringId Interner::list(const std::vector<std::string>& parts) {
  if (parts.empty()) return id("");
  return list(parts.front(), std::span(parts).subspan(1));
}

StringId Interner::list(const std::string& first, std::span<const std::string> rest) {
  require_part(first);
  if (rest.empty()) return id(first);
  std::string joined = first;
  for (const auto& part : rest) {
    require_part(part);
    joined += '\0';
    joined += part;
  }
  return id(joined);
}

std::vector<std::string> Interner::parts(StringId id) const {
  std::vector<std::string> result;
  if (id == 0) return result;
  std::string_view rest = text(id);
  while (true) {
    const auto end = rest.find('\0');
    result.emplace_back(rest.substr(0, end));
    if (end == std::string_view::npos) return result;
    rest.remove_prefix(end + 1);
  }
}

bool list_holds(std::string_view joined, std::string_view part) {
  while (true) {
    const auto end = joined.find('\0');
    if (joined.substr(0, end) == part) return true;
    if (end == std::string_view::npos) return false;
    joined.remove_prefix(end + 1);
  }
}

}  // namespace fleetmesh
