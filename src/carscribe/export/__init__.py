"""Exports: described photos as the data sets that trainers, spreadsheets and scripts read.

`write` is the way in. A description comes in composed; nothing here knows of budgets, workspaces or models.
"""

from carscribe.export.formats import FORMATS, Format
from carscribe.export.report import ExportReport, ImageMode, Noted
from carscribe.export.writing import write

__all__ = ["FORMATS", "ExportReport", "Format", "ImageMode", "Noted", "write"]
