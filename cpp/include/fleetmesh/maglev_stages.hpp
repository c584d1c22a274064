// The fast fill, compiled once for each kind of CPU: included by maglev_{portable,avx2,avx512}.cpp only.
//
// A plain fill probes one entry at a time, and what it finds decides where it probes next: the CPU guesses
// wrong almost every turn. Here turns go in stages, of three kinds, and what was taken before a stage is
// taken still:
//
// - While each backend has many turns before it, it keeps a list of its next free entries, made of many
// probes at
//   once and without a branch. Turns then take the first of the list that is still free.
// - Where it has few, all backends of a window of turns walk on together, one probe each without a branch,
// those
//   that have found a free entry leaving the queue. Then the turns are taken in order; a backend whose entry
//   was taken within the window walks on.
// - When few entries are free, walks are long, and each turn looks through the free entries instead: the one
// that
//   comes first in the backend's permutation is the one with the least (entry - current) / skip mod size.
//
// Nothing here may come from the standard library: a function that the linker shares with other files would
// bring instructions there that not every CPU has.
#pragma once

#include <cstdint>

#include "fleetmesh/maglev_fill.hpp"

namespace fleetmesh::maglev {

struct Walker {
  std::uint32_t current = 0;
  std::uint32_t skip = 1;
};

// What a fill works on; all of it is allocated by who calls.
template <class Rank, class Entry>
struct Job {
  std::uint32_t size = 0;
  std::uint32_t count = 0;
  Rank* table = nullptr;
  const std::uint32_t* inverses = nullptr;  // of each skip, mod size
  void (*turns)(void* context, std::uint32_t* backends,
                std::uint32_t count) = nullptr;  // null: each in its turn
  void* context = nullptr;
  const std::uint32_t* shares =
      nullptr;                     // of all turns, in parts of 2^16, by backend; only if there are turns
  std::uint8_t* free = nullptr;    // size + kSlack; 1: free
  Walker* walkers = nullptr;       // where each backend's walk goes on, after its list
  Entry* lists = nullptr;          // kList places for each backend, if lists_for says so
  std::uint32_t* heads = nullptr;  // by backend: place in lists
  std::uint32_t* turn = nullptr;   // kMostTurns + 1: backends of a stage
  std::uint32_t* queue = nullptr;  // kMostTurns + 1
};

inline constexpr std::uint32_t kSlack = 64;
inline constexpr std::uint32_t kMostTurns = 2048;  // of a stage
inline constexpr std::uint32_t kMostRounds = 24;   // of a stage, for one backend
inline constexpr std::uint32_t kLeastRounds = 3;   // below, lists are not worth it
inline constexpr std::uint32_t kSpare = 2;         // entries of a list beyond its turns
inline constexpr std::uint32_t kList = 64;  // places of a list, with room for the last probes and the mark
inline constexpr std::uint32_t kMostWanted = 40;
inline constexpr std::uint32_t kMostFinish = 512;  // free entries of the finish, at most

// Does a fill start with lists? From about 200 backends in a table of 16381 on, windows are faster
// throughout.
constexpr bool lists_for(std::uint32_t size, std::uint32_t count) { return size / count >= 80; }

using Fill16 = void (*)(Job<std::uint16_t, std::uint16_t>&);
using Fill16Large = void (*)(Job<std::uint16_t, std::uint32_t>&);
using Fill32Large = void (*)(Job<std::uint32_t, std::uint32_t>&);

struct Fills {
  Fill16 few_small = nullptr;
  Fill16Large few_large = nullptr;
  Fill32Large many = nullptr;
};

extern const Fills kPortableFills;
#if defined(__x86_64__)
extern const Fills kAvx2Fills;
extern const Fills kAvx512Fills;
#endif

// Each file that includes this has its own, for its own instructions.
// NOLINTNEXTLINE(misc-anonymous-namespace-in-header)
namespace {

// `Probe` lists the free entries of a walk.
template <class Probe, class Rank, class Entry>
class Stages {
 public:
  explicit Stages(Job<Rank, Entry>& job) : job_(job), size_(job.size) {}

  void run() {
    const std::uint32_t last = Probe::kFinish < size_ / 2 ? Probe::kFinish : size_ / 2;
    std::uint32_t left = size_;
    if (lists_for(size_, job_.count)) {
      for (std::uint32_t b = 0; b < job_.count; ++b) empty(b);
      while (left > last) {
        // So many turns that few of the listed entries are gone when their turn comes.
        const std::uint32_t some = least(least(left / 10 * 3, left - last), kMostTurns);
        const std::uint32_t rounds = least(some / job_.count, kMostRounds);
        if (rounds < kLeastRounds) break;
        left -= listed(left, rounds);
      }
      for (std::uint32_t b = 0; b < job_.count; ++b) forget(b);
    }
    while (left > last) left -= window(least(least(left / 4 + 1, left - last), kWindow));
    finish(left);
  }

