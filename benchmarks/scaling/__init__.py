"""Scaling workers over a simulated day: load, the HPA's rules, pods and their consumer group, the report."""
