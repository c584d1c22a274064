/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Any frames through the kernel's programs, in a process: what is read of them, and every rewrite. */
#include "host_kernel.h"
/* after what it stands on; a table there has the name of a parameter, which no other compilation sees */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wshadow"
#include "datapath/fleetmesh.bpf.c"
#pragma clang diagnostic pop

#include <stdio.h>

static void require(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "does not hold: %s\n", what);
  abort();
}

enum { TABLE = 7, AFFINITY = 5, NET_IP_ALIGN = 2 };

static const uint32_t vip4 = 0x0100600a, client4 = 0x0700010a; /* 10.96.0.1, 10.1.0.7 */
static const uint8_t vip6[16] = {0xfd, 0, 0, 0x96, [15] = 1}, client6[16] = {0xfd, 0, 0, 0x10, [15] = 7};

static void forget(struct fm_map* map) { map->count = 0; }

static void put_service(uint16_t port, uint8_t protocol, uint32_t number, uint32_t affinity) {
  struct fm_service_value value = {0, TABLE, 0, 2, number, affinity, affinity ? FM_SERVICE_AFFINITY : 0,
                                   0, 0};
  struct fm_service4_key key4 = {vip4, htons(port), protocol, FM_SCOPE_EXTERNAL};
  struct fm_service6_key key6 = {{0}, htons(port), protocol, FM_SCOPE_EXTERNAL};
  memcpy(key6.address, vip6, 16);
  if (number % 3 == 0) value.count = 0; /* a service without backends */
  fm_map_update(&services4, &key4, &value, 0);
  fm_map_update(&services6, &key6, &value, 0);
  for (uint32_t id = 1; id < 3; ++id) {
    const struct fm_member_key member = {number, id};
    const uint8_t there = 1;
    fm_map_update(&members4, &member, &there, 0);
    fm_map_update(&members6, &member, &there, 0);
  }
}

/* What comes to the own pods: from anywhere of the cluster to ports 4096 to 8191, through a proxy to 4660. */
static void put_policies(uint32_t identity) {
  const uint32_t range = FM_POLICY_PROTOCOL_LENGTH + 4, single = FM_POLICY_PORT_LENGTH;
  const struct fm_endpoint_value own = {1, {0, 1u << range | 1u << single | 1u}, {0, 16}, 1u << FM_CT_IN, 0};
  struct fm_policy_key key = {
      1, FM_AGGREGATE_CLUSTER, htons(0x1000), FM_CT_IN, FM_PROTOCOL_TCP, (uint8_t)range, 0, 0};
  struct fm_policy_value value = {0xffffff01, 0, 0, 0, 0};
  fm_map_update(&endpoints, &identity, &own, 0);
  fm_map_update(&policies, &key, &value, 0);
  key.port = htons(0x1234);
  key.port_prefix = (uint8_t)single;
  value.precedence = 0xffffff99;
  value.proxy_port = 10001;
  fm_map_update(&policies, &key, &value, 0);
  key = (struct fm_policy_key){1, identity, 0, FM_CT_IN, 0, 0, 0, 0};
  value = (struct fm_policy_value){0xfffffeff, 0, 0, 0, 0};
  fm_map_update(&policies, &key, &value, 0);
}

/* The same tables for every input; connections are none. */
static void begin(void) {
  const uint32_t only = 0;
  const struct fm_config told = {FM_ABI_VERSION, 1, 2, 1, 16, 0};
  struct fm_map* const all[] = {&services4,  &services6,  &backends4, &backends6, &members4,    &members6,
                                &tcp4,       &tcp6,       &other4,    &other6,    &affinities4, &affinities6,
                                &addresses4, &addresses6, &prefixes4, &prefixes6, &endpoints,   &policies};
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) forget(all[i]);
  host_time = 1000 * FM_SECOND;
  fm_map_update(&config, &only, &told, 0);
  uint16_t* const pool = fm_map_lookup(&ranks, &only);
  for (uint32_t slot = 0; slot < TABLE; ++slot) pool[slot] = slot % 2;
  uint32_t* const numbers = fm_map_lookup(&ids, &only);
  numbers[0] = 1;
  numbers[1] = 2;
  for (uint32_t id = 1; id < 3; ++id) {
    struct fm_backend4 b4 = {htonl(0x0a020000u + id), htons(id == 1 ? 8080 : 80), FM_PROTOCOL_TCP, 0, 1, 0};
    struct fm_backend6 b6 = {{0}, b4.port, FM_PROTOCOL_TCP, 0, 1, 0};
    const uint8_t address[16] = {0xfd, 2, [15] = (uint8_t)id};
    memcpy(b6.address, address, 16);
    fm_map_update(&backends4, &id, &b4, 0);
    fm_map_update(&backends6, &id, &b6, 0);
  }
  put_service(80, FM_PROTOCOL_TCP, 1, 0);
  put_service(53, FM_PROTOCOL_UDP, 2, AFFINITY);
  put_service(81, FM_PROTOCOL_TCP, 3, 0);
  put_service(90, FM_PROTOCOL_SCTP, 4, 0);
  const struct fm_identity_value here = {100, 1, 0}, there = {200, 2, 0};
  fm_map_update(&addresses4, &client4, &here, 0);
  fm_map_update(&addresses6, client6, &here, 0);
  const struct fm_prefix4_key wide4 = {8, 0x0000000a}, near4 = {16, 0x0000010a};
  fm_map_update(&prefixes4, &wide4, &there, 0);
  fm_map_update(&prefixes4, &near4, &here, 0);
  put_policies(here.identity);
  struct fm_prefix6_key wide6 = {8, {0xfd, 0, 0, 0}};
  fm_map_update(&prefixes6, &wide6, &there, 0);
}

