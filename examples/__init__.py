"""One short script for each published system reproduced here; `python -m examples` runs all.

    a_lab                the lab course's network and all that its task asks for
    b_keras_pipeline     the Keras pipeline, on its own 625 images and on all of MNIST
    c_two_convolutions   two convolutions and a softmax, image by image
    c_resnet             the residual network that system C wishes for
    d_batch_of_one       sigmoids and squared error, one epoch of single images
    e_fashion_cnn        the large network on clothes
    e_mlps               the six networks without convolutions
    records              99 % of MNIST within 15 seconds; under 20,000 parameters; the best network

`table` writes the README's table from what they left in results/.
`tensorboard_log` is a callback that logs to TensorBoard, with a requirement of its own.
`one_file` is the network of main.py and its training in one file of plain NumPy.
"""
