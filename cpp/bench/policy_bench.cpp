// The workload of tests/real/oracles/policy/cmd/bench, of which the formulas are at its top, by the core:
// selections, resolution, policy map, look-ups, one identity more. Prints `name value unit` a line.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "fleetmesh/policy.hpp"

namespace {

using namespace fleetmesh::policy;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kFirst = 65536 + 256;

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

void say(const std::string& name, std::vector<double> values, const char* unit, double scale) {
  std::ranges::sort(values);
  std::printf("%s %.4f %s\n", name.c_str(), values[values.size() / 2] / scale, unit);
}

class Terms {
 public:
  Term of(const std::string& text) {
    return numbers_.try_emplace(text, static_cast<Term>(numbers_.size() + 1)).first->second;
  }

 private:
  std::unordered_map<std::string, Term> numbers_;
};

class Workload {
 public:
  Identity identity(std::uint32_t i) {
    Identity made;
    made.terms.reserve(18);
    const auto label = [&](const std::string& key, const std::string& value) {
      made.terms.push_back(terms_.of("k8s:" + key));
      made.terms.push_back(terms_.of("k8s:" + key + "=" + value));
    };
    const auto n = [](const char* text, std::uint32_t number) { return text + std::to_string(number); };
    label("app", n("app-", i % 1000));
    label("tier", n("t-", i % 10));
    label("env", n("e-", i % 4));
    label("version", n("v-", i % 7));
    label("uid", n("u-", i));
    label("io.kubernetes.pod.namespace", n("ns-", i % 50));
    label("io.cilium.k8s.policy.cluster", n("cluster-", i % 8));
    label("io.cilium.k8s.policy.serviceaccount", n("sa-", i % 100));
    label("io.cilium.k8s.namespace.labels.team", n("team-", i % 50 % 20));
    return made;
  }

  Selector selector(std::uint32_t j) {
    const std::uint32_t m = j / 5;
    const auto is = [&](const std::string& label) { return Requirement{false, {terms_.of("k8s:" + label)}}; };
    const auto app = [](std::uint32_t x) { return "app=app-" + std::to_string(x % 1000); };
    const auto n = [](const char* text, std::uint32_t number) { return text + std::to_string(number); };
    switch (j % 5) {
      case 0:
        return {is(app(m))};
      case 1:
        return {
            {false,
             {terms_.of("k8s:" + app(m)), terms_.of("k8s:" + app(m + 1)), terms_.of("k8s:" + app(m + 2))}},
            is(n("env=e-", m % 4))};
      case 2:
        return {is(n("io.kubernetes.pod.namespace=ns-", m % 50)), is(n("tier=t-", m / 50 % 10))};
      case 3:
        return {{false, {terms_.of("k8s:io.cilium.k8s.namespace.labels.team")}},
                {true, {terms_.of(n("k8s:version=v-", m % 7))}},
                is(n("io.cilium.k8s.policy.serviceaccount=sa-", m % 100))};
      default:
        return {is(n("io.cilium.k8s.policy.cluster=cluster-", m % 8)), is(app(m))};
    }
  }

  // Selectors, the last of which is everybody, and rules.
  std::pair<std::vector<Selector>, std::vector<Rule>> rules(std::uint32_t count, bool wide) {
    std::vector<Selector> selectors;
    std::vector<Rule> rules;
    const std::uint32_t subjects = count + 1;
    for (std::uint32_t r = 0; r < count; ++r) selectors.push_back(selector(r));
    selectors.emplace_back();
    for (std::uint32_t r = 0; r < 100; ++r)
      selectors.push_back({{false, {terms_.of("k8s:app=app-" + std::to_string(r))}}});
    for (std::uint32_t r = 0; r < count; ++r) {
      const auto port = static_cast<std::uint16_t>(1000 + r % 50);
      Rule rule;
      rule.direction = Direction::ingress;
      rule.tier = 1;
      rule.verdict = r % 10 ? Verdict::allow : Verdict::deny;
      rule.subject = wide ? count : subjects + r % 100;
      rule.peers = {r};
      rule.ports = {{{{6, port, static_cast<std::uint16_t>(r % 7 ? port : port + 100), 0}}}};
      rules.push_back(std::move(rule));
    }
    return {std::move(selectors), std::move(rules)};
  }

