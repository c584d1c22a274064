/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The stages for one address family. decision.h includes this twice, with FM_FAMILY 4 and 6. */

#if FM_FAMILY == 4
#define FM_N(name) name##4
#define FM_OF(name, suffix) name##4##suffix
#define FM_LOOKUP(name) name##_4
#define FM_ADDRESS(name) uint32_t name
#define FM_COPY(to, from) ((to) = (from))
#define FM_SAME(a, b) ((a) == (b))
#else
#define FM_N(name) name##6
#define FM_OF(name, suffix) name##6##suffix
#define FM_LOOKUP(name) name##_6
#define FM_ADDRESS(name) uint32_t name[4]
#define FM_COPY(to, from) __builtin_memcpy(to, from, 16)
#define FM_SAME(a, b) fm_same6(a, b)
#endif
#define FM_STATE struct FM_N(fm_state)
#define FM_CT_KEY struct FM_OF(fm_ct, _key)
#define FM_CT_VALUE struct FM_OF(fm_ct, _value)
#define FM_SERVICE_KEY struct FM_OF(fm_service, _key)
#define FM_AFFINITY_KEY struct FM_OF(fm_affinity, _key)
#define FM_BACKEND_VALUE struct FM_N(fm_backend)

/* A packet on its way: what was parsed, and what the stages have found and changed. */
FM_STATE {
  uint64_t time; /* ns */
  const struct fm_service_value* service;
  const FM_BACKEND_VALUE* backend;
  FM_ADDRESS(source);
  FM_ADDRESS(destination);
  FM_ADDRESS(service_address); /* where the client sent it, if that was a service */
  uint16_t source_port;
  uint16_t destination_port;
  uint16_t service_port;
  uint16_t proxy_port;
  uint8_t protocol;
  uint8_t tcp_flags;
  uint8_t source_here; /* whether that end is in this cluster */
  uint8_t destination_here;
  uint16_t source_cluster;
  uint16_t destination_cluster;
  uint32_t source_identity;
  uint32_t destination_identity;
  uint32_t service_number; /* 0: no service */
  uint32_t backend_id;
  uint8_t verdict; /* fm_verdict; of the packet, then of either side */
  uint8_t egress;
  uint8_t ingress;
  uint8_t reason;  /* fm_reason */
  uint8_t ct;      /* fm_ct_state */
  uint8_t opened;  /* a connection to a service began, or got another backend */
  uint8_t unknown; /* no entry tells of the connection on this side yet */
};

FM_INLINE int FM_N(fm_drop)(FM_STATE* s, uint8_t reason) {
  s->verdict = FM_VERDICT_DENY;
  s->reason = reason;
  s->proxy_port = 0;
  return 0;
}

/* The packet's place in the connection table, seen from its own direction or from that of the answer. */
FM_INLINE void FM_N(fm_ct_forward)(const FM_STATE* s, uint8_t direction, FM_CT_KEY* key) {
  FM_COPY(key->source, s->source);
  FM_COPY(key->destination, s->destination);
  key->source_port = s->source_port;
  key->destination_port = s->destination_port;
  key->protocol = s->protocol;
  key->direction = direction;
  key->pad0 = 0;
}

FM_INLINE void FM_N(fm_ct_backward)(const FM_STATE* s, uint8_t direction, FM_CT_KEY* key) {
  FM_COPY(key->source, s->destination);
  FM_COPY(key->destination, s->source);
  key->source_port = s->destination_port;
  key->destination_port = s->source_port;
  key->protocol = s->protocol;
  key->direction = direction;
  key->pad0 = 0;
}

FM_INLINE void FM_N(fm_ct_renew)(FM_CT_VALUE* entry, uint64_t time, uint64_t lifetime, uint8_t tcp_flags,
                                 int in) {
  entry->expires = time + lifetime;
  if (in)
    entry->in_seen |= tcp_flags;
  else
    entry->out_seen |= tcp_flags;
}

FM_INLINE void FM_N(fm_ct_extend)(FM_CT_VALUE* entry, uint8_t protocol, uint64_t time, uint8_t tcp_flags,
                                  int in) {
  uint64_t lifetime = FM_LIFETIME_OTHER;
  if (protocol == FM_PROTOCOL_TCP) {
    if (!(tcp_flags & FM_TCP_SYN)) entry->flags |= FM_CT_SEEN_NON_SYN;
    lifetime = entry->flags & FM_CT_SEEN_NON_SYN ? FM_LIFETIME_TCP : FM_LIFETIME_SYN;
  }
  FM_N(fm_ct_renew)(entry, time, lifetime, tcp_flags, in);
}

