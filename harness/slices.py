"""Which slices of a volume a 2-D model is shown."""


def every_nth(depth: int, wanted: int) -> list[int]:
    """Return every (depth // wanted)-th slice from 0 on, all where there are no more than wanted.

    It can be up to 2 * wanted - 1 slices, and it leans to the front.

    Args:
        depth: Slices there are, >= 1.
        wanted: Slices to show, >= 1.
    Source: M3D's scripts for GPT-4V, which want 10 for captions and 5 for questions.
    """
    return list(range(depth)) if depth <= wanted else list(range(0, depth, depth // wanted))


def evenly_spaced(depth: int, wanted: int) -> list[int]:
    """Return slices equally spaced from the first to the last, rounded half to even; every slice at most once.

    One wanted slice is the first. Arguments as in `every_nth`; one reading of "equally spaced" in arXiv:2404.00578,
    whose rule is not published.
    """
    if wanted == 1:
        return [0]
    step = (depth - 1) / (wanted - 1)
    return sorted({*(round(place * step) for place in range(wanted - 1)), depth - 1})


def bin_centres(depth: int, wanted: int) -> list[int]:
    """Return the middle slice of each of `wanted` equal parts of the volume; every slice at most once.

    Arguments as in `every_nth`. It shows neither end, where volumes are often empty.
    """
    return sorted({(2 * place + 1) * depth // (2 * wanted) for place in range(wanted)})
