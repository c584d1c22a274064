"""
The numbers in the columns of decisions.

They are those of `cpp/datapath/abi.h`, reasons and states being Cilium's (bpf/lib/drop_reasons.h,
bpf/lib/common.h). None is ever given another meaning.
"""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """What becomes of a packet; of one side of it, `UNKNOWN` says that the side was not judged."""

    UNKNOWN = 0
    ALLOW = 1
    DENY = 2
    REDIRECT = 3


class Reason(IntEnum):
    """Why a packet was denied."""

    NONE = 0
    POLICY = 133
    INVALID = 134
    UNKNOWN_PROTOCOL = 137
    CHECKSUM = 154
    CT_CREATE_FAILED = 155
    FRAGMENT = 157
    NO_BACKEND = 158
    POLICY_DENY = 181
    AUTH_REQUIRED = 189


class ConnectionState(IntEnum):
    """What connection tracking makes of a packet."""

    NEW = 0
    ESTABLISHED = 1
    REPLY = 2
    RELATED = 3
