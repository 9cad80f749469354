"""Exports: described photos as the data sets that trainers, spreadsheets and scripts read.

`write` is the way in; `write_set` that of fine-tuning sets, which hold questions with their answers. Descriptions come
in composed, examples divided; nothing here knows of budgets, workspaces or models.
"""

from carscribe.export.captioning import CaptionSettings
from carscribe.export.formats import FORMATS, Format
from carscribe.export.kit import ShardLimits
from carscribe.export.report import ExportReport, ImageMode, SetReport
from carscribe.export.set_formats import SET_FORMATS, SetFormat
from carscribe.export.set_writing import write_set
from carscribe.export.writing import write

__all__ = [
    "FORMATS",
    "SET_FORMATS",
    "CaptionSettings",
    "ExportReport",
    "Format",
    "ImageMode",
    "SetFormat",
    "SetReport",
    "ShardLimits",
    "write",
    "write_set",
]
