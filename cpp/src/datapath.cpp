#include "fleetmesh/datapath.hpp"

#include <unordered_set>

#include "datapath_parts.hpp"

namespace fleetmesh {
namespace {

template <class F>
BackendRecord<F>::Key key_of(const TableBackend& backend) {
  typename BackendRecord<F>::Key key;
  F::store(backend.address, key.address);
  key.port = __builtin_bswap16(backend.port);
  key.protocol = backend.protocol;
  return key;
}

template <class F>
void settle_state(BackendRecord<F>& record) {
  std::uint8_t state = 0;
  while (state + 1U < record.uses.size() && !record.uses[state]) ++state;
  record.value.state = state;
}

template <class F>
Used& take_up(FamilyTables<F>& tables, const std::shared_ptr<const Selection>& selection) {
  Used& used = tables.used[selection.get()];
  if (used.frontends++) return used;
  used.selection = selection;
  for (const TableBackend& backend : selection->backends()) {
    const auto key = key_of<F>(backend);
    const std::uint32_t id = tables.backends.number(key);
    BackendRecord<F>& record = *tables.backends.find(id);
    if (!record.lives()) {
      F::store(backend.address, record.value.address);
      record.value.port = key.port;
      record.value.protocol = key.protocol;
      record.value.cluster = backend.cluster;
    }
    record.weight = backend.weight;
    ++record.used;
    ++record.uses[static_cast<std::size_t>(backend.state)];
    settle_state(record);
    used.ids.push_back(id);
  }
  return used;
}

template <class F>
void give_up(FamilyTables<F>& tables, const Selection* selection) {
  const auto at = tables.used.find(selection);
  Used& used = at->second;
  if (--used.frontends) return;
  const auto backends = used.selection->backends();
  for (std::size_t i = 0; i < backends.size(); ++i) {
    BackendRecord<F>& record = *tables.backends.find(used.ids[i]);
    --record.used;
    --record.uses[static_cast<std::size_t>(backends[i].state)];
    if (record.lives()) settle_state(record);
  }
  tables.used.erase(at);
}

template <class F>
FrontendRecord<F>::Key key_of(const FrontendSpec& frontend) {
  typename FrontendRecord<F>::Key key{};
  F::store(frontend.address, key.address);
  key.port = __builtin_bswap16(frontend.port);
  key.protocol = frontend.protocol;
  key.scope = frontend.internal ? FM_SCOPE_INTERNAL : FM_SCOPE_EXTERNAL;
  return key;
}

// A NodePort's address stands for whatever the node has; those are not known here.
bool has_address(const FrontendSpec& frontend) { return frontend.address.high || frontend.address.low; }

}  // namespace

Datapath::Parts::Parts(std::shared_ptr<const Tables> newest,
                       std::shared_ptr<const policy::PolicyTables> policy, const DatapathOptions& wanted)
    : options(wanted) {
  if (!options.shards || options.shards > 256) throw std::invalid_argument("a data path has 1 to 256 shards");
  DatapathOptions part = options;
  const auto divide = [&](std::uint32_t& capacity) {
    capacity = (capacity + options.shards - 1) / options.shards;
  };
  divide(part.tcp_connections);
  divide(part.other_connections);
  divide(part.affinities);
  for (std::uint32_t i = 0; i < options.shards; ++i) shards.push_back(std::make_unique<Shard>(part));
  shared.secret = options.secret;
  shared.config.abi = FM_ABI_VERSION;
  shared.config.cluster = newest->viewer();
  shared.config.identity_bits = policy->identity_bits();
  table_size = newest->options().size;
  shared.config.seed4 = newest->options().seed.packet_v4;
  shared.config.seed6 = newest->options().seed.packet_v6;
  newest->each_service([&](const CompiledService& service) { put(service); });
  shared.tables = std::move(newest);
  adopt(std::move(policy));
}

void Datapath::Parts::put(const CompiledService& service) {
  for (const CompiledFrontend& compiled : service.frontends) {
    if (!has_address(compiled.frontend)) continue;
    if (compiled.frontend.address.family == Family::v4)
      put_frontend<V4>(service, compiled);
    else
      put_frontend<V6>(service, compiled);
  }
}

template <class F>
void Datapath::Parts::put_frontend(const CompiledService& service, const CompiledFrontend& compiled) {
  FamilyTables<F>& tables = shared.of<F>();
  const auto key = key_of<F>(compiled.frontend);
  const std::uint32_t number = tables.frontends.number(key);
  if (tables.frontends.find(number)->lives()) return;  // of two claims the first service's counts
  const Used& used = take_up(tables, compiled.selection);

  std::uint32_t place = 0;
  if (shared.free_places.empty()) {
    place = static_cast<std::uint32_t>(shared.placed.size());
    shared.placed.emplace_back();
  } else {
    place = shared.free_places.back();
    shared.free_places.pop_back();
  }
  Placed& placed = shared.placed[place];
  placed.service = service.service;
  placed.frontend = compiled.frontend;
  placed.selection = compiled.selection.get();
  placed.ids = used.ids.data();
  placed.table = nullptr;

  FrontendRecord<F>& record = *tables.frontends.find(number);
  record.in_force = true;
  record.value = {};
  record.value.table_offset = record.value.ids_offset = place;
  record.value.table_size = table_size;
  record.value.count = compiled.selection->in_use();
  record.value.number = number;
  record.value.affinity_seconds = service.affinity_seconds;
  std::uint16_t flags = service.affinity_seconds ? FM_SERVICE_AFFINITY : 0;
  if (record.value.count > 0xffff) flags |= FM_SERVICE_WIDE;
  for (const CompiledFrontend& other : service.frontends)
    if (other.frontend.internal && other.frontend.address == compiled.frontend.address &&
        other.frontend.port == compiled.frontend.port &&
        other.frontend.protocol == compiled.frontend.protocol)
      flags |= FM_SERVICE_TWO_SCOPES;
  record.value.flags = flags;
}

template <class F>
void Datapath::Parts::remove_frontend(ServiceId service, const CompiledFrontend& compiled) {
  FamilyTables<F>& tables = shared.of<F>();
  const std::uint32_t number = tables.frontends.number(key_of<F>(compiled.frontend));
  FrontendRecord<F>& record = *tables.frontends.find(number);
  if (!record.lives()) return;
  const std::uint32_t place = record.value.table_offset;
  Placed& placed = shared.placed[place];
  if (placed.service != service) return;
  for (const auto& shard : shards)
    shard->counters.take(place, [&](ClusterId cluster, const Counter& counter) {
      Counter& total = past[{service, cluster}];
      total.packets += counter.packets;
      total.connections += counter.connections;
    });
  give_up(tables, placed.selection);
  placed = {};
  shared.free_places.push_back(place);
  record.in_force = false;
}

void Datapath::Parts::remove(const CompiledService& service) {
  for (const CompiledFrontend& compiled : service.frontends) {
    if (!has_address(compiled.frontend)) continue;
    if (compiled.frontend.address.family == Family::v4)
      remove_frontend<V4>(service.service, compiled);
    else
      remove_frontend<V6>(service.service, compiled);
  }
}

void Datapath::Parts::adopt(std::shared_ptr<const Tables> newest) {
  if (newest == shared.tables) return;
  if (newest->viewer() != shared.tables->viewer())
    throw std::invalid_argument("a data path takes tables of its own viewer only");
  std::vector<ServiceId> changed;
  newest->changed_since(*shared.tables, [&](ServiceId service) { changed.push_back(service); });
  // Frontends may pass from one service to another: all leave before any comes. What comes is held by
  // `newest`, so selections that both have are made anew, which the numbers don't notice.
  for (const ServiceId service : changed)
    if (const CompiledService* old = shared.tables->service(service)) remove(*old);
  for (const ServiceId service : changed)
    if (const CompiledService* fresh = newest->service(service)) put(*fresh);
  shared.tables = std::move(newest);
  forget();
  forget_flows();
}

void Datapath::Parts::adopt(std::shared_ptr<const policy::PolicyTables> newest) {
  if (newest == shared.policy) return;
  if (newest->cluster() != shared.config.cluster)
    throw std::invalid_argument("a data path takes policy tables of its own cluster only");
  shared.policy = std::move(newest);
  forget_flows();
}

void Datapath::Parts::forget_flows() {
  for (const auto& shard : shards) {
    shard->v4.flows.forget();
    shard->v6.flows.forget();
  }
}

// Numbers that nothing refers to are free again, once they are many.
void Datapath::Parts::forget() {
  forget_in<V4>();
  forget_in<V6>();
}

template <class F>
void Datapath::Parts::forget_in() {
  FamilyTables<F>& tables = shared.of<F>();
  std::size_t living = 0;
  for (const auto& [selection, used] : tables.used) living += used.ids.size();
  constexpr std::size_t kFew = 4096;
  const bool backends = tables.backends.size() > 2 * living + kFew;
  const bool frontends = tables.frontends.size() > 2 * shared.placed.size() + kFew;
  if (!backends && !frontends) return;
  std::unordered_set<std::uint32_t> ids;
  std::unordered_set<std::uint32_t> numbers;
  const auto hold = [&](const auto&, const auto& value) {
    ids.insert(value.backend);
    numbers.insert(value.service);
  };
  for (const auto& shard : shards) {
    shard->of<F>().tcp.each(time, hold);
    shard->of<F>().other.each(time, hold);
    shard->of<F>().affinities.each(time, [&](const auto& key, const auto& value) {
      ids.insert(value.backend);
      numbers.insert(key.service);
    });
  }
  tables.backends.forget([&](std::uint32_t id) { return ids.contains(id); });
  tables.frontends.forget([&](std::uint32_t number) { return numbers.contains(number); });
}

Datapath::Datapath(std::shared_ptr<const Tables> tables, std::shared_ptr<const policy::PolicyTables> policy,
                   const DatapathOptions& options)
    : parts_(std::make_unique<Parts>(std::move(tables), std::move(policy), options)) {}
Datapath::~Datapath() = default;

void Datapath::adopt(std::shared_ptr<const Tables> tables,
                     std::shared_ptr<const policy::PolicyTables> policy) {
  parts_->adopt(std::move(tables));
  parts_->adopt(std::move(policy));
}
const Tables& Datapath::tables() const { return *parts_->shared.tables; }
std::uint64_t Datapath::time() const { return parts_->time; }

DatapathConnections Datapath::connections() const {
  DatapathConnections sum;
  for (const auto& shard : parts_->shards) {
    sum.tcp += shard->v4.tcp.size() + shard->v6.tcp.size();
    sum.other += shard->v4.other.size() + shard->v6.other.size();
    sum.evicted += shard->v4.tcp.evicted() + shard->v6.tcp.evicted() + shard->v4.other.evicted() +
                   shard->v6.other.evicted();
  }
  return sum;
}

std::vector<ServiceCount> Datapath::counters() const {
  auto sums = parts_->past;
  for (const auto& shard : parts_->shards)
    shard->counters.each([&](std::uint32_t place, ClusterId cluster, const Counter& counter) {
      Counter& total = sums[{parts_->shared.placed[place].service, cluster}];
      total.packets += counter.packets;
      total.connections += counter.connections;
    });
  std::vector<ServiceCount> counts;
  for (const auto& [key, counter] : sums) counts.push_back({key.first, key.second, counter});
  return counts;
}

namespace {

template <class F>
bool find_backend(const FamilyTables<F>& tables, std::uint32_t id, DatapathBackend& out) {
  const BackendRecord<F>* known = tables.backends.find(id);
  if (!known || !id) return false;
  out = {F::address(known->value.address),
         __builtin_bswap16(known->value.port),
         known->value.protocol,
         known->value.cluster,
         static_cast<BackendState>(known->value.state),
         known->weight};
  return true;
}

template <class F>
bool find_frontend(const SharedTables& shared, const FamilyTables<F>& tables, std::uint32_t number,
                   ServiceId& service, FrontendSpec& out) {
  const FrontendRecord<F>* known = tables.frontends.find(number);
  if (!known || !number || !known->lives()) return false;
  const Placed& placed = shared.placed[known->value.table_offset];
  service = placed.service;
  out = placed.frontend;
  return true;
}

}  // namespace

bool Datapath::backend(std::uint32_t id, DatapathBackend& out) const {
  return find_backend(parts_->shared.v4, id, out) || find_backend(parts_->shared.v6, id, out);
}

bool Datapath::frontend(std::uint32_t number, ServiceId& service, FrontendSpec& out) const {
  const SharedTables& shared = parts_->shared;
  return find_frontend(shared, shared.v4, number, service, out) ||
         find_frontend(shared, shared.v6, number, service, out);
}

}  // namespace fleetmesh
