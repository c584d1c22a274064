// Packets through a data path; run it under callgrind to count instructions.
//
//   datapath_bench hot|flows|new [PACKETS FLOWS SHARDS]
//
// hot: one established connection; flows: packets of so many established ones at random; new: a SYN each.
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
    source[at] = 0x0A018000U + number % 8192;
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
  const auto mesh = build();
  Datapath path(Tables::of(mesh, mesh->state(), {1, 0}), options);
  path.locate(std::vector<Prefix>{{Address::v4(0x0A010000), 16, 1}, {Address::v4(0x0A020000), 16, 2}});

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
  std::printf("%s: %u packets, %u flows, %u shards: %.1f ns of CPU a packet, %.1f M packets a second\n",
              mode.c_str(), done, flows, options.shards, cpu_spent / done * 1e9,
              done / (wall_seconds() - wall) / 1e6);
}
