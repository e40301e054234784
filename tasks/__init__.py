"""How one step runs over many studies: sources, store, ledger, shards, cluster, report."""
