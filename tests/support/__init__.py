"""What the Python drivers of the tests (tests/tcl, tests/clients) share."""
