// Single backends that come and go in a large mesh, in batches; run it under callgrind to count instructions.
//
//   changes_bench [MEMBERS SERVICES BACKENDS BATCHES AFFINITY]
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <random>
#include <vector>

#include "fleetmesh/classes.hpp"
#include "fleetmesh/transaction.hpp"

using namespace fleetmesh;

namespace {

constexpr std::size_t kBatch = 1000;
constexpr std::size_t kWarmUp = 20;  // batches, after which the classes of all services are known

struct Shape {
  ClusterId members = 255;
  std::uint32_t services = 2000;
  std::uint32_t backends = 8;
};

Address backend_address(const Shape& shape, std::uint32_t member, std::uint32_t service,
                        std::uint32_t backend) {
  return Address::v4(0x0A000000U + (member * shape.services + service) * shape.backends + backend);
}

std::vector<ServiceId> build(Mesh& mesh, const std::shared_ptr<Mesh>& owner, const Shape& shape,
                             Affinity affinity) {
  Transaction change(owner);
  std::vector<ClusterId> all;
  for (ClusterId id = 1; id <= shape.members; ++id) {
    change.join(id, "c" + std::to_string(id), true, false);
    all.push_back(id);
  }
  for (const ClusterId id : all) change.hear(id, all);
  std::vector<ServiceId> services;
  for (std::uint32_t s = 0; s < shape.services; ++s)
    services.push_back(mesh.shared().services.id("shop", "s" + std::to_string(s)));
  std::vector<BulkRow> rows;
  for (const ClusterId id : all) {
    for (std::uint32_t s = 0; s < shape.services; ++s) {
      auto spec = std::make_shared<ServiceSpec>();
      spec->is_global = true;
      spec->affinity = affinity;
      spec->frontends.push_back({FrontendType::cluster_ip, false, 6, 80, 0, Address::v4(0x64400000U + s)});
      change.set_service(id, services[s], std::move(spec));
      for (std::uint32_t b = 0; b < shape.backends; ++b)
        rows.push_back({{services[s], id}, {0, backend_address(shape, id, s, b), 8080, 6}});
    }
  }
  change.load(rows);
  change.commit();
  return services;
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int at, unsigned long fallback) {
    return argc > at ? std::strtoul(argv[at], nullptr, 10) : fallback;
  };
  Shape shape;
  shape.members = static_cast<ClusterId>(argument(1, shape.members));
  shape.services = static_cast<std::uint32_t>(argument(2, shape.services));
  shape.backends = static_cast<std::uint32_t>(argument(3, shape.backends));
  const std::size_t batches = argument(4, 200);
  const auto affinity = static_cast<Affinity>(argument(5, 0));

  const auto mesh = std::make_shared<Mesh>(false, ClusterId{255});
  const auto services = build(*mesh, mesh, shape, affinity);
  std::mt19937 random(1);
  std::vector<bool> present(std::size_t{shape.members} * shape.services * shape.backends, true);
  std::size_t entries = 0;
  std::clock_t start = 0;
  for (std::size_t batch = 0; batch < kWarmUp + batches; ++batch) {
    if (batch == kWarmUp) {
      start = std::clock();
      entries = 0;
    }
    std::vector<BulkRow> rows(kBatch);
    for (auto& row : rows) {
      const auto member = static_cast<ClusterId>(1 + random() % shape.members);
      const auto service = static_cast<std::uint32_t>(random() % shape.services);
      const auto backend = static_cast<std::uint32_t>(random() % shape.backends);
      row.offer = {services[service], member};
      row.key = {0, backend_address(shape, member, service, backend), 8080, 6};
      const std::size_t place = ((member - 1U) * shape.services + service) * shape.backends + backend;
      row.remove = present[place];  // every change takes effect
      present[place] = !row.remove;
    }
    Transaction change(mesh);
    change.load(rows);
    entries += entries_of(change.commit(), *mesh).size();
  }
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  std::printf("%zu changes, %.0f a second of CPU time, %zu delta entries\n", batches * kBatch,
              static_cast<double>(batches * kBatch) / seconds, entries);
}