/* Takes a packet into an entry that was found. 0: it opens the connection anew (__ct_lookup). */
FM_INLINE int FM_N(fm_ct_take)(FM_CT_VALUE* entry, const FM_STATE* s, int of_service, int in) {
  const uint16_t both = FM_CT_OUT_CLOSING | FM_CT_IN_CLOSING;
  const uint8_t tcp_flags = s->protocol == FM_PROTOCOL_TCP ? s->tcp_flags : 0;
  if ((entry->flags & both) != both) FM_N(fm_ct_extend)(entry, s->protocol, s->time, tcp_flags, in);
  if (FM_LIKELY(!(tcp_flags & (FM_TCP_FIN | FM_TCP_RST | FM_TCP_SYN)))) return 1;
  if (tcp_flags & (FM_TCP_FIN | FM_TCP_RST)) {
    const int answered = entry->out_seen & entry->in_seen & FM_TCP_SYN;
    if (of_service || (!answered && (tcp_flags & FM_TCP_RST)))
      entry->flags |= both; /* of a service's connection only one direction is seen */
    else
      entry->flags |= in ? FM_CT_IN_CLOSING : FM_CT_OUT_CLOSING;
    if ((entry->flags & both) == both) FM_N(fm_ct_renew)(entry, s->time, FM_LIFETIME_CLOSED, tcp_flags, in);
  } else if (fm_opens(tcp_flags) && (entry->flags & both)) {
    entry->flags &= (uint16_t)~(both | FM_CT_SEEN_NON_SYN);
    entry->out_seen = 0;
    entry->in_seen = 0;
    FM_N(fm_ct_extend)(entry, s->protocol, s->time, tcp_flags, in);
    return 0;
  }
  return 1;
}

/* A new entry lives as one that has seen a SYN, whatever the packet (ct_create4). */
FM_INLINE void FM_N(fm_ct_begin)(FM_CT_VALUE* entry, const FM_STATE* s, int in) {
  const uint8_t tcp_flags = s->protocol == FM_PROTOCOL_TCP ? FM_TCP_SYN : 0;
  FM_N(fm_ct_extend)(entry, s->protocol, s->time, tcp_flags, in);
  entry->source_identity = s->source_identity;
}

/* Stages. Each returns whether the packet goes on; if not, verdict and reason say why. */

FM_INLINE int FM_N(fm_stage_parse)(FM_STATE* s) {
  s->verdict = FM_VERDICT_ALLOW;
  if (FM_UNLIKELY(!fm_tracked(s->protocol))) return FM_N(fm_drop)(s, FM_REASON_UNKNOWN_PROTOCOL);
  return 1;
}

FM_INLINE int FM_N(fm_stage_source)(FM_STATE* s, FM_TABLES tables) {
  const struct fm_identity_value* known = FM_LOOKUP(FM_IDENTITY)(tables, s->source);
  if (known) {
    s->source_identity = known->identity;
    s->source_cluster = known->cluster;
    s->source_here = known->cluster == FM_CONFIG(tables)->cluster;
  }
  return 1;
}

FM_INLINE int FM_N(fm_stage_destination)(FM_STATE* s, FM_TABLES tables) {
  const struct fm_identity_value* known = FM_LOOKUP(FM_IDENTITY)(tables, s->destination);
  if (known) {
    s->destination_identity = known->identity;
    s->destination_cluster = known->cluster;
    s->destination_here = known->cluster == FM_CONFIG(tables)->cluster;
  }
  return 1;
}

FM_INLINE int FM_N(fm_stage_service)(FM_STATE* s, FM_TABLES tables) {
  FM_SERVICE_KEY key;
  FM_COPY(key.address, s->destination);
  key.port = s->destination_port;
  key.protocol = s->protocol;
  key.scope = FM_SCOPE_EXTERNAL;
  s->service = FM_LOOKUP(FM_SERVICE)(tables, &key);
  if (s->service && (s->service->flags & FM_SERVICE_TWO_SCOPES) && s->source_here) {
    key.scope = FM_SCOPE_INTERNAL;
    s->service = FM_LOOKUP(FM_SERVICE)(tables, &key);
  }
  if (!s->service) return 1;
  s->service_number = s->service->number;
  FM_COPY(s->service_address, s->destination);
  s->service_port = s->destination_port;
  return 1;
}

