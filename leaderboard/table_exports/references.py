"""What a reader of the board cites, as BibTeX."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from leaderboard.table_exports.safe_text import bibtex, bibtex_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A paper whose numbers the board shows; `eprint` is its number at arXiv, None if it has none."""

    key: str
    author: str
    title: str
    venue: str
    year: int
    eprint: str | None = None


# By the name of the paper in published.json.
PAPERS = {
    "MedPLIB (AAAI 2025)": Reference(
        key="medplib",
        author="Huang, Xiaoshuang and others",
        title="Towards a Multimodal Large Language Model with Pixel-Level Insight for Biomedicine",
        venue="AAAI",
        year=2025,
        eprint="2412.09278",
    ),
    "MIMO (CVPR 2025)": Reference(
        key="mimo",
        author="Chen, Yanyuan and others",
        title=(
            "MIMO: A Medical Vision Language Model with Visual Referring Multimodal Input and Pixel Grounding "
            "Multimodal Output"
        ),
        venue="CVPR",
        year=2025,
    ),
    "M3D (arXiv 2404.00578)": Reference(
        key="m3d",
        author="Bai, Fan and others",
        title="M3D: Advancing 3D Medical Image Analysis with Multi-Modal Large Language Models",
        venue="arXiv",
        year=2024,
        eprint="2404.00578",
    ),
    "HuatuoGPT-Vision (EMNLP 2024)": Reference(
        key="huatuogpt-vision",
        author="Chen, Junying and others",
        title="HuatuoGPT-Vision, Towards Injecting Medical Visual Knowledge into Multimodal LLMs at Scale",
        venue="EMNLP",
        year=2024,
        eprint="2406.19280",
    ),
}
PAPERS["HuatuoGPT-Vision README"] = PAPERS["HuatuoGPT-Vision (EMNLP 2024)"]


def cited(paper: str) -> tuple[str, Reference | None]:
    """Return the key of a paper, and what is known of it."""
    known = PAPERS.get(paper)
    return (known.key if known is not None else bibtex_key(paper)), known


def references(place: str, title: str, version: str, papers: Sequence[str], pages: Sequence[tuple[str, str]]) -> str:
    """Return the entries of MedGround, of one table, of the papers in it and of the pages of its models.

    Args:
        place: Task or group of the table.
        title: What the table is called.
        version: Of MedGround.
        papers: Names as in published.json.
        pages: (model, http or https address).
    """
    entries = {
        "medground": _entry(
            "software",
            "medground",
            author="{The MedGround developers}",
            title=bibtex("MedGround: evaluation of medical vision-language models that answer in words and in pixels"),
            version=bibtex(version),
            license="Apache-2.0",
        )
    }
    key = f"medground:{bibtex_key(place)}"
    entries[key] = _entry(
        "misc",
        key,
        author="{The MedGround developers}",
        title=bibtex(f"MedGround board: {title}"),
        howpublished=bibtex(f"MedGround {version}"),
    )
    for paper in papers:
        name, known = cited(paper)
        if known is None:
            entries.setdefault(name, _entry("misc", name, title=bibtex(paper)))
            continue
        archive = {"eprint": known.eprint, "archiveprefix": "arXiv"} if known.eprint is not None else {}
        entries.setdefault(
            name,
            _entry(
                "inproceedings" if known.venue != "arXiv" else "misc",
                name,
                author=bibtex(known.author),
                title=bibtex(known.title),
                **({"booktitle": bibtex(known.venue)} if known.venue != "arXiv" else {}),
                year=str(known.year),
                **archive,
            ),
        )
    for model, url in pages:
        # Two models may have names that give one key; their addresses differ.
        name = next(
            it
            for number in range(len(entries) + 1)
            if (it := f"model:{bibtex_key(model)}{number or ''}") not in entries
        )
        entries[name] = _entry("misc", name, title=bibtex(model), howpublished=f"\\url{{{_address(url)}}}")
    return "\n".join(entries.values())


def _entry(kind: str, key: str, **fields: str) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"


def _address(url: str) -> str:
    """Return an address with every character encoded that would end a field or begin a command."""
    return quote(url, safe=":/?#[]@!$&'()*+,;=%~-._")
