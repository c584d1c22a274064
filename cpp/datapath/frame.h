/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Reading the headers of a frame, and rewriting one end with every checksum that covers it.
 *
 * Functions that return uint8_t return 0 or the reason to drop the packet.
 */
#ifndef FLEETMESH_FRAME_H
#define FLEETMESH_FRAME_H

#include "decision.h"
#include "kernel.h"

struct fm_ipv4_header {
  uint8_t version_and_size;
  uint8_t traffic_class;
  uint16_t size; /* with this header */
  uint16_t id;
  uint16_t fragment;
  uint8_t hops;
  uint8_t protocol;
  uint16_t checksum;
  uint32_t source;
  uint32_t destination;
};
_Static_assert(sizeof(struct fm_ipv4_header) == 20, "RFC 791");

struct fm_ipv6_header {
  uint32_t version_and_flow;
  uint16_t size; /* of what follows */
  uint8_t next;
  uint8_t hops;
  uint32_t source[4];
  uint32_t destination[4];
};
_Static_assert(sizeof(struct fm_ipv6_header) == 40, "RFC 8200");

enum {
  FM_ETHERTYPE_IPV4 = 0x0800,
  FM_ETHERTYPE_IPV6 = 0x86dd,

  FM_AT_IP = 14, /* after the Ethernet header */
  FM_AT_TRANSPORT4 = FM_AT_IP + sizeof(struct fm_ipv4_header),
  FM_AT_TRANSPORT6 = FM_AT_IP + sizeof(struct fm_ipv6_header),

  FM_TRANSPORT_HEADER = 8, /* the least of any */
  FM_TCP_HEADER = 20,
  FM_SCTP_HEADER = 12,
  FM_AT_SOURCE_PORT = 0,
  FM_AT_DESTINATION_PORT = 2,
  FM_AT_ECHO_ID = 4,
  FM_AT_UDP_CHECKSUM = 6,
  FM_AT_TCP_FLAGS = 13,
  FM_AT_TCP_CHECKSUM = 16,

  FM_ICMP_ECHO_REPLY = 0,
  FM_ICMP_ECHO = 8,
  FM_ICMPV6_ECHO = 128,
  FM_ICMPV6_ECHO_REPLY = 129,
  FM_ICMPV6_DISCOVERY_FIRST = 133, /* RFC 4861 */
  FM_ICMPV6_DISCOVERY_LAST = 137,
};

/* What tells a rule of TPROXY to hand a packet to the proxy whose port, in network order, is in the upper
 * half of the mark: MARK_MAGIC_TO_PROXY of Cilium (bpf/lib/common.h). */
#define FM_MARK_TO_PROXY 0x0200u

/* The frame, of which the first `size` bytes may be read; null if it is shorter. */
FM_INLINE const uint8_t* fm_frame(struct fm_skb* skb, uint32_t size) {
  const uint8_t* frame = (const uint8_t*)(uintptr_t)skb->data;
  if (FM_LIKELY(frame + size <= (const uint8_t*)(uintptr_t)skb->data_end)) return frame;
  if (fm_pull(skb, size)) return 0;
  frame = (const uint8_t*)(uintptr_t)skb->data;
  return frame + size <= (const uint8_t*)(uintptr_t)skb->data_end ? frame : 0;
}

/* Whether IP says that it has this much. A packet that is to be segmented and has over 64 KiB says 0. */
FM_INLINE int fm_has(const struct fm_skb* skb, uint16_t size, uint32_t needed) {
  return size ? __builtin_bswap16(size) >= needed : skb->len > UINT16_MAX;
}

FM_INLINE uint32_t fm_transport_size(uint8_t protocol) {
  if (protocol == FM_PROTOCOL_TCP) return FM_TCP_HEADER;
  return protocol == FM_PROTOCOL_SCTP ? FM_SCTP_HEADER : FM_TRANSPORT_HEADER;
}

struct fm_ports {
  uint16_t source;
  uint16_t destination;
  uint8_t tcp_flags;
};

