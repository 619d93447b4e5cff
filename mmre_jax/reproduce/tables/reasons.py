"""Why rows of the tables are not run."""

from __future__ import annotations

MEGA = "no system here: it needs a scene graph of each picture, and the generator that made MNRE's is not in this library"
BERT_SG = "no system here: it reads the scene graphs of MEGA's pictures, which are not published with the data"
XU = "no system here: its data discriminator is trained by reinforcement on the classifier, and no code was released"
VILBERT = "no system here: its two streams are pretrained together on captions, and from other weights the row would be another system's"
MOREFORMER = "no system here: it reads captions and depth maps of MORE's pictures, which are not published with the data"
HBILSTM = "no system here: BiLSTM-CRF with characters by a second BiLSTM; CNN-BiLSTM-CRF reads them by convolution"
ADAPTIVE = "no system here: adaptive co-attention of a VGG16's regions and words, behind a BERT"
OCSGA = "no system here: it reads the names of objects that a detector of its own finds"
UMT = "no system here: a unified multimodal transformer with a text-only tagger beside it"
UMGF = "no system here: a graph of words and regions that a visual grounding model of its own finds"
MAF = "no system here: matching and alignment of posts and pictures, with contrastive learning"
QUERIED = "no system here: it reads entities as answers to questions, by a machine reading model with its own training data"
