"""The frame of every page of the site: base template, style, navigation and policy.

A package that adds pages keeps its own templates; they begin with `{% extends "base.html" %}` and fill the block
`content`:

    shell = Shell(PackageLoader("leaderboard", "samples/templates"))
    page = Page(path="samples/mine/vqa_rad/index.html", title="Samples of mine", section="models",
                crumbs=(("Models", "models/index.html"),), scripts=(viewer_source,), images=True)
    html = shell.render(page, "samples.html", samples=samples)

In a template, `root` leads from the page to the folder of the site (`../../../`), so that every link is relative and
works from the file system; `page` is the `Page`. Classes and colours are those of `templates/style.css`, whose first
comment lists them; a page may add rules of its own with `style`.

What a page may run and load is what its Content-Security-Policy names. Tried in Chromium from `file://`:

- inline scripts and styles whose digest is in the policy run; that is how `scripts` and `style` work;
- `<script src>` with a digest in the policy, with or without `integrity`, does not run, since a file has no origin to
  check it with; with `'self'` or `file:` every script of the disk would;
- a script that is added by an inline script with a known digest runs under `'strict-dynamic'`; that is `loads`. A
  page whose data are in sibling script files adds them with `document.createElement("script")`.

Pages hold no time, no host and no path: the site is a pure function of its inputs.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

# File below the folder of the site, its name in the navigation, and the key that `Page.section` names.
NAVIGATION = (
    ("index.html", "Overview", "overview"),
    ("tasks/index.html", "Tasks", "tasks"),
    ("models/index.html", "Models", "models"),
    ("compare.html", "Compare", "compare"),
    ("methods.html", "Methods", "methods"),
    ("data.html", "Data", "data"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the frame must know of a page.

    Attributes:
        path: Its file below the folder of the site, with `/`.
        title: Of the window; text, escaped here.
        section: Key of the entry of NAVIGATION that the page belongs to.
        crumbs: (words, file below the folder of the site) of the pages above it, outermost first.
        style: Further rules of CSS, after those of all pages.
        scripts: Sources of JavaScript, each an inline script at the end of the body, in order. No `</script` in them.
        loads: Whether those scripts may add further script files.
        images: Whether the page shows image files beside it or `data:` images.
        policy: Further directives of the Content-Security-Policy, such as `{"worker-src": "blob:"}`.
        phantom: Whether its numbers are of synthetic patients, which the frame then says.
    """

    path: str
    title: str
    section: str
    crumbs: tuple[tuple[str, str], ...] = ()
    style: str = ""
    scripts: tuple[str, ...] = ()
    loads: bool = False
    images: bool = False
    policy: Mapping[str, str] | None = None
    phantom: bool = False

    @property
    def root(self) -> str:
        """The way from the page to the folder of the site; empty for a page directly in it."""
        return "../" * self.path.count("/")


class Shell:
    """Renders pages inside the frame."""

    def __init__(self, *loaders: BaseLoader) -> None:
        """Take the loaders of further templates, which are looked through before the templates of the site."""
        self.environment = Environment(
            loader=ChoiceLoader([*loaders, PackageLoader("leaderboard", "site/templates")]),
            # Names, answers and notes come from outside.
            autoescape=True,
            # A misspelt name in a template ends the build instead of leaving a gap in a page.
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._style = self.environment.get_template("style.css").render()

    def render(self, page: Page, template: str, **context: Any) -> str:
        """Return the HTML of a page.

        Args:
            page: What the frame shows.
            template: Name of a template that extends `base.html`.
            context: What the template shows, beside `page` and `root`.
        """
        assert not any("</script" in source.lower() for source in page.scripts), "would end the script element"
        style = self._style + page.style
        return self.environment.get_template(template).render(
            page=page,
            root=page.root,
            navigation=NAVIGATION,
            version=metadata.version("medground"),
            # These are ours, never text of an entry.
            content_policy=Markup(content_policy(page, style)),
            style=Markup(style),
            scripts=[Markup(source) for source in page.scripts],
            **context,
        )


def content_policy(page: Page, style: str) -> str:
    """Return the Content-Security-Policy under which a page may use its own style, scripts and images only."""
    directives = {"default-src": "'none'", "style-src": digest_of(style)}
    if page.scripts:
        allowed = [digest_of(source) for source in page.scripts]
        directives["script-src"] = " ".join([*allowed, "'strict-dynamic'"] if page.loads else allowed)
    if page.images:
        directives["img-src"] = "'self' data:"
    directives |= {"base-uri": "'none'", "form-action": "'none'"}
    directives |= page.policy or {}
    return "; ".join(f"{name} {value}" for name, value in directives.items())


@cache  # the same style and scripts are on thousands of pages
def digest_of(source: str) -> str:
    """Return the source expression of a Content-Security-Policy for an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
