"""The page's sections, one module each. ``ABOUT`` introduces the section; ``build(page)`` lays it out and connects its events."""
