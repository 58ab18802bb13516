"""``sluicegate engine``: one module for each thing that is done with a bundle."""
