"""What training needs of arrays and networks; nothing here reads or writes files.

:mod:`~cmr_models.training.augmentation` varies batches of 2-D crops, :mod:`~cmr_models.training.cinema_augmentation`
samples of CineMA's networks; :mod:`~cmr_models.training.partial_labels` and
:mod:`~cmr_models.training.partial_label_losses` are for images that are labelled in part;
:mod:`~cmr_models.training.task_losses` has the losses of the other tasks; :mod:`~cmr_models.training.schedules` the
learning rate, :mod:`~cmr_models.training.layer_decay` the groups of an optimiser,
:mod:`~cmr_models.training.running_mean` the running mean of weights.
"""
