"""Make the demo model from nothing: render cars, train. On two H100 with 32 cores about 25 minutes.

usage: accelerate launch --num_processes N demo/train.py --work DIR [--count 75000]     (or plain python on one GPU)

A rendering or a training that was stopped goes on where it was. The result is DIR/run/model; `demo/measure.py` says how
good it is. What ships was made by these steps in two stages: see src/carscribe/engines/demo/README.md.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from accelerate import PartialState

from carscribe.finetune.runs import PATIENCE, finetune
from carscribe.finetune.settings import load_settings
from render_set import write_set


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=75_000)
    options = parser.parse_args()
    processes = PartialState(timeout=PATIENCE)  # rendering takes the first process long
    if processes.is_main_process:
        write_set(options.work / "set", options.count, shard=500)
    processes.wait_for_everyone()
    settings = load_settings(Path(__file__).with_name("model.toml"))
    settings = settings.model_copy(update={"batch_photos": settings.batch_photos // processes.num_processes})
    outcome = finetune(options.work / "set", None, options.work / "run", settings, say=print)
    if processes.is_main_process:
        print(f"Measure it: python demo/measure.py --model {outcome.result}")


if __name__ == "__main__":
    main()
