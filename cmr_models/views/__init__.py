"""Views of the heart: planes in space, which view a cine shows, where the heart lies in it."""
