"""What users run and test with: the commands of `python3 -m icey`, and aids for tests. Imports nothing by itself."""
