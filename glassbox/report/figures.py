"""Every picture this package draws. Each function gives a Figure or Axes; `save` writes either."""

# the first of these loads matplotlib, whatever MPLBACKEND names
from glassbox.report.canvas import house_style  # noqa: F401
from glassbox.report.charts import class_scores, confusion, curves, running
from glassbox.report.maps import confused, feature_maps, filters, mistakes, preview
from glassbox.report.results import save
from glassbox.report.score_charts import embedding, reliability, roc

__all__ = [
    "class_scores", "confused", "confusion", "curves", "embedding", "feature_maps", "filters",
    "mistakes", "preview", "reliability", "roc", "running", "save",
]  # fmt: skip
