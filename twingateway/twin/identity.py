"""Who a device is: a namespace (the tenant) and a name."""

from __future__ import annotations

import re
from typing import NamedTuple

from twingateway.errors import InvalidValue, Problem

DEFAULT_NAMESPACE = "default"

#: Names are used in topics, URLs and file names, so they hold nothing that any of those treats specially.
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_NAME = re.compile(NAME_PATTERN)


class DeviceId(NamedTuple):
    """`namespace/name`; the namespace comes from a credential, never from a payload."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def short(self) -> str:
        """The name alone in the default namespace, otherwise `namespace/name`."""
        return self.name if self.namespace == DEFAULT_NAMESPACE else str(self)

    @classmethod
    def parse(cls, text: str, namespace: str = DEFAULT_NAMESPACE) -> DeviceId:
        """`name` or `namespace/name` → identity; raises InvalidValue for anything else."""
        head, slash, tail = text.partition("/")
        identity = cls(head, tail) if slash else cls(namespace, head)
        for part in identity:
            if _NAME.fullmatch(part) is None:
                raise InvalidValue(
                    Problem(
                        f"{text!r} is not a device name: letters, digits, '.', '_' and '-' (at most 128), "
                        "beginning with a letter or digit",
                        path="metadata.name",
                        rule="pattern",
                    )
                )
        return identity
