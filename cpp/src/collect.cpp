// The first half of a merge: which backends a viewer knows of, each address and port once.
#include <algorithm>
#include <tuple>

#include "fleetmesh/merge.hpp"

namespace fleetmesh {
namespace {

auto place(const Candidate& c) { return std::tie(c.address, c.port, c.protocol); }

Candidate candidate_of(ClusterId member, const RowKey& key, const Row& row) {
  Candidate c;
  c.address = key.address();
  c.port = key.port;
  c.protocol = key.protocol;
  c.member = member;
  c.state = row.state;
  c.weight = row.weight;
  c.names = row.names;
  c.node = row.node;
  c.zone = row.zone;
  c.slice = key.slice;
  return c;
}

void drop(Candidate& candidate, Rule rule, std::uint32_t detail = 0) {
  candidate.dropped = rule;
  candidate.detail = detail;
}

bool kept(const Candidate& candidate) { return candidate.dropped == Rule::selected; }

}  // namespace

Revision Reader::slice_revision(ServiceId service, const Candidate& candidate) const {
  const Revision* revision = state_->slices.find({service, candidate.member, candidate.slice});
  return revision ? *revision : 0;
}

Revision Reader::arrival(ClusterId viewer, ClusterId publisher, ServiceId service) const {
  const MemberFacts& here = *state_->members.find(viewer);
  const Offer* offer = state_->offers.find({service, publisher});
  const Revision heard = here.heard_since ? (*here.heard_since)[publisher] : 0;
  return std::max(
      {offer ? offer->record_revision : 0, here.joined, state_->members.find(publisher)->joined, heard});
}

Rule Reader::publisher_rule(ClusterId viewer, ClusterId publisher, ServiceId service) const {
  if (!state_->members.find(viewer)->hears.has(publisher)) return Rule::not_heard;
  const ServiceSpec* spec = state_->spec(publisher, service);
  if (!spec) return Rule::no_service;
  if (!spec->is_global) return Rule::publisher_not_global;
  if (!spec->shared) return Rule::publisher_not_shared;
  if (!spec->namespace_global) return Rule::namespace_not_global;
  return Rule::record_refused;
}

// Own rows are known as they are, others as their record has them.
Candidate Reader::known_as(const MemberFacts& here, bool mine, ClusterId member, const RowKey& key,
                           const Row& row) const {
  Candidate c = candidate_of(member, key, row);
  if (mine) {
    if (row.ingress_dummy) drop(c, Rule::ingress_dummy);
    if (!here.enable_ipv6 && c.address.family == Family::v6) drop(c, Rule::ipv6_disabled);
    return c;
  }
  c.remote = true;
  c.node = 0;
  if (!strict_) {  // the record carries neither conditions nor weights
    c.state = BackendState::active;
    c.weight = kDefaultWeight;
  } else if (c.weight != 0 && c.state != BackendState::terminating) {
    c.state = BackendState::active;
  }
  if (!row.exportable) drop(c, Rule::not_exported);
  return c;
}

std::vector<Candidate> Reader::collect(ClusterId viewer, ServiceId service, bool explain) const {
  std::vector<Candidate> candidates;
  const ServiceEntry* entry = state_->services.find(service);
  if (!entry) return candidates;
  const MemberFacts& here = *state_->members.find(viewer);
  const MemberSet heard = here.hears & entry->exporters;
  // Who serves all its frontends itself under affinity local needs no other member's rows.
  const bool own_only = !explain && entry->covered.has(viewer);

  std::vector<Candidate> run;  // of one member
  const auto finish_run = [&] {
    if (run.empty()) return;
    settle_slices(run, service, run.front().remote);
    std::copy_if(run.begin(), run.end(), std::back_inserter(candidates),
                 [&](const Candidate& c) { return c.protocol != kNoProtocol && (explain || kept(c)); });
    run.clear();
  };
  state_->each_row(service, own_only ? viewer : ClusterId{0},
                   [&](ClusterId member, const RowKey& key, const Row& row) {
                     const bool mine = member == viewer;
                     const bool audible = mine || heard.has(member);
                     if (!audible && !explain) return;
                     if (!run.empty() && run.front().member != member) finish_run();
                     Candidate& c = run.emplace_back(known_as(here, member == viewer, member, key, row));
                     if (mine) return;
                     if (!audible) drop(c, publisher_rule(viewer, member, service));
                   });
  finish_run();
  settle_members(candidates, viewer, service);
  return candidates;
}

// Among slices of one service that list an address, the one written last counts, in strict mode
// the first by name: for each port at home (pkg/loadbalancer/writer/writer.go, updateBackends), for
// the whole address in a record (operator/watchers/service_sync.go, Convert).
void Reader::settle_slices(std::vector<Candidate>& run, ServiceId service, bool whole_address) const {
  const auto other_slice = [&](const Candidate& c) { return c.slice != run.front().slice; };
  if (std::none_of(run.begin(), run.end(), other_slice)) return;
  std::sort(run.begin(), run.end(),
            [](const Candidate& a, const Candidate& b) { return place(a) < place(b); });
  const auto same = [&](const Candidate& a, const Candidate& b) {
    return whole_address ? a.address == b.address : place(a) == place(b);
  };
  const auto better = [&](const Candidate& a, const Candidate& b) {
    if (strict_) return shared_->strings.text(a.slice) < shared_->strings.text(b.slice);
    return slice_revision(service, a) > slice_revision(service, b);
  };
  for (auto first = run.begin(); first != run.end();) {
    auto last = first;
    const Candidate* best = nullptr;
    for (; last != run.end() && same(*first, *last); ++last)
      if (kept(*last) && (!best || (last->slice != best->slice && better(*last, *best)))) best = &*last;
    if (best)
      for (const StringId winner = best->slice; first != last; ++first)
        if (kept(*first) && first->slice != winner) drop(*first, Rule::slice_overlap, winner);
    first = last;
  }
}

// An own backend hides the others' of the same address and port (Cilium's source priority). Members
// that publish the same one share a row: the last to arrive owns it, in strict mode the lowest id.
void Reader::settle_members(std::vector<Candidate>& candidates, ClusterId viewer, ServiceId service) const {
  // Slices are numbered as they come, so only their names are an order that any history leads to.
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    const auto left = std::tuple(place(a), a.remote, a.member);
    const auto right = std::tuple(place(b), b.remote, b.member);
    if (left != right || a.slice == b.slice) return left < right;
    return shared_->strings.text(a.slice) < shared_->strings.text(b.slice);
  });
  for (auto first = candidates.begin(); first != candidates.end();) {
    auto last = first + 1;
    while (last != candidates.end() && place(*last) == place(*first)) ++last;
    Candidate* owner = nullptr;
    Revision newest = 0;
    if (last - first > 1)
      for (auto c = first; c != last; ++c) {
        if (!kept(*c)) continue;
        if (owner && !owner->remote) {
          drop(*c, Rule::hidden_by_local);
          continue;
        }
        const Revision arrived = c->remote && !strict_ ? arrival(viewer, c->member, service) : 0;
        if (owner && arrived < newest) continue;
        if (owner && strict_) continue;
        owner = &*c;
        newest = arrived;
      }
    if (owner && owner->remote)
      for (auto c = first; c != last; ++c)
        if (kept(*c) && &*c != owner) drop(*c, Rule::shared_row, owner->member);
    first = last;
  }
}

