"""python3 -m icey serve: a folder over HTTP."""
