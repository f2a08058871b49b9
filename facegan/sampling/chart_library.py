"""The library that draws the charts of ``dvc plots show``, as a file beside the pictures.

DVC's page fetches Vega from the net. The project's own page (.dvc/plots.html) takes it from data/samples/vega.js, which is written
here out of an installed package and kept by DVC like any other output. So the charts are drawn without a net, also after a pull.
"""

from pathlib import Path

from facegan.common.files import write_text

VEGA_LITE = "5.21"  # DVC's charts are written for version 5


def write_chart_library(out: Path) -> None:
    """Writes vega.js: Vega, Vega-Lite and Vega-Embed as one plain script that defines ``vegaEmbed``."""
    import vl_convert

    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)
    write_text(out / "vega.js", f"(() => {{{bundle}\n}})();\n")  # in a function, so that its own names stay its own
