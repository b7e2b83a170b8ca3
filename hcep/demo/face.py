"""A talking face drawn from continuous action parameters and a speaker's looks.

The parameters follow the facial action units in spirit (brow raiser and lowerer, lid raiser, nose wrinkler, lip corner
puller and depressor, lip presser, jaw drop; Ekman and Friesen 1978); nothing here knows an emotion.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from hcep.demo.speaker import BACKGROUNDS, HAIRS, SKINS, Colour, Speaker

SIDE = 96  # pixels of a drawn frame
SUPERSAMPLE = 2

Points = list[tuple[float, float]]


def _arc(start: float, end: float, count: int) -> tuple[tuple[float, float], ...]:
    return tuple((math.cos(a), math.sin(a)) for a in np.linspace(start, end, count))


CIRCLE = _arc(0, 2 * math.pi, 25)[:-1]
LID, JAW, SCALP = _arc(math.pi, 0, 11), _arc(0.25, 2.89, 15), _arc(-2.75, -0.39, 13)
LIPS = tuple(float(s) for s in np.linspace(-1, 1, 13))
ARCH = tuple(1 - s * s for s in LIPS)


class Action(NamedTuple):
    """Deviations from the resting face; 0 is rest, 1 (or -1) the far end."""

    corner: float = 0.0  # mouth corners up (+) or down (-)
    open: float = 0.0  # jaw drop, 0 to 1
    press: float = 0.0  # lips pressed, 0 to 1
    wide: float = 0.0  # mouth stretched (+) or rounded (-)
    skew: float = 0.0  # one mouth corner raised: left of the picture (-) or right (+)
    brow: float = 0.0  # brows raised (+) or lowered (-)
    slant: float = 0.0  # inner ends of the brows up (+) or down (-)
    lids: float = 0.0  # eyes wide (+) or narrowed (-); -1 is closed
    gaze_x: float = 0.0
    gaze_y: float = 0.0  # down is +
    wrinkle: float = 0.0  # nose wrinkled, 0 to 1
    tilt: float = 0.0  # head leaning to one side
    nod: float = 0.0  # head lowered (+) or raised (-)


LOWER = Action(-1, 0, 0, -1, -1, -1, -1, -1, -1, -1, 0, -1, -1)
UPPER = Action(*[1.0] * len(Action._fields))


def clamp(values: np.ndarray) -> Action:
    """The nearest action within the range of every parameter."""
    return Action(*(float(x) for x in np.clip(values, LOWER, UPPER)))


def draw_face(speaker: Speaker, action: Action) -> np.ndarray:
    """One frame, uint8 ``(96, 96, 3)``, drawn at twice that size and averaged down.

    The speaker's resting corners and brows are added to `action`, which is expression, gaze and head pose.
    """
    canvas = _Canvas(speaker, action)
    canvas.head()
    for sign in (-1, 1):
        canvas.eye(sign)
        canvas.brow(sign)
    canvas.nose()
    canvas.mouth()
    return np.asarray(canvas.image.reduce(SUPERSAMPLE), dtype=np.uint8)


class _Canvas:
    """Head coordinates (x right, y down, the head about 1 high) to pixels, and the parts of a face."""

    def __init__(self, speaker: Speaker, action: Action) -> None:
        self.who, self.side = speaker, SIDE * SUPERSAMPLE
        self.act = action._replace(corner=action.corner + speaker.rest_corner, brow=action.brow + speaker.rest_brow)
        light = speaker.shade[0]
        self.skin = _shaded(SKINS[speaker.skin], (light, light, light))
        self.hair = _shaded(HAIRS[speaker.hair], speaker.shade)
        self.image = Image.new("RGB", (self.side, self.side), _shaded(BACKGROUNDS[speaker.background], speaker.shade))
        self.pen = ImageDraw.Draw(self.image)
        angle = 0.22 * action.tilt
        self.cos, self.sin = math.cos(angle), math.sin(angle)
        self.shift = 0.05 * action.nod  # features slide down the head as it is lowered

    def to_pixels(self, points: Points) -> Points:
        unit, middle = self.side * 0.90, self.side / 2
        turned = ((self.cos * x - self.sin * y, self.sin * x + self.cos * y) for x, y in points)
        return [(middle + unit * x, middle * 1.04 + unit * y) for x, y in turned]

    def fill(self, points: Points, colour: Colour) -> None:
        self.pen.polygon(self.to_pixels(points), fill=colour)

    def stroke(self, points: Points, colour: Colour, width: float) -> None:
        self.pen.line(self.to_pixels(points), fill=colour, width=max(round(width * self.side * 0.9), 1), joint="curve")

    def head(self) -> None:
        who, dark = self.who, _scaled(self.skin, 0.82)
        half, length = who.face_width / 2, who.face_length / 2
        shirt = _scaled(_shaded(BACKGROUNDS[who.background], (-30, 20, 40)), 0.6)
        self.fill(_ellipse(0, 0.62, 0.46, 0.24), shirt)
        self.fill([(-0.10, 0.25), (0.10, 0.25), (0.12, 0.46), (-0.12, 0.46)], dark)
        self.fill(_ellipse(0, -0.06, half + 0.06, length + 0.05), self.hair)
        if who.long_hair:
            ends = [(half + 0.03, 0.40), (-half - 0.03, 0.40)]
            self.fill([(-half - 0.06, -0.06), (half + 0.06, -0.06), *ends], self.hair)
        for sign in (-1, 1):
            self.fill(_ellipse(sign * half, 0.02, 0.045, 0.07), dark)
        self.fill(_ellipse(0, 0.02, half, length), self.skin)
        if who.beard:
            jaw = [(half * c * 0.99, 0.02 + length * s * 0.99) for c, s in JAW]
            self.fill([*jaw, (-half * 0.55, 0.17), (half * 0.55, 0.17)], _scaled(self.hair, 1.1))
        edge = -0.30 + 0.10 * who.fringe
        top = [(half * c, 0.02 + length * s) for c, s in SCALP]
        self.fill([*top, (half * 0.3, edge), (-half * 0.4, edge + 0.03)], self.hair)

    def eye(self, sign: int) -> None:
        act, who = self.act, self.who
        x, y = sign * who.eye_distance / 2 * 1.05, -0.06 + self.shift
        wide = 0.075 * who.eye_size
        tall = wide * 0.62 * max(1 + (0.75 if act.lids > 0 else 1.0) * act.lids, 0.04)
        if tall > 0.008:
            self.fill(_ellipse(x, y, wide, tall), (245, 245, 242))
            pupil = min(0.034 * who.eye_size, tall * 1.25)
            centre = x + 0.038 * act.gaze_x, y + min(0.022, tall * 0.6) * act.gaze_y
            self.fill(_ellipse(*centre, min(0.034 * who.eye_size, 0.04), pupil), (34, 26, 24))
            # skin above and below hides what of the iris lies outside the lids
            for side in (-1, 1):
                lid, edge = [(x + wide * c, y + side * tall * s) for c, s in LID], y + side * (tall + 0.03)
                self.fill([*lid, (x + wide, edge), (x - wide, edge)], self.skin)
        self.stroke([(x + wide * c, y - tall * s) for c, s in LID], _scaled(self.skin, 0.42), 0.016)
        if who.glasses:
            ring = _ellipse(x, y, 0.105, 0.09)
            self.stroke([*ring, ring[0]], (50, 50, 56), 0.012)

    def brow(self, sign: int) -> None:
        act, who = self.act, self.who
        x, y = sign * who.eye_distance / 2 * 1.05, -0.175 + self.shift - 0.055 * act.brow
        lift = 0.062 * act.slant
        points = [(x - sign * 0.085, y - lift), (x, y - 0.018), (x + sign * 0.085, y + 0.6 * lift + 0.008)]
        self.stroke(points, _scaled(self.hair, 0.75), who.brow_thickness)
        if act.slant < -0.3:  # a furrow between lowered inner ends
            self.stroke([(sign * 0.02, y + 0.0), (sign * 0.022, y + 0.07)], _scaled(self.skin, 0.75), 0.012)

    def nose(self) -> None:
        y, line = self.shift, _scaled(self.skin, 0.70)
        self.stroke([(0.0, -0.03 + y), (0.035, 0.10 + y), (-0.02, 0.115 + y)], line, 0.018)
        wrinkle = self.act.wrinkle
        if wrinkle > 0.1:
            reach, shade = 0.055 * wrinkle, _scaled(self.skin, 1 - 0.42 * wrinkle)
            for row in range(3):
                top = -0.045 + 0.03 * row + y
                self.stroke([(-reach, top), (0, top + 0.015), (reach, top)], shade, 0.014)
            for sign in (-1, 1):
                fold = [(sign * 0.065, 0.07 + y), (sign * 0.13, 0.15 + y), (sign * 0.15, 0.22 + y)]
                self.stroke(fold, _scaled(self.skin, 1 - 0.32 * wrinkle), 0.014)

    def mouth(self) -> None:
        act, y = self.act, 0.215 + self.shift
        half = 0.125 * self.who.mouth_width * (1 + 0.32 * act.wide)
        gap = max(act.open, 0.0)
        left, right = (y - 0.062 * act.corner + 0.058 * min(sign * -act.skew, 0.0) for sign in (-1, 1))
        thick, bend = 0.034 * (1 - 0.75 * act.press), 0.062 * act.corner
        # the middle of the mouth stays where it is as the corners move
        line = [(s, left + (right - left) * (s + 1) / 2 + bend * a, a) for s, a in zip(LIPS, ARCH, strict=True)]
        upper = [(half * s, m - gap * 0.035 * a) for s, m, a in line]
        lower = [(half * s, m + gap * 0.135 * a) for s, m, a in line]
        lip = _scaled((196, 92, 92), 0.72 if self.who.skin in ("brown", "dark") else 1.0)
        top = [(x, v - thick * a) for (x, v), a in zip(upper, ARCH, strict=True)]
        bottom = [(x, v + 1.2 * thick * a) for (x, v), a in zip(lower, ARCH, strict=True)]
        self.fill(top + bottom[::-1], lip)
        if gap > 0.06:
            self.fill(upper + lower[::-1], (70, 22, 26))
            if gap > 0.25:
                teeth = [(x, v + 0.028 * a) for (x, v), a in zip(upper, ARCH, strict=True)]
                self.fill(upper[2:-2] + teeth[2:-2][::-1], (240, 238, 230))
        else:
            self.stroke(upper, (70, 22, 26), 0.014 + 0.008 * act.press)


def _ellipse(x: float, y: float, half_width: float, half_height: float) -> Points:
    return [(x + half_width * c, y + half_height * s) for c, s in CIRCLE]


def _shaded(colour: Colour, offset: Colour) -> Colour:
    red, green, blue = (min(max(c + o, 0), 255) for c, o in zip(colour, offset, strict=True))
    return red, green, blue


def _scaled(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(round(c * factor), 255) for c in colour)
    return red, green, blue
