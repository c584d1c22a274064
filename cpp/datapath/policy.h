/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the entries of an endpoint say of a packet: two look-ups by longest prefix, of the identity and of the
 * aggregate that it is one of.
 *
 * Freestanding C; whoever includes this defines first
 *
 *   FM_POLICY_ENTRY(tables, key) -> const struct fm_policy_value *, or null
 *
 * After Cilium 1.20: bpf/lib/policy.h (__policy_can_access), pkg/policy/mapstate.go (lookup) and
 * pkg/policy/aggregate.go. There is no trie: a mask has the prefix lengths in use, which are few.
 */
#ifndef FLEETMESH_POLICY_H
#define FLEETMESH_POLICY_H

#include "aggregate.h"

/* As in decision.h, which comes after the look-ups. */
#define FM_INLINE static inline __attribute__((always_inline))

/* The entry of an identity with the longest prefix that the packet's protocol and port have. 1 + the length,
 * or 0.
 *
 * For the verifier: the entry is copied, as it keeps no two pointers apart that may be null; and bits count
 * down from a number that it does not know and nothing in the loop depends on, so that it follows the loop
 * once, not once for each number. */
FM_INLINE uint32_t fm_policy_longest(FM_TABLES tables, const struct fm_endpoint_value* endpoint,
                                     struct fm_policy_key* key, uint8_t protocol, uint16_t port,
                                     struct fm_policy_value* value) {
  const uint32_t lengths = endpoint->lengths[key->direction & 1];
  const struct fm_policy_value* found;
  uint32_t bits = endpoint->port_bits[key->direction & 1];
  key->protocol = protocol;
  for (uint32_t tries = 0; tries <= FM_POLICY_PORT_LENGTH - FM_POLICY_PROTOCOL_LENGTH; ++tries, --bits) {
    bits &= 31;
    key->port = port & __builtin_bswap16((uint16_t)(0xffff0000u >> bits));
    key->port_prefix = (uint8_t)(FM_POLICY_PROTOCOL_LENGTH + bits);
    if (!(lengths >> FM_POLICY_PROTOCOL_LENGTH >> bits & 1)) continue;
    found = FM_POLICY_ENTRY(tables, key);
    if (!found) continue;
    *value = *found;
    return FM_POLICY_PROTOCOL_LENGTH + bits + 1;
  }
  if (!(lengths & 1)) return 0;
  key->port = 0;
  key->protocol = 0;
  key->port_prefix = 0;
  found = FM_POLICY_ENTRY(tables, key);
  if (!found) return 0;
  *value = *found;
  return 1;
}

/* One entry decides; where it says nothing of authentication, another of no lower level may. */
FM_INLINE int fm_policy_take(const struct fm_policy_value* taken, const struct fm_policy_value* other,
                             struct fm_policy_value* value) {
  *value = *taken;
  if (!(taken->flags & FM_POLICY_EXPLICIT_AUTH) && other->auth > taken->auth &&
      FM_POLICY_LEVEL(other->precedence) >= FM_POLICY_LEVEL(taken->precedence))
    value->auth = other->auth;
  return 1;
}

/* Of both entries the one of the higher precedence counts. Of equals the broader one does, to which the other
 * adds its authentication (mapState.lookup). */
FM_INLINE int fm_policy_lookup(FM_TABLES tables, const struct fm_config* config,
                               const struct fm_endpoint_value* endpoint, uint8_t direction, uint32_t identity,
                               uint8_t protocol, uint16_t port, struct fm_policy_value* value) {
  struct fm_policy_key key;
  struct fm_policy_value own;
  struct fm_policy_value all;
  const uint32_t aggregate = fm_aggregate_of(identity, config->cluster, config->identity_bits);
  __builtin_memset(&key, 0, sizeof key);
  key.endpoint = endpoint->endpoint;
  key.direction = direction;
  key.identity = identity;
  const uint32_t own_found = fm_policy_longest(tables, endpoint, &key, protocol, port, &own);
  key.identity = aggregate;
  const uint32_t all_found =
      aggregate == identity ? 0 : fm_policy_longest(tables, endpoint, &key, protocol, port, &all);
  if (!all_found) {
    if (own_found) *value = own;
    return own_found != 0;
  }
  if (!own_found || all.precedence > own.precedence) {
    *value = all;
    return 1;
  }
  if (own.precedence > all.precedence || FM_POLICY_RANK(own.precedence) == FM_POLICY_RANK_DENY) {
    *value = own;
    return 1;
  }
  if (own_found > all_found) return fm_policy_take(&all, &own, value);
  return fm_policy_take(&own, &all, value);
}

#endif
