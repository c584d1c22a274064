// Packets as values, made of a fuzzer's bytes, and what a data path decides on them.
#pragma once

#include <algorithm>
#include <vector>

#include "bytes.hpp"
#include "fleetmesh/datapath.hpp"
#include "small_mesh.hpp"

namespace fleetmesh::fuzz {

inline constexpr std::uint64_t kSecond = 1000000000;

struct Packet {
  Address source;
  Address destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint8_t protocol = 6;
  std::uint8_t flags = 0;
  std::uint64_t time = 0;
};

struct Decision {
  std::uint8_t verdict = 0;
  std::uint8_t egress = 0;
  std::uint8_t ingress = 0;
  std::uint8_t reason = 0;
  std::uint8_t state = 0;
  Address source;
  Address destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint32_t backend = 0;
  std::uint32_t service = 0;
  std::uint32_t source_identity = 0;
  std::uint32_t destination_identity = 0;
  std::uint16_t proxy_port = 0;

  bool operator==(const Decision&) const = default;
};

inline void append(std::vector<std::uint32_t>& column, const Address& address) {
  column.push_back(static_cast<std::uint32_t>(address.low));
}
inline void append(std::vector<std::uint8_t>& column, const Address& address) {
  for (const std::uint64_t half : {address.high, address.low})
    for (int shift = 56; shift >= 0; shift -= 8) column.push_back(static_cast<std::uint8_t>(half >> shift));
}
inline Address address_at(const std::vector<std::uint32_t>& column, std::size_t at) {
  return Address::v4(column[at]);
}
inline Address address_at(const std::vector<std::uint8_t>& column, std::size_t at) {
  return Address::v6(column.data() + at * 16);
}

// The columns are as long as they have to be, so that the sanitizer sees a step beyond.
template <class Column, class Path>
std::vector<Decision> decide_columns(Path& path, const std::vector<Packet>& packets) {
  const std::size_t n = packets.size();
  std::vector<Column> source, destination;
  std::vector<std::uint16_t> source_port, destination_port;
  std::vector<std::uint8_t> protocol, flags;
  std::vector<std::uint64_t> time;
  for (const Packet& packet : packets) {
    append(source, packet.source);
    append(destination, packet.destination);
    source_port.push_back(packet.source_port);
    destination_port.push_back(packet.destination_port);
    protocol.push_back(packet.protocol);
    flags.push_back(packet.flags);
    time.push_back(packet.time);
  }
  constexpr std::uint8_t nothing = 0xee;  // what no decision is
  std::vector<std::uint8_t> verdict(n, nothing), egress(n, nothing), ingress(n, nothing), reason(n, nothing),
      state(n, nothing);
  std::vector<Column> from(source.size()), to(source.size());
  std::vector<std::uint16_t> from_port(n), to_port(n), proxy(n);
  std::vector<std::uint32_t> backend(n), service(n), first(n), second(n);
  path.process(
      PacketColumns<Column>{n, source.data(), destination.data(), source_port.data(), destination_port.data(),
                            protocol.data(), flags.data(), time.data(), false},
      DecisionColumns<Column>{verdict.data(), egress.data(), ingress.data(), reason.data(), state.data(),
                              from.data(), to.data(), from_port.data(), to_port.data(), backend.data(),
                              service.data(), first.data(), second.data(), proxy.data()});
  std::vector<Decision> decisions;
  for (std::size_t i = 0; i < n; ++i)
    decisions.push_back({verdict[i], egress[i], ingress[i], reason[i], state[i], address_at(from, i),
                         address_at(to, i), from_port[i], to_port[i], backend[i], service[i], first[i],
                         second[i], proxy[i]});
  return decisions;
}

// Of one family; a data path, or a chain of them.
template <class Path>
std::vector<Decision> decide(Path& path, const std::vector<Packet>& packets) {
  const bool v6 = !packets.empty() && packets[0].source.family == Family::v6;
  return v6 ? decide_columns<std::uint8_t>(path, packets) : decide_columns<std::uint32_t>(path, packets);
}

// Few ends and ports, so that packets meet; what was before is answered, and comes again.
class PacketMaker {
 public:
  std::vector<Packet> make(Bytes& bytes, bool v6) {
    std::vector<Packet> packets;
    const std::size_t count = bytes.u8() % 48;
    for (std::size_t i = 0; i < count && bytes.left(); ++i) packets.push_back(one(bytes, v6));
    return packets;
  }

  // What became of the packets of the last call.
  void note(const std::vector<Packet>& packets, const std::vector<Decision>& decisions) {
    for (std::size_t i = 0; i < packets.size(); ++i) {
      Packet& answer = answers_[packets[i].source.family == Family::v6][at_++ % kPast];
      answer = packets[i];
      answer.source = decisions[i].destination;
      answer.destination = packets[i].source;
      answer.source_port = decisions[i].destination_port;
      answer.destination_port = packets[i].source_port;
    }
  }

  std::uint64_t time() const { return time_; }

 private:
  static constexpr std::size_t kPast = 16;

  Packet one(Bytes& bytes, bool v6) {
    const std::uint8_t kind = bytes.u8();
    const std::uint8_t which = bytes.u8();
    const std::uint8_t how = bytes.u8();
    // The ends of every time-out, and one before.
    constexpr std::array<std::uint64_t, 8> steps{1,
                                                 5 * kSecond - 1,
                                                 5 * kSecond,
                                                 10 * kSecond - 1,
                                                 10 * kSecond,
                                                 60 * kSecond - 1,
                                                 60 * kSecond,
                                                 21600 * kSecond};
    if (how & 128U) time_ += steps[how >> 4U & 7U];
    constexpr std::array<std::uint8_t, 8> flags{0x02, 0x10, 0x12, 0x11, 0x04, 0x03, 0x00, 0xff};
    Packet packet;
    if ((kind & 3U) == 3) {
      packet = answers_[v6][which % kPast];
      if (packet.source.family != (v6 ? Family::v6 : Family::v4))
        packet.source = packet.destination = client(v6, 0);
    } else {
      packet.source = client(v6, kind >> 2U & 7U);
      packet.source_port = static_cast<std::uint16_t>(1000 + (kind >> 5U));
      const Port& port = kPorts[which % kPorts.size()];
      packet.protocol = port.protocol;
      packet.destination_port = port.port;
      packet.destination = vip(v6, kClusters[which >> 6U & 1U], which >> 2U & 3U);
      if (which & 128U) packet.destination = client(v6, which >> 2U & 7U);
      if ((kind & 3U) == 2) {
        const std::uint8_t odd = bytes.u8();
        packet.protocol = odd & 1U ? odd : packet.protocol;
        packet.destination_port = odd & 2U ? bytes.u16() : port.target;
        packet.source_port = odd & 4U ? bytes.u16() : packet.source_port;
      }
    }
    packet.flags = flags[how & 7U];
    packet.time = time_;
    return packet;
  }

  static Address client(bool v6, unsigned which) {
    switch (which) {
      case 5:
        return pod(v6, 2, 1);
      case 6:
        return pod(v6, 2, 9);
      case 7:
        return numbered(v6, 200, 9);  // of no cluster
      default:
        return pod(v6, 1, static_cast<std::uint16_t>(which + 1));
    }
  }

  std::uint64_t time_ = 1000 * kSecond;
  std::size_t at_ = 0;
  std::array<std::array<Packet, kPast>, 2> answers_{};
};

}  // namespace fleetmesh::fuzz