static uint32_t sum_of(const uint8_t* bytes, size_t size, uint64_t sum) {
  for (size_t at = 0; at + 1 < size; at += 2) {
    uint16_t word = 0;
    memcpy(&word, bytes + at, 2);
    sum += word;
  }
  if (size % 2) sum += bytes[size - 1]; /* the low byte, as the machine is little-endian */
  return host_folded(sum);
}

struct sums {
  int header, transport;
};

/* Whether the checksums of a frame are right, as far as it has any. */
static struct sums sums_of(const uint8_t* frame, size_t size) {
  struct sums right = {0, 0};
  if (size < FM_AT_TRANSPORT4) return right;
  const int v4 = frame[12] == 8;
  const size_t at = v4 ? FM_AT_TRANSPORT4 : FM_AT_TRANSPORT6;
  if (size < at) return right;
  const uint8_t* const ip = frame + FM_AT_IP;
  right.header = !v4 || sum_of(ip, 20, 0) == 0xffff;
  const uint8_t protocol = v4 ? ip[9] : ip[6];
  size_t length = (size_t)(v4 ? ip[2] << 8 | ip[3] : ip[4] << 8 | ip[5]);
  if (v4 && length < 20) return right;
  if (v4) length -= 20;
  const uint32_t checksum_at = fm_checksum_at(protocol);
  if (!checksum_at || length > size - at || length < checksum_at + 2) return right;
  if (protocol == FM_PROTOCOL_UDP && !frame[at + 6] && !frame[at + 7]) {
    right.transport = 1; /* there is none */
    return right;
  }
  uint64_t pseudo = htons((uint16_t)length) + (uint64_t)htons(protocol);
  pseudo += sum_of(v4 ? ip + 12 : ip + 8, v4 ? 8 : 32, 0);
  right.transport = sum_of(frame + at, length, pseudo) == 0xffff;
  return right;
}

static uint64_t dropped(void) {
  uint64_t total = 0;
  for (uint32_t reason = 0; reason < 256; ++reason) total += *(uint64_t*)fm_map_lookup(&drops, &reason);
  return total;
}

static void run(const uint8_t* bytes, size_t size, int leaving, int linear) {
  /* As long as the frame, so that a step beyond is seen, and where the kernel has it: IP's header is aligned.
   */
  uint8_t* const place = malloc(size + NET_IP_ALIGN);
  uint8_t* const frame = place + NET_IP_ALIGN;
  uint8_t* const before = malloc(size + 1);
  memcpy(frame, bytes, size);
  memcpy(before, bytes, size);
  struct fm_skb skb = {(uint32_t)size, 0, (uintptr_t)frame, (uintptr_t)frame + size, frame, 0};
  if (size >= 14) {
    uint16_t type = 0;
    memcpy(&type, frame + 12, 2);
    skb.protocol = type;
  }
  if (!linear) skb.data_end = skb.data + (size < 14 ? size : 14);
  const uint64_t drops_before = dropped();
  const struct sums sums = sums_of(frame, size);
  const int code = leaving ? from_pod(&skb) : to_pod(&skb);

  require(code == FM_TC_PASS || code == FM_TC_DROP, "a frame passes or is dropped");
  require(dropped() - drops_before == (code == FM_TC_DROP), "what is dropped is counted once");
  const int ip = skb.protocol == htons(FM_ETHERTYPE_IPV4) || skb.protocol == htons(FM_ETHERTYPE_IPV6);
  if (!ip) require(code == FM_TC_PASS && !memcmp(frame, before, size), "what is no IP passes as it is");
  if (ip && code == FM_TC_PASS) {
    const struct sums after = sums_of(frame, size);
    require(!sums.header || after.header, "a right checksum of the header stays right");
    require(!sums.transport || after.transport, "a right checksum of the transport stays right");
    require(!memcmp(frame, before, FM_AT_IP), "Ethernet's header stays");
    require(!skb.mark || skb.mark == (FM_MARK_TO_PROXY | 0x1127u << 16), "a mark is that of the proxy");
    const size_t at = skb.protocol == htons(FM_ETHERTYPE_IPV4) ? FM_AT_TRANSPORT4 : FM_AT_TRANSPORT6;
    if (size > at + 20) require(!memcmp(frame + at + 20, before + at + 20, size - at - 20), "the rest stays");
  }
  free(place);
  free(before);
}

/* Frames one after another, each with how it comes and its length in front. */
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  begin();
  while (size >= 2) {
    const uint8_t how = data[0];
    const size_t length = data[1] < size - 2 ? data[1] : size - 2;
    if (how & 4) host_time += (how >> 3) * FM_SECOND;
    run(data + 2, length, how & 1, how & 2);
    data += 2 + length;
    size -= 2 + length;
  }
  return 0;
}
