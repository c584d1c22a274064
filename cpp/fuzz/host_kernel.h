/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What cpp/datapath/kernel.h has from the kernel, for a process: maps that are lists, checksums as the
 * helpers mend them, a clock that the fuzzer sets. Include this first, and kernel.h adds nothing. */
#ifndef FLEETMESH_HOST_KERNEL_H
#define FLEETMESH_HOST_KERNEL_H
#define FLEETMESH_KERNEL_H

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FM_INLINE static inline __attribute__((always_inline))
#define FM_SECTION(name) __attribute__((used))

struct fm_skb {
  uint32_t len;
  uint32_t protocol;
  uintptr_t data;
  uintptr_t data_end; /* moves by fm_pull, as what is not linear comes in */
  uint8_t* frame;
  uint32_t mark;
};

enum { FM_TC_PASS = 0, FM_TC_DROP = 2 };
enum {
  FM_KERNEL_INVALID = -22,
  FM_CSUM_PSEUDO_HEADER = 1 << 4,
  FM_CSUM_MANGLED_0 = 1 << 5,
  FM_CSUM_IPV6 = 1 << 7,
};
enum fm_map_type {
  FM_MAP_HASH = 1,
  FM_MAP_ARRAY = 2,
  FM_MAP_PERCPU_ARRAY = 6,
  FM_MAP_LRU_HASH = 9,
  FM_MAP_LPM_TRIE = 11,
};
enum fm_map_flag { FM_MAP_NO_PREALLOC = 1 << 0, FM_MAP_MMAPABLE = 1 << 10 };

/* Of few entries: the oldest goes when there is no room. An array is one value after another. */
enum { FM_HOST_ENTRIES = 12, FM_HOST_KEY = 40 };
struct fm_map {
  uint32_t type;
  uint32_t key_size;
  uint32_t value_size;
  uint32_t entries;
  uint32_t flags;
  uint8_t* values;
  uint32_t count;
  uint8_t keys[FM_HOST_ENTRIES][FM_HOST_KEY];
};
#define FM_MAP(name, type, key, value, entries, flags) \
  struct fm_map name = {type, sizeof(key), sizeof(value), entries, flags, 0, 0, {{0}}}

static uint64_t host_time;

static int host_is_array(const struct fm_map* map) {
  return map->type == FM_MAP_ARRAY || map->type == FM_MAP_PERCPU_ARRAY;
}

static uint8_t* host_value(struct fm_map* map, uint32_t at) {
  if (!map->values) {
    /* Of an array only the first pages are there, which is as if the loader had made it small. */
    const uint32_t count = host_is_array(map) && map->value_size > 64 ? 1 : map->entries;
    map->values = calloc(host_is_array(map) ? count : FM_HOST_ENTRIES, map->value_size);
    if (host_is_array(map)) map->entries = count;
  }
  return map->values + (size_t)at * map->value_size;
}

static int host_covers(const uint8_t* prefix, const uint8_t* key) {
  uint32_t length = 0;
  memcpy(&length, prefix, sizeof length);
  for (uint32_t bit = 0; bit < length; ++bit)
    if ((prefix[4 + bit / 8] ^ key[4 + bit / 8]) >> (7 - bit % 8) & 1) return 0;
  return 1;
}

static void* fm_map_lookup(const void* which, const void* key) {
  struct fm_map* map = (struct fm_map*)which;
  uint32_t place = 0;
  uint8_t* best = 0;
  if (host_is_array(map)) {
    memcpy(&place, key, sizeof place);
    host_value(map, 0);
    return place < map->entries ? host_value(map, place) : 0;
  }
  uint32_t longest = 0;
  for (uint32_t at = 0; at < map->count; ++at) {
    uint32_t length = 0;
    memcpy(&length, map->keys[at], sizeof length);
    if (map->type != FM_MAP_LPM_TRIE) {
      if (!memcmp(map->keys[at], key, map->key_size)) return host_value(map, at);
    } else if (host_covers(map->keys[at], key) && (!best || length > longest)) {
      best = host_value(map, at);
      longest = length;
    }
  }
  return best;
}

