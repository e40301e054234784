"""From signal to concentration of gadolinium."""
