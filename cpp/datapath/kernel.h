/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the kernel offers a tc program: helpers by number, the packet's context, and how a map is asked for.
 *
 * Numbers and layouts are the kernel's ABI (include/uapi/linux/bpf.h), so none of its headers is needed.
 */
#ifndef FLEETMESH_KERNEL_H
#define FLEETMESH_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* As in decision.h, which comes after the look-ups. */
#define FM_INLINE static inline __attribute__((always_inline))
#define FM_SECTION(name) __attribute__((section(name), used))

/* The start of struct __sk_buff. */
struct fm_skb {
  uint32_t len;
  uint32_t pkt_type;
  uint32_t mark;
  uint32_t queue_mapping;
  uint32_t protocol; /* EtherType, in network order */
  uint32_t other[14];
  /* Pointers, once loaded: a copy that the compiler keeps as 32 bits would be a number to the verifier. */
  volatile uint32_t data;
  volatile uint32_t data_end;
};
_Static_assert(offsetof(struct fm_skb, data) == 76, "as __sk_buff");

/* Verdicts of a tc program. */
enum {
  FM_TC_PASS = 0, /* TC_ACT_OK */
  FM_TC_DROP = 2, /* TC_ACT_SHOT */
};

enum {
  FM_KERNEL_INVALID = -22, /* EINVAL */

  /* flags of bpf_l4_csum_replace beside the size of what changed */
  FM_CSUM_PSEUDO_HEADER = 1 << 4, /* BPF_F_PSEUDO_HDR */
  FM_CSUM_MANGLED_0 = 1 << 5,     /* BPF_F_MARK_MANGLED_0: zero says that there is none, as with UDP */
  FM_CSUM_IPV6 = 1 << 7,          /* BPF_F_IPV6, since Linux 6.16 */
};

static void* (*const fm_map_lookup)(const void* map, const void* key) = (void*)1;
static long (*const fm_map_update)(const void* map, const void* key, const void* value,
                                   uint64_t flags) = (void*)2;
static long (*const fm_map_delete)(const void* map, const void* key) = (void*)3;
static uint64_t (*const fm_time)(void) = (void*)5; /* bpf_ktime_get_ns */
static long (*const fm_store)(struct fm_skb* skb, uint32_t at, const void* from, uint32_t size,
                              uint64_t flags) = (void*)9;
static long (*const fm_l3_checksum)(struct fm_skb* skb, uint32_t at, uint64_t from, uint64_t to,
                                    uint64_t size) = (void*)10;
static long (*const fm_l4_checksum)(struct fm_skb* skb, uint32_t at, uint64_t from, uint64_t to,
                                    uint64_t flags) = (void*)11;
static int64_t (*const fm_difference)(const uint32_t* from, uint32_t from_size, const uint32_t* to,
                                      uint32_t to_size, uint32_t seed) = (void*)28; /* bpf_csum_diff */
static long (*const fm_pull)(struct fm_skb* skb, uint32_t size) = (void*)39;

/* A map, as the loader finds it in section `maps` under its symbol. */
struct fm_map {
  uint32_t type;
  uint32_t key_size;
  uint32_t value_size;
  uint32_t entries; /* a default; the loader may take another number */
  uint32_t flags;
};

enum fm_map_type {
  FM_MAP_HASH = 1,
  FM_MAP_ARRAY = 2,
  FM_MAP_PERCPU_ARRAY = 6,
  FM_MAP_LRU_HASH = 9,
  FM_MAP_LPM_TRIE = 11,
};

enum fm_map_flag {
  FM_MAP_NO_PREALLOC = 1 << 0,
  FM_MAP_MMAPABLE = 1 << 10,
};

/* Sizes come from the types, so that no map can disagree with the program. */
#define FM_MAP(name, type, key, value, entries, flags) \
  struct fm_map name FM_SECTION("maps") = {type, sizeof(key), sizeof(value), entries, flags}

#endif
