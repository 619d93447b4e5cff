"""Why rows of the tables are not run: this library has no system that computes what they are. What each of them is, is told as the papers
that hold the row tell it."""

from __future__ import annotations

MEGA = "no system here: it aligns a graph of the words with a scene graph of the picture, and no reader here has scene graphs"
BERT_SG = "no system here: BERT beside features of a scene graph of the picture, and no reader here has scene graphs"
XU = "no system here: a discriminator parts posts into those with and without a picture, and two extractors share them"
VILBERT = "no system here: two streams that were pretrained together, whose weights are not read here"
MOREFORMER = "no system here: it reads captions of objects and features of depth, which no reader here has"
HBILSTM = "no system here: BiLSTM-CRF with characters by a second BiLSTM; CNN-BiLSTM-CRF reads them by convolution"
ADAPTIVE = "no system here: adaptive co-attention of words and a picture's regions behind a BERT"
OCSGA = "no system here: it attends to the names of objects that a detector finds"
UMT = "no system here: a unified multimodal transformer beside which spans are found from the words alone"
UMGF = "no system here: a unified multimodal graph of words and objects, fused"
MAF = "no system here: matching and alignment of posts and pictures"
QUERIED = "no system here: queries of machine reading find what is relevant in the picture"
