"""
etcd v3 as a store, by a thin client of our own.
"""

from __future__ import annotations

from fleetmesh.state.etcd.store import EtcdStore

__all__ = ["EtcdStore"]
