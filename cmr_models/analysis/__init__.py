"""An analysis from its specification: who is in, what is fitted, tables of estimates."""