 private:
  Terms terms_;
};

void selections(std::uint32_t identities, std::uint32_t count, int runs) {
  const std::string name =
      "selectorcache ids=" + std::to_string(identities) + " selectors=" + std::to_string(count);
  Workload workload;
  std::vector<Identity> known;
  for (std::uint32_t i = 0; i < identities; ++i) known.push_back(workload.identity(i));
  std::vector<double> index_of;
  std::vector<double> build;
  std::vector<double> add;
  std::vector<double> remove;
  std::uint64_t total = 0;
  double memory = 0;
  for (int run = 0; run < runs; ++run) {
    IdentityIndex index;
    std::vector<Identity> fresh = known;
    auto start = Clock::now();
    for (Identity& each : fresh) index.add(std::move(each));
    index_of.push_back(since(start));
    std::vector<Selector> selectors;
    for (std::uint32_t j = 0; j < count; ++j) selectors.push_back(workload.selector(j));
    start = Clock::now();
    total = 0;
    for (const Selector& each : selectors) total += index.selected(index.acquire(each)).size();
    build.push_back(since(start));
    memory = static_cast<double>(index.memory());
    std::vector<Slot> slots;
    for (std::uint32_t k = 0; k < 50; ++k) {
      Identity more = workload.identity(identities + k);
      start = Clock::now();
      slots.push_back(index.add(std::move(more)).slot);
      add.push_back(since(start));
    }
    for (const Slot slot : slots) {
      start = Clock::now();
      index.remove(slot);
      remove.push_back(since(start));
    }
  }
  say(name + " index", index_of, "ms", 1e6);
  say(name + " build", build, "ms", 1e6);
  say(name + " add 1 identity", add, "us", 1e3);
  say(name + " delete 1 identity", remove, "us", 1e3);
  say(name + " total selections", {static_cast<double>(total)}, "", 1);
  say(name + " memory", {memory}, "MB", 1e6);
}

void resolve(std::uint32_t identities, std::uint32_t count, bool wide, int runs) {
  const std::string name = "resolve ids=" + std::to_string(identities) + " rules=" + std::to_string(count) +
                           " wide=" + (wide ? "true" : "false");
  std::vector<double> import;
  std::vector<double> first;
  std::vector<double> again;
  std::vector<double> distil;
  std::vector<double> found;
  std::vector<double> missed;
  std::vector<double> add;
  std::size_t entries = 0;
  std::uint64_t hits = 0;
  for (int run = 0; run < runs; ++run) {
    Workload workload;
    const auto known = std::make_shared<Identities>();
    Repository repository(known, {.cluster = 1});
    repository.hear({2});
    for (std::uint32_t i = 0; i < identities; ++i) known->set(kFirst + i, workload.identity(i));
    auto [selectors, rules] = workload.rules(count, wide);
    auto start = Clock::now();
    repository.set_rules("", selectors, std::move(rules));
    import.push_back(since(start));
    start = Clock::now();
    const EndpointPolicy policy = repository.resolve(workload.identity(7), false, false);
    first.push_back(since(start));
    start = Clock::now();
    const EndpointPolicy same = repository.resolve(workload.identity(7), false, false);
    again.push_back(since(start));
    for (int turn = 0; turn < 3; ++turn) {
      struct Row {
        Key key;
        Entry entry;
      };
      start = Clock::now();
      std::vector<Row> rows;
      policy.each_entry([&](const Key& key, const Entry& entry) { rows.push_back({key, entry}); });
      distil.push_back(since(start));
      entries = rows.size();
    }
    std::mt19937 random(1);
    struct Question {
      std::uint32_t identity;
      std::uint16_t port;
    };
    std::vector<Question> questions(1U << 16U);
    const auto ask = [&](std::uint8_t protocol, int turns) {
      std::uint64_t sum = 0;
      const auto begin = Clock::now();
      for (int turn = 0; turn < turns; ++turn)
        for (const Question& each : questions)
          sum += policy.lookup(Direction::ingress, each.identity, protocol, each.port).found;
      const double took = since(begin) / (turns * static_cast<double>(questions.size()));
      hits = sum / static_cast<std::uint64_t>(turns);
      return took;
    };
    for (Question& each : questions)
      each = {kFirst + static_cast<std::uint32_t>(random() % identities),
              static_cast<std::uint16_t>(1000 + random() % 150)};
    missed.push_back(ask(17, 4));
    found.push_back(ask(6, 4));
    for (std::uint32_t k = 0; k < 20; ++k) {
      Identity more = workload.identity(identities + k);
      start = Clock::now();
      known->set(kFirst + identities + k, std::move(more));
      add.push_back(since(start));
    }
  }
  say(name + " import all rules", import, "ms", 1e6);
  say(name + " ComputeSelectorPolicy first", first, "ms", 1e6);
  say(name + " ComputeSelectorPolicy again", again, "ms", 1e6);
  say(name + " DistillPolicy", distil, "ms", 1e6);
  say(name + " map entries", {static_cast<double>(entries)}, "", 1);
  say(name + " lookup TCP", found, "ns", 1);
  say(name + " lookup UDP (no entry)", missed, "ns", 1);
  say(name + " matched of 65536", {static_cast<double>(hits)}, "", 1);
  say(name + " add 1 identity incl. map change", add, "us", 1e3);
}

// One look-up after the other for the same few peers.
void hot() {
  Workload workload;
  const auto known = std::make_shared<Identities>();
  Repository repository(known, {.cluster = 1});
  for (std::uint32_t i = 0; i < 1000; ++i) known->set(kFirst + i, workload.identity(i));
  auto [selectors, rules] = workload.rules(1000, true);
  repository.set_rules("", selectors, std::move(rules));
  const EndpointPolicy policy = repository.resolve(workload.identity(7), false, false);
  std::vector<double> took;
  for (int run = 0; run < 5; ++run) {
    constexpr int kTurns = 10'000'000;
    std::uint64_t sum = 0;
    const auto start = Clock::now();
    for (std::uint32_t turn = 0; turn < kTurns; ++turn)
      sum +=
          policy
              .lookup(Direction::ingress, kFirst + turn % 64, 6, static_cast<std::uint16_t>(1000 + turn % 50))
              .found;
    took.push_back(since(start) / kTurns);
    if (sum == 0) std::abort();
  }
  say("lookup hot", took, "ns", 1);
}

void memory(std::uint32_t identities) {
  Workload workload;
  IdentityIndex index;
  for (std::uint32_t i = 0; i < identities; ++i) index.add(workload.identity(i));
  say("memory ids=" + std::to_string(identities), {static_cast<double>(index.memory())}, "MB", 1e6);
}

}  // namespace

int main(int count, char** arguments) {
  const int runs = count > 1 ? static_cast<int>(std::strtol(arguments[1], nullptr, 10)) : 3;
  const bool big = count < 3 || std::string(arguments[2]) != "small";
  for (const std::uint32_t identities : {10'000U, 100'000U}) {
    if (identities > 10'000 && !big) continue;
    for (const std::uint32_t selectors : {100U, 1000U}) selections(identities, selectors, runs);
  }
  resolve(10'000, 1000, false, runs);
  resolve(10'000, 1000, true, runs);
  if (big) {
    resolve(100'000, 1000, true, runs);
    memory(1'000'000);
  }
  hot();
}
