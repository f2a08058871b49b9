"""The JavaScript library for the charts of ``dvc plots show``, as a file next to the samples.

DVC's default page downloads Vega. The project's own page (.dvc/plots.html) loads data/samples/vega.js, which is written here from an
installed package and tracked by DVC like any other output. The charts therefore work offline, also after ``dvc pull``.
"""

from pathlib import Path

from facegan.common.files import write_text

VEGA_LITE = "5.21"  # DVC's charts are written for version 5


def write_chart_library(out: Path) -> None:
    """Writes vega.js: Vega, Vega-Lite and Vega-Embed as one plain script that defines ``vegaEmbed``."""
    import vl_convert

    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]  # its stub requires a snippet
    write_text(out / "vega.js", f"(() => {{{bundle}\n}})();\n")  # the function keeps the bundle's names out of the global scope
