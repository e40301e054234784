"""Views of the heart: planes in space, which plane is which view, where the heart lies in it.

:mod:`~cmr_models.views.series_kind`: which series are cines, by their headers.
:mod:`~cmr_models.views.recognition`: ``recognise``, from planes to views; :mod:`~cmr_models.views.long_axis` for the
long axes; :mod:`~cmr_models.views.plane`: ``Plane``, what it needs of each.
:mod:`~cmr_models.views.geometry`: normals, distances, spacing.
:mod:`~cmr_models.views.heart_location`: ``find_heart_centre``, without labels.
:mod:`~cmr_models.views.view_images`: ``ViewImages``, the pixels and geometry of a view for a network.
"""