/* Ports, or what stands in for them: ICMP comes to the type of its message, which policy asks for; an echo
 * comes from its number, and is answered the other way round. */
FM_INLINE uint8_t fm_read_ports(struct fm_skb* skb, uint32_t at, uint8_t protocol, struct fm_ports* ports) {
  const uint8_t* frame = fm_frame(skb, at + FM_TRANSPORT_HEADER);
  if (!frame) return FM_REASON_INVALID;
  const uint8_t* transport = frame + at;
  if (protocol == FM_PROTOCOL_ICMP || protocol == FM_PROTOCOL_ICMPV6) {
    const int old = protocol == FM_PROTOCOL_ICMP;
    const uint8_t type = transport[0];
    const uint8_t echo = old ? FM_ICMP_ECHO : FM_ICMPV6_ECHO;
    const uint16_t id = *(const uint16_t*)(const void*)(transport + FM_AT_ECHO_ID);
    ports->destination = __builtin_bswap16(type);
    if (type == echo) ports->source = id;
    if (type == (old ? FM_ICMP_ECHO_REPLY : FM_ICMPV6_ECHO_REPLY)) {
      ports->source = __builtin_bswap16(echo);
      ports->destination = id;
    }
    return 0;
  }
  ports->source = *(const uint16_t*)(const void*)(transport + FM_AT_SOURCE_PORT);
  ports->destination = *(const uint16_t*)(const void*)(transport + FM_AT_DESTINATION_PORT);
  if (protocol != FM_PROTOCOL_TCP) return 0;
  frame = fm_frame(skb, at + FM_TCP_HEADER);
  if (!frame) return FM_REASON_INVALID;
  ports->tcp_flags = frame[at + FM_AT_TCP_FLAGS];
  return 0;
}

/* Whether an IPv6 frame asks for, or tells, a neighbour or router. */
FM_INLINE int fm_discovers(struct fm_skb* skb) {
  const uint8_t* frame = fm_frame(skb, FM_AT_TRANSPORT6 + FM_TRANSPORT_HEADER);
  if (!frame) return 0;
  const struct fm_ipv6_header* ip = (const void*)(frame + FM_AT_IP);
  const uint8_t type = frame[FM_AT_TRANSPORT6];
  return ip->next == FM_PROTOCOL_ICMPV6 && type >= FM_ICMPV6_DISCOVERY_FIRST &&
         type <= FM_ICMPV6_DISCOVERY_LAST;
}

/* Fills in what the procedure wants to know of a packet. */
FM_INLINE uint8_t fm_read4(struct fm_skb* skb, struct fm_state4* s) {
  struct fm_ports ports = {0, 0, 0};
  const uint8_t* frame = fm_frame(skb, FM_AT_TRANSPORT4);
  if (!frame) return FM_REASON_INVALID;
  const struct fm_ipv4_header* ip = (const void*)(frame + FM_AT_IP);
  if (ip->version_and_size != 0x45) return FM_REASON_INVALID;
  if (ip->fragment & __builtin_bswap16(0x1fff)) return FM_REASON_FRAGMENT;
  s->protocol = ip->protocol;
  if (!fm_tracked(s->protocol)) return FM_REASON_UNKNOWN_PROTOCOL;
  if (!fm_has(skb, ip->size, sizeof *ip + fm_transport_size(s->protocol))) return FM_REASON_INVALID;
  s->source = ip->source;
  s->destination = ip->destination;
  const uint8_t reason = fm_read_ports(skb, FM_AT_TRANSPORT4, s->protocol, &ports);
  s->source_port = ports.source;
  s->destination_port = ports.destination;
  s->tcp_flags = ports.tcp_flags;
  s->time = fm_time();
  return reason;
}

