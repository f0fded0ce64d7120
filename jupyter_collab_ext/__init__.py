"""The Jupyter side of shared notebooks: it translates for ``notebook_sync``, and never decides."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from jupyter_collab_ext.extension import JupyterCollab

    return [{"module": "jupyter_collab_ext", "app": JupyterCollab}]
