"""The face studio: a page in the browser to watch trainings, look at faces, compare runs and play. Nothing of the pipeline imports it."""
