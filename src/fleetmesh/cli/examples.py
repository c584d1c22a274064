"""
Where the examples are: in the checkout, or in the installed package.
"""

from __future__ import annotations

from pathlib import Path

from fleetmesh.errors import FleetmeshError

_PACKAGE = Path(__file__).parents[1]


class NoExamplesError(FleetmeshError):
    """
    Raised when the installation has no examples. Install the package anew.
    """


def examples() -> Path:
    """
    The folder of examples.

    Raises:
        NoExamplesError: There is none.
    """
    checkout = _PACKAGE.parents[1]
    # An editable install is a checkout, where what is edited counts and not what was installed once.
    for folder in (checkout / "examples", _PACKAGE / "_examples"):
        if (folder / "shop" / "fleet.yaml").is_file():
            return folder
    raise NoExamplesError(f"there are no examples in {_PACKAGE}; install fleetmesh anew")
