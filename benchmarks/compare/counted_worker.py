"""A worker that tells how many objects its garbage collector follows: `python -m compare.counted_worker worker`.

The file is named by COMPARE_OBJECTS. Apart from that it is `sluicegate`.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

from sluicegate.pipeline.command import main

_EVERY_S = 10.0


def tell(path: Path, every_s: float = _EVERY_S) -> None:
    """Write a line with the time and the number of objects, for ever."""
    while True:
        gc.collect()
        with path.open("a", encoding="utf-8") as file:
            file.write(f'{{"at_s": {time.time()}, "objects": {len(gc.get_objects())}}}\n')
        time.sleep(every_s)


if __name__ == "__main__":
    threading.Thread(target=tell, args=[Path(os.environ["COMPARE_OBJECTS"])], daemon=True).start()
    main()
