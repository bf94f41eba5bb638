"""The page as the browser gets it: it names no other machine, and the browser would not ask one if it did."""

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self'; frame-src 'none'; form-action 'none'"
)
NAMED = re.compile(
    rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>|https://(?:raw\.githubusercontent|github)\.com/[^"\\\s]*'
)
"""What Gradio tells sites that show links to the page, and the files that its components give as examples."""


class StaysHere:
    """Around the server: pages lose what is `NAMED`, and everything is sent with `POLICY`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message = {}
        page: list[bytes] = []

        async def pass_on(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                if headers.get("content-type", "").startswith("text/html"):
                    start = message  # its length will change
                    return
            elif start and message["type"] == "http.response.body":
                page.append(message.get("body", b""))
                if message.get("more_body"):
                    return
                body = NAMED.sub(b"", b"".join(page))
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self.app(scope, receive, pass_on)
