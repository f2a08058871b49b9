"""The page's sections, one module each. Each has ``build(page)``, which lays it out and wires what it does."""
