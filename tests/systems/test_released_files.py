"""The reference flavours from the files on: a folder as the authors have it, read here and by a second implementation.

The second implementation opens the files with Pillow and hands them to torchvision's transforms (HVPNeT, RSRNeT) or to CLIP's own image
processor (IFAformer, MKGformer); HVFormer's pinned version of the latter is written out.
"""

from __future__ import annotations

import ast
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("", "systems", "weights"))
import released_torch
import torchvision_here
from releases import SMALL, empty_variables, random_release, system_for

from configs import hvformer, ifaformer, mkgformer, rsrnet
from mmre_jax.data import datasets
from mmre_jax.data.pictures import fit
from mmre_jax.data.text import TextEncoder
from mmre_jax.encoders.from_config import photo_and_objects, released_crops
from mmre_jax.records import Record, Region
from mmre_jax.systems.system import normalise
from mmre_jax.tasks.relation import RelationTask
from mmre_jax.weights import released

SHAPES = ((401, 300), (300, 403), (61, 77), (90, 33), (64, 64), (225, 224), (500, 101))  # width, height
WORDS = ("ada", "meets", "grace", "in", "oslo", ",", "paris")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LABELS = ("None", "a", "b", "c", "d")


def draw(path: Path, size: tuple[int, int], seed: int, grey: bool = False) -> Path:
    """A JPEG of smooth shapes under noise."""
    random = np.random.default_rng(seed)
    width, height = size
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noisy = np.clip(np.asarray(coarse).astype(int) + random.integers(-40, 40, (height, width, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(noisy)
    (image.convert("L") if grey else image).save(path, "PNG" if path.suffix == ".png" else "JPEG")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """MNRE's layout: four lines, of which the last names a photo that is not there, one a damaged one; crops of both kinds; inf.png."""
    root = tmp_path_factory.mktemp("RE_data")
    for name in ("txt", "boxes", "img_detect/val"):
        (root / name).mkdir(parents=True)
    (root / "ours_rel2id.json").write_text(json.dumps({name: i for i, name in enumerate(LABELS)}))
    lines = []
    for number in range(4):
        span = {"h": {"name": "ada", "pos": [0, 1]}, "t": {"name": "oslo", "pos": [4, 5]}}
        lines.append({"token": list(WORDS[: 5 + number % 2]), **span, "img_id": f"p{number}.jpg", "relation": LABELS[number]})
    (root / "txt" / "ours_val.txt").write_text("\n".join(map(repr, lines)))
    for number in range(2):
        draw(root / "img_org" / "val" / f"p{number}.jpg", SHAPES[number], number, grey=number == 1)
    (root / "img_org" / "val" / "p2.jpg").write_bytes(b"\xff\xd8\xff damaged")
    draw(root / "img_org" / "val" / "inf.png", (70, 50), 9)
    grounded = {n: [f"g{n}_{k}.jpg" for k in range(k_of)] for n, k_of in enumerate((4, 2, 0, 1))}
    detected = {f"p{n}": [f"img_detect/val/crops/p{n}_crop_{k}.jpg" for k in (2, 0, 1, 3)[: 4 - n]] for n in range(3)}
    for i, name in enumerate(name for names in grounded.values() for name in names):
        draw(root / "img_vg" / "val" / "crops" / name, SHAPES[i % len(SHAPES)], 20 + i)
    for i, name in enumerate(name for names in detected.values() for name in names):
        draw(root / name, SHAPES[-1 - i % len(SHAPES)], 40 + i)
    (root / "txt" / "mre_dev_dict.pth").write_bytes(pickle.dumps(grounded))
    (root / "img_detect" / "val" / "val_img2crop.pth").write_bytes(pickle.dumps(detected))
    return root


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def released_photo(folder: Path, name: str) -> Image.Image:
    """As the released data set class opens a photo."""
    try:
        return opened(folder / name)
    except OSError:
        return opened(folder / "inf.png")


def data_of(config: Any, folder: Path) -> Any:
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.data.update({"name": "mnre", "root": str(folder)})
    return config.data


def normalised(plan: Any, pixels: dict[str, np.ndarray], present: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{slot: [K, 3, S, S]} as the network gets it."""
    slots = {slot.name: normalise(pixels[slot.name][None], present[slot.name][None], slot)[0] for slot in plan}
    return {name: np.asarray(x).transpose(0, 3, 1, 2) for name, x in slots.items()}


def with_zeros(pictures: list[torch.Tensor], side: int) -> np.ndarray:
    """The first three, zeros for those that are not there."""
    pictures = pictures[:3]
    return torch.stack([*pictures, *[torch.zeros(3, side, side)] * (3 - len(pictures))]).numpy()


def test_hvpnet_and_rsrnet_see_what_torchvision_makes_of_the_files(folder: Path) -> None:
    transforms = torchvision_here.load().transforms
    colours = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(*colours)]
    transform = transforms.Compose(steps)
    config = rsrnet.get_config("reference").copy_and_resolve_references()
    plan = photo_and_objects(config.vision, "grounded")
    data = data_of(config, folder)
    read = datasets.open_pictures(plan, data, released=True)
    lists = pickle.loads((folder / "txt" / "mre_dev_dict.pth").read_bytes())
    records = datasets.open_records(data, "val")
    assert len(records) == 4
    for number, record in enumerate(records):
        found = normalised(plan, *read(record))
        photo = transform(released_photo(folder / "img_org" / "val", f"p{number}.jpg"))
        crops = [transform(opened(folder / "img_vg" / "val" / "crops" / name)) for name in lists[number]]
        np.testing.assert_allclose(found["photo"], photo[None].numpy(), atol=1e-6, rtol=0)
        np.testing.assert_allclose(found["grounded"], with_zeros(crops, 224), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("grey", [False, True])
def test_every_shape_of_picture_is_cut_as_torchvision_cuts_it(size: tuple[int, int], grey: bool, tmp_path: Path) -> None:
    transforms = torchvision_here.load().transforms
    path = draw(tmp_path / "a.jpg", size, 3, grey)
    config = rsrnet.get_config("reference")
    [slot, _] = photo_and_objects(config.vision, "grounded")
    pixels, _ = datasets.open_pictures((slot,))(Record("r", ("a",), str(path)))
    theirs = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])(opened(path))
    np.testing.assert_array_equal(pixels["photo"][0], np.asarray(theirs))


def test_pictures_are_read_as_pillow_converts_them(tmp_path: Path) -> None:
    """Not turned as the metadata says, transparent parts as they are below: the released code opens a file and converts it, no more."""
    config = rsrnet.get_config("reference")
    [slot, _] = photo_and_objects(config.vision, "grounded")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    turned = draw(tmp_path / "turned.jpg", (300, 200), 5)
    opened(turned).save(turned, exif=exif)
    clear = np.random.default_rng(0).integers(0, 256, (90, 80, 4), dtype=np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    for path in (turned, tmp_path / "clear.png"):
        record = Record("r", ("a",), str(path))
        as_released, usual = (datasets.open_pictures((slot,), released=flag)(record)[0]["photo"][0] for flag in (True, False))
        np.testing.assert_array_equal(as_released, fit(opened(path), 224, "crop_bilinear"))
        assert (as_released != usual).any()


def crops_of(folder: Path, number: int, source: str) -> list[Path]:
    if source == "grounded":
        names = pickle.loads((folder / "txt" / "mre_dev_dict.pth").read_bytes())[number]
        return [folder / "img_vg" / "val" / "crops" / name for name in names]
    lists = pickle.loads((folder / "img_detect" / "val" / "val_img2crop.pth").read_bytes())
    return [folder / name for name in lists.get(f"p{number}", [])]


def pinned(image: Image.Image, side: int) -> np.ndarray:
    """CLIP's preprocessing in the version that HVFormer pins, uint8 [side, side, 3]: the offset of the centre is rounded up."""
    width, height = image.size
    if min(width, height) != side:
        long = int(side * max(width, height) / min(width, height))
        image = image.resize((side, long) if width <= height else (long, side), Image.Resampling.BICUBIC)
    left, top = (int((length - side + 1) * 0.5) for length in image.size)
    return np.asarray(image)[top : top + side, left : left + side]


def seen_by_clip(image: Image.Image, side: int, system: str) -> np.ndarray:
    """float32 [3, side, side]."""
    transformers = pytest.importorskip("transformers")
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    if system == "hvformer":
        mean, std = np.array(processor.image_mean), np.array(processor.image_std)
        return ((pinned(image, side) / 255.0 - mean) / std).transpose(2, 0, 1)
    return np.asarray(processor(images=[image], return_tensors="np")["pixel_values"][0])


@pytest.mark.parametrize("system", ["ifaformer", "mkgformer", "hvformer"])
def test_systems_with_clips_tower_see_what_clips_processor_makes_of_the_files(system: str, folder: Path) -> None:
    config = {"ifaformer": ifaformer, "mkgformer": mkgformer, "hvformer": hvformer}[system].get_config("reference")
    plan, data = released_crops(config.vision), data_of(config, folder)
    read = datasets.open_pictures(plan, data, released=True)
    for number, record in enumerate(datasets.open_records(data, "val")):
        found = normalised(plan, *read(record))
        for source, side in (("grounded", 128), ("detected", 64)):
            crops = [torch.tensor(seen_by_clip(opened(path), side, system)) for path in crops_of(folder, number, source)]
            np.testing.assert_allclose(found[source], with_zeros(crops, side), atol=2e-6, rtol=0)


@pytest.mark.parametrize("system", ["ifaformer", "hvformer"])
@pytest.mark.parametrize("side", [224, 128, 64])
def test_every_shape_of_picture_is_cut_as_clip_cuts_it(side: int, system: str, tmp_path: Path) -> None:
    config = (
        {"ifaformer": ifaformer, "mkgformer": mkgformer, "hvformer": hvformer}[system].get_config("reference").copy_and_resolve_references()
    )
    config.vision.crop_side = side
    plan = released_crops(config.vision)[:1]
    paths = [draw(tmp_path / f"{n}.jpg", size, n, grey=n == 2) for n, size in enumerate((*SHAPES, (side, side + 1), (side + 3, side)))]
    for path in paths:
        record = Record("r", ("a",), regions=(Region(file=str(path), source="grounded"),))
        found = normalised(plan, *datasets.open_pictures(plan)(record))
        np.testing.assert_allclose(found["grounded"][0], seen_by_clip(opened(path), side, system), atol=2e-6, rtol=0)


def test_photos_that_cannot_be_opened(folder: Path, tmp_path: Path) -> None:
    """inf.png as released; zeros where there is none, and for crops; masked in every other flavour."""
    config = rsrnet.get_config("reference")
    plan = photo_and_objects(config.vision, "grounded")
    data = data_of(config, folder)
    records = datasets.open_records(data, "val")
    released_, usual = datasets.open_pictures(plan, data, released=True), datasets.open_pictures(plan, data)
    assert [released_(record)[1]["photo"].item() for record in records] == [True] * 4
    assert [usual(record)[1]["photo"].item() for record in records] == [True, True, False, False]
    assert released_.replaced(records) == (1, 0), "p3.jpg; p2.jpg is there, but damaged"
    stand_in = released_(records[3])[0]["photo"]
    np.testing.assert_array_equal(stand_in, released_(records[2])[0]["photo"])
    elsewhere = Record("x", ("a",), str(tmp_path / "gone.jpg"))
    pixels, present = released_(elsewhere)
    assert not present["photo"].any() and not pixels["photo"].any()
    assert released_.replaced([*records, elsewhere]) == (1, 1)


def test_from_the_files_to_the_logits(folder: Path) -> None:
    """HVPNeT of a small size: words, photo and crops as the second implementation reads them from the folder."""
    transforms = torchvision_here.load().transforms
    names = (*SPECIALS, *WORDS, *map(str, range(SMALL.words - 4 - len(SPECIALS) - len(WORDS))))
    vocabulary = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tensors = random_release("hvpnet_re", SMALL)
    system = system_for("hvpnet_re", tensors, SMALL)
    variables = released.read("hvpnet_re", tensors, empty_variables("hvpnet_re", system, SMALL), system)
    task = RelationTask(TextEncoder(tokenizer.to_str(), 20, as_released=True), LABELS, "None")
    data = data_of(rsrnet.get_config("reference"), folder)
    records = datasets.open_records(data, "val")
    read = datasets.open_pictures(system.plan, data, released=True)
    features = [{**task.features(r, 20), **dict(zip(("pictures", "present"), read(r), strict=True))} for r in records]
    batch = jax.tree.map(lambda *rows: np.stack(rows), *features)
    found = jax.jit(lambda v, b: system.net.apply(v, *system.inputs(b), train=False))(variables, batch)

    transform = transforms.Compose([transforms.Resize(round(SMALL.side * 256 / 224)), transforms.CenterCrop(SMALL.side)])
    theirs: dict[str, Any] = {"text": {"ids": [], "mask": [], "markers": []}, "pictures": {"photo": [], "grounded": []}, "present": {}}
    lists = pickle.loads((folder / "txt" / "mre_dev_dict.pth").read_bytes())
    ids = vocabulary | {name: len(vocabulary) + i for i, name in enumerate(("<s>", "</s>", "<o>", "</o>"))}
    counts = []
    for number, line in enumerate(map(ast.literal_eval, (folder / "txt" / "ours_val.txt").read_text().splitlines())):
        words = ["<s>", line["token"][0], "</s>", *line["token"][1:4], "<o>", *line["token"][4:5]]
        words += ["</o>", *line["token"][5:]] if line["token"][5:] else []  # none behind the last word
        row = [ids["[CLS]"], *(ids[word] for word in words), ids["[SEP]"]]
        theirs["text"]["ids"].append(row + [0] * (20 - len(row)))
        theirs["text"]["mask"].append([True] * len(row) + [False] * (20 - len(row)))
        theirs["text"]["markers"].append([row.index(ids["<s>"]), row.index(ids["<o>"])])
        theirs["pictures"]["photo"].append([np.asarray(transform(released_photo(folder / "img_org" / "val", f"p{number}.jpg")))])
        crops = [np.asarray(transform(opened(folder / "img_vg" / "val" / "crops" / name))) for name in lists[number][:3]]
        theirs["pictures"]["grounded"].append([*crops, *[np.zeros((SMALL.side, SMALL.side, 3), np.uint8)] * (3 - len(crops))])
        counts.append(len(crops))
    theirs["present"] = {"photo": np.ones((4, 1), bool), "grounded": np.arange(3)[None] < np.array(counts)[:, None]}
    theirs = {"present": theirs.pop("present"), **{part: {k: np.array(v) for k, v in theirs[part].items()} for part in theirs}}
    state = released_torch.State({k: torch.tensor(v) for k, v in tensors.items()}, SMALL.heads, 1e-12)
    with torch.no_grad():
        expected = released_torch.logits(state, released_torch.states_of(state, theirs, "hvpnet_re"), theirs)
    assert expected.std(dim=0).max() > 0.05
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4, rtol=0)
