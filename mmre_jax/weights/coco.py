"""The names of COCO's object categories by their published ids, which torchvision's detectors for COCO have as labels."""

from __future__ import annotations

CLASSES = 91  # ids up to 90, and the background
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # ids that no category of the published annotation has
_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, parking meter, bench, "
    "bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, "
    "snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, "
    "knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, "
    "dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, "
    "vase, scissors, teddy bear, hair drier, toothbrush"
).split(", ")


def labels(background: str) -> tuple[str, ...]:
    """The CLASSES labels by id, the background first; an id without a category is called by its number."""
    used = [number for number in range(1, CLASSES) if number not in _UNUSED]
    names = dict(zip(used, _NAMES, strict=True))
    return (background, *(names.get(number, str(number)) for number in range(1, CLASSES)))