/* The backend that Maglev gives a new connection; 0 where the service has none. */
FM_INLINE uint32_t FM_N(fm_choose)(const FM_STATE* s, FM_TABLES tables) {
  const struct fm_service_value* service = s->service;
  const uint16_t source_port = service->flags & FM_SERVICE_AFFINITY ? 0 : s->source_port;
#if FM_FAMILY == 4
  const uint32_t hash =
      fm_hash4(s->source, source_port, s->destination_port, s->protocol, FM_CONFIG(tables)->seed4);
#else
  const uint32_t hash =
      fm_hash6(s->source, source_port, s->destination_port, s->protocol, FM_CONFIG(tables)->seed6);
#endif
  const uint32_t size = service->table_size;
  if (!service->count || !size) return 0;
  const uint32_t rank = FM_RANK(tables, service, hash % size);
  return FM_BACKEND_ID(tables, service, rank);
}

/* The backend that the client had not long ago; 0 where there is none any more (__lb4_affinity_backend_id).
 */
FM_INLINE uint32_t FM_N(fm_stage_affinity)(const FM_STATE* s, FM_TABLES tables) {
  FM_AFFINITY_KEY key;
  FM_COPY(key.client, s->source);
  key.service = s->service_number;
  struct fm_affinity_value* known = FM_LOOKUP(FM_AFFINITY_FIND)(tables, &key);
  if (!known) return 0;
  if (known->last_used + s->service->affinity_seconds * FM_SECOND <= s->time ||
      !FM_LOOKUP(FM_TAKES_NEW)(tables, s->service, known->backend)) {
    FM_LOOKUP(FM_AFFINITY_REMOVE)(tables, &key);
    return 0;
  }
  known->last_used = s->time;
  return known->backend;
}

FM_INLINE void FM_N(fm_remember_affinity)(const FM_STATE* s, FM_TABLES tables) {
  FM_AFFINITY_KEY key;
  struct fm_affinity_value value;
  FM_COPY(key.client, s->source);
  key.service = s->service_number;
  value.last_used = s->time;
  value.backend = s->backend_id;
  value.pad0 = 0;
  FM_LOOKUP(FM_AFFINITY_PUT)(tables, &key, &value);
}

FM_INLINE int FM_N(fm_pick)(FM_STATE* s, FM_TABLES tables) {
  s->backend_id = FM_N(fm_choose)(s, tables);
  s->backend = s->backend_id ? FM_LOOKUP(FM_BACKEND)(tables, s->backend_id) : 0;
  s->opened = 1;
  return s->backend != 0;
}

/* The connection's backend, an old or a new one (lb4_local). */
FM_INLINE int FM_N(fm_stage_balance)(FM_STATE* s, FM_TABLES tables) {
  FM_CT_KEY key;
  if (!s->service) return 1;
  FM_N(fm_ct_forward)(s, FM_CT_SERVICE, &key);
  FM_CT_VALUE* entry = FM_LOOKUP(FM_CT_FIND)(tables, &key, s->time);
  if (entry && entry->service == s->service_number && FM_N(fm_ct_take)(entry, s, 1, 0)) {
    s->backend_id = entry->backend;
    s->backend = FM_LOOKUP(FM_BACKEND)(tables, s->backend_id);
    if (FM_UNLIKELY(!s->backend || s->backend->state != FM_BACKEND_ACTIVE)) {
      /* One that is leaving keeps its connections; a gone one, or a SYN, is balanced afresh. */
      const int syn = s->protocol == FM_PROTOCOL_TCP && (s->tcp_flags & FM_TCP_SYN);
      if (!s->backend || syn) {
        if (!FM_N(fm_pick)(s, tables)) return FM_N(fm_drop)(s, FM_REASON_NO_BACKEND);
        entry->backend = s->backend_id;
      }
    }
  } else {
    FM_CT_VALUE fresh;
    if (!s->service->count) return FM_N(fm_drop)(s, FM_REASON_NO_BACKEND);
    s->backend = 0;
    if (s->service->flags & FM_SERVICE_AFFINITY) {
      s->backend_id = FM_N(fm_stage_affinity)(s, tables);
      if (s->backend_id) s->backend = FM_LOOKUP(FM_BACKEND)(tables, s->backend_id);
    }
    s->opened = 1;
    if (!s->backend && !FM_N(fm_pick)(s, tables)) return FM_N(fm_drop)(s, FM_REASON_NO_BACKEND);
    __builtin_memset(&fresh, 0, sizeof fresh);
    fresh.backend = s->backend_id;
    fresh.service = s->service_number;
    FM_N(fm_ct_begin)(&fresh, s, 0);
    if (FM_LOOKUP(FM_CT_PUT)(tables, &key, &fresh)) return FM_N(fm_drop)(s, FM_REASON_CT_CREATE_FAILED);
  }
  if (s->service->flags & FM_SERVICE_AFFINITY) FM_N(fm_remember_affinity)(s, tables);
  return 1;
}

