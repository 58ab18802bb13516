"""In-flight depth over simulated engines: engines, arrivals, a worker, candidate rules, the report."""
