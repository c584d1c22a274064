/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The decision procedure as two tc programs for the host's side of a pod's interface: `from_pod` for what the
 * pod sends (ingress), `to_pod` for what it gets (egress).
 *
 * IPv4 without options and IPv6 without extension headers stand at fixed places in the frame. Anything else
 * of IP is dropped, and counted by reason in `drops`; what is not IP, and neighbour discovery, passes. ICMP
 * errors pass as they are, even about a translated flow. SCTP's checksum can't be mended here (it covers the
 * ports, and is a CRC), so an SCTP service whose backend has another port drops. What a proxy takes over passes
 * with a mark that says so to TPROXY; where policy asks for authentication, nobody has proved who it is yet.
 */
#include "abi.h"
#include "kernel.h"

struct fm_tables {
  const struct fm_config* config;
};

#define FM_TABLES const struct fm_tables*
#define FM_CONFIG(tables) ((tables)->config)
#define FM_SERVICE_4(tables, key) ((void)(tables), fm_service4(key))
#define FM_SERVICE_6(tables, key) ((void)(tables), fm_service6(key))
#define FM_RANK(tables, service, slot) ((void)(tables), fm_rank(service, slot))
#define FM_BACKEND_ID(tables, service, rank) ((void)(tables), fm_backend_id(service, rank))
#define FM_TAKES_NEW_4(tables, service, id) ((void)(tables), fm_takes_new4(service, id))
#define FM_TAKES_NEW_6(tables, service, id) ((void)(tables), fm_takes_new6(service, id))
#define FM_BACKEND_4(tables, id) ((void)(tables), fm_backend4(id))
#define FM_BACKEND_6(tables, id) ((void)(tables), fm_backend6(id))
#define FM_IDENTITY_4(tables, address) ((void)(tables), fm_identity4(address))
#define FM_IDENTITY_6(tables, address) ((void)(tables), fm_identity6(address))
#define FM_CT_FIND_4(tables, key, time) ((void)(tables), fm_ct_find4(key, time))
#define FM_CT_FIND_6(tables, key, time) ((void)(tables), fm_ct_find6(key, time))
#define FM_CT_PUT_4(tables, key, value) ((void)(tables), fm_ct_put4(key, value))
#define FM_CT_PUT_6(tables, key, value) ((void)(tables), fm_ct_put6(key, value))
#define FM_AFFINITY_FIND_4(tables, key) ((void)(tables), fm_affinity_find4(key))
#define FM_AFFINITY_FIND_6(tables, key) ((void)(tables), fm_affinity_find6(key))
#define FM_AFFINITY_PUT_4(tables, key, value) ((void)(tables), fm_affinity_put4(key, value))
#define FM_AFFINITY_PUT_6(tables, key, value) ((void)(tables), fm_affinity_put6(key, value))
#define FM_AFFINITY_REMOVE_4(tables, key) ((void)(tables), fm_affinity_remove4(key))
#define FM_AFFINITY_REMOVE_6(tables, key) ((void)(tables), fm_affinity_remove6(key))

#define FM_ENDPOINT(tables, identity) ((void)(tables), fm_endpoint(identity))
#define FM_POLICY_ENTRY(tables, key) ((void)(tables), fm_policy_entry(key))
#define FM_POLICY(tables, endpoint, direction, identity, protocol, port, value) \
  fm_policy_lookup(tables, (tables)->config, endpoint, direction, identity, protocol, port, value)
/* Nobody is, until a loader keeps a table of who has proved who it is. */
#define FM_AUTHENTICATED(tables, subject, peer, type) ((void)(tables), 0)

FM_MAP(config, FM_MAP_ARRAY, uint32_t, struct fm_config, 1, 0);
FM_MAP(drops, FM_MAP_PERCPU_ARRAY, uint32_t, uint64_t, 256, 0); /* packets, by reason */

/* The pools, a page at a time: the place in a page is bounded by a mask, which the verifier sees, and a
 * loader chooses how many pages there are. */
#define FM_PAGE_RANKS 2048u
#define FM_PAGE_IDS 1024u
FM_MAP(ranks, FM_MAP_ARRAY, uint32_t, uint16_t[FM_PAGE_RANKS], 1024, FM_MAP_MMAPABLE);
FM_MAP(ids, FM_MAP_ARRAY, uint32_t, uint32_t[FM_PAGE_IDS], 1024, FM_MAP_MMAPABLE);

FM_MAP(endpoints, FM_MAP_HASH, uint32_t, struct fm_endpoint_value, 65536, 0); /* by identity */
FM_MAP(policies, FM_MAP_HASH, struct fm_policy_key, struct fm_policy_value, 65536, FM_MAP_NO_PREALLOC);

FM_INLINE const struct fm_endpoint_value* fm_endpoint(uint32_t identity) {
  return fm_map_lookup(&endpoints, &identity);
}

FM_INLINE const struct fm_policy_value* fm_policy_entry(const struct fm_policy_key* key) {
  return fm_map_lookup(&policies, key);
}

FM_INLINE uint32_t fm_rank(const struct fm_service_value* service, uint32_t slot) {
  const int wide = service->flags & FM_SERVICE_WIDE;
  const uint32_t place = service->table_offset + (wide ? 2 * slot : slot);
  const uint32_t page = place / FM_PAGE_RANKS;
  const uint16_t* pool = fm_map_lookup(&ranks, &page);
  if (!pool) return UINT32_MAX;
  if (wide) return *(const uint32_t*)(const void*)(pool + (place & (FM_PAGE_RANKS - 2)));
  return pool[place & (FM_PAGE_RANKS - 1)];
}

