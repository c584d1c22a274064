/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The decision procedure: what becomes of a packet.
 *
 * Freestanding C, compiled into the core for arrays of packets and for the kernel. Look-ups are macros,
 * which whoever includes this defines first (N is 4 or 6):
 *
 *   FM_CONFIG(tables)                      -> const struct fm_config *
 *   FM_SERVICE_N(tables, key)              -> const struct fm_service_value *, or null
 *   FM_RANK(tables, service, slot)         -> uint32_t
 *   FM_BACKEND_ID(tables, service, rank)   -> uint32_t, 0 where there is none
 *   FM_BACKEND_N(tables, id)               -> const struct fm_backendN *, or null
 *   FM_TAKES_NEW_N(tables, service, id)    -> int, whether the backend is one of the service's `count`
 *   FM_IDENTITY_N(tables, address)         -> const struct fm_identity_value *, or null
 *   FM_CT_FIND_N(tables, key, time)        -> struct fm_ctN_value *, null where there is none or it expired
 *   FM_CT_PUT_N(tables, key, value)        -> int, 0 or an error
 *   FM_AFFINITY_FIND_N(tables, key)        -> struct fm_affinity_value *, or null
 *   FM_AFFINITY_PUT_N(tables, key, value)
 *   FM_AFFINITY_REMOVE_N(tables, key)
 *   FM_ENDPOINT(tables, identity)          -> const struct fm_endpoint_value *, null for whom no policy of
 * this cluster can be about FM_POLICY(tables, endpoint, direction, identity, protocol, port, value)
 *                                          -> int, whether an entry counts: what policy.h finds
 *   FM_AUTHENTICATED(tables, subject, peer, type) -> int
 *
 * The rules are those of Cilium 1.20: bpf/bpf_lxc.c (order of the stages), bpf/lib/lb.h (lb4_local,
 * lb6_local), bpf/lib/conntrack.h (__ct_lookup, ct_create4), bpf/lib/policy.h, bpf/lib/hash.h. They differ
 * from the kernel's in this: an entry is gone when its time is over, not when a sweep comes by.
 */
#ifndef FLEETMESH_DECISION_H
#define FLEETMESH_DECISION_H

#include "abi.h"

#define FM_INLINE static inline __attribute__((always_inline))
#define FM_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define FM_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define FM_SECOND UINT64_C(1000000000)
/* bpf/node_config.h */
#define FM_LIFETIME_TCP (21600 * FM_SECOND)
#define FM_LIFETIME_OTHER (60 * FM_SECOND)
#define FM_LIFETIME_SYN (60 * FM_SECOND)
#define FM_LIFETIME_CLOSED (10 * FM_SECOND)

/* Jenkins' lookup3, as the kernel's jhash has it. */
FM_INLINE uint32_t fm_rotate(uint32_t word, uint32_t shift) {
  return (word << shift) | (word >> (32 - shift));
}

#define FM_HASH_MIX(a, b, c) \
  do {                       \
    a -= c;                  \
    a ^= fm_rotate(c, 4);    \
    c += b;                  \
    b -= a;                  \
    b ^= fm_rotate(a, 6);    \
    a += c;                  \
    c -= b;                  \
    c ^= fm_rotate(b, 8);    \
    b += a;                  \
    a -= c;                  \
    a ^= fm_rotate(c, 16);   \
    c += b;                  \
    b -= a;                  \
    b ^= fm_rotate(a, 19);   \
    a += c;                  \
    c -= b;                  \
    c ^= fm_rotate(b, 4);    \
    b += a;                  \
  } while (0)

#define FM_HASH_FINAL(a, b, c) \
  do {                         \
    c ^= b;                    \
    c -= fm_rotate(b, 14);     \
    a ^= c;                    \
    a -= fm_rotate(c, 11);     \
    b ^= a;                    \
    b -= fm_rotate(a, 25);     \
    c ^= b;                    \
    c -= fm_rotate(b, 16);     \
    a ^= c;                    \
    a -= fm_rotate(c, 4);      \
    b ^= a;                    \
    b -= fm_rotate(a, 14);     \
    c ^= b;                    \
    c -= fm_rotate(b, 24);     \
  } while (0)

/* The hash that picks the slot of a new connection. The address of the service is not hashed. */
FM_INLINE uint32_t fm_hash4(uint32_t source, uint16_t source_port, uint16_t destination_port,
                            uint8_t protocol, uint32_t seed) {
  const uint32_t start = seed + 0xdeadbeefu + (3u << 2);
  uint32_t a = source + start;
  uint32_t b = ((uint32_t)destination_port << 16 | source_port) + start;
  uint32_t c = protocol + start;
  FM_HASH_FINAL(a, b, c);
  return c;
}

FM_INLINE uint32_t fm_hash6(const uint32_t* source, uint16_t source_port, uint16_t destination_port,
                            uint8_t protocol, uint32_t seed) {
  uint32_t a = source[0];
  uint32_t b = source[1];
  uint32_t c = source[2];
  FM_HASH_MIX(a, b, c);
  a += source[3];
  b += (uint32_t)destination_port << 16 | source_port;
  c += protocol;
  FM_HASH_MIX(a, b, c);
  a += seed;
  FM_HASH_FINAL(a, b, c);
  return c;
}

FM_INLINE int fm_tracked(uint8_t protocol) {
  return protocol == FM_PROTOCOL_TCP || protocol == FM_PROTOCOL_UDP || protocol == FM_PROTOCOL_SCTP ||
         protocol == FM_PROTOCOL_ICMP || protocol == FM_PROTOCOL_ICMPV6;
}

/* A SYN, but not its answer. */
FM_INLINE int fm_opens(uint8_t tcp_flags) { return (tcp_flags & (FM_TCP_SYN | FM_TCP_ACK)) == FM_TCP_SYN; }

FM_INLINE int fm_same6(const uint32_t* a, const uint32_t* b) {
  return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

#define FM_FAMILY 4
#include "stages.h"
#undef FM_FAMILY
#define FM_FAMILY 6
#include "stages.h"
#undef FM_FAMILY

#endif
