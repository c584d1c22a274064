// Packets through a data path; run it under callgrind to count instructions.
//
//   datapath_bench hot|flows|new [PACKETS FLOWS SHARDS POLICY]
//
// hot: one established connection; flows: packets of so many established ones at random; new: a SYN each.
// POLICY 1: every pod is known and isolated, and ten rules for each of 100 kinds let pass what is sent.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fleetmesh/datapath.hpp"
#include "fleetmesh/transaction.hpp"

using namespace fleetmesh;

namespace {

constexpr std::uint32_t kServices = 100;
constexpr std::uint32_t kBackends = 20;
constexpr std::uint32_t kBlock = 65536;

std::shared_ptr<Mesh> build() {
  auto mesh = std::make_shared<Mesh>(false, ClusterId{255});
  Transaction change(mesh);
  std::vector<BulkRow> rows;
  for (const auto id : std::vector<ClusterId>{1, 2}) change.join(id, "c" + std::to_string(id), true, false);
  for (const auto id : std::vector<ClusterId>{1, 2}) change.hear(id, {1, 2});
  for (const auto id : std::vector<ClusterId>{1, 2}) {
    for (std::uint32_t s = 0; s < kServices; ++s) {
      auto spec = std::make_shared<ServiceSpec>();
      spec->is_global = true;
      spec->frontends.push_back({FrontendType::cluster_ip, false, 6, 80, 0, Address::v4(0x64400000U + s)});
      const ServiceId service = mesh->shared().services.id("shop", "s" + std::to_string(s));
      change.set_service(id, service, std::move(spec));
      for (std::uint32_t b = 0; b < kBackends; ++b)
        rows.push_back(
            {service,
             id,
             {0, Address::v4(0x0A000000U + (std::uint32_t{id} << 16U) + s * kBackends + b), 8080, 6}});
    }
  }
  change.load(rows);
  change.commit();
  return mesh;
}

constexpr std::uint32_t kClients = 0x0A018000U;
constexpr std::uint32_t kKinds = 100;

// Each kind may be reached by everybody at the port of the backends, and by nine kinds at other ports, and
// may reach as much.
std::shared_ptr<const policy::PolicyTables> policy_tables(bool enforced) {
  const policy::Term everybody = kKinds + 1;
  const auto identities = std::make_shared<policy::Identities>();
  policy::AddressBook book;
  const auto number = [](ClusterId cluster, std::uint32_t kind) {
    return std::uint32_t{cluster} << 16U | (256 + kind);
  };
  const auto settle = [&](ClusterId cluster, std::uint32_t first, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i)
      book.set(Address::v4(first + i), {number(cluster, i % kKinds), cluster, 0});
  };
  policy::PolicyTablesMaker maker(1, 16);
  maker.hear(std::vector<ClusterId>{1, 2});
  maker.locate(std::vector<Prefix>{{Address::v4(0x0A010000), 16, 1}, {Address::v4(0x0A020000), 16, 2}}, {});
  if (!enforced) return maker.make(book);
  settle(1, kClients, 8192);
  for (const ClusterId cluster : std::vector<ClusterId>{1, 2}) {
    settle(cluster, 0x0A000000U + (std::uint32_t{cluster} << 16U), kServices * kBackends);
    for (policy::Term kind = 0; kind < kKinds; ++kind)
      identities->set(number(cluster, kind), {{kind + 1, everybody}, {}});
  }
  std::vector<policy::Selector> selectors;
  for (policy::Term term = 1; term <= everybody; ++term) selectors.push_back({{false, {term}}});
  std::vector<policy::Rule> rules;
  for (const auto direction : {policy::Direction::egress, policy::Direction::ingress})
    for (std::uint32_t kind = 0; kind < kKinds; ++kind)
      for (std::uint32_t peer = 0; peer < 10; ++peer) {
        policy::Rule rule;
        rule.direction = direction;
        rule.tier = 2;
        rule.subject = kind;
        rule.peers = {peer ? (kind + peer) % kKinds : kKinds};
        const auto port = static_cast<std::uint16_t>(peer ? 1000 + peer : 8080);
        rule.ports = {{{{6, port, port, 0}}}};
        rules.push_back(rule);
      }
  policy::Options options;
  options.cluster = 1;
  policy::Repository repository(identities, options);
  repository.hear({1, 2});
  repository.set_rules("", selectors, rules);
  for (policy::Term kind = 0; kind < kKinds; ++kind)
    maker.set_endpoint(number(1, kind), repository.resolve({{kind + 1, everybody}, {}}, false, false));
  return maker.make(book);
}

