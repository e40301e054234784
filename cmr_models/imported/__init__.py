"""Networks that other tools trained: nnU-Net v2, read without it and run as it does.

- ``importing``: :func:`import_model`, from the folder of another tool to a model folder.
- ``nnunet_folder``, ``architecture``, ``checkpoints``, ``names``: what lies in such a folder, read without running it.
- ``plan``: how a volume becomes the network's input.
- ``volumes``, ``resampling``, ``sliding_window``: the steps of nnU-Net's predictor.
- ``segmenter``: :class:`ImportedSegmenter`, the runner.
"""
