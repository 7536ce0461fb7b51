"""Knowledge about each structure for MIMOSeg's third and fourth perspective, in our own words."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Two verb phrases that are true of a structure.

    Attributes:
        clue: Replaces the structure's name in a question.
        fact: Added to the answer.
    """

    clue: str
    fact: str


# By the name of the structure. The wording is ours, since phantoms never use a benchmark's own.
KNOWLEDGE: Mapping[str, Knowledge] = {
    "aorta": Knowledge("carries blood from the heart to all other organs", "widens in an aneurysm, which may tear"),
    "bladder": Knowledge("stores urine", "is bright here because the tracer leaves the body with the urine"),
    "blood spot": Knowledge("is blood under the skin's surface", "fades from red to brown as the blood is broken down"),
    "brain": Knowledge("burns the most sugar of all organs", "is bright here because it takes up sugar all the time"),
    "clavicle": Knowledge("joins the shoulder to the breastbone", "breaks most often in its middle third"),
    "exudate": Knowledge("is fat that leaked out of small vessels", "is common where diabetes has lasted for years"),
    "fresh blood": Knowledge("tells of a bleeding that has not stopped", "is rinsed away to find where it comes from"),
    "heart": Knowledge("pumps the blood", "looks enlarged when it is wider than half the chest"),
    "hemorrhage": Knowledge("is blood between the layers of the retina", "may follow high blood pressure or diabetes"),
    "hot lesion": Knowledge("takes up sugar where no organ should", "may be a tumor or an inflammation"),
    "injection site": Knowledge("is where the tracer was given", "stays bright when some tracer ran beside the vein"),
    "kidney": Knowledge("makes urine", "regulates salt, water and blood pressure"),
    "kidney cyst": Knowledge(
        "is a pocket of fluid in an organ that makes urine", "is harmless as long as it is simple"
    ),
    "liver": Knowledge("makes bile", "clears the blood that comes from the gut"),
    "liver lesion": Knowledge(
        "is a darker spot in the organ that makes bile", "may be a metastasis and needs a follow-up"
    ),
    "lumen": Knowledge("is the open way ahead", "is what the examiner steers towards"),
    "lung": Knowledge("exchanges gas with the blood", "looks dark because it is filled with air"),
    "lung nodule": Knowledge("is a round spot in an organ filled with air", "is followed up, since it may be a cancer"),
    "nodule": Knowledge("is a lump inside a gland", "is mostly harmless but may need a fine needle"),
    "optic disc": Knowledge("is where the nerve leaves the eye", "has no light receptors and makes the blind spot"),
    "pleural effusion": Knowledge("is fluid between the ribs and an organ filled with air", "may follow a weak heart"),
    "polyp": Knowledge("is a growth that may turn into a cancer of the bowel", "is removed during the examination"),
    "skin lesion": Knowledge(
        "stands out from the skin around it by its pigment", "is judged by border, colour and growth"
    ),
    "spleen": Knowledge("removes old red cells from the blood", "swells in many infections"),
    "thyroid gland": Knowledge("makes a hormone that sets how fast the body works", "needs iodine to do so"),
    "tumor": Knowledge("is a mass that displaces the brain around it", "is measured again after every treatment"),
    "ventricle": Knowledge("holds the fluid that bathes the brain", "widens when this fluid cannot drain"),
    "vessel": Knowledge("carries blood along the neck", "looks dark because moving blood sends little back"),
    "white matter lesion": Knowledge(
        "is a bright spot among the brain's fibres", "may tell of an inflammation or of small vessels"
    ),
    "white scar": Knowledge("is a patch that has lost its pigment", "is where the tissue has shrunk and healed"),
}
