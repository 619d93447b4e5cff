"""Finds objects in pictures with a detector, in the form that the readers take as `detected` objects.

    python -m launch.detect --weights=fasterrcnn_resnet50_fpn.safetensors --input=posts --out=posts_with_objects
    python -m launch.detect --weights=runs/detector --input=posts.jsonl --out=found
    python -m launch.detect --weights=maskrcnn_resnet50_fpn.pth --input=MNRE --out=MNRE --top=20

--weights is a run of configs/detector.py (its workdir, or one step), or torchvision's state dict of a Faster R-CNN, version 1 or 2, or a
Mask R-CNN, as safetensors or (with PyTorch) .pth. No pickled code is run.

--input is
  a file of JSON lines, or a folder with {train,val,test}.jsonl: OUT holds the same lines, their detected regions replaced by what was found
      and all else as it was, with their pictures beside them (hard links where possible): it is a data set, --config.data.name=jsonl; the
      lines of a file, not those of a folder, may also name pictures elsewhere, by whole paths, which stay where they are;
  a folder in MNRE's layout: OUT/boxes/{train,dev,test}_detect_box_dict.json, which its reader takes before the published files where --out
      is that folder;
  a folder of pictures: OUT/regions.jsonl, a line {"image": name, "regions": [...]} for each.

Started again after it was stopped it goes on. A picture that is missing or cannot be read is passed over and stands in
OUT/detect/rejects.jsonl; with --strict the first one ends the program. OUT/detect/summary.json counts. --features writes each object's
feature to OUT/detect/features/: safetensors {name of the picture: float32 [objects, hidden]}, row i of the picture's i-th detected region.
"""

from __future__ import annotations

from absl import app, flags

from launch import console
from mmre_jax import detection, detection_inputs, storage
from mmre_jax.detection_files import FOLDER, detect_all

_WEIGHTS = flags.DEFINE_string("weights", None, "A detector's state dict (.safetensors, .pth), or a run of configs/detector.py.")
_INPUT = flags.DEFINE_string("input", None, "A folder of pictures, JSON lines or a folder of them, or MNRE's folder.")
_OUT = flags.DEFINE_string("out", None, "Folder for what was found.")
_LABELS = flags.DEFINE_string("labels", None, "A file of the classes' names, one a line, where the weights are not for COCO's 91.")
_TOP = flags.DEFINE_integer("top", 0, "Most objects of a picture, the best; 0: the detector's own number, 100.", lower_bound=0)
_SCORE = flags.DEFINE_float("min_score", None, "Lowest score; the detector's own, 0.05, if not given.", lower_bound=0, upper_bound=1)
_SHORTER = flags.DEFINE_integer("shorter", 0, "Pixels the shorter side comes to; 0: 800. Not for a run.", lower_bound=0, upper_bound=4096)
_LONGER = flags.DEFINE_integer("longer", 0, "Pixels the longer one comes to at most; 0: 1333.", lower_bound=0, upper_bound=8192)
_BATCH = flags.DEFINE_integer("batch", 0, "Pictures looked at together; 0: 1 on a CPU, 8 elsewhere.", lower_bound=0)
_FEATURES = flags.DEFINE_bool("features", False, "Also write each object's feature.")
_STRICT = flags.DEFINE_bool("strict", False, "End at the first picture that is missing or cannot be read.")


def main() -> None:
    """Looks, writes, and names what was written."""
    logger = console.setup()
    given = detection_inputs.look_at(storage.on_disk(_INPUT.value, "--input").expanduser())
    out = storage.on_disk(_OUT.value, "--out").expanduser()
    labels = () if _LABELS.value is None else detection.read_labels(_LABELS.value)
    detector = detection.load(
        storage.on_disk(_WEIGHTS.value, "--weights").expanduser(),
        labels=labels,
        shorter=_SHORTER.value,
        longer=_LONGER.value,
        score=_SCORE.value,
        top=_TOP.value,
        batch=_BATCH.value,
    )
    if not given.pictures:
        raise app.UsageError(f"--input={_INPUT.value}: none of its records has a picture")
    summary = detect_all(detector, given, out, features=_FEATURES.value, strict=_STRICT.value, progress="detect")
    looked = summary["pictures"] - summary["rejected"]
    logger.info("%d objects in %d pictures, %d of them without any", summary["boxes"], looked, summary["without_boxes"])
    if summary["rejected"]:
        rejected, example = summary["rejected"], summary["examples"][0]
        logger.warning("%d pictures passed over, such as %s: %s", rejected, example, out / FOLDER / "rejects.jsonl")
    for path in given.outputs(out):
        print(path)


if __name__ == "__main__":
    flags.mark_flags_as_required(["weights", "input", "out"])
    console.run(main, cached=True)