static long fm_map_delete(const void* which, const void* key) {
  struct fm_map* map = (struct fm_map*)which;
  for (uint32_t at = 0; at < map->count; ++at) {
    if (memcmp(map->keys[at], key, map->key_size)) continue;
    --map->count;
    memmove(map->keys[at], map->keys[at + 1], (size_t)(map->count - at) * FM_HOST_KEY);
    memmove(host_value(map, at), host_value(map, at + 1), (size_t)(map->count - at) * map->value_size);
    return 0;
  }
  return -2;
}

static long fm_map_update(const void* which, const void* key, const void* value, uint64_t flags) {
  struct fm_map* map = (struct fm_map*)which;
  uint8_t kept[64];
  (void)flags;
  if (host_is_array(map)) {
    uint32_t place = 0;
    memcpy(&place, key, sizeof place);
    memcpy(host_value(map, place), value, map->value_size);
    return 0;
  }
  memcpy(kept, value, map->value_size); /* which may be one that moves */
  fm_map_delete(map, key);
  if (map->count == FM_HOST_ENTRIES) fm_map_delete(map, map->keys[0]);
  memset(map->keys[map->count], 0, FM_HOST_KEY);
  memcpy(map->keys[map->count], key, map->key_size);
  memcpy(host_value(map, map->count), kept, map->value_size);
  ++map->count;
  return 0;
}

static uint64_t fm_time(void) { return host_time; }

static long fm_pull(struct fm_skb* skb, uint32_t size) {
  if (size > skb->len) return -12;
  if (skb->data_end < skb->data + size) skb->data_end = skb->data + size;
  return 0;
}

static long fm_store(struct fm_skb* skb, uint32_t at, const void* from, uint32_t size, uint64_t flags) {
  (void)flags;
  if (at > skb->len || size > skb->len - at) return -14;
  memcpy(skb->frame + at, from, size);
  return 0;
}

/* Sums are of 16-bit words as they stand in memory, as the kernel's (RFC 1071: the order does not matter). */
static uint32_t host_folded(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint32_t)sum;
}

static long host_replace(struct fm_skb* skb, uint32_t at, uint64_t difference, int mangled) {
  uint16_t sum = 0;
  if (at > skb->len || sizeof sum > skb->len - at) return -14;
  memcpy(&sum, skb->frame + at, sizeof sum);
  if (mangled && !sum) return 0;
  sum = (uint16_t)~host_folded((uint16_t)~sum + difference);
  if (mangled && !sum) sum = 0xffff;
  return fm_store(skb, at, &sum, sizeof sum, 0);
}

static uint64_t host_difference(uint64_t from, uint64_t to, uint64_t size) {
  if (size == 2) return (uint64_t)(uint16_t)~from + (uint16_t)to;
  return (uint64_t)(uint32_t)~from + (uint32_t)to;
}

static long fm_l3_checksum(struct fm_skb* skb, uint32_t at, uint64_t from, uint64_t to, uint64_t size) {
  return host_replace(skb, at, host_difference(from, to, size), 0);
}

static long fm_l4_checksum(struct fm_skb* skb, uint32_t at, uint64_t from, uint64_t to, uint64_t flags) {
  const uint64_t size = flags & 15;
  if (flags & FM_CSUM_IPV6) return FM_KERNEL_INVALID; /* as a kernel that does not know it */
  return host_replace(skb, at, size ? host_difference(from, to, size) : to, (flags & FM_CSUM_MANGLED_0) != 0);
}

static int64_t fm_difference(const uint32_t* from, uint32_t from_size, const uint32_t* to, uint32_t to_size,
                             uint32_t seed) {
  uint64_t sum = seed;
  for (uint32_t at = 0; at < from_size / 4; ++at) sum += (uint32_t)~from[at];
  for (uint32_t at = 0; at < to_size / 4; ++at) sum += to[at];
  return (int64_t)host_folded(sum);
}

#endif
