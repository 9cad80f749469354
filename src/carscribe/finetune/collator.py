"""From rows of a dataset to what a model is trained on: photos read and cut, pairs tokenised and laid out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from carscribe.engines.prompting import PromptEncoder
from carscribe.errors import PhotoError
from carscribe.examples import Pair, pairs_of_row
from carscribe.finetune.layouts import Batch, Tokens, Way, pack, pad_rows
from carscribe.photos.decode import read_photo, tile_photo
from carscribe.photos.tiles import choose_grid, mirrored
from carscribe.records import TiledPhoto, Tiling


class Collator:
    """Makes a batch of rows as `Example.to_row` writes them. Runs in the loader's workers: no GPU, no model.

    A batch holds `input_ids`, `position_ids` and `labels` int64 [B, S], `pixel_values` uint8 [tiles, px, px, 3] of all
    photos in order (the trainer scales them, on its device), `attention_mask`, and for packed rows `prefix_tokens` and
    `own_prefix`: see `layouts.Batch`.
    """

    def __init__(
        self,
        encoder: PromptEncoder,
        tiling: Tiling,
        *,
        rows: Way,
        most_pairs: int | None = None,
        mirror: bool = False,
        drawn: bool = True,
        quantum: int = 8,
    ) -> None:
        """`most_pairs`: of a photo with more, so many are taken at random, others the next time; `mirror`, likewise.

        Not `drawn`, they are the same each time, spread over all of its pairs.
        """
        self._encoder, self._tiling, self._way = encoder, tiling, rows
        self._most_pairs, self._mirror, self._drawn, self._quantum = most_pairs, mirror, drawn, quantum

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Raises: PhotoError for a photo that cannot be read, or prepared rows without pairs."""
        photos = [self._read(row) for row in rows]
        chosen = [self._chosen(_pairs(row)) for row in rows]
        batch, repeats = self.lay_out(chosen, [len(photo.tiles) for photo in photos])
        pixels: list[NDArray[np.uint8]] = [
            photo.tiles for photo, times in zip(photos, repeats, strict=True) for _ in range(times)
        ]
        found = {
            "input_ids": torch.from_numpy(batch.token_ids),
            "position_ids": torch.from_numpy(batch.position_ids),
            "labels": torch.from_numpy(batch.labels),
            "attention_mask": torch.from_numpy(batch.mask),
            "pixel_values": torch.from_numpy(np.concatenate(pixels)),
        }
        if batch.own_prefix is None:
            return found
        return found | {"prefix_tokens": batch.prefix_tokens, "own_prefix": torch.from_numpy(batch.own_prefix)}

    def lay_out(self, rows: Sequence[Sequence[Pair]], tiles: Sequence[int]) -> tuple[Batch, list[int]]:
        """The arrays of some photos' pairs, and how many rows each photo has."""
        tokens = [[self._tokens(pair, count) for pair in row] for row, count in zip(rows, tiles, strict=True)]
        pad_id = self._encoder.pad_id
        match self._way:
            case "packed":
                return pack(tokens, pad_id=pad_id, quantum=self._quantum), [1] * len(rows)
            case "plain":
                each = [[(pair.prompt, False), (pair.answer, True)] for row in tokens for pair in row]
                return pad_rows(each, pad_id=pad_id, quantum=self._quantum), [len(row) for row in rows]
            case "turns":
                talks = [self._talk(row, own) for row, own in zip(rows, tokens, strict=True)]
                return pad_rows(talks, pad_id=pad_id, quantum=self._quantum), [1] * len(rows)

    def _tokens(self, pair: Pair, tiles: int) -> Tokens:
        return Tokens(
            prompt=self._encoder.ids(pair.question, tiles),
            image_end=self._encoder.image_end(pair.question, tiles),
            answer=self._encoder.answer(pair.question, pair.answer),
        )

    def _talk(self, pairs: Sequence[Pair], tokens: Sequence[Tokens]) -> list[tuple[tuple[int, ...], bool]]:
        """One conversation: the first prompt with the photo, then question after question."""
        runs = [(tokens[0].prompt, False), (tokens[0].answer, True)]
        for pair, own in zip(pairs[1:], tokens[1:], strict=True):
            runs += [(self._encoder.later_turn(pair.question), False), (own.answer, True)]
        return runs

    def _chosen(self, pairs: list[Pair]) -> list[Pair]:
        if self._most_pairs is None or len(pairs) <= self._most_pairs:
            return pairs
        if not self._drawn:
            return [pairs[i * len(pairs) // self._most_pairs] for i in range(self._most_pairs)]
        order = torch.randperm(len(pairs))[: self._most_pairs].tolist()  # torch's seed differs from worker to worker
        return [pairs[i] for i in order]

    def _read(self, row: Mapping[str, Any]) -> TiledPhoto:
        try:
            return self._photo(row["photo"])
        except PhotoError as error:
            raise PhotoError(f"{_name(row)} {error}.") from None

    def _photo(self, photo: str | bytes) -> TiledPhoto:
        read = tile_photo(photo, self._tiling) if isinstance(photo, bytes) else read_photo(Path(photo), self._tiling)
        if self._mirror and bool(torch.rand(()) < 0.5):
            grid = choose_grid(read.width_px, read.height_px, self._tiling)
            return replace(read, tiles=mirrored(read.tiles, grid))
        return read


def _pairs(row: Mapping[str, Any]) -> list[Pair]:
    if not row["questions"] or len(row["questions"]) != len(row["answers"] or ()):
        raise PhotoError(f"{_name(row)} has no questions, or not as many answers.")
    return pairs_of_row(row)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("key") or ("a photo" if isinstance(row["photo"], bytes) else row["photo"]))
