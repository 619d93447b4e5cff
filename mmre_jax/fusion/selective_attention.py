"""Selective attention between text and image (QEOT, eq. 2-3).

As printed, Q_t K_t^T is [L, L] and cannot weigh the image's cells: here text queries meet image keys and image queries text keys, as the
paper's figure 3 shows, and the softmax closes before the values.

Shapes: B batch, L tokens, P cells of the image, D width.
"""

from __future__ import annotations

import flax.linen as nn
import jax

from mmre_jax.attention import attention


class SelectiveAttention(nn.Module):
    """H_attn^Text = softmax(Q_t K_i^T / sqrt(D)) H^Img and H_attn^Img = softmax(Q_i K_t^T / sqrt(D)) H^Text: one head, no parameters.

    Q_t = K_t = H^Text, Q_i = K_i = H^Img + Pos^Img (eq. 3). Where "intermediates" is mutable, the weights are sown there as
    "text_to_image", fp32 [B, 1, L, P], and "image_to_text", fp32 [B, 1, P, L].
    """

    @nn.compact
    def __call__(
        self, text: jax.Array, image: jax.Array, positions: jax.Array, text_mask: jax.Array, image_mask: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Lets each modality collect what it finds in the other.

        Args:
          text: [B, L, D].  text_mask: bool [B, L], False on padding.
          image: [B, P, D].  image_mask: bool [B, P], False where there is no picture.
          positions: [P, D].

        Returns:
          What the tokens found [B, L, D] and what the cells found [B, P, D]; 0 where there was nothing to look at.
        """
        placed = image + positions.astype(image.dtype)[None]
        return self._attend("text_to_image", text, placed, image, image_mask), self._attend("image_to_text", placed, text, text, text_mask)

    def _attend(self, name: str, queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
        sow = self.is_mutable_collection("intermediates") and not self.is_initializing()
        q, k, v = (x[:, :, None] for x in (queries, keys, values))
        found = attention(q, k, v, mask=mask[:, None, None], return_weights=sow)
        if sow:
            found, weights = found
            self.sow("intermediates", name, weights)
        return found[:, :, 0]
