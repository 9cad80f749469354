"""What others made, taken in: photos out of tar shards, Arrow and Parquet; captions as answers of a workspace.

- `shards` finds what is packed, `tars` and `tables` read it sample by sample, `unpacking` writes it into a folder.
- `captions` reads captions beside photos and in tables, `taking` brings them into a workspace.
"""
