"""Names that many parts share: the published system's properties, their order, the groups made of them, and a file.

They are defaults: a scorer says what it measures (``property_names``), and a configuration which of that is edited.
"""

PROPERTIES = (
    "eyes",
    "hair_color",
    "hair_length",
    "mouth",
    "pose",
    "background_mean",
    "background_std",
    "hairstyle",
)
"""The eight scored properties, in the order of the property CNN's outputs."""

LABEL_PROPERTIES = PROPERTIES[:7]
"""The seven properties that condition FineTune-v1 and v9 (everything but hairstyle), in label order."""

EDITED_PROPERTIES = ("eyes", "mouth", "pose")
"""The properties for which directions are sought, if nothing else is asked for."""

GROUP_PROPERTIES = ("hair_color", "hair_length", "background_mean", "hairstyle")
"""The properties whose medians split samples into 16 groups by default, in the order of the group name's letters."""

FAILED_FILE = "failed.txt"
"""What a job of a sweep that failed leaves in its folder: the sentence that says why."""
