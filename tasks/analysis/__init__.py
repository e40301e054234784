"""The associate and risk stages: estimates by settings and by specification, with their pages."""
