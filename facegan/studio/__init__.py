"""The face studio: a web page to watch training runs, browse faces, compare runs and edit faces. Nothing in the pipeline imports it."""
