"""Checkpoints of others as checkpoints of this library, and what of a run others can open.

release = open_release("released.pth")  # this and read_labels: weights/state_dicts.py
convert(release, config, "runs/released", tokenizer="BERT_DIR", labels=read_labels("ours_rel2id.json"))
export("runs/released", "back.safetensors")  # under the authors' keys
save_encoders("runs/mine", "encoders")  # the encoders of any run, as directories of transformers
save_model("runs/mine", "mine.safetensors")  # all of a run's model in one file
open_model("mine.safetensors", "runs/again")
"""

from mmre_jax.convert.encoders import save_encoders
from mmre_jax.convert.one_file import is_model, open_model, save_model
from mmre_jax.convert.released import convert, export

__all__ = ["convert", "export", "is_model", "open_model", "save_encoders", "save_model"]
