"""`twingateway restore`: a copy in the place of a node's store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def restore(
    file: Annotated[Path, typer.Argument(metavar="NODE.yaml", help="The node file.")],
    copy: Annotated[Path, typer.Argument(metavar="FILE", help="The copy, as `backup` wrote it.")],
    force: Annotated[
        bool, typer.Option("--force", help="Though the copy is of another store than is there.")
    ] = False,
) -> None:
    """Put a copy in the place of a node's store. The node has to be stopped. The copy is read from end to end before
    anything is changed; the store that is there is set aside as ….replaced-1. A copy of another store than is there
    is refused: it is another node's, or this one's from before its store was damaged, lost or restored.

    What the copy lacks the node gets from its peers by itself once it is started: the event store-rolled-back.

    Example:
      systemctl stop twingateway
      twingateway restore /etc/twingateway/node.yaml /backup/edge-1.db
      systemctl start twingateway
    """
    from twingateway.config.load import find_store
    from twingateway.store.restore import restore as put_back

    store = find_store(file)
    restored = put_back(copy, store, other=force)
    print(f"{store}: it is {copy} now, {restored.size / 1e6:.1f} MB")
    if restored.aside:
        files = ", ".join(map(str, restored.aside))
        print(f"{files}: the store that was there. Remove it once the node runs as it should")
    for left in restored.left:
        print(f"{left}: left of a restore that was cut short. Remove it")
