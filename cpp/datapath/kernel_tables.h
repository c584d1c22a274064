/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Maps and look-ups of one address family. fleetmesh.bpf.c includes this twice, with FM_FAMILY 4 and 6. */

#if FM_FAMILY == 4
#define FM_N(name) name##4
#define FM_OF(name, suffix) name##4##suffix
#define FM_ADDRESS(name) uint32_t name
#define FM_COPY(to, from) ((to) = (from))
#define FM_KEY_OF(address) (&(address))
#define FM_BITS 32
#else
#define FM_N(name) name##6
#define FM_OF(name, suffix) name##6##suffix
#define FM_ADDRESS(name) const uint32_t* name
#define FM_COPY(to, from) __builtin_memcpy(to, from, 16)
#define FM_KEY_OF(address) (address)
#define FM_BITS 128
#endif
#define FM_CT_KEY struct FM_OF(fm_ct, _key)
#define FM_CT_VALUE struct FM_OF(fm_ct, _value)
#define FM_AFFINITY_KEY struct FM_OF(fm_affinity, _key)
#define FM_SERVICE_KEY struct FM_OF(fm_service, _key)
#define FM_PREFIX_KEY struct FM_OF(fm_prefix, _key)

FM_MAP(FM_N(services), FM_MAP_HASH, FM_SERVICE_KEY, struct fm_service_value, 65536, 0);
FM_MAP(FM_N(backends), FM_MAP_HASH, uint32_t, struct FM_N(fm_backend), 65536, 0);
FM_MAP(FM_N(members), FM_MAP_HASH, struct fm_member_key, uint8_t, 65536, 0);
FM_MAP(FM_N(tcp), FM_MAP_LRU_HASH, FM_CT_KEY, FM_CT_VALUE, 524288, 0);
FM_MAP(FM_N(other), FM_MAP_LRU_HASH, FM_CT_KEY, FM_CT_VALUE, 262144, 0);
FM_MAP(FM_N(affinities), FM_MAP_LRU_HASH, FM_AFFINITY_KEY, struct fm_affinity_value, 65536, 0);
/* Identities: of whole addresses, then by the longest prefix. */
FM_MAP(FM_N(addresses), FM_MAP_HASH, uint32_t[FM_BITS / 32], struct fm_identity_value, 65536, 0);
FM_MAP(FM_N(prefixes), FM_MAP_LPM_TRIE, FM_PREFIX_KEY, struct fm_identity_value, 65536, FM_MAP_NO_PREALLOC);

FM_INLINE const struct fm_service_value* FM_N(fm_service)(const FM_SERVICE_KEY* key) {
  return fm_map_lookup(&FM_N(services), key);
}

FM_INLINE const struct FM_N(fm_backend) * FM_N(fm_backend)(uint32_t id) {
  return fm_map_lookup(&FM_N(backends), &id);
}

FM_INLINE int FM_N(fm_takes_new)(const struct fm_service_value* service, uint32_t id) {
  const struct fm_member_key key = {service->number, id};
  return fm_map_lookup(&FM_N(members), &key) != 0;
}

FM_INLINE const struct fm_identity_value* FM_N(fm_identity)(FM_ADDRESS(address)) {
  const struct fm_identity_value* known = fm_map_lookup(&FM_N(addresses), FM_KEY_OF(address));
  if (known) return known;
  FM_PREFIX_KEY key;
  key.length = FM_BITS;
  FM_COPY(key.address, address);
  return fm_map_lookup(&FM_N(prefixes), &key);
}

FM_INLINE FM_CT_VALUE* FM_N(fm_ct_find)(const FM_CT_KEY* key, uint64_t time) {
  FM_CT_VALUE* entry =
      key->protocol == FM_PROTOCOL_TCP ? fm_map_lookup(&FM_N(tcp), key) : fm_map_lookup(&FM_N(other), key);
  return entry && entry->expires > time ? entry : 0;
}

FM_INLINE int FM_N(fm_ct_put)(const FM_CT_KEY* key, const FM_CT_VALUE* value) {
  return key->protocol == FM_PROTOCOL_TCP ? fm_map_update(&FM_N(tcp), key, value, 0) != 0
                                          : fm_map_update(&FM_N(other), key, value, 0) != 0;
}

FM_INLINE struct fm_affinity_value* FM_N(fm_affinity_find)(const FM_AFFINITY_KEY* key) {
  return fm_map_lookup(&FM_N(affinities), key);
}

FM_INLINE void FM_N(fm_affinity_put)(const FM_AFFINITY_KEY* key, const struct fm_affinity_value* value) {
  fm_map_update(&FM_N(affinities), key, value, 0);
}

FM_INLINE void FM_N(fm_affinity_remove)(const FM_AFFINITY_KEY* key) { fm_map_delete(&FM_N(affinities), key); }

#undef FM_N
#undef FM_OF
#undef FM_ADDRESS
#undef FM_COPY
#undef FM_KEY_OF
#undef FM_BITS
#undef FM_CT_KEY
#undef FM_CT_VALUE
#undef FM_AFFINITY_KEY
#undef FM_SERVICE_KEY
#undef FM_PREFIX_KEY
