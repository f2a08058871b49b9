from browsers import browser  # noqa: F401 (a fixture; in one place, since one process can drive one browser alone)
