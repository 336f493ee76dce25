"""The tests of icey; a package, so that helpers are `tests.support` whatever else is installed."""
