"""Every picture this package draws. Each function gives a Figure or Axes; `save` writes either.

curves, running, confusion, class_scores                  in charts.py
feature_maps, filters, preview, mistakes, samples         in maps.py
"""

from insight.charts import class_scores, confusion, curves, running
from insight.maps import feature_maps, filters, mistakes, preview, samples
from insight.results import save

__all__ = [
    "class_scores",
    "confusion",
    "curves",
    "feature_maps",
    "filters",
    "mistakes",
    "preview",
    "running",
    "samples",
    "save",
]
