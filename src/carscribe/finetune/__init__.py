"""Fine-tune a checkpoint on what people corrected, or train a small one from nothing, with TRL and PEFT.

    examples -> split -> layouts -> collator -> trainer -> run folder
                         └ the engine's own packing: all questions of a photo beside one reading of it

A tool above the stages, like `doctor`: it may use all of them, and none of them knows it. torch, trl and peft are
imported only when a training begins.
"""