bool Reader::undisputed(ClusterId viewer, ServiceId service, std::vector<Candidate>& candidates) const {
  const ServiceEntry* entry = state_->services.find(service);
  if (!entry) return true;
  const MemberFacts& here = *state_->members.find(viewer);
  const MemberSet heard = here.hears & entry->exporters;
  std::size_t run = 0;  // where the rows of the last member begin
  const auto settle = [&] {
    const auto begin = candidates.begin() + static_cast<std::ptrdiff_t>(run);
    if (begin == candidates.end() || begin->slice == candidates.back().slice) return true;
    std::sort(begin, candidates.end(),
              [](const Candidate& a, const Candidate& b) { return place(a) < place(b); });
    return std::adjacent_find(begin, candidates.end(), [](const Candidate& a, const Candidate& b) {
             return a.address == b.address && a.slice != b.slice;
           }) == candidates.end();
  };
  bool settled = true;
  state_->each_row(service, 0, [&](ClusterId member, const RowKey& key, const Row& row) {
    if (!settled || (member != viewer && !heard.has(member))) return;
    if (run < candidates.size() && candidates[run].member != member) {
      settled = settle();
      run = candidates.size();
    }
    candidates.push_back(known_as(here, member == viewer, member, key, row));
  });
  if (!settled || !settle()) return false;
  std::erase_if(candidates, [](const Candidate& c) { return c.protocol == kNoProtocol || !kept(c); });
  return true;
}

bool Reader::record(ClusterId member, ServiceId service, std::vector<RecordEntry>& entries) const {
  const Offer* offer = state_->offers.find({service, member});
  if (!offer || !offer->spec || !offer->spec->has_record()) return false;
  std::vector<Candidate> run;
  for (auto at = offer->rows.begin(); at; at.next())
    if (at.value().exportable) run.push_back(candidate_of(member, at.key(), at.value()));
  settle_slices(run, service, true);
  std::sort(run.begin(), run.end(),
            [](const Candidate& a, const Candidate& b) { return place(a) < place(b); });
  for (const auto& c : run) {
    if (!kept(c)) continue;
    const RowKey key(c.slice, c.address, c.port, c.protocol);
    const Row& row = *offer->rows.find(key);
    if (entries.empty() || entries.back().address != c.address)
      entries.push_back({c.address, row.hostname, row.zone, {}, {}});
    entries.back().ports.push_back(key);
    entries.back().rows.push_back(row);
  }
  return true;
}

}  // namespace fleetmesh
