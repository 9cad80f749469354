"""The catalogue of a workspace: photos, what is asked of them, answers, failures, verdicts, in one SQLite file.

Knows nothing of how photos are read, prompts rendered or answers found; it keeps them, and says what is missing.
"""
