"""What a person sees: arrays in, numbers, tables and pictures out.

    names.py       class names that fit where there is little room
    metrics.py     confusion matrix, precision, recall, F-measure
    scores.py      ROC curves and their areas, calibration
    embedding.py   t-SNE: which images lie beside which
    figures.py     every picture, gathered from charts.py (lines, bars), score_charts.py (ROC,
                   reliability, t-SNE) and maps.py (images)
    style.py       one look for all of them
    results.py     a run's folder: JSON, CSV, text and pictures, each file whole or not at all
    report.py      one HTML page that holds a whole run
    evaluation.py  from images, labels and probabilities to all of these, in one call

Nothing here imports the rest of the project, but `glassbox.atomic`, so it can be used beside any
network. Importing the package itself is free; matplotlib and scikit-learn are loaded by whoever
asks for them.
"""
