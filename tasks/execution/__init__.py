"""How work is planned, cut into shards and sent to a cluster."""
