// What a data path is made of.
#pragma once

#include <map>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "fleetmesh/datapath.hpp"
#include "shard.hpp"

namespace fleetmesh {

struct Datapath::Parts {
  DatapathOptions options;
  SharedTables shared;
  std::vector<std::unique_ptr<Shard>> shards;
  std::map<std::pair<ServiceId, ClusterId>, Counter> past;  // of frontends that are no more
  std::uint64_t time = 0;                                   // of the newest packet
  std::uint32_t table_size = 0;                             // of every Maglev table

  Parts(std::shared_ptr<const Tables> newest, std::shared_ptr<const policy::PolicyTables> policy,
        const DatapathOptions& wanted);

  void adopt(std::shared_ptr<const Tables> newest);
  void adopt(std::shared_ptr<const policy::PolicyTables> newest);
  void forget_flows();

  template <class F>
  void process(const PacketColumns<typename F::Column>& packets,
               const DecisionColumns<typename F::Column>& decisions);

 private:
  void put(const CompiledService& service);
  void remove(const CompiledService& service);
  template <class F>
  void put_frontend(const CompiledService& service, const CompiledFrontend& compiled);
  template <class F>
  void remove_frontend(ServiceId service, const CompiledFrontend& compiled);
  void forget();
  template <class F>
  void forget_in();
};

}  // namespace fleetmesh
