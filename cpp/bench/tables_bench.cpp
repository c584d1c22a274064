// One backend changes in a service that every member has a part of: from the transaction to the tables of all
// viewers.
//
//   tables_bench [MEMBERS BACKENDS SERVICES CHANGES AFFINITY]
//
// BACKENDS are those of one member; SERVICES are there, of which one changes; AFFINITY 0 none, 1 local.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <random>
#include <vector>

#include "fleetmesh/tables.hpp"
#include "fleetmesh/transaction.hpp"

using namespace fleetmesh;

namespace {

struct Shape {
  ClusterId members = 255;
  std::uint32_t backends = 8;
  std::uint32_t services = 200;
  Affinity affinity = Affinity::none;
};

RowKey backend_key(const Shape& shape, ClusterId member, std::uint32_t service, std::uint32_t backend) {
  const std::uint32_t number = (member * shape.services + service) * shape.backends + backend;
  return {0, Address::v4(0x0A000000U + number), 8080, 6};
}

std::vector<ServiceId> build(const std::shared_ptr<Mesh>& mesh, const Shape& shape) {
  Transaction change(mesh);
  std::vector<ClusterId> all;
  for (ClusterId id = 1; id <= shape.members; ++id) {
    change.join(id, "c" + std::to_string(id), true, false);
    all.push_back(id);
  }
  for (const ClusterId id : all) change.hear(id, all);
  std::vector<ServiceId> services;
  for (std::uint32_t s = 0; s < shape.services; ++s)
    services.push_back(mesh->shared().services.id("shop", "s" + std::to_string(s)));
  std::vector<BulkRow> rows;
  for (const ClusterId id : all) {
    for (std::uint32_t s = 0; s < shape.services; ++s) {
      auto spec = std::make_shared<ServiceSpec>();
      spec->is_global = true;
      spec->affinity = shape.affinity;
      spec->frontends.push_back(
          {FrontendType::cluster_ip, false, 6, 80, 0, Address::v4(0x64400000U + id * shape.services + s)});
      change.set_service(id, services[s], std::move(spec));
      for (std::uint32_t b = 0; b < shape.backends; ++b)
        rows.push_back({services[s], id, backend_key(shape, id, s, b)});
    }
  }
  change.load(rows);
  change.commit();
  return services;
}

using Viewers = std::vector<std::shared_ptr<const Tables>>;

// All that was made is used, or else it would not have to be made.
std::uint64_t read(const Viewers& viewers, ServiceId service) {
  std::uint64_t sum = 0;
  for (const auto& tables : viewers) {
    const CompiledService* compiled = tables->service(service);
    const Selection& selection = *compiled->frontends.front().selection;
    if (const maglev::Table* table = selection.table())
      sum += table->rank(static_cast<std::uint32_t>(sum % table->size()));
  }
  return sum;
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int at, unsigned long fallback) {
    return argc > at ? std::strtoul(argv[at], nullptr, 10) : fallback;
  };
  Shape shape;
  shape.members = static_cast<ClusterId>(argument(1, shape.members));
  shape.backends = static_cast<std::uint32_t>(argument(2, shape.backends));
  shape.services = static_cast<std::uint32_t>(argument(3, shape.services));
  const std::size_t changes = argument(4, 1000);
  shape.affinity = static_cast<Affinity>(argument(5, 0));

  const auto mesh = std::make_shared<Mesh>(false, ClusterId{255});
  const auto services = build(mesh, shape);
  Viewers viewers;
  std::uint64_t sum = 0;
  for (ClusterId id = 1; id <= shape.members; ++id)
    viewers.push_back(Tables::of(mesh, mesh->state(), {id, 0}));
  for (const ServiceId service : services)
    for (const auto& tables : viewers) sum += tables->service(service)->frontends.size();
  sum += read(viewers, services.front());

  std::mt19937 random(1);
  BulkRow row;
  std::vector<double> wall;
  std::vector<double> cpu;
  std::vector<double> compiled;
  for (std::size_t i = 0; i < changes; ++i) {
    if (!row.remove) {  // one goes, and then comes back
      const auto member = static_cast<ClusterId>(1 + random() % shape.members);
      const auto backend = static_cast<std::uint32_t>(random() % shape.backends);
      row.offer = {services.front(), member};
      row.key = backend_key(shape, member, 0, backend);
    }
    row.remove = !row.remove;
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t start_cpu = std::clock();
    Transaction change(mesh);
    change.load({&row, 1});
    const auto state = change.commit().after;
    const auto committed = std::chrono::steady_clock::now();
    for (auto& tables : viewers) tables = tables->advance(state);
    sum += read(viewers, services.front());
    const std::clock_t end_cpu = std::clock();
    const auto end = std::chrono::steady_clock::now();
    wall.push_back(std::chrono::duration<double, std::micro>(end - start).count());
    compiled.push_back(std::chrono::duration<double, std::micro>(end - committed).count());
    cpu.push_back(1e6 * static_cast<double>(end_cpu - start_cpu) / CLOCKS_PER_SEC);
  }
  std::printf(
      "%u backends, %u viewers, affinity %s: median of %zu changes %.0f us of wall time (%.0f after the "
      "commit), "
      "%.0f us of CPU time (%llu)\n",
      shape.members * shape.backends, shape.members, shape.affinity == Affinity::none ? "none" : "local",
      changes, median(wall), median(compiled), median(cpu), static_cast<unsigned long long>(sum % 10));
}
