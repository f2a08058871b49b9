"""What the stage says about a person's photos: whether they are enough, and whether the faces in them are found and large enough."""

import statistics

TOO_FEW, FEW, SOME = 50, 500, 2000  # training pictures
MORE = "After adding photos: dvc repro --force --single-item download && dvc repro"
MANY = 0.5  # of the sampled photos show a face: photos of people, then
LOW_SHARE = 0.6  # of the square; below it, faces are small or out of place


def advise_on_duplicates(duplicates: int, pictures: int) -> list[str]:
    """Returns how many pictures were left out as duplicates of the others, as a line, or none."""
    return [f"{duplicates:,} of {duplicates + pictures:,} pictures were duplicates and are left out"] if duplicates else []


def advise_on_number(pictures: int) -> list[str]:
    """Returns what so many training pictures are good for, as one line, or none where they are plenty."""
    if pictures < TOO_FEW:
        return [f"{pictures} pictures are too few to train on: whatever comes out repeats them; a few hundred are a beginning. {MORE}"]
    if pictures < FEW:
        return [
            f"{pictures} pictures are few: expect faces like your photos, and repeats of them (the memorisation test in evaluate tells). "
            f"The model of another run, on many faces, is a good beginning (train.start_from). {MORE}"
        ]
    if pictures < SOME:
        return [f"{pictures:,} pictures are enough for faces, and more give better ones. {MORE}"]
    return []


def advise_on_faces(photos: int, found: int, pictures: int) -> list[str]:
    """Returns in how many photos faces were found, as a line, or none where all have one."""
    if found == photos == pictures:
        return []
    return [f"{pictures:,} faces from {found:,} of {photos:,} photos; faces.png shows where, and photos without one"]


def advise_on_square(photos: int, shares: list[float]) -> list[str]:
    """Returns how much of the square the faces fill, with an offer where it is little, as a line; none where the photos show no people.

    Args:
        photos: how many were looked at.
        shares: of the square's side, one for each of those photos in which a face was found.
    """
    if len(shares) < MANY * photos:
        return []
    median = statistics.median(shares)
    line = f"faces fill {median:.2f} of the square in the median ({len(shares)} of {photos} photos looked at have one)"
    return [line + ("; preprocess.crop: face would find, straighten and enlarge them" if median < LOW_SHARE else "")]
