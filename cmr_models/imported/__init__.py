"""Networks that other tools trained, read without those tools and run as they do.

- ``importing``: :func:`import_model`, from the files of another tool to a model folder.
- ``found``: what a reader of such files finds; ``names``: structures by other people's names.
- ``nnunet_folder``, ``architecture``: folders of nnU-Net v2; ``checkpoints``: pickled weights, opened without running.
- ``monai_bundle``, ``monai_network``, ``monai_transforms``: MONAI bundles; ``bundle_files``: folders and zip archives;
  ``literals``: configurations read as data.
- ``onnx_file``, ``onnx_options``: ONNX networks and the file beside them.
- ``plan``, ``volumes``, ``resampling``, ``sliding_window``, ``segmenter``: nnU-Net's predictor.
- ``step_plan``, ``steps``, ``windows``, ``step_segmenter``: networks that are prepared step by step.
- ``runners``: the runner of a card; ``frames``: what the runners share.
"""
