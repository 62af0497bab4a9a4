"""What a person sees: arrays in, numbers, tables and pictures out.

    names.py     class names that fit where there is little room
    metrics.py   confusion matrix, precision, recall, F-measure
    figures.py   every picture, gathered from charts.py (lines, bars) and maps.py (images)
    style.py     one look for all of them
    results.py   a run's folder: JSON, CSV, text and pictures, each file written whole or not at all

Nothing here imports the rest of the project, so it can be used beside any network. Importing the
package itself is free; matplotlib and scikit-learn are loaded by whoever asks for them.
"""
