"""Pair images with masks by their names alone, and find the patterns of their paths."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

from harness.tasks.new_task.listing import Entry, holds_masks, is_mask_name, is_split_name

SAMPLE = 40  # masks of a folder whose names are compared with all images, which takes quadratic time
WAYS_SHOWN = 8  # pairings that a message lists
ALIKE = 20  # a part of a name that more images share is not the name of a case
MOST_FOLDERS = 100  # patterns of folders of images and of masks; each is compared with each

# With more characters around the case, such as `_segmentation` and `img_`, a single image and mask pair by chance.
CHANCE = 24

_AFFIXES = re.compile(r"[_\-. ]")


@dataclass(frozen=True, slots=True, order=True)
class Affixes:
    """What stands around the name of a case in the names of its image and its mask."""

    image_before: str = ""
    image_after: str = ""
    mask_before: str = ""
    mask_after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Images and masks that belong together by their names.

    Attributes:
        images, masks: Patterns of their paths below the folder.
        pairs: (image, mask) of every image that has one.
        lonely_images, lonely_masks: The others.
        splits: The splits among the names of folders.
        labels: Texts that stand for `{label}` in `masks`.
    """

    images: str
    masks: str
    pairs: Sequence[tuple[Entry, Entry]]
    lonely_images: Sequence[Entry] = ()
    lonely_masks: Sequence[Entry] = ()
    splits: Sequence[str] = ()
    labels: Sequence[str] = ()

    @property
    def flags(self) -> str:
        """The options of the command line that choose this pairing."""
        return f"--images {self.images!r} --masks {self.masks!r}"


@dataclass(slots=True)
class FileGroup:
    """Files of folders that differ in split, patient or group alone: the files by these three and by stem."""

    pattern: str
    files: dict[tuple[str, str, str], dict[str, Entry]] = field(default_factory=dict)

    def add(self, key: tuple[str, str, str], entry: Entry) -> None:
        self.files.setdefault(key, {})[entry.stem] = entry

    @property
    def count(self) -> int:
        return sum(map(len, self.files.values()))


def find_pairings(entries: Sequence[Entry]) -> list[Pairing]:
    """Return the ways in which images and masks of a folder pair, those with most pairs first."""
    images = [entry for entry in entries if entry.is_image]
    found = [*_in_folders(images), *_in_case_folders(images)]
    found = _joined_labels(found)
    most = max((len(pairing.pairs) for pairing in found), default=0)
    # With fewer than half as many pairs the names agree by chance. A pairing of a subset of another's masks covers a
    # single one of many folders, or crosses the files of a folder.
    whole = [{mask for _, mask in pairing.pairs} for pairing in found]
    kept = [
        pairing
        for pairing, masks in zip(found, whole, strict=True)
        if 2 * len(masks) >= most and not any(masks < others for others in whole)
    ]
    return without_repeats(kept)


def without_repeats(found: Sequence[Pairing]) -> list[Pairing]:
    """Return the pairings with most pairs first, and of those with the same pairs the one with the shortest patterns.

    A folder of one case may be read as a folder of one patient with one image, for example.
    """
    by_pairs: dict[frozenset[tuple[Entry, Entry]], Pairing] = {}
    for one in sorted(found, key=lambda one: (len(one.images) + len(one.masks), one.images, one.masks)):
        by_pairs.setdefault(frozenset(one.pairs), one)
    return sorted(by_pairs.values(), key=lambda one: (-len(one.pairs), one.images, one.masks))


def _in_folders(entries: Sequence[Entry]) -> Iterator[Pairing]:
    """Yield the pairings of folders of images with folders of masks, or of files in one folder."""
    shared = _shared_parts(entries)
    of_masks: dict[str, FileGroup] = {}
    of_images: dict[str, FileGroup] = {}
    for entry in entries:
        pattern, key = _generalised(entry.folder, shared)
        group = of_masks if holds_masks(entry) else of_images
        group.setdefault(pattern, FileGroup(pattern)).add(key, entry)
    if len(of_images) > MOST_FOLDERS and len(of_masks) > MOST_FOLDERS:
        return  # folders that are neither patients nor groups; the user has to give the patterns
    for masks in of_masks.values():
        ways = [way for images in of_images.values() for way in paired(images, masks)]
        ways = [way for way in ways if not _by_chance(way)]
        most = max((len(way.pairs) for way in ways), default=0)
        if 2 * most >= masks.count:
            yield from (way for way in ways if len(way.pairs) == most)


