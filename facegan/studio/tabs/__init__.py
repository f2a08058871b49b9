"""The page's tabs, one module each. Each has ``build(page)``, which lays out the tab and wires what it does."""