 private:
  static constexpr std::uint32_t kWindow = 128;
  static constexpr std::uint32_t kFew = 4;  // walkers of a queue that are left to walk alone

  static std::uint32_t least(std::uint32_t a, std::uint32_t b) { return a < b ? a : b; }

  std::uint32_t wrap(std::uint32_t entry) const { return least(entry, entry - size_); }

  void empty(std::uint32_t b) {
    Entry* const places = job_.lists + std::uint64_t{b} * kList;
    places[0] = places[1] = static_cast<Entry>(size_);
    job_.heads[b] = b * kList;
  }

  // A walk goes on from the first entry that its list still has.
  void forget(std::uint32_t b) {
    const std::uint32_t next = job_.lists[job_.heads[b]];
    if (next != size_) job_.walkers[b].current = next;
  }

  std::uint32_t listed(std::uint32_t left, std::uint32_t rounds) {
    const std::uint32_t turns = rounds * job_.count;
    // Probes for one free entry, in parts of 2^8.
    const auto probes = static_cast<std::uint32_t>((std::uint64_t{size_} << 8) / left);
    std::uint32_t wanted = rounds + rounds / 6 + kSpare;
    for (std::uint32_t b = 0; b < job_.count; ++b) {
      if (job_.turns != nullptr) {
        const auto share = static_cast<std::uint32_t>(std::uint64_t{turns} * job_.shares[b] >> 16);
        wanted = least(share + share / 6 + kSpare, kMostWanted);
      }
      lengthen(b, wanted, probes);
    }
    const Taking at{job_.free, job_.lists, job_.heads, job_.table};
    if (job_.turns == nullptr) {
      for (std::uint32_t r = 0; r < rounds; ++r)
        for (std::uint32_t b = 0; b < job_.count; ++b) take(at, b, probes);
    } else {
      job_.turns(job_.context, job_.turn, turns);
      const std::uint32_t* const turn = job_.turn;
      for (std::uint32_t t = 0; t < turns; ++t) take(at, turn[t], probes);
    }
    return turns;
  }

  // Moves what is left of a list to its front and adds to it until it has about as many entries as wanted.
  void lengthen(std::uint32_t b, std::uint32_t wanted, std::uint32_t probes) {
    Entry* const places = job_.lists + std::uint64_t{b} * kList;
    const Entry* from = job_.lists + job_.heads[b];
    std::uint32_t length = 0;
    for (; *from != size_; ++from) places[length++] = *from;
    if (length < wanted) {
      const std::uint32_t steps = ((wanted - length) * probes / 256 + Probe::kLanes) / Probe::kLanes;
      auto& walker = job_.walkers[b];
      walker.current = Probe::list(job_.free, size_, walker.current, walker.skip, steps, places, length);
    }
    places[length] = places[length + 1] = static_cast<Entry>(size_);
    job_.heads[b] = b * kList;
  }

  // What turns read and write. Bytes may stand for anything, so that a write of one makes the compiler read
  // all that is not local again: these are copies.
  struct Taking {
    std::uint8_t* free;
    const Entry* lists;
    std::uint32_t* heads;
    Rank* table;
  };

  void take(const Taking& at, std::uint32_t b, std::uint32_t probes) {
    std::uint32_t head = at.heads[b];
    const std::uint32_t first = at.lists[head];
    const std::uint32_t second = at.lists[head + 1];
    const std::uint32_t is_free = at.free[first];
    // Mostly one of the two is free. The mark at the end of a list never is.
    std::uint32_t entry = second ^ ((first ^ second) & (0 - is_free));
    head += 2 - is_free;
    if (at.free[entry] == 0) [[unlikely]] {
      entry = search(b, probes);
      head = at.heads[b];
    }
    at.free[entry] = 0;
    at.table[entry] = static_cast<Rank>(b);
    at.heads[b] = head;
  }

  // The first free entry of what is left of the list, which is lengthened if there is none.
  [[gnu::noinline]] std::uint32_t search(std::uint32_t b, std::uint32_t probes) {
    while (true) {
      for (std::uint32_t head = job_.heads[b]; job_.lists[head] != size_; ++head) {
        if (job_.free[job_.lists[head]] == 0) continue;
        job_.heads[b] = head + 1;
        return job_.lists[head];
      }
      empty(b);
      lengthen(b, kSpare, probes);
    }
  }

  // One probe of each walker of a queue; those that are not on a free entry make the next queue. A backend
  // may be there twice: it only ever walks past what is taken.
  [[gnu::noinline]] static std::uint32_t advance(const std::uint8_t* free, Walker* walkers,
                                                 const std::uint32_t* from, std::uint32_t* queue,
                                                 std::uint32_t length, std::uint32_t size) {
    std::uint32_t still = 0;
    for (std::uint32_t q = 0; q < length; ++q) {
      Walker& walker = walkers[from[q]];
      queue[still] = from[q];
      const std::uint32_t current = walker.current;
      const std::uint32_t next = current + walker.skip;
      const std::uint32_t back = next - size;
      const std::uint32_t is_taken = free[current] ^ 1U;
      const std::uint32_t other = back < next ? back : next;
      walker.current = current ^ ((other ^ current) & (0 - is_taken));
      still += is_taken;
    }
    return still;
  }

