// Python objects that are made once and found again.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fleetmesh::bindings {

// By the text that they were made of. Of bounded size: a new one takes the place of an older one of its set,
// so whoever fills it on purpose costs others no more than making theirs again. Several threads may use it at
// once, also where no lock of the interpreter keeps them apart.
class KeptObjects {
 public:
  // Texts that are longer are not kept: they are hardly anybody else's.
  static constexpr std::size_t kLongest = 512;

  // Four times as many objects as sets; of sets a power of two.
  explicit KeptObjects(std::size_t sets) : sets_(sets) {}

  // Null where there is none.
  pybind11::object find(std::string_view text) const {
    if (text.size() > kLongest) return {};
    const std::size_t hash = hash_of(text);
    const std::scoped_lock lock(mutex_);
    for (const Kept& kept : set_of(hash).kept)
      if (kept.hash == hash && kept.object && kept.text == text) return kept.object;
    return {};
  }

  void keep(std::string_view text, pybind11::object object) {
    if (text.size() > kLongest) return;
    const std::size_t hash = hash_of(text);
    Kept kept{hash, std::string(text), std::move(object)};
    {
      // Nothing is called that might wait for the interpreter: what goes, goes after the lock.
      const std::scoped_lock lock(mutex_);
      Set& set = sets_[hash & (sets_.size() - 1)];
      std::swap(set.kept[set.next], kept);
      set.next = (set.next + 1) % set.kept.size();
    }
  }

 private:
  struct Kept {
    std::size_t hash = 0;
    std::string text;
    pybind11::object object;
  };
  struct Set {
    std::array<Kept, 4> kept;
    std::size_t next = 0;
  };

  static std::size_t hash_of(std::string_view text) { return std::hash<std::string_view>{}(text); }
  const Set& set_of(std::size_t hash) const { return sets_[hash & (sets_.size() - 1)]; }

  mutable std::mutex mutex_;
  std::vector<Set> sets_;
};

}  // namespace fleetmesh::bindings
