// How the entries of one endpoint come about.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "fleetmesh/policy.hpp"

namespace fleetmesh::policy {

class Resolution {
 public:
  Resolution(const Repository& repository, const Identity& subject, bool is_host, bool is_init)
      : repository_(repository), subject_(subject), is_host_(is_host), is_init_(is_init) {}

  EndpointPolicy run();

 private:
  // A rule that speaks about the subject, or one of those that decide at the end.
  struct Spoken {
    const Rule* rule;
    std::uint32_t number;
    IdentityNumber whom = kAny;  // of those that decide at the end: kAny are all
  };
  // Where in the order of decisions an entry stands: level by level, and behind a pass what it passes to.
  using Rank = std::vector<std::uint32_t>;
  // An entry before ranks are numbers.
  struct Draft {
    Key key;
    Rank rank;
    std::uint8_t byte = 0;  // the last of the precedence
    std::uint8_t authentication = 0;
    std::uint32_t rule = 0;
  };
  // What rules for the same ports and peers have to agree on.
  struct Agreed {
    Spoken by;
    Parser parser = Parser::none;
    Name listener = 0;
    std::uint8_t listener_priority = 0;
    std::uint8_t authentication = 0;
    bool asks_names = false;
  };
  using Place = std::tuple<std::uint8_t, std::uint8_t, std::uint16_t, std::uint16_t, Name, std::uint32_t>;

  void resolve(Direction direction);
  std::vector<Spoken> spoken(Direction direction) const;
  void add_defaults(Direction direction, bool isolated, std::vector<Spoken>& rules);
  std::vector<Draft> default_drafts(const Spoken& by) const;
  void agree(const Spoken& by);
  void agree(const Place& place, const Agreed& wanted);
  std::vector<Draft> drafts(const Spoken& by) const;
  void add_drafts(const Spoken& by, const Ports& ports, const Draft& draft, std::vector<Draft>& into) const;
  std::vector<Draft> from_tier(const std::vector<Spoken>& rules, std::uint8_t tier) const;
  std::vector<Draft> passed(const Draft& pass, const std::vector<Draft>& to) const;
  void enter(Direction direction, const std::vector<Draft>& drafts);
  using Entries = std::unordered_map<Key, Entry, KeyHash>;
  static std::optional<Entry> settled(const Key& key, const Entry& entry, const Entries& all);

  const Repository& repository_;
  const Identity& subject_;
  bool is_host_;
  bool is_init_;
  EndpointPolicy policy_;
  std::deque<Rule> defaults_;
  std::map<Place, Agreed> agreed_;
};

}  // namespace fleetmesh::policy
