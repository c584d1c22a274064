// A small mesh for tests: members by id, services in namespace "shop".
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fleetmesh/classes.hpp"
#include "fleetmesh/merge.hpp"
#include "fleetmesh/policy_tables.hpp"
#include "fleetmesh/transaction.hpp"

namespace fleetmesh::testing {

inline std::vector<ClusterId> ids(std::vector<ClusterId> list) { return list; }

// What a cluster without policies knows: where clusters are.
inline std::shared_ptr<const policy::PolicyTables> open_policy(ClusterId cluster,
                                                               std::span<const Prefix> clusters) {
  policy::PolicyTablesMaker maker(cluster, 16);
  maker.locate(clusters, {});
  return maker.make({});
}

class Fleet {
 public:
  explicit Fleet(const std::vector<ClusterId>& members, bool strict = false)
      : mesh(std::make_shared<Mesh>(strict, ClusterId{255})) {
    Transaction change(mesh);
    for (const ClusterId id : members) change.join(id, "c" + std::to_string(id), true, true);
    for (const ClusterId id : members) change.hear(id, members);
    change.commit();
  }

  ServiceSpec spec(const std::string& address, const std::string& port_name = "http") const {
    ServiceSpec result;
    result.is_global = true;
    result.frontends.push_back(
        {FrontendType::cluster_ip, false, 6, 80, strings().id(port_name), *Address::parse(address)});
    return result;
  }

  Delta set_service(ClusterId id, const std::string& name, ServiceSpec service) const {
    Transaction change(mesh);
    change.set_service(id, "shop", name, std::make_shared<const ServiceSpec>(std::move(service)));
    return change.commit();
  }

  Delta set_slice(ClusterId id, const std::string& name, const std::vector<std::string>& addresses,
                  std::uint8_t conditions = kReady | kServing, const std::string& port_name = "http",
                  const std::string& slice = "s", const std::string& node = "") const {
    Transaction change(mesh);
    std::vector<EndpointFacts> endpoints;
    for (const auto& address : addresses) endpoints.push_back({{address}, conditions, node, "", "", {}});
    change.set_slice(id, "shop", name, slice, endpoints, {{port_name, 6, 8080}}, kDefaultWeight);
    return change.commit();
  }

  // "cluster:address state" of all that is selected for the first frontend; those in use first.
  std::vector<std::string> backends(ClusterId viewer, const std::string& name,
                                    const std::string& node = "") const {
    const auto views = reader().frontends(viewer, service(name), strings().id(node));
    std::vector<std::string> result;
    if (views.empty()) return {"no frontend"};
    for (std::size_t i = 0; i < views[0].backends.size(); ++i) {
      const Candidate& c = views[0].backends[i].backend;
      result.push_back(std::to_string(c.member) + ":" + c.address.text() +
                       (i < views[0].in_use ? "" : " idle"));
    }
    return result;
  }

  Reader reader() const { return {mesh->state(), *mesh}; }
  Interner& strings() const { return mesh->shared().strings; }
  ServiceId service(const std::string& name) const { return mesh->shared().services.id("shop", name); }

  std::shared_ptr<Mesh> mesh;
};

}  // namespace fleetmesh::testing
