"""From signal to concentration of gadolinium.

- ``gadolinium``: the signal of a saturation-recovery sequence at a concentration.
- ``lookup``: the table of that signal, and the concentration at a signal.
- ``t2star``: correction of the arterial signal for T2*, from two echoes.
"""
