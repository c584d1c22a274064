"""
Builds the real programs before the tests that need them.
"""

from __future__ import annotations

import pytest

from real import servers


def pytest_collection_finish(session: pytest.Session) -> None:
    """
    Builds what the chosen tests name in their marker, `@pytest.mark.real("etcd", "kvstore")`: a first build
    takes longer than a test may. What can't be had or built is told by the test that asks for it.
    """
    if session.config.option.collectonly:
        return
    named = {name for item in session.items for marker in item.iter_markers("real") for name in marker.args}
    for name in sorted(named, key=[*servers.PACKAGES, "etcd-3.4"].index):
        try:
            servers.path_of(name)
        except (servers.UnavailableError, RuntimeError):
            continue