FM_INLINE uint8_t fm_read6(struct fm_skb* skb, struct fm_state6* s) {
  struct fm_ports ports = {0, 0, 0};
  const uint8_t* frame = fm_frame(skb, FM_AT_TRANSPORT6);
  if (!frame) return FM_REASON_INVALID;
  const struct fm_ipv6_header* ip = (const void*)(frame + FM_AT_IP);
  if (frame[FM_AT_IP] >> 4 != 6) return FM_REASON_INVALID;
  s->protocol = ip->next;
  if (!fm_tracked(s->protocol)) return FM_REASON_UNKNOWN_PROTOCOL;
  if (!fm_has(skb, ip->size, fm_transport_size(s->protocol))) return FM_REASON_INVALID;
  __builtin_memcpy(s->source, ip->source, 16);
  __builtin_memcpy(s->destination, ip->destination, 16);
  const uint8_t reason = fm_read_ports(skb, FM_AT_TRANSPORT6, s->protocol, &ports);
  s->source_port = ports.source;
  s->destination_port = ports.destination;
  s->tcp_flags = ports.tcp_flags;
  s->time = fm_time();
  return reason;
}

/* The place of the checksum in its transport header; 0 where none can be mended. */
FM_INLINE uint32_t fm_checksum_at(uint8_t protocol) {
  if (protocol == FM_PROTOCOL_TCP) return FM_AT_TCP_CHECKSUM;
  return protocol == FM_PROTOCOL_UDP ? FM_AT_UDP_CHECKSUM : 0;
}

FM_INLINE uint64_t fm_checksum_flags(uint8_t protocol) {
  return protocol == FM_PROTOCOL_UDP ? FM_CSUM_MANGLED_0 : 0;
}

FM_INLINE uint8_t fm_rewrite_port(struct fm_skb* skb, uint8_t protocol, uint32_t transport_at,
                                  uint32_t port_at, uint16_t from, uint16_t to) {
  const uint32_t checksum_at = fm_checksum_at(protocol);
  if (from == to) return 0;
  if (!checksum_at) return FM_REASON_CHECKSUM;
  if (fm_l4_checksum(skb, transport_at + checksum_at, from, to, sizeof to | fm_checksum_flags(protocol)))
    return FM_REASON_CHECKSUM;
  return fm_store(skb, transport_at + port_at, &to, sizeof to, 0) ? FM_REASON_CHECKSUM : 0;
}

FM_INLINE uint8_t fm_rewrite4(struct fm_skb* skb, uint8_t protocol, uint32_t address_at, uint32_t from,
                              uint32_t to) {
  const uint32_t checksum_at = fm_checksum_at(protocol);
  const uint64_t flags = sizeof to | FM_CSUM_PSEUDO_HEADER | fm_checksum_flags(protocol);
  if (checksum_at && fm_l4_checksum(skb, FM_AT_TRANSPORT4 + checksum_at, from, to, flags))
    return FM_REASON_CHECKSUM;
  if (fm_l3_checksum(skb, FM_AT_IP + offsetof(struct fm_ipv4_header, checksum), from, to, sizeof to))
    return FM_REASON_CHECKSUM;
  return fm_store(skb, FM_AT_IP + address_at, &to, sizeof to, 0) ? FM_REASON_CHECKSUM : 0;
}

FM_INLINE uint8_t fm_rewrite6(struct fm_skb* skb, uint8_t protocol, uint32_t address_at, const uint32_t* from,
                              const uint32_t* to) {
  const uint32_t checksum_at = fm_checksum_at(protocol);
  if (checksum_at) {
    const uint64_t flags = FM_CSUM_PSEUDO_HEADER | fm_checksum_flags(protocol);
    const uint64_t difference = (uint64_t)fm_difference(from, 16, to, 16, 0);
    long failed = fm_l4_checksum(skb, FM_AT_TRANSPORT6 + checksum_at, 0, difference, flags | FM_CSUM_IPV6);
    /* A kernel without the flag is wrong only about a sum that hardware took over the whole packet; it finds
     * that out and takes it again. */
    if (failed == FM_KERNEL_INVALID)
      failed = fm_l4_checksum(skb, FM_AT_TRANSPORT6 + checksum_at, 0, difference, flags);
    if (failed) return FM_REASON_CHECKSUM;
  }
  return fm_store(skb, FM_AT_IP + address_at, to, 16, 0) ? FM_REASON_CHECKSUM : 0;
}

#endif
