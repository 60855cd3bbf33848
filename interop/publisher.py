"""The generator of a contender that is fed over MQTT: publishes the updates to a broker nearby, QoS 1.

Topic and payload are what the product itself uses towards brokers that know nothing of it:
`twins/default/d7/reported` and `{"p0":4711}`. (The product's frames carry a version and a time as well.)
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from interop import mqtt311
from interop.control import serve
from interop.workload import Generator


async def _main(options: argparse.Namespace) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
    writer.write(mqtt311.connect("generator"))
    await reader.read(4096)

    def send(device: int, n: int) -> None:
        topic, payload = f"twins/default/d{device}/reported", b'{"p0":%d}' % n
        writer.write(mqtt311.publish(topic, payload, (n - 1) % 65_535 + 1))

    generator = Generator(options.devices, send)
    await serve(options.control, {"prime": generator.prime, "run": generator.run})
    while await reader.read(65_536):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m interop.publisher", description=__doc__)
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--control", type=Path, required=True)
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
