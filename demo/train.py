"""Make the demo model from nothing: render cars, train. On two H100 with 32 cores about 25 minutes.

usage: accelerate launch --num_processes N demo/train.py --work DIR [--count 75000]     (or plain python on one GPU)

A rendering or a training that was stopped goes on where it was. The result is DIR/run/model; `demo/measure.py` says how
good it is. With --model a model is trained on, with its tokenizer, as when a machine was lost and a checkpoint is left:
other renders (--first-seed), fewer --steps from a lower --learning-rate. What ships was made so: see
src/carscribe/engines/demo/README.md.
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
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--model", help="train this one on instead of a new one")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-photos", type=int, help="of all GPUs together")
    options = parser.parse_args()
    processes = PartialState(timeout=PATIENCE)  # rendering takes the first process long
    if processes.is_main_process:
        write_set(options.work / "set", options.count, first_seed=options.first_seed, shard=500)
    processes.wait_for_everyone()
    settings = load_settings(
        Path(__file__).with_name("model.toml"),
        steps=options.steps,
        learning_rate=options.learning_rate,
        batch_photos=options.batch_photos,
    )
    changes: dict[str, object] = {"batch_photos": settings.batch_photos // processes.num_processes}
    if options.model:
        changes["new_model"] = None
    settings = settings.model_copy(update=changes)
    outcome = finetune(options.work / "set", options.model, options.work / "run", settings, say=print)
    if processes.is_main_process:
        print(f"Measure it: python demo/measure.py --model {outcome.result}")


if __name__ == "__main__":
    main()
