"""Descriptions that fit a text encoder: how much one holds, what an answer's phrases are, which are said.

- `encoders` counts as CLIP and T5 do, with the vocabularies that are shipped in `vocabulary/`.
- `readers` says how models of today read a caption; `tokenizer_files` finds and reads the tokenizers they need.
- `counting.budget_of` gives a budget by name: an encoder, a limit and what stands around the text.
- `phrases.split_phrases` cuts an answer into whole phrases; `repeats` says which of them say the same.
- `languages.answers_for` takes the answers in a language the encoder knows.
- `composing.compose` makes a description of a photo's answers, `composing.fit` of any text.

All but the vocabularies and `tokenizer_files` is pure. The stage knows nothing of photos, recipes, engines or where
answers are kept.
"""
