"""JMESPath expressions in device documents: checked when the document is read, so that no device meets a bad one."""

from __future__ import annotations


def check_jmespath(expression: str) -> str:
    """The expression itself; for pydantic's AfterValidator. Raises ValueError."""
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        raise ValueError(f"not a JMESPath expression: {error}") from None
    return expression
