"""`/`: the twins, live, in a browser. One file, which loads nothing from elsewhere and only reads.

It holds no data itself and so is served without a token; what it shows it asks of the API, with the token that the
person types in. The policy that goes with it lets no other script run and nothing be sent anywhere but here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter()

_HTML = (files("twingateway.api") / "page.html").read_text(encoding="utf-8")


def _hashes(tag: str) -> str:
    """The contents of these elements, as a content security policy names what it allows."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", _HTML, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in found)


_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@router.get("/", include_in_schema=False)
async def page() -> HTMLResponse:
    return HTMLResponse(_HTML, headers=_HEADERS)
