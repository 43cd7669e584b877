"""Many texts at once, a file each.

batch.py FOLDER < lines.txt. The server puts them into one batch.
"""

import asyncio
import os
import sys
from pathlib import Path

from qwentts_client import AsyncClient, TTSError

AT_ONCE = 16  # as many as the server has slots; more would wait in its queue


async def main(folder: Path, lines: list[str]) -> bool:
    """Speak each line into a numbered file.

    Whether any failed; a line that fails stops no other.
    """
    free = asyncio.Semaphore(AT_ONCE)

    async with AsyncClient(os.environ.get("QWENTTS_SERVER", "localhost:50051")) as client:

        async def speak(number: int, line: str) -> bool:
            async with free:
                try:
                    await client.save(folder / f"{number:04}.wav", line)
                except TTSError as error:
                    print(f"line {number}: {error}", file=sys.stderr)
                    return False
                return True

        return not all(await asyncio.gather(*(speak(number, line) for number, line in enumerate(lines, 1))))


output = Path(sys.argv[1])
output.mkdir(parents=True, exist_ok=True)
sys.exit(asyncio.run(main(output, sys.stdin.read().splitlines())))
