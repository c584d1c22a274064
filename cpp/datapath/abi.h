/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The contract with every data path: keys and values of its tables.
 *
 * Addresses and ports are in network order, everything else in the machine's. Padding is explicit and
 * zero, as keys are compared byte by byte. Numbers are never reused. A change of anything here is a
 * new FM_ABI_VERSION.
 */
#ifndef FLEETMESH_ABI_H
#define FLEETMESH_ABI_H

#include <stddef.h>
#include <stdint.h>

#define FM_ABI_VERSION 2u

#ifdef __cplusplus
#define FM_STATIC_ASSERT(condition) static_assert(condition, #condition)
#else
#define FM_STATIC_ASSERT(condition) _Static_assert(condition, #condition)
#endif
#define FM_LAYOUT(type, size) FM_STATIC_ASSERT(sizeof(struct type) == (size))
#define FM_AT(type, field, offset) FM_STATIC_ASSERT(offsetof(struct type, field) == (offset))

enum fm_verdict {
  FM_VERDICT_UNKNOWN = 0, /* of a side: not judged */
  FM_VERDICT_ALLOW = 1,
  FM_VERDICT_DENY = 2,
  FM_VERDICT_REDIRECT = 3,
};

/* Cilium's drop reasons (bpf/lib/drop_reasons.h), without the sign. */
enum fm_reason {
  FM_REASON_NONE = 0,
  FM_REASON_POLICY = 133,
  FM_REASON_INVALID = 134, /* not a packet that can be read: too short, or with IP options */
  FM_REASON_UNKNOWN_PROTOCOL = 137,
  FM_REASON_CHECKSUM = 154, /* could not be mended after a translation */
  FM_REASON_CT_CREATE_FAILED = 155,
  FM_REASON_FRAGMENT = 157,   /* not the first of its packet, so without ports */
  FM_REASON_NO_BACKEND = 158, /* Cilium's DROP_NO_SERVICE: a service without a backend */
  FM_REASON_POLICY_DENY = 181,
  FM_REASON_AUTH_REQUIRED = 189,
};

/* What connection tracking makes of a packet (Cilium's enum ct_status, bpf/lib/common.h). */
enum fm_ct_state {
  FM_CT_NEW = 0,
  FM_CT_ESTABLISHED = 1,
  FM_CT_REPLY = 2,
  FM_CT_RELATED = 3, /* not made: ICMP errors of translated flows are not read */
};

enum fm_protocol {
  FM_PROTOCOL_ICMP = 1,
  FM_PROTOCOL_TCP = 6,
  FM_PROTOCOL_UDP = 17,
  FM_PROTOCOL_ICMPV6 = 58,
  FM_PROTOCOL_SCTP = 132,
};

enum fm_tcp_flag {
  FM_TCP_FIN = 0x01,
  FM_TCP_SYN = 0x02,
  FM_TCP_RST = 0x04,
  FM_TCP_ACK = 0x10,
};

/* Services. */

enum fm_scope {
  FM_SCOPE_EXTERNAL = 0,
  FM_SCOPE_INTERNAL = 1, /* for sources of this cluster, where the service has two scopes */
};

struct fm_service4_key {
  uint32_t address;
  uint16_t port;
  uint8_t protocol;
  uint8_t scope; /* fm_scope */
};
FM_LAYOUT(fm_service4_key, 8);
FM_AT(fm_service4_key, port, 4);
FM_AT(fm_service4_key, protocol, 6);
FM_AT(fm_service4_key, scope, 7);

struct fm_service6_key {
  uint32_t address[4];
  uint16_t port;
  uint8_t protocol;
  uint8_t scope;
};
FM_LAYOUT(fm_service6_key, 20);
FM_AT(fm_service6_key, port, 16);
FM_AT(fm_service6_key, protocol, 18);
FM_AT(fm_service6_key, scope, 19);

enum fm_service_flag {
  FM_SERVICE_AFFINITY = 1 << 0,   /* ClientIP */
  FM_SERVICE_TWO_SCOPES = 1 << 1, /* sources of this cluster look in the internal scope */
  FM_SERVICE_WIDE = 1 << 2,       /* more than 65,535 backends: the table has 32-bit ranks */
};

struct fm_service_value {
  /* into the pool of 16-bit ranks; the first of `table_size`, which is at an even place if they are wide */
  uint32_t table_offset;
  uint32_t table_size;
  uint32_t ids_offset; /* into the pool of backend ids; the first of `count` */
  uint32_t count;      /* backends that take new connections */
  uint32_t number;     /* of the frontend; not 0 */
  uint32_t affinity_seconds;
  uint16_t flags; /* fm_service_flag */
  uint16_t pad0;
  uint32_t pad1;
};
FM_LAYOUT(fm_service_value, 32);
FM_AT(fm_service_value, count, 12);
FM_AT(fm_service_value, number, 16);
FM_AT(fm_service_value, flags, 24);

