"""`twingateway backup`: a copy of a node's store, running or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def backup(
    file: Annotated[Path, typer.Argument(metavar="NODE.yaml", help="The node file.")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is an earlier copy.")] = False,
) -> None:
    """Copy a node's store, whole and from one moment, while the node runs or not. Of the node file only what says
    where the store is has to be right.

    `twingateway restore` puts it back.

    Examples:
      twingateway backup node.yaml /backup/edge-1.db --force
      twingateway backup node.yaml "/backup/edge-1-$(date +%F).db"
    """
    from twingateway.config.load import find_store
    from twingateway.store.backup import back_up

    store = find_store(file)
    size = back_up(store, target, replace=force)
    print(f"{target}: {store} as it was just now, {size / 1e6:.1f} MB")
