"""
The names that people read for the numbers that the core uses.
"""

from __future__ import annotations

FRONTEND_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalIPs")
"""By the core's number of a frontend's type (Cilium pkg/loadbalancer/loadbalancer.go, `SVCType`)."""

STATES = ("active", "terminating", "terminating-not-serving", "quarantined", "maintenance")
"""By the core's number of a backend's state, in Cilium's order (`BackendState`)."""