def _by_chance(way: Pairing) -> bool:
    """Return whether a single image and a single mask have little of their names in common."""
    around = [pattern.rpartition("/")[2].partition(".")[0].replace("{case}", "") for pattern in (way.images, way.masks)]
    return len(way.pairs) == 1 and sum(map(len, around)) > CHANCE


def _shared_parts(entries: Sequence[Entry]) -> frozenset[str]:
    """Return the folder names that occur both among images and among masks, in one folder with others of their kind."""
    sides: dict[bool, set[str]] = {True: set(), False: set()}
    for entry in entries:
        sides[holds_masks(entry)] |= {
            part for part in entry.folder if not is_mask_name(part) and not is_split_name(part)
        }
    shared = sides[True] & sides[False]
    siblings: dict[tuple[str, ...], set[str]] = {}
    for entry in entries:
        for depth, part in enumerate(entry.folder):
            siblings.setdefault(entry.folder[:depth], set()).add(part)
    several = {part for names in siblings.values() if len(names & shared) > 1 for part in names & shared}
    return frozenset(several)


def _generalised(folder: Sequence[str], shared: frozenset[str]) -> tuple[str, tuple[str, str, str]]:
    """Return the pattern of a folder, and its split, patient and group.

    A folder among others of its kind is a patient if its name has a digit: `benign` and `malignant` are groups, and as
    patients they would be two clusters.
    """
    split = patient = group = ""
    parts = []
    for part in folder:
        if is_split_name(part) and not split:
            split, part = part, "{split}"
        elif part in shared and not patient and any(map(str.isdigit, part)):
            patient, part = part, "{patient}"
        elif part in shared and not group and not any(map(str.isdigit, part)):
            group, part = part, "{group}"
        parts.append(f"{part}/")
    return "".join(parts), (split, patient, group)


def _bases(stem: str) -> list[str]:
    """Return the names of cases that the stem of a mask may hold: itself, and it without the words of masks."""
    pieces = _AFFIXES.split(stem)
    found = [stem]
    for number in range(1, len(pieces)):
        front = stem[: len("_".join(pieces[:number]))]
        back = stem[len("_".join(pieces[:number])) + 1 :]
        found += [front] if any(map(is_mask_name, pieces[number:])) else []
        found += [back] if any(map(is_mask_name, pieces[:number])) else []
    return [base for base in dict.fromkeys(found) if base]


def _affixes(images: Mapping[str, Entry], stem: str) -> set[Affixes]:
    """Return the affixes by which the mask with this stem may belong to one of the images."""
    found = set()
    bases = _bases(stem)
    for base in bases:
        if base in images:
            before, _, after = stem.partition(base)
            found.add(Affixes("", "", before, after))
    if found:
        return found
    for base in bases:
        before, _, after = stem.partition(base)
        inside = [image for image in images if base in image]
        # A base in the names of many images, such as `img`, identifies none.
        if len(inside) <= ALIKE:
            found |= {Affixes(*image.partition(base)[::2], before, after) for image in inside}
    shorter = [image for image in images if image in stem]
    return found | {Affixes("", "", *stem.partition(image)[::2]) for image in shorter}


def paired(images: FileGroup, masks: FileGroup) -> Iterator[Pairing]:
    """Yield the pairings of two groups of folders: by the affixes that pair most masks; several if there is a tie."""
    counts: Counter[Affixes] = Counter()
    for key, files in masks.files.items():
        for stem in list(files)[:SAMPLE]:
            counts.update(_affixes(images.files.get(key, {}), stem))
        if counts.total() > SAMPLE * SAMPLE:
            break
    most = max(counts.values(), default=0)
    likely = sorted(affixes for affixes, count in counts.items() if count == most)
    # Longer affixes contain a part of the case's name, unless no shorter ones fit.
    least = min((sum(map(len, astuple(one))) for one in likely), default=0)
    for one in likely:
        if sum(map(len, astuple(one))) <= least + 12:
            found = _with_affixes(images, masks, one)
            if found is not None:
                yield found


