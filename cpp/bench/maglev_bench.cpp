// Nanoseconds of CPU time an entry of a Maglev table: the plain fill, then the fast one for each kind of CPU.
//
//   maglev_bench [SIZE COUNT WEIGHTED FILL TABLES]
//   maglev_bench peers SIZE COUNT SETS
//
// Without arguments: all of them. With five: one, for callgrind; FILL is plain, portable, avx2 or avx512.
// With peers: from addresses to tables of ids, sharing off, as benchmarks/peers does and prints it.
// Several backend sets are filled in turn: a branch predictor learns one.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "fleetmesh/maglev.hpp"
#include "fleetmesh/maglev_fill.hpp"

using namespace fleetmesh::maglev;

namespace {

constexpr std::size_t kSets = 16;
constexpr int kRounds = 9;

struct Set {
  std::vector<Walk> walks;
  std::vector<std::uint16_t> weights;
};

std::vector<Set> sets_of(std::uint32_t size, std::size_t count, bool weighted) {
  std::mt19937 random(7);
  std::vector<Set> sets(kSets);
  for (auto& set : sets) {
    for (std::size_t i = 0; i < count; ++i) {
      set.walks.push_back({static_cast<std::uint32_t>(random() % size),
                           static_cast<std::uint32_t>(random() % (size - 1) + 1)});
      if (weighted) set.weights.push_back(static_cast<std::uint16_t>(random() % 10 + 1));
    }
  }
  return sets;
}

double seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

template <class Fill>
double once(const std::vector<Set>& sets, std::vector<std::uint16_t>& table, Fill&& fill) {
  const double start = seconds();
  for (const auto& set : sets) fill(set, table.data());
  return (seconds() - start) / static_cast<double>(sets.size() * table.size()) * 1e9;
}

void compare(std::uint32_t size, std::size_t count, bool weighted) {
  const auto sets = sets_of(size, count, weighted);
  std::vector<std::uint16_t> table(size);
  const auto cpus = runnable();
  std::vector<double> best(cpus.size() + 1, 1e9);
  for (int round = 0; round < kRounds; ++round) {
    best[0] = std::min(best[0], once(sets, table, [&](const Set& set, std::uint16_t* to) {
                         fill_plain(size, set.walks, set.weights, to);
                       }));
    for (std::size_t c = 0; c < cpus.size(); ++c)
      best[c + 1] = std::min(best[c + 1], once(sets, table, [&](const Set& set, std::uint16_t* to) {
                               fill(cpus[c], size, set.walks, set.weights, to);
                             }));
  }
  std::printf("%6u %6zu %-8s  plain %6.2f", size, count, weighted ? "weighted" : "", best[0]);
  for (std::size_t c = 0; c < cpus.size(); ++c)
    std::printf("  %s %5.2f (%.2fx)", name_of(cpus[c]), best[c + 1], best[0] / best[c + 1]);
  std::printf("\n");
}

// Backend b of set s is the one that benchmarks/peers/main.go has.
std::vector<std::uint32_t> ids_of(std::uint32_t size, std::uint32_t set, std::uint32_t count,
                                  const Seed& seed) {
  std::vector<Candidate> candidates(count);
  for (std::uint32_t b = 0; b < count; ++b) {
    candidates[b].address = fleetmesh::Address::v4(0x0a000000U + set * 4096 + b);
    candidates[b].port = 80;
  }
  const Order order(candidates, seed);
  const auto table = build(size, order.ranked());
  std::vector<std::uint32_t> ids(size);
  for (std::uint32_t slot = 0; slot < size; ++slot) ids[slot] = order.inputs()[table->ranks16()[slot]] + 1;
  return ids;
}

void as_peers(std::uint32_t size, std::uint32_t count, std::uint32_t sets) {
  const auto seed = Seed::parse(kDefaultSeed);
  std::uint64_t digest = 0xcbf29ce484222325;
  for (const auto id : ids_of(size, 0, count, seed))
    for (std::uint32_t shift = 0; shift < 32; shift += 8)
      digest = (digest ^ (id >> shift & 0xff)) * 0x100000001b3;
  const double start = seconds();
  for (std::uint32_t set = 0; set < sets; ++set) ids_of(size, set, count, seed);
  const double spent = seconds() - start;
  std::printf("%.3f %016llx\n", spent * 1e9 / sets / size, static_cast<unsigned long long>(digest));
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const auto number = [&](int at) { return static_cast<std::uint32_t>(std::strtoul(argv[at], nullptr, 10)); };
  if (argc == 5 && std::strcmp(argv[1], "peers") == 0) {
    as_peers(number(2), number(3), number(4));
    return 0;
  }
  if (argc == 6) {
    const auto size = number(1);
    const auto sets = sets_of(size, number(2), std::strcmp(argv[3], "1") == 0);
    std::vector<std::uint16_t> table(size);
    const std::string name = argv[4];
    for (std::uint32_t t = 0; t < number(5); ++t) {
      const auto& set = sets[t % kSets];
      if (name == "plain") fill_plain(size, set.walks, set.weights, table.data());
      for (const auto cpu : runnable())
        if (name == name_of(cpu)) fill(cpu, size, set.walks, set.weights, table.data());
    }
    return 0;
  }
  for (const bool weighted : {false, true})
    for (const std::uint32_t size : {16381U, 65521U, 131071U})
      for (const std::size_t count : {2, 3, 10, 30, 100, 300, 1000, 10000}) compare(size, count, weighted);
}
