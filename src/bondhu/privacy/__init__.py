"""What becomes of what is personal: pseudonyms, what is seen of each field, and seals on what was done about it."""

from bondhu.privacy.masks import Masks, masks_of
from bondhu.privacy.pseudonyms import Pseudonyms
from bondhu.privacy.seals import Sealer

__all__ = ["Masks", "Pseudonyms", "Sealer", "masks_of"]
