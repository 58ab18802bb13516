"""`sluicegate adapt`: one module for each step from rows to a bundle."""
