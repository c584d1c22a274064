// Columns of packets, and what was decided on them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fleetmesh {

// Addresses are plain numbers (IPv4, uint32) or 16 bytes each (IPv6, uint8), ports plain numbers.
template <class Address>
struct PacketColumns {
  std::size_t count = 0;
  const Address* source = nullptr;
  const Address* destination = nullptr;
  const std::uint16_t* source_port = nullptr;
  const std::uint16_t* destination_port = nullptr;
  const std::uint8_t* protocol = nullptr;
  const std::uint8_t* tcp_flags = nullptr;
  const std::uint64_t* time = nullptr;  // ns
  bool one_time = false;                // `time` is a single one, for all packets
};

// All of the packets' length.
template <class Address>
struct DecisionColumns {
  std::uint8_t* verdict = nullptr;  // fm_verdict
  std::uint8_t* egress = nullptr;
  std::uint8_t* ingress = nullptr;
  std::uint8_t* reason = nullptr;  // fm_reason
  std::uint8_t* state = nullptr;   // fm_ct_state
  Address* source = nullptr;       // as it arrives: of an answer, the service's
  Address* destination = nullptr;
  std::uint16_t* source_port = nullptr;
  std::uint16_t* destination_port = nullptr;
  std::uint32_t* backend = nullptr;  // 0: none
  std::uint32_t* service = nullptr;  // number of the frontend; 0: none
  std::uint32_t* source_identity = nullptr;
  std::uint32_t* destination_identity = nullptr;
  std::uint16_t* proxy_port = nullptr;
};

}  // namespace fleetmesh