/* Backends, by id. An id is not 0. */

enum fm_backend_state {
  FM_BACKEND_ACTIVE = 0,
  FM_BACKEND_TERMINATING = 1,
  FM_BACKEND_TERMINATING_NOT_SERVING = 2,
  FM_BACKEND_QUARANTINED = 3,
  FM_BACKEND_MAINTENANCE = 4,
};

struct fm_backend4 {
  uint32_t address;
  uint16_t port;
  uint8_t protocol;
  uint8_t state; /* fm_backend_state */
  uint16_t cluster;
  uint16_t pad0;
};
FM_LAYOUT(fm_backend4, 12);
FM_AT(fm_backend4, port, 4);
FM_AT(fm_backend4, state, 7);
FM_AT(fm_backend4, cluster, 8);

struct fm_backend6 {
  uint32_t address[4];
  uint16_t port;
  uint8_t protocol;
  uint8_t state;
  uint16_t cluster;
  uint16_t pad0;
};
FM_LAYOUT(fm_backend6, 24);
FM_AT(fm_backend6, port, 16);
FM_AT(fm_backend6, state, 19);
FM_AT(fm_backend6, cluster, 20);

/* ClientIP affinity. */

/* The backends that take new connections of a service, where the pool of ids can't be searched. */
struct fm_member_key {
  uint32_t service; /* number of the frontend */
  uint32_t backend;
};
FM_LAYOUT(fm_member_key, 8);

struct fm_affinity4_key {
  uint32_t client;
  uint32_t service; /* number of the frontend */
};
FM_LAYOUT(fm_affinity4_key, 8);

struct fm_affinity6_key {
  uint32_t client[4];
  uint32_t service;
};
FM_LAYOUT(fm_affinity6_key, 20);

struct fm_affinity_value {
  uint64_t last_used; /* ns */
  uint32_t backend;
  uint32_t pad0;
};
FM_LAYOUT(fm_affinity_value, 16);
FM_AT(fm_affinity_value, backend, 8);

/* Connections. */

enum fm_ct_direction {
  FM_CT_OUT = 0,
  FM_CT_IN = 1,
  FM_CT_SERVICE = 2, /* as the client sees it: to the address of the service */
};

enum fm_ct_flag {
  FM_CT_OUT_CLOSING = 1 << 0,
  FM_CT_IN_CLOSING = 1 << 1,
  FM_CT_SEEN_NON_SYN = 1 << 2,
};

struct fm_ct4_key {
  uint32_t source;
  uint32_t destination;
  uint16_t source_port;
  uint16_t destination_port;
  uint8_t protocol;
  uint8_t direction; /* fm_ct_direction */
  uint16_t pad0;
};
FM_LAYOUT(fm_ct4_key, 16);
FM_AT(fm_ct4_key, protocol, 12);
FM_AT(fm_ct4_key, direction, 13);

struct fm_ct6_key {
  uint32_t source[4];
  uint32_t destination[4];
  uint16_t source_port;
  uint16_t destination_port;
  uint8_t protocol;
  uint8_t direction;
  uint16_t pad0;
};
FM_LAYOUT(fm_ct6_key, 40);
FM_AT(fm_ct6_key, source_port, 32);
FM_AT(fm_ct6_key, protocol, 36);
FM_AT(fm_ct6_key, direction, 37);

struct fm_ct4_value {
  uint64_t expires; /* ns; from then on the connection is forgotten */
  uint32_t backend; /* id; of service connections */
  uint32_t service; /* number of the frontend; 0: not through a service */
  uint32_t address; /* of the service, which replies get back as their source; of outgoing connections */
  uint16_t port;
  uint16_t flags;   /* fm_ct_flag */
  uint8_t out_seen; /* TCP flags of all packets that way */
  uint8_t in_seen;
  uint16_t pad0;
  uint32_t source_identity;
};
FM_LAYOUT(fm_ct4_value, 32);
FM_AT(fm_ct4_value, backend, 8);
FM_AT(fm_ct4_value, address, 16);
FM_AT(fm_ct4_value, flags, 22);
FM_AT(fm_ct4_value, source_identity, 28);

struct fm_ct6_value {
  uint64_t expires;
  uint32_t backend;
  uint32_t service;
  uint32_t address[4];
  uint16_t port;
  uint16_t flags;
  uint8_t out_seen;
  uint8_t in_seen;
  uint16_t pad0;
  uint32_t source_identity;
  uint32_t pad1;
};
FM_LAYOUT(fm_ct6_value, 48);
FM_AT(fm_ct6_value, address, 16);
FM_AT(fm_ct6_value, flags, 34);
FM_AT(fm_ct6_value, source_identity, 40);

