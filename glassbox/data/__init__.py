"""What stands behind `Datasets.py`: finding, reading, splitting, scaling and altering images.

Nothing in here imports the network, and nothing keeps state between calls. From the file outwards:

published.py   which files MNIST and Fashion-MNIST consist of, and finding them in a folder
download.py    fetching a file through several mirrors
readers.py     IDX files, and what every reader shares; archives.py: .npz; tables.py; folders.py
splitting.py   which image goes into which part
dataset.py     Scaling, Dataset (one part), Splits (all three); given.py: arrays made into one
augment.py     random shifts, rotations and the like while training
"""
