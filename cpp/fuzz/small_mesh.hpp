// A mesh of two clusters with a few services, which a fuzzer changes.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bytes.hpp"
#include "fleetmesh/policy_tables.hpp"
#include "fleetmesh/tables.hpp"
#include "fleetmesh/transaction.hpp"

namespace fleetmesh::fuzz {

inline constexpr std::array<ClusterId, 2> kClusters{1, 2};
// The second has affinity, the third no backends at first, the fourth another scope within the cluster.
inline constexpr std::array<const char*, 4> kServices{"web", "sticky", "empty", "scoped"};
inline constexpr std::uint32_t kAffinitySeconds = 5;

struct Port {
  const char* name;
  std::uint8_t protocol;
  std::uint16_t port;
  std::uint16_t target;
};
inline constexpr std::array<Port, 3> kPorts{
    {{"http", 6, 80, 8080}, {"dns", 17, 53, 5353}, {"signal", 132, 90, 90}}};

inline Address numbered(bool v6, std::uint16_t net, std::uint16_t number) {
  if (!v6) return Address::v4(10U << 24U | std::uint32_t{net} << 16U | number);
  return {Family::v6, 0xfd00ULL << 48U | std::uint64_t{net} << 32U, number};
}
inline Address pod(bool v6, ClusterId cluster, std::uint16_t number) { return numbered(v6, cluster, number); }
inline Address vip(bool v6, ClusterId cluster, std::size_t service) {
  return numbered(v6, static_cast<std::uint16_t>(100 + cluster), static_cast<std::uint16_t>(service + 1));
}
inline std::vector<Prefix> where_clusters_are() {
  std::vector<Prefix> prefixes;
  for (const ClusterId cluster : kClusters)
    for (const bool v6 : {false, true})
      prefixes.push_back({pod(v6, cluster, 0), static_cast<std::uint8_t>(v6 ? 64 : 16), cluster});
  return prefixes;
}

inline std::shared_ptr<const policy::PolicyTables> without_policies(ClusterId cluster) {
  policy::PolicyTablesMaker maker(cluster, 16);
  maker.locate(where_clusters_are(), {});
  return maker.make({});
}

class SmallMesh {
 public:
  SmallMesh() : mesh_(first().mesh->fork()) {}

  // Of the mesh before any change.
  static std::shared_ptr<const Tables> first_tables(ClusterId viewer) { return first().tables[viewer - 1U]; }
  std::shared_ptr<const Tables> tables(ClusterId viewer) const { return tables_of(mesh_, viewer); }
  std::shared_ptr<const State> state() const { return mesh_->state(); }
  void fork() { mesh_ = mesh_->fork(); }

  // A change that the bytes say: other backends, another service, or none.
  void change(Bytes& bytes) {
    const std::uint8_t what = bytes.u8();
    const ClusterId cluster = kClusters[what & 1U];
    const std::size_t service = what >> 1U & 3U;
    Transaction change(mesh_);
    switch (what >> 3U & 7U) {
      case 0:
        if (mesh_->state()->spec(cluster, change.shared().services.id("shop", kServices[service])))
          change.remove_service(cluster, "shop", kServices[service]);
        break;
      case 1:
        put_service(change, cluster, service, what & 64U ? kAffinitySeconds : 0);
        break;
      case 2:
        for (const ClusterId each : kClusters)
          for (std::size_t at = 0; at < kServices.size(); ++at) put_backends(change, each, at, what >> 6U, 0);
        break;
      default: {
        const std::uint8_t which = bytes.u8();
        put_backends(change, cluster, service, which & 15U, which >> 4U);
      }
    }
    change.commit();
  }

 private:
  struct First {
    std::shared_ptr<Mesh> mesh;
    std::array<std::shared_ptr<const Tables>, 2> tables;
  };

  // Made once, as that takes longer than most of what follows.
  static const First& first() {
    static const First made = make_first();
    return made;
  }

  static First make_first() {
    auto mesh = std::make_shared<Mesh>(false, ClusterId{255});
    Transaction change(mesh);
    for (const ClusterId id : kClusters) change.join(id, "c" + std::to_string(id), true, false);
    for (const ClusterId id : kClusters) change.hear(id, {kClusters.begin(), kClusters.end()});
    for (const ClusterId id : kClusters)
      for (std::size_t service = 0; service < kServices.size(); ++service) {
        put_service(change, id, service, service == 1 ? kAffinitySeconds : 0);
        put_backends(change, id, service, service == 2 ? 0 : 3, 0);
      }
    change.commit();
    return {mesh, {tables_of(mesh, 1), tables_of(mesh, 2)}};
  }

  static std::shared_ptr<const Tables> tables_of(const std::shared_ptr<Mesh>& mesh, ClusterId viewer) {
    return Tables::of(mesh, mesh->state(), {viewer, 0}, {251, {}});
  }

  static void put_service(Transaction& change, ClusterId cluster, std::size_t service,
                          std::uint32_t affinity) {
    auto spec = std::make_shared<ServiceSpec>();
    spec->is_global = true;
    spec->session_affinity_seconds = affinity;
    const bool scoped = service == 3;
    spec->external_local = scoped;
    for (const bool v6 : {false, true})
      for (const Port& port : kPorts)
        for (const bool internal : {false, true})
          if (scoped || !internal)
            spec->frontends.push_back({scoped ? FrontendType::load_balancer : FrontendType::cluster_ip,
                                       internal, port.protocol, port.port,
                                       change.shared().strings.id(port.name), vip(v6, cluster, service)});
    change.set_service(cluster, "shop", kServices[service], spec);
  }

  // Bit i: whether there is backend i + 1, and whether it is leaving.
  static void put_backends(Transaction& change, ClusterId cluster, std::size_t service, unsigned there,
                           unsigned leaving) {
    std::vector<PortFacts> ports;
    for (const Port& port : kPorts) ports.push_back({port.name, port.protocol, port.target});
    for (const bool v6 : {false, true}) {
      std::vector<EndpointFacts> endpoints;
      for (std::uint16_t i = 0; i < 4; ++i) {
        if (!(there >> i & 1U)) continue;
        const std::uint8_t conditions = leaving >> i & 1U ? kServing | kTerminating : kReady | kServing;
        endpoints.push_back(
            {{pod(v6, cluster, static_cast<std::uint16_t>(i + 1)).text()}, conditions, "n1", "", "", {}});
      }
      change.set_slice(cluster, "shop", kServices[service], v6 ? "v6" : "v4", endpoints, ports,
                       kDefaultWeight);
    }
  }

  std::shared_ptr<Mesh> mesh_;
};

}  // namespace fleetmesh::fuzz