/* Address -> identity and cluster: the exact address first, then the longest prefix. */

struct fm_prefix4_key {
  uint32_t length; /* bits, as the kernel's LPM trie has it */
  uint32_t address;
};
FM_LAYOUT(fm_prefix4_key, 8);

struct fm_prefix6_key {
  uint32_t length;
  uint32_t address[4];
};
FM_LAYOUT(fm_prefix6_key, 20);

struct fm_identity_value {
  uint32_t identity; /* 0: not known */
  uint16_t cluster;  /* 0: of no cluster that this one hears */
  uint16_t pad0;
};
FM_LAYOUT(fm_identity_value, 8);
FM_AT(fm_identity_value, cluster, 4);

/* Policy. */

/* Whoever this cluster's policies are about has an endpoint, by identity: whoever has the same labels is
 * judged alike. */
struct fm_endpoint_value {
  uint32_t endpoint;   /* in the keys of its entries; not 0 */
  uint32_t lengths[2]; /* by fm_ct_direction, OUT is egress: a bit for each prefix length that an entry has */
  uint8_t port_bits[2]; /* of the port, in the longest of them */
  uint8_t enforced;     /* a bit for each direction: without it all is allowed */
  uint8_t pad0;
};
FM_LAYOUT(fm_endpoint_value, 16);
FM_AT(fm_endpoint_value, lengths, 4);
FM_AT(fm_endpoint_value, port_bits, 12);
FM_AT(fm_endpoint_value, enforced, 14);

struct fm_policy_key {
  uint32_t endpoint;
  uint32_t identity;   /* or an aggregate, which stands for all of a kind */
  uint16_t port;       /* its first bits count, as many as `port_prefix` says; the others are 0 */
  uint8_t direction;   /* FM_CT_OUT: egress, FM_CT_IN: ingress */
  uint8_t protocol;    /* 0: any */
  uint8_t port_prefix; /* 0: of any protocol; else 8, and one for each bit of the port: FM_POLICY_LENGTHS */
  uint8_t pad0;
  uint16_t pad1;
};
FM_LAYOUT(fm_policy_key, 16);
FM_AT(fm_policy_key, port, 8);
FM_AT(fm_policy_key, direction, 10);
FM_AT(fm_policy_key, port_prefix, 12);
#define FM_POLICY_PROTOCOL_LENGTH 8
#define FM_POLICY_PORT_LENGTH 24

enum fm_policy_flag {
  FM_POLICY_EXPLICIT_AUTH = 1 << 0, /* a rule has said which authentication, be it none */
};

/* pkg/policy/types: of two entries the one of the higher precedence counts. */
enum fm_policy_rank {
  FM_POLICY_RANK_ALLOW = 1, /* between them: redirected, the higher the earlier */
  FM_POLICY_RANK_DENY = 255,
};
#define FM_POLICY_RANK(precedence) ((precedence) & 255u)
/* Of allows, whoever they are redirected to. */
#define FM_POLICY_LEVEL(precedence) (((precedence) & ~255u) | FM_POLICY_RANK_ALLOW)

struct fm_policy_value {
  uint32_t precedence; /* the last byte is a fm_policy_rank */
  uint16_t proxy_port; /* of a redirect; a plain number */
  uint8_t auth;        /* Cilium's type: 0 is none */
  uint8_t flags;       /* fm_policy_flag */
  uint32_t cookie;     /* tells the rule; 0: none */
};
FM_LAYOUT(fm_policy_value, 12);
FM_AT(fm_policy_value, proxy_port, 4);
FM_AT(fm_policy_value, cookie, 8);

/* What stands for all identities of a kind (pkg/policy/aggregate.go). */
enum fm_aggregate {
  FM_AGGREGATE_ANY = 0,
  FM_AGGREGATE_CLUSTER = 11,
  FM_AGGREGATE_CLUSTER_MESH = 12,
  FM_AGGREGATE_WORLD = 13,
  FM_AGGREGATE_REMOTE_NODE = 14,
};

/* What one data path is told once. */
struct fm_config {
  uint32_t abi;   /* FM_ABI_VERSION */
  uint32_t seed4; /* of the packet hash */
  uint32_t seed6;
  uint16_t cluster;
  uint8_t identity_bits; /* of an identity below its cluster's id */
  uint8_t pad0;
};
FM_LAYOUT(fm_config, 16);
FM_AT(fm_config, cluster, 12);
FM_AT(fm_config, identity_bits, 14);

#endif