FM_INLINE uint32_t fm_backend_id(const struct fm_service_value* service, uint32_t rank) {
  if (rank >= service->count) return 0;
  const uint32_t place = service->ids_offset + rank;
  const uint32_t page = place / FM_PAGE_IDS;
  const uint32_t* pool = fm_map_lookup(&ids, &page);
  return pool ? pool[place & (FM_PAGE_IDS - 1)] : 0;
}

#include "policy.h"
#define FM_FAMILY 4
#include "kernel_tables.h"
#undef FM_FAMILY
#define FM_FAMILY 6
#include "kernel_tables.h"
#undef FM_FAMILY
#include "decision.h"
/* after decision.h, whose states they fill */
#include "frame.h"

FM_INLINE void fm_redirect(struct fm_skb* skb, uint8_t verdict, uint16_t proxy_port) {
  if (verdict == FM_VERDICT_REDIRECT)
    skb->mark = FM_MARK_TO_PROXY | (uint32_t)__builtin_bswap16(proxy_port) << 16;
}

FM_INLINE uint8_t fm_leave4(struct fm_skb* skb, const struct fm_tables* tables) {
  struct fm_state4 s;
  __builtin_memset(&s, 0, sizeof s);
  uint8_t reason = fm_read4(skb, &s);
  if (reason) return reason;
  if (!fm_from_endpoint4(&s, tables)) return s.reason;
  fm_redirect(skb, s.verdict, s.proxy_port);
  if (!s.service) return 0;
  reason = fm_rewrite_port(skb, s.protocol, FM_AT_TRANSPORT4, FM_AT_DESTINATION_PORT, s.service_port,
                           s.destination_port);
  if (reason) return reason;
  return fm_rewrite4(skb, s.protocol, offsetof(struct fm_ipv4_header, destination), s.service_address,
                     s.destination);
}

FM_INLINE uint8_t fm_leave6(struct fm_skb* skb, const struct fm_tables* tables) {
  struct fm_state6 s;
  __builtin_memset(&s, 0, sizeof s);
  uint8_t reason = fm_read6(skb, &s);
  if (reason) return reason;
  if (!fm_from_endpoint6(&s, tables)) return s.reason;
  fm_redirect(skb, s.verdict, s.proxy_port);
  if (!s.service) return 0;
  reason = fm_rewrite_port(skb, s.protocol, FM_AT_TRANSPORT6, FM_AT_DESTINATION_PORT, s.service_port,
                           s.destination_port);
  if (reason) return reason;
  return fm_rewrite6(skb, s.protocol, offsetof(struct fm_ipv6_header, destination), s.service_address,
                     s.destination);
}

FM_INLINE uint8_t fm_arrive4(struct fm_skb* skb, const struct fm_tables* tables) {
  struct fm_state4 s;
  __builtin_memset(&s, 0, sizeof s);
  uint8_t reason = fm_read4(skb, &s);
  if (reason) return reason;
  const uint32_t source = s.source;
  const uint16_t port = s.source_port;
  if (!fm_to_endpoint4(&s, tables)) return s.reason;
  fm_redirect(skb, s.verdict, s.proxy_port);
  if (s.ct != FM_CT_REPLY || !s.service_number) return 0;
  reason = fm_rewrite_port(skb, s.protocol, FM_AT_TRANSPORT4, FM_AT_SOURCE_PORT, port, s.source_port);
  if (reason) return reason;
  return fm_rewrite4(skb, s.protocol, offsetof(struct fm_ipv4_header, source), source, s.source);
}

FM_INLINE uint8_t fm_arrive6(struct fm_skb* skb, const struct fm_tables* tables) {
  struct fm_state6 s;
  __builtin_memset(&s, 0, sizeof s);
  uint8_t reason = fm_read6(skb, &s);
  if (reason) return reason;
  uint32_t source[4];
  __builtin_memcpy(source, s.source, 16);
  const uint16_t port = s.source_port;
  if (!fm_to_endpoint6(&s, tables)) return s.reason;
  fm_redirect(skb, s.verdict, s.proxy_port);
  if (s.ct != FM_CT_REPLY || !s.service_number) return 0;
  reason = fm_rewrite_port(skb, s.protocol, FM_AT_TRANSPORT6, FM_AT_SOURCE_PORT, port, s.source_port);
  if (reason) return reason;
  return fm_rewrite6(skb, s.protocol, offsetof(struct fm_ipv6_header, source), source, s.source);
}

FM_INLINE int fm_run(struct fm_skb* skb, int leaving) {
  struct fm_tables tables;
  const uint32_t only = 0;
  uint32_t reason =
      FM_REASON_INVALID; /* of every packet, until a loader has said which ABI its tables have */
  const int v4 = skb->protocol == __builtin_bswap16(FM_ETHERTYPE_IPV4);
  if (!v4 && (skb->protocol != __builtin_bswap16(FM_ETHERTYPE_IPV6) || fm_discovers(skb))) return FM_TC_PASS;
  tables.config = fm_map_lookup(&config, &only);
  if (tables.config && tables.config->abi == FM_ABI_VERSION) {
    if (leaving)
      reason = v4 ? fm_leave4(skb, &tables) : fm_leave6(skb, &tables);
    else
      reason = v4 ? fm_arrive4(skb, &tables) : fm_arrive6(skb, &tables);
    if (FM_LIKELY(!reason)) return FM_TC_PASS;
  }
  uint64_t* dropped = fm_map_lookup(&drops, &reason);
  if (dropped) ++*dropped;
  return FM_TC_DROP;
}

FM_SECTION("tc/from_pod") int from_pod(struct fm_skb* skb) { return fm_run(skb, 1); }

FM_SECTION("tc/to_pod") int to_pod(struct fm_skb* skb) { return fm_run(skb, 0); }

/* What the kernel asks for before it lends its helpers; one of the two licences above. */
char fm_license[] FM_SECTION("license") = "GPL";
