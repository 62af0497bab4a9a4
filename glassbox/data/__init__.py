"""What stands behind `Datasets.py`: finding, reading, splitting, scaling and altering images.

Read it from the file outwards:

    published.py    which files MNIST and Fashion-MNIST consist of, and finding them in a folder
    download.py     fetching a file through several mirrors
    readers.py      IDX files, and what every reader shares; tables.py: .npz and .csv; folders.py
    splitting.py    which image goes into which part
    scaling.py      how stored pixels become the numbers a network sees
    dataset.py      Dataset (one part) and Splits (all three)
    augment.py      random shifts, rotations and the like while training

Nothing in here imports the network, and nothing keeps state between calls.
"""
