"""Configuration of the documentation; build it with ``sphinx-build -n -W -b html docs docs/_build/html``."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

import explorer_page  # noqa: E402 - found by the line above, as is the package where it is not installed

import spatialgraph  # noqa: E402

project = "spatialgraph"
version = release = spatialgraph.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # MathJax lies beside the pages, which then need no network
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "results"]
default_role = "code"

# The names of other projects that these pages link to are listed in docs/inventories, in plain text, so that a build
# needs no network; a new name needs a line. Names without a module are those imported for type checkers only.
intersphinx_mapping = {
    "igraph": ("https://python.igraph.org/en/stable/", "inventories/igraph.inv"),
    "lightning": ("https://lightning.ai/docs/pytorch/stable/", "inventories/lightning.inv"),
    "matplotlib": ("https://matplotlib.org/stable/", "inventories/matplotlib.inv"),
    "networkx": ("https://networkx.org/documentation/stable/", "inventories/networkx.inv"),
    "numpy": ("https://numpy.org/doc/stable/", "inventories/numpy.inv"),
    "pandas": ("https://pandas.pydata.org/docs/", "inventories/pandas.inv"),
    "python": ("https://docs.python.org/3/", "inventories/python.inv"),
    "scipy": ("https://docs.scipy.org/doc/scipy/", "inventories/scipy.inv"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "inventories/torch.inv"),
    "torch_geometric": ("https://pytorch-geometric.readthedocs.io/en/latest/", "inventories/torch_geometric.inv"),
}
nitpick_ignore_regex = [
    ("py:class", r"spatialgraph\..*\.(Network|Model)"),  # type variables
    ("py:class", r"nir\.\w+"),  # NIR's reference has no address for a class
    ("py:class", r"torch_geometric\.typing\.SparseTensor"),  # a stand-in where torch-sparse is absent, in no reference
]

copybutton_exclude = ".linenos, .gp"

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "show-inheritance": True,
    "exclude-members": "extra_repr",
}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # an attribute may have another type than the argument of its name
napoleon_custom_sections = ["Reference"]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_title = f"spatialgraph {version}"
html_show_copyright = False
html_show_sphinx = False


def write_explorer(app):
    """Write the page that the explorer's tutorial shows, beside the other pages."""
    if app.builder.format == "html":
        explorer_page.write(Path(app.outdir) / "explorer")


def setup(app):
    app.connect("builder-inited", write_explorer)
