/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Of whom an entry is asked for besides an identity's own (pkg/policy/aggregate.go). */
#ifndef FLEETMESH_AGGREGATE_H
#define FLEETMESH_AGGREGATE_H

#include "abi.h"

/* `bits`: of an identity below its cluster's id. */
static inline uint32_t fm_aggregate_of(uint32_t identity, uint32_t cluster, uint32_t bits) {
  const uint32_t scope = identity >> 24;
  if (identity >= FM_AGGREGATE_CLUSTER && identity <= FM_AGGREGATE_REMOTE_NODE) return identity;
  if (identity < 100) return FM_AGGREGATE_ANY; /* reserved */
  if (scope == 2) return FM_AGGREGATE_REMOTE_NODE;
  if (scope == 1) return FM_AGGREGATE_WORLD;
  return identity >> bits == cluster ? FM_AGGREGATE_CLUSTER : FM_AGGREGATE_CLUSTER_MESH;
}

#endif