def _with_affixes(images: FileGroup, masks: FileGroup, by: Affixes) -> Pairing | None:
    pairs: list[tuple[Entry, Entry]] = []
    lonely: list[Entry] = []
    used: set[Entry] = set()
    for key, files in images.files.items():
        others = masks.files.get(key, {})
        for stem, entry in files.items():
            inside = stem.startswith(by.image_before) and stem.endswith(by.image_after)
            case = stem[len(by.image_before) : len(stem) - len(by.image_after)]
            mask = others.get(f"{by.mask_before}{case}{by.mask_after}") if inside and case else None
            if mask is None:
                lonely += [entry] if inside else []
            else:
                pairs.append((entry, mask))
                used.add(mask)
    if not pairs:
        return None
    suffixes = Counter(mask.suffix for _, mask in pairs)
    image_suffixes = {image.suffix for image, _ in pairs}
    image_suffix = next(iter(image_suffixes)) if len(image_suffixes) == 1 and by.image_after else ".*"
    return Pairing(
        images=f"{images.pattern}{by.image_before}{{case}}{by.image_after}{image_suffix}",
        masks=f"{masks.pattern}{by.mask_before}{{case}}{by.mask_after}{suffixes.most_common(1)[0][0]}",
        pairs=pairs,
        lonely_images=lonely,
        lonely_masks=[entry for files in masks.files.values() for entry in files.values() if entry not in used],
        splits=sorted({key[0] for key in images.files if key[0]}),
    )


def _in_case_folders(entries: Sequence[Entry]) -> Iterator[Pairing]:
    """Yield the pairings of folders that each hold one case, in files named alike or after the folder."""
    parents: dict[tuple[str, ...], dict[str, dict[str, Entry]]] = {}
    for entry in entries:
        if entry.folder:
            parent, case = entry.folder[:-1], entry.folder[-1]
            name = f"{entry.stem}{entry.suffix}".replace(case, "{case}")
            parents.setdefault(parent, {}).setdefault(case, {})[name] = entry
    for parent, cases in parents.items():
        counts = Counter(name for files in cases.values() for name in files)
        common = [name for name, count in counts.items() if 2 * count > len(cases)]
        # Of a single folder any name would be common; there the files themselves must pair.
        if len(cases) < 2 or any(is_mask_name(part) or is_split_name(part) for part in cases):
            continue
        start = "/".join((*parent, "{case}")) + "/"
        for mask in (name for name in common if is_mask_name(name.partition(".")[0])):
            for image in (name for name in common if not is_mask_name(name.partition(".")[0])):
                whole = [files for files in cases.values() if image in files and mask in files]
                yield Pairing(
                    images=f"{start}{image}",
                    masks=f"{start}{mask}",
                    pairs=[(files[image], files[mask]) for files in whole],
                    lonely_images=[files[image] for files in cases.values() if image in files and mask not in files],
                    lonely_masks=[files[mask] for files in cases.values() if mask in files and image not in files],
                )


def _joined_labels(found: Sequence[Pairing]) -> list[Pairing]:
    """Return the pairings with those joined whose masks differ in one word that names a label.

    The word is a folder's whole name below a folder of masks, or what distinguishes the names of the masks of an image.
    """
    groups: dict[tuple[str, str], list[tuple[str, Pairing]]] = {}
    for pairing in found:
        parts = pairing.masks.split("/")
        for place, part in enumerate(parts[:-1]):
            if "{" not in part and any(map(is_mask_name, parts[:place])) and not is_mask_name(part):
                masks = "/".join((*parts[:place], "{label}", *parts[place + 1 :]))
                groups.setdefault((pairing.images, masks), []).append((part, pairing))
    result = list(found)
    for (_, masks), members in groups.items():
        if len(members) > 1:
            result = [one for one in result if one not in [member for _, member in members]]
            result.append(joined(members, masks))
    return result


def joined(members: Sequence[tuple[str, Pairing]], masks: str) -> Pairing:
    """Return one pairing for several that differ in the label of their masks only.

    Args:
        members: (label, pairing), all with the same pattern of images.
        masks: The pattern of all their masks, with `{label}`.
    """
    return replace(
        members[0][1],
        masks=masks,
        pairs=[pair for _, member in members for pair in member.pairs],
        lonely_masks=[mask for _, member in members for mask in member.lonely_masks],
        labels=sorted(label for label, _ in members),
    )