FM_INLINE int FM_N(fm_stage_rewrite)(FM_STATE* s) {
  if (!s->service) return 1;
  FM_COPY(s->destination, s->backend->address);
  s->destination_port = s->backend->port;
  return 1;
}

/* What the source's node knows of the connection. */
FM_INLINE int FM_N(fm_stage_track_out)(FM_STATE* s, FM_TABLES tables) {
  FM_CT_KEY key;
  if (!s->source_here && !s->service) return 1;
  FM_N(fm_ct_backward)(s, FM_CT_IN, &key);
  FM_CT_VALUE* entry = FM_LOOKUP(FM_CT_FIND)(tables, &key, s->time);
  if (entry && FM_N(fm_ct_take)(entry, s, 0, 0)) {
    s->ct = FM_CT_REPLY;
    return 1;
  }
  FM_N(fm_ct_forward)(s, FM_CT_OUT, &key);
  entry = FM_LOOKUP(FM_CT_FIND)(tables, &key, s->time);
  s->unknown = 1;
  if (entry && FM_N(fm_ct_take)(entry, s, 0, 0)) {
    s->ct = FM_CT_ESTABLISHED;
    /* One client port reaches one backend through two addresses: the newest packet's gets the replies. */
    s->unknown = entry->service != s->service_number;
  }
  return 1;
}

/* What policy lets pass is remembered. */
FM_INLINE int FM_N(fm_stage_open_out)(FM_STATE* s, FM_TABLES tables) {
  FM_CT_KEY key;
  FM_CT_VALUE fresh;
  if (FM_LIKELY(!s->unknown)) return 1;
  s->unknown = 0;
  FM_N(fm_ct_forward)(s, FM_CT_OUT, &key);
  __builtin_memset(&fresh, 0, sizeof fresh);
  fresh.service = s->service_number;
  if (s->service) {
    FM_COPY(fresh.address, s->service_address);
    fresh.port = s->service_port;
  }
  FM_N(fm_ct_begin)(&fresh, s, 0);
  if (FM_LOOKUP(FM_CT_PUT)(tables, &key, &fresh)) return FM_N(fm_drop)(s, FM_REASON_CT_CREATE_FAILED);
  return 1;
}

/* What the destination's node knows of the connection; the answer gets the service's address back. */
FM_INLINE int FM_N(fm_stage_track_in)(FM_STATE* s, FM_TABLES tables) {
  FM_CT_KEY key;
  FM_N(fm_ct_backward)(s, FM_CT_OUT, &key);
  FM_CT_VALUE* entry = FM_LOOKUP(FM_CT_FIND)(tables, &key, s->time);
  if (entry && FM_N(fm_ct_take)(entry, s, 0, 1)) {
    s->ct = FM_CT_REPLY;
    s->service_number = entry->service;
    if (entry->service) {
      FM_COPY(s->service_address, entry->address);
      s->service_port = entry->port;
    }
    return 1;
  }
  if (!s->destination_here) return 1;
  FM_N(fm_ct_forward)(s, FM_CT_IN, &key);
  entry = FM_LOOKUP(FM_CT_FIND)(tables, &key, s->time);
  if (entry && FM_N(fm_ct_take)(entry, s, 0, 1))
    s->ct = FM_CT_ESTABLISHED;
  else
    s->unknown = 1;
  return 1;
}

FM_INLINE int FM_N(fm_stage_open_in)(FM_STATE* s, FM_TABLES tables) {
  FM_CT_KEY key;
  FM_CT_VALUE fresh;
  if (FM_LIKELY(!s->unknown)) return 1;
  s->unknown = 0;
  FM_N(fm_ct_forward)(s, FM_CT_IN, &key);
  __builtin_memset(&fresh, 0, sizeof fresh);
  FM_N(fm_ct_begin)(&fresh, s, 1);
  if (FM_LOOKUP(FM_CT_PUT)(tables, &key, &fresh)) return FM_N(fm_drop)(s, FM_REASON_CT_CREATE_FAILED);
  return 1;
}