struct Columns {
  std::vector<std::uint32_t> source, destination, from, to, backend, service, first, second;
  std::vector<std::uint16_t> source_port, destination_port, from_port, to_port, proxy;
  std::vector<std::uint8_t> protocol, flags, verdict, egress, ingress, reason, state;
  std::uint64_t time = 1;

  explicit Columns(std::size_t n)
      : source(n),
        destination(n),
        from(n),
        to(n),
        backend(n),
        service(n),
        first(n),
        second(n),
        source_port(n),
        destination_port(n, 80),
        from_port(n),
        to_port(n),
        proxy(n),
        protocol(n, 6),
        flags(n, 16),
        verdict(n),
        egress(n),
        ingress(n),
        reason(n),
        state(n) {}

  void flow(std::size_t at, std::uint32_t number) {
    source[at] = kClients + number % 8192;
    source_port[at] = static_cast<std::uint16_t>(1024 + number / 8192);
    destination[at] = 0x64400000U + number % kServices;
  }
  void process(Datapath& path) {
    path.process(
        PacketColumns<std::uint32_t>{source.size(), source.data(), destination.data(), source_port.data(),
                                     destination_port.data(), protocol.data(), flags.data(), &time, true},
        {verdict.data(), egress.data(), ingress.data(), reason.data(), state.data(), from.data(), to.data(),
         from_port.data(), to_port.data(), backend.data(), service.data(), first.data(), second.data(),
         proxy.data()});
  }
};

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double wall_seconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "hot";
  const auto argument = [&](int at, unsigned long fallback) {
    return argc > at ? std::strtoul(argv[at], nullptr, 10) : fallback;
  };
  const auto packets = static_cast<std::uint32_t>(argument(2, 4000000));
  const auto flows = static_cast<std::uint32_t>(argument(3, mode == "hot" ? 1 : 1000000));
  DatapathOptions options;
  options.shards = static_cast<std::uint32_t>(argument(4, 1));
  options.tcp_connections = 1U << 22U;
  const bool with_policy = argument(5, 0) != 0;
  const auto mesh = build();
  Datapath path(Tables::of(mesh, mesh->state(), {1, 0}), policy_tables(with_policy), options);

  Columns columns(mode == "flows" ? packets : std::min(packets, kBlock));
  std::uint32_t fresh = 0;
  const auto open = [&](std::uint32_t count) {
    Columns opening(std::min(count, kBlock));
    for (std::uint32_t done = 0; done < count; done += static_cast<std::uint32_t>(opening.source.size())) {
      for (std::size_t i = 0; i < opening.source.size(); ++i) {
        opening.flow(i, mode == "new" ? fresh++ : (done + static_cast<std::uint32_t>(i)) % flows);
        opening.flags[i] = 2;
      }
      opening.process(path);
    }
  };
  const bool opening = mode == "new";
  if (!opening) open(flows);
  std::mt19937 random(1);
  for (std::size_t i = 0; i < columns.source.size(); ++i) columns.flow(i, random() % flows);
  columns.process(path);

  const double cpu = cpu_seconds();
  const double wall = wall_seconds();
  std::uint32_t done = 0;
  while (done < packets) {
    if (opening)
      open(std::min(packets - done, kBlock));
    else
      columns.process(path);
    done += static_cast<std::uint32_t>(columns.source.size());
  }
  const double cpu_spent = cpu_seconds() - cpu;
  const bool passed =
      std::ranges::all_of(columns.verdict, [](auto each) { return each == FM_VERDICT_ALLOW; }) &&
      std::ranges::all_of(columns.egress, [&](auto each) { return with_policy == (each != 0); });
  if (!passed && !opening) std::printf("not every packet passed as it should\n");
  std::printf("%s: %u packets, %u flows, %u shards: %.1f ns of CPU a packet, %.1f M packets a second\n",
              mode.c_str(), done, flows, options.shards, cpu_spent / done * 1e9,
              done / (wall_seconds() - wall) / 1e6);
}
