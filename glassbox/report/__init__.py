"""What a person sees: arrays in, numbers, tables and pictures out.

metrics.py, scores.py      confusion matrix, precision, recall; ROC curves, calibration
embedding.py, names.py     t-SNE: which images lie beside which; class names that fit
figures.py                 every picture, gathered from charts.py (lines, bars), score_charts.py
                           (ROC, reliability, t-SNE) and maps.py (images); their look is style.py
canvas.py                  loads matplotlib, and lends every picture its defaults
results.py, report.py      a run's folder, each file whole or not at all; its HTML page
evaluation.py              from images, labels and probabilities to all of these, in one call

Nothing here imports the rest of the project, but `glassbox.atomic`, so it can be used beside any
network. Importing the package itself is free; matplotlib and scikit-learn are loaded when needed.
"""
