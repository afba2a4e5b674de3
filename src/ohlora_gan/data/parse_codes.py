"""What the numbers in a parse map mean; maps of every source (renderer, landmarks, a folder) share them."""

MAP_SIZE = 224
"""Height and width in pixels of a map that is scored."""

BACKGROUND = 0
LEFT_EYE = 4
RIGHT_EYE = 5
NOSE = 6
UPPER_LIP = 7
INNER_MOUTH = 8
LOWER_LIP = 9
HAIR = 10

MAX_CODE = 12
"""The highest code in use. 1 skin, 2 and 3 brows or glasses, 11 clothes, 12 neck: no score looks at them."""
