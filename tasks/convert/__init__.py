"""The convert stage: from source files to one study file.

:mod:`~tasks.convert.conversion`: one study from bytes to a published file; start here.
:mod:`~tasks.convert.cine`: DICOM images to cine views; of which :mod:`~tasks.convert.planes` (images to planes),
:mod:`~tasks.convert.acquisitions` (what belongs together), :mod:`~tasks.convert.frame_times` (what means time),
:mod:`~tasks.convert.frame_orders` (which of it the images allow), :mod:`~tasks.convert.phases` (frames in time),
:mod:`~tasks.convert.beats` (one beat of a real-time cine) and :mod:`~tasks.convert.stack` (planes to a view).
:mod:`~tasks.convert.perfusion_series`, :mod:`~tasks.convert.beat_times`: first-pass series and their times.
:mod:`~tasks.convert.nifti`, :mod:`~tasks.convert.landmark_images`: other formats.
:mod:`~tasks.convert.reference_labels`: what people drew in public data sets.
:mod:`~tasks.convert.study_table`, :mod:`~tasks.convert.reference_table`: the tables.
"""
