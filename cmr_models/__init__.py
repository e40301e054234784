"""Why it is true: networks, phenotypes, statistics, fairness and simulation, as pure functions of arrays and tables."""
