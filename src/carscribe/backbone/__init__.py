"""May another language model take the place of InternVL3's, and the checkpoint in which it does.

    BASE, LLM -> findings (configs and tokenizers alone) -> verdict        `carscribe backbone check`
    BASE, LLM -> vision tower, projector, language model, one folder       `carscribe backbone swap`

A tool above the stages, like `finetune`, which brings the result to life. torch is imported only to swap.
"""
