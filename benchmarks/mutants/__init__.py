"""Whether the tests notice small faults: one fault at a time is put into the code, at random, and the tests are run.

- :mod:`.faults`: the faults that a syntax tree offers, each a piece of text in place of another;
- :mod:`.modules`: the modules in which a wrong number would be published or data lost;
- :mod:`.tests_of_lines`: which tests run a line, from the contexts that ``make coverage`` records;
- :mod:`.trial`: one fault in a copy of the repository, the tests of its line in a fork of a warm process;
- :mod:`.results`: what was found, one line a fault, so that a run goes on where it ended; the page from it.
"""
