"""The derive and perfusion stages: from labels and series to phenotypes."""
