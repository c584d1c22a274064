#include "fleetmesh/maglev_fill.hpp"

#include <algorithm>
#include <array>
#include <mutex>

#include "fleetmesh/maglev.hpp"
#include "fleetmesh/maglev_stages.hpp"
#include "fleetmesh/maglev_turns.hpp"

namespace fleetmesh::maglev {
namespace {

// Entries of more than 15 bits would overflow 16 in a sum.
constexpr std::uint32_t kSmall = 1U << 15;

// The inverse of every number, for each size made when it is first needed.
const std::uint32_t* inverses(std::uint32_t size) {
  static std::array<std::once_flag, kSizes.size()> once;
  static std::array<std::vector<std::uint32_t>, kSizes.size()> made;
  const auto at = static_cast<std::size_t>(std::find(kSizes.begin(), kSizes.end(), size) - kSizes.begin());
  std::call_once(once[at], [&] {
    auto& all = made[at];
    all.resize(size, 1);
    for (std::uint32_t i = 2; i < size; ++i)
      all[i] = static_cast<std::uint32_t>(std::uint64_t{size - size / i} * all[size % i] % size);
  });
  return made[at].data();
}

// A thread keeps its own, so that a fill allocates nothing once it has seen as large a one.
struct Workspace {
  std::vector<std::uint8_t> free;
  std::vector<Walker> walkers;
  std::vector<std::uint32_t> shares, heads, turn, queue;
  std::vector<std::uint16_t> lists16;
  std::vector<std::uint32_t> lists32;
  Turns turns;

  std::vector<std::uint16_t>& lists(std::uint16_t) { return lists16; }
  std::vector<std::uint32_t>& lists(std::uint32_t) { return lists32; }
};

template <class Rank, class Entry>
void run(void (*fill)(Job<Rank, Entry>&), std::uint32_t size, std::span<const Walk> walks,
         std::span<const std::uint16_t> weights, Rank* table) {
  thread_local Workspace work;
  Job<Rank, Entry> job;
  job.size = size;
  job.count = static_cast<std::uint32_t>(walks.size());
  job.table = table;
  job.inverses = inverses(size);
  work.free.assign(size, 1);
  work.free.resize(size + kSlack, 0);
  job.free = work.free.data();
  work.walkers.clear();
  for (const auto& walk : walks) work.walkers.push_back({walk.offset, walk.skip});
  job.walkers = work.walkers.data();
  if (lists_for(size, job.count)) {
    auto& lists = work.lists(Entry{});
    lists.resize(std::max(lists.size(), walks.size() * kList));
    job.lists = lists.data();
    work.heads.resize(walks.size());
    job.heads = work.heads.data();
  }
  work.turn.resize(kMostTurns + 1);
  work.queue.resize(kMostTurns + 1);
  job.turn = work.turn.data();
  job.queue = work.queue.data();
  if (!weights.empty()) {
    work.turns.start(size, weights);
    std::uint64_t sum = 0;
    for (const auto weight : weights) sum += weight;
    work.shares.clear();
    for (const auto weight : weights)
      work.shares.push_back(static_cast<std::uint32_t>((std::uint64_t{weight} << 16) / sum));
    job.shares = work.shares.data();
    job.context = &work.turns;
    job.turns = [](void* turns, std::uint32_t* backends, std::uint32_t count) {
      static_cast<Turns*>(turns)->next(backends, count);
    };
  }
  fill(job);
}

const Fills& fills(Cpu cpu) {
#if defined(__x86_64__)
  if (cpu == Cpu::avx512) return kAvx512Fills;
  if (cpu == Cpu::avx2) return kAvx2Fills;
#endif
  return kPortableFills;
}

}  // namespace

const char* name_of(Cpu cpu) {
  switch (cpu) {
    case Cpu::portable:
      return "portable";
    case Cpu::avx2:
      return "avx2";
    case Cpu::avx512:
      return "avx512";
  }
  return "";
}

std::vector<Cpu> runnable() {
  std::vector<Cpu> result{Cpu::portable};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) result.push_back(Cpu::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    result.push_back(Cpu::avx512);
#endif
  return result;
}

void fill(Cpu cpu, std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
          std::uint16_t* table) {
  if (size < kSmall)
    run(fills(cpu).few_small, size, walks, weights, table);
  else
    run(fills(cpu).few_large, size, walks, weights, table);
}

void fill(Cpu cpu, std::uint32_t size, std::span<const Walk> walks, std::span<const std::uint16_t> weights,
          std::uint32_t* table) {
  // More backends than entries that 16 bits count: without weights all but the first `size` come too late.
  run(fills(cpu).many, size, walks, weights, table);
}

}  // namespace fleetmesh::maglev