  std::uint32_t window(std::uint32_t turns) {
    next_turns(turns);
    const std::uint8_t* const free = job_.free;
    Walker* const walkers = job_.walkers;
    std::uint32_t* const queue = job_.queue;
    const std::uint32_t* from = job_.turn;
    std::uint32_t length = turns;
    while (length > kFew) {
      length = advance(free, walkers, from, queue, length, size_);
      from = queue;
    }
    std::uint8_t* const taken = job_.free;
    Rank* const table = job_.table;
    const std::uint32_t* const turn = job_.turn;
    for (std::uint32_t t = 0; t < turns; ++t) {
      const std::uint32_t b = turn[t];
      const Walker walker = walkers[b];
      std::uint32_t entry = walker.current;
      while (taken[entry] == 0) {
        entry += walker.skip;
        entry = wrap(entry);
      }
      taken[entry] = 0;
      table[entry] = static_cast<Rank>(b);
      entry += walker.skip;
      walkers[b].current = wrap(entry);
    }
    return turns;
  }

  void next_turns(std::uint32_t turns) {
    if (job_.turns != nullptr) {
      job_.turns(job_.context, job_.turn, turns);
      return;
    }
    for (std::uint32_t t = 0; t < turns; ++t) {
      job_.turn[t] = first_;
      if (++first_ == job_.count) first_ = 0;
    }
  }

  // Places in a permutation as 32-bit parts of a whole turn around it. For tables up to 2^15 entries, entry
  // times the whole part of 2^32 / skip / size is exact to 2^15, where neighbours are 2^17 apart; larger ones
  // need 15 bits more. So the lowest bits are free for the place in the list.
  void finish(std::uint32_t left) {
    alignas(64) std::uint32_t entries[kMostFinish + 16];
    std::uint32_t length = 0;
    for (std::uint32_t from = 0; length < left; from += 8) {
      std::uint64_t eight = 0;
      __builtin_memcpy(&eight, job_.free + from, sizeof eight);
      if (eight == 0) continue;
      for (std::uint32_t entry = from; entry < from + 8; ++entry) {
        entries[length] = entry;
        length += job_.free[entry];
      }
    }
    next_turns(left);
    for (std::uint32_t t = 0; left > 0; ++t) {
      auto& walker = job_.walkers[job_.turn[t]];
      for (std::uint32_t i = left; i % 16 != 0; ++i) entries[i] = entries[0];
      const std::uint32_t at = nearest(entries, (left + 15) / 16 * 16, walker);
      const std::uint32_t entry = entries[at];
      entries[at] = entries[--left];
      job_.table[entry] = static_cast<Rank>(job_.turn[t]);
      walker.current = wrap(entry + walker.skip);
    }
  }

  std::uint32_t nearest(const std::uint32_t* entries, std::uint32_t length, const Walker& walker) const {
    constexpr std::uint32_t kPlace = kMostFinish - 1;
    const std::uint64_t inverse = job_.inverses[walker.skip];
    std::uint32_t best = ~std::uint32_t{0};
    if constexpr (sizeof(Entry) == 2) {
      const auto factor = static_cast<std::uint32_t>((inverse << 32) / size_);
      const std::uint32_t from = walker.current * factor;
      for (std::uint32_t i = 0; i < length; ++i) {
        const std::uint32_t key = ((entries[i] * factor - from) & ~kPlace) | i;
        best = key < best ? key : best;
      }
    } else {
      const std::uint64_t fraction = (inverse << 47) / size_;
      const auto high = static_cast<std::uint32_t>(fraction >> 15);
      const auto low = static_cast<std::uint32_t>(fraction & 0x7fff);
      const auto place = [&](std::uint32_t entry) { return entry * high + (entry * low >> 15); };
      const std::uint32_t from = place(walker.current);
      for (std::uint32_t i = 0; i < length; ++i) {
        const std::uint32_t key = ((place(entries[i]) - from) & ~kPlace) | i;
        best = key < best ? key : best;
      }
    }
    return best & kPlace;
  }

  Job<Rank, Entry>& job_;
  const std::uint32_t size_;
  std::uint32_t first_ = 0;  // backend of the next turn, where weights don't count
};

template <class Probe, class Rank, class Entry>
void fill_in_stages(Job<Rank, Entry>& job) {
  Stages<Probe, Rank, Entry>(job).run();
}

}  // namespace
}  // namespace fleetmesh::maglev
