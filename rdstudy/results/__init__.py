"""Results: `schema` says which columns there are, `store` is the only place that knows file names."""
