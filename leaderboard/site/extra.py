"""Pages that other packages of the leaderboard add to the site: samples, and the comparison of models.

A package gives one function and `leaderboard.build.EXTRA` names it:

    def extra_pages(entries: Sequence[BoardEntry]) -> Iterator[tuple[str, str | bytes]]:
        for entry in entries:
            for task in tasks_with_predictions(entry.folder):
                yield sample_page(entry.name, task), shell.render(...)

Each file is written when it is yielded and then forgotten, so memory does not grow with the number of pages. Paths are
below the folder of the site (`leaderboard.site.places` names the ones that other pages link to); text is written as
UTF-8. The other pages are made afterwards and link to what was written and to nothing else. What an entry alone makes
impossible belongs to that entry: its pages are left out, and the board is built.
"""

from collections.abc import Callable, Iterable, Sequence

from leaderboard.entry_file import BoardEntry

# All entries that the board shows, real and phantom -> (file below the folder of the site, content).
ExtraPages = Callable[[Sequence[BoardEntry]], Iterable[tuple[str, str | bytes]]]
