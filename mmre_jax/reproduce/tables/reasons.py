"""Why rows of the tables are not run."""

from __future__ import annotations

MEGA = "no system here: it needs a scene graph of each picture, and the generator that made MNRE's is not in this library"
BERT_SG = "no system here: it reads the scene graphs of MEGA's pictures, which are not published with the data"
XU = "no system here: its data discriminator is trained by reinforcement on the classifier, and no code was released"
VILBERT = "no system here: its two streams are pretrained together on captions, and from other weights the row would be another system's"
