#include "fleetmesh/state.hpp"

#include <stdexcept>

#include "fleetmesh/table_caches.hpp"

namespace fleetmesh {

namespace {

std::string joined(std::string_view space, std::string_view name) {
  std::string both;
  both.reserve(space.size() + 1 + name.size());
  both.append(space).append(1, '\0').append(name);
  return both;
}

}  // namespace

ServiceId ServiceNames::id(std::string_view space, std::string_view name) {
  if (space.find('\0') != std::string_view::npos || name.find('\0') != std::string_view::npos)
    throw std::invalid_argument("a service's namespace or name has a NUL character");
  return strings_.id(joined(space, name));
}

bool ServiceNames::find(std::string_view space, std::string_view name, ServiceId& out) const {
  return strings_.find(joined(space, name), out);
}

std::pair<std::string_view, std::string_view> ServiceNames::parts(ServiceId id) const {
  const std::string_view both = strings_.text(id);
  const auto end = both.find('\0');
  return {both.substr(0, end), both.substr(end + 1)};
}

std::pair<std::string, std::string> ServiceNames::name(ServiceId id) const {
  return std::pair<std::string, std::string>(parts(id));
}

const ServiceSpec* State::spec(ClusterId member, ServiceId service) const {
  const Offer* offer = offers.find({service, member});
  return offer ? offer->spec : nullptr;
}

Mesh::Mesh(bool strict, ClusterId capacity)
    : strict_(strict),
      capacity_(capacity),
      shared_(std::make_shared<Shared>()),
      state_(std::make_shared<const State>()) {
  if (capacity != 255 && capacity != 511)
    throw std::invalid_argument("a mesh has room for 255 or 511 members, nothing else");
  shared_->tables = std::make_shared<TableCaches>();
}

Mesh::Mesh(const Mesh& other)
    : strict_(other.strict_), capacity_(other.capacity_), shared_(other.shared_), state_(other.state()) {}

std::shared_ptr<const State> Mesh::state() const {
  const std::scoped_lock lock(mutex_);
  return state_;
}

std::shared_ptr<Mesh> Mesh::fork() const { return std::shared_ptr<Mesh>(new Mesh(*this)); }

}  // namespace fleetmesh
