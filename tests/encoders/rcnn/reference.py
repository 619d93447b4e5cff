"""torchvision's detectors with weights like trained ones: norms calibrated on pictures, last layers spread so that many boxes score."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from torchvision_here import part


def detector(version: int, blocks: tuple[int, ...], classes: int, **thresholds: Any) -> Any:
    """A Faster R-CNN over bottlenecks, so many a stage, with random weights and BatchNorm as version 2 has it (1: frozen)."""
    resnet = part("models.resnet")
    import torch

    torch.manual_seed(0)
    rcnn, utils = (part(f"models.detection.{name}") for name in ("faster_rcnn", "backbone_utils"))
    norm = torch.nn.BatchNorm2d
    body = resnet.ResNet(resnet.Bottleneck, list(blocks), norm_layer=norm)
    backbone = utils._resnet_fpn_extractor(body, 5, norm_layer=norm if version == 2 else None)
    if version == 2:
        thresholds["rpn_head"] = part("models.detection.rpn").RPNHead(256, 3, conv_depth=2)
        thresholds["box_head"] = rcnn.FastRCNNConvFCHead((256, 7, 7), [256] * 4, [1024], norm_layer=norm)
    model = rcnn.FasterRCNN(backbone, num_classes=classes, **thresholds)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # running statistics become means over all batches
    return model


def calibrate(model: Any, pictures: list[np.ndarray], sure: float = 2.0) -> Any:
    """Fills the norms with the pictures' statistics and spreads the last layers' outputs, those of the classes by a deviation of `sure`;
    pictures are float [1, 3, H, W], normalised."""
    import torch

    boxes = [torch.tensor([[0.0, 0, 40, 40], [10, 10, 60, 30], [20, 5, 90, 80]])]
    with torch.no_grad():
        model.train()
        for picture in pictures:
            maps = model.backbone(torch.tensor(picture))
            model.roi_heads.box_head(model.roi_heads.box_roi_pool(maps, boxes, [picture.shape[2:]]))
        model.eval()
        maps = model.backbone(torch.tensor(pictures[0]))
        spread(model.rpn.head.cls_logits, lambda: torch.cat([x.flatten() for x in model.rpn.head(list(maps.values()))[0]]), 3.0)
        spread(model.rpn.head.bbox_pred, lambda: torch.cat([x.flatten() for x in model.rpn.head(list(maps.values()))[1]]), 0.4)
        features = model.roi_heads.box_head(model.roi_heads.box_roi_pool(maps, boxes, [pictures[0].shape[2:]]))
        spread(model.roi_heads.box_predictor.cls_score, lambda: model.roi_heads.box_predictor(features)[0], sure)
        spread(model.roi_heads.box_predictor.bbox_pred, lambda: model.roi_heads.box_predictor(features)[1], 1.0)
    return model


def spread(layer: Any, outputs: Any, deviation: float) -> None:
    """Scales a layer's weights so that what comes out has that standard deviation, its bias 0."""
    layer.bias.zero_()
    layer.weight.mul_(deviation / float(outputs().std()))


def freeze(model: Any, eps: float) -> Any:
    """Every BatchNorm as torchvision's FrozenBatchNorm2d with that eps, in place."""
    frozen = part("ops.misc").FrozenBatchNorm2d
    for name, child in list(model.named_children()):
        if type(child).__name__ == "BatchNorm2d":
            replaced = frozen(child.num_features, eps=eps)
            replaced.load_state_dict({k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"})
            setattr(model, name, replaced)
        else:
            freeze(child, eps)
    return model


def drawn(count: int, sides: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Pictures of coloured rectangles on noise, uint8 [count, *sides, 3]."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 80, (count, *sides, 3), dtype=np.uint8)
    for picture in pictures:
        for _ in range(8):
            low = (random.random(2) * np.array(sides) * 0.8).astype(int)
            high = low + 5 + (random.random(2) * np.array(sides) * 0.5).astype(int)
            picture[low[0] : high[0], low[1] : high[1]] = random.integers(0, 256, 3)
    return pictures
