"""What may leave the site: small cells masked, one gate over all tables."""