FM_INLINE int FM_N(fm_stage_restore)(FM_STATE* s) {
  if (s->ct != FM_CT_REPLY || !s->service_number) return 1;
  FM_COPY(s->source, s->service_address);
  s->source_port = s->service_port;
  return 1;
}

/* One side's verdict on a packet that goes the way in which its connection was opened. Answers pass by their
 * connection, and whoever talks to itself is not judged (bpf/bpf_lxc.c: handle_ipv4_from_lxc,
 * ipv4_policy). */
FM_INLINE int FM_N(fm_judge)(FM_STATE* s, FM_TABLES tables, uint32_t subject, uint32_t peer,
                             uint8_t direction, uint8_t* side) {
  struct fm_policy_value found;
  if (s->ct == FM_CT_REPLY || FM_SAME(s->source, s->destination)) return 1;
  const struct fm_endpoint_value* endpoint = FM_ENDPOINT(tables, subject);
  if (!endpoint) return 1;
  *side = FM_VERDICT_ALLOW;
  if (!(endpoint->enforced & (1 << direction))) return 1;
  *side = FM_VERDICT_DENY;
  if (!FM_POLICY(tables, endpoint, direction, peer, s->protocol, s->destination_port, &found))
    return FM_N(fm_drop)(s, FM_REASON_POLICY);
  const uint32_t rank = FM_POLICY_RANK(found.precedence);
  if (rank == FM_POLICY_RANK_DENY) return FM_N(fm_drop)(s, FM_REASON_POLICY_DENY);
  if (found.auth && !FM_AUTHENTICATED(tables, subject, peer, found.auth))
    return FM_N(fm_drop)(s, FM_REASON_AUTH_REQUIRED);
  *side = FM_VERDICT_ALLOW;
  if (rank == FM_POLICY_RANK_ALLOW) return 1;
  *side = FM_VERDICT_REDIRECT;
  s->verdict = FM_VERDICT_REDIRECT;
  if (!s->proxy_port) s->proxy_port = found.proxy_port; /* of two proxies the first on the way */
  return 1;
}

FM_INLINE int FM_N(fm_stage_egress_policy)(FM_STATE* s, FM_TABLES tables) {
  if (!s->source_here) return 1;
  return FM_N(fm_judge)(s, tables, s->source_identity, s->destination_identity, FM_CT_OUT, &s->egress);
}

FM_INLINE int FM_N(fm_stage_ingress_policy)(FM_STATE* s, FM_TABLES tables) {
  if (!s->destination_here) return 1;
  return FM_N(fm_judge)(s, tables, s->destination_identity, s->source_identity, FM_CT_IN, &s->ingress);
}

/* A packet that leaves an endpoint. Whether it goes on. */
FM_INLINE int FM_N(fm_from_endpoint)(FM_STATE* s, FM_TABLES tables) {
  return FM_N(fm_stage_parse)(s) && FM_N(fm_stage_source)(s, tables) && FM_N(fm_stage_service)(s, tables) &&
         FM_N(fm_stage_balance)(s, tables) && FM_N(fm_stage_rewrite)(s) &&
         FM_N(fm_stage_track_out)(s, tables) && FM_N(fm_stage_destination)(s, tables) &&
         FM_N(fm_stage_egress_policy)(s, tables) && FM_N(fm_stage_open_out)(s, tables);
}

/* A packet that comes to an endpoint. Whether it goes on. */
FM_INLINE int FM_N(fm_to_endpoint)(FM_STATE* s, FM_TABLES tables) {
  return FM_N(fm_stage_parse)(s) && FM_N(fm_stage_source)(s, tables) &&
         FM_N(fm_stage_destination)(s, tables) && FM_N(fm_stage_track_in)(s, tables) &&
         FM_N(fm_stage_ingress_policy)(s, tables) && FM_N(fm_stage_open_in)(s, tables) &&
         FM_N(fm_stage_restore)(s);
}

#undef FM_N
#undef FM_OF
#undef FM_LOOKUP
#undef FM_ADDRESS
#undef FM_COPY
#undef FM_SAME
#undef FM_STATE
#undef FM_CT_KEY
#undef FM_CT_VALUE
#undef FM_SERVICE_KEY
#undef FM_AFFINITY_KEY
#undef FM_BACKEND_VALUE
