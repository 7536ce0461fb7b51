"""The size of the pixels of single DICOM images: which element counts, and what contradicts it."""

from typing import Any

import pytest

from harness.imaging.dicom.elements import directions, length, lengths, number, pixel_mm

pydicom = pytest.importorskip("pydicom")


def header(**elements: Any) -> Any:
    data = pydicom.Dataset()
    for name, value in elements.items():
        setattr(data, name, value)
    return data


def region(y: float = 0.02, x: float = 0.03, units: int = 3, form: int = 1) -> Any:
    return header(
        RegionSpatialFormat=form,
        PhysicalUnitsXDirection=units,
        PhysicalUnitsYDirection=units,
        PhysicalDeltaX=x,
        PhysicalDeltaY=y,
    )


def read(**elements: Any) -> tuple[Any, tuple[str, ...]]:
    data = header(**elements)
    return pixel_mm(data, lengths(data, "PixelSpacing"))


def near(size: tuple[float, float]) -> Any:
    return pytest.approx(size, rel=1e-9)


@pytest.mark.parametrize(
    ("elements", "size"),
    [
        ({}, None),
        ({"PixelSpacing": [0.2, 0.3]}, (0.2, 0.3)),  # row before column
        ({"ImagerPixelSpacing": [0.2, 0.3]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.2, 0.3], "EstimatedRadiographicMagnificationFactor": 1.25}, (0.16, 0.24)),
        ({"NominalScannedPixelSpacing": [0.2, 0.3]}, (0.2, 0.3)),
        ({"SequenceOfUltrasoundRegions": [region()]}, (0.2, 0.3)),  # stored in cm
        ({"SequenceOfUltrasoundRegions": [region(), region()]}, (0.2, 0.3)),
        ({"SequenceOfUltrasoundRegions": [region(), region(y=0.5, form=2)]}, (0.2, 0.3)),  # M-mode beside it
        ({"SequenceOfUltrasoundRegions": [region(), region(y=0.025)]}, None),
        ({"SequenceOfUltrasoundRegions": [region(units=4)]}, None),  # seconds
        ({"SequenceOfUltrasoundRegions": [region(y=0.0)]}, None),
        ({"PixelSpacing": [0.0, 0.3], "NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({"PixelSpacing": [0.2], "ImagerPixelSpacing": [-0.2, 0.3]}, None),
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [0.2, 0.3]}, (0.2, 0.3)),
        (
            {"PixelSpacing": [0.16, 0.24], "ImagerPixelSpacing": [0.2, 0.3]}
            | {"EstimatedRadiographicMagnificationFactor": 1.25},
            (0.16, 0.24),
        ),
        (
            {"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.2, 0.3], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.1, 0.1),
        ),
        ({"ImagerPixelSpacing": [0.2, 0.3], "EstimatedRadiographicMagnificationFactor": 0}, (0.2, 0.3)),
    ],
)
def test_the_size_of_a_pixel_comes_from_the_first_element_that_gives_it(
    elements: dict[str, Any], size: tuple[float, float] | None
) -> None:
    assert read(**elements) == (None if size is None else near(size), ())


@pytest.mark.parametrize(
    ("elements", "remark"),
    [
        (
            {"ImagerPixelSpacing": [0.2, 0.3]},
            "PixelSpacing is 0.1 x 0.1 mm and ImagerPixelSpacing 0.2 x 0.3 mm without a type of calibration; "
            "PixelSpacing counts",
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 1.5},
            "PixelSpacing is that of the detector, 0.1 x 0.1 mm, with a magnification of 1.5; PixelSpacing counts",
        ),
        (
            {"SequenceOfUltrasoundRegions": [region()]},
            "PixelSpacing is 0.1 x 0.1 mm and the regions of the ultrasound image 0.2 x 0.3 mm; PixelSpacing counts",
        ),
    ],
)
def test_pixel_spacing_counts_and_what_contradicts_it_is_said(elements: dict[str, Any], remark: str) -> None:
    assert read(PixelSpacing=[0.1, 0.1], **elements) == (near((0.1, 0.1)), (remark,))


@pytest.mark.parametrize(
    ("cosines", "usable"),
    [
        ([1, 0, 0, 0, 1, 0], True),
        ([0.866, 0.5, 0, -0.5, 0.866, 0], True),  # three digits
        ([0, 0, 0, 0, 0, 0], False),
        ([1, 0, 0, 1, 0, 0], False),
        ([2, 0, 0, 0, 2, 0], False),
        ([1, 0, 0], False),
    ],
)
def test_direction_cosines_are_two_axes_at_right_angles(cosines: list[float], usable: bool) -> None:
    assert (directions(header(ImageOrientationPatient=cosines)) is not None) is usable


@pytest.mark.parametrize(("value", "mm"), [("2.5", 2.5), ("-2.5", 2.5), ("0", None), ("1e-9", None), ("1e400", None)])
def test_a_length_has_no_sign_and_is_above_0(value: str, mm: float | None) -> None:
    assert length(header(SliceThickness=value), "SliceThickness") == mm
    assert length(header(), "SliceThickness") is None


def test_a_malformed_number_becomes_the_default() -> None:
    assert number(header(RescaleSlope="1e400"), "RescaleSlope", 1.0) == 1.0
    assert number(header(RescaleSlope=None), "RescaleSlope", 1.0) == 1.0
    assert number(header(RescaleSlope="2"), "RescaleSlope", 1.0) == 2.0
