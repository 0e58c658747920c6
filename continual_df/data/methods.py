"""Canonical names of forgery methods, their families, and the spellings under which data sets carry them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from continual_df.labels import REAL_METHOD

Family = Literal["swap", "reenactment", "synthesis", "edit", "mixed"]


class KnownMethod(NamedTuple):
    """A forgery method; `aliases` are its other spellings, written as `squeeze` leaves them."""

    name: str
    family: Family
    aliases: tuple[str, ...] = ()


DF40_METHODS = (
    KnownMethod("fsgan", "swap"),
    KnownMethod("faceswap", "swap"),
    KnownMethod("simswap", "swap"),
    KnownMethod("inswapper", "swap", ("inswap", "roop")),
    KnownMethod("blendface", "swap"),
    KnownMethod("uniface", "swap"),
    KnownMethod("mobileswap", "swap", ("mobilefaceswap",)),
    KnownMethod("e4s", "swap"),
    KnownMethod("facedancer", "swap"),
    KnownMethod("deepfacelab", "swap"),
    KnownMethod("fomm", "reenactment"),
    KnownMethod("facevid2vid", "reenactment", ("fsvid2vid",)),
    KnownMethod("wav2lip", "reenactment"),
    KnownMethod("mraa", "reenactment"),
    KnownMethod("oneshotfree", "reenactment", ("oneshot",)),
    KnownMethod("pirender", "reenactment"),
    KnownMethod("tpsm", "reenactment", ("tpsmm",)),
    KnownMethod("lia", "reenactment"),
    KnownMethod("dagan", "reenactment", ("danet",)),
    KnownMethod("sadtalker", "reenactment"),
    KnownMethod("mcnet", "reenactment"),
    KnownMethod("hyperreenact", "reenactment"),
    KnownMethod("heygen", "reenactment"),
    KnownMethod("vqgan", "synthesis"),
    KnownMethod("stylegan2", "synthesis"),
    KnownMethod("stylegan3", "synthesis"),
    KnownMethod("styleganxl", "synthesis"),
    KnownMethod("sd2.1", "synthesis", ("sd21", "stablediffusion21")),
    KnownMethod("ddpm", "synthesis", ("ddim",)),
    KnownMethod("rddm", "synthesis"),
    KnownMethod("pixart", "synthesis", ("pixartalpha",)),
    KnownMethod("dit", "synthesis", ("ditxl2",)),
    KnownMethod("sit", "synthesis", ("sitxl2",)),
    KnownMethod("midjourney", "synthesis", ("midjourney6",)),
    KnownMethod("whichisreal", "synthesis", ("whichfaceisreal", "whichfaceisrealcom")),
    KnownMethod("collabdiff", "edit", ("collaborativediffusion",)),
    KnownMethod("e4e", "edit"),
    KnownMethod("stargan", "edit", ("stargangf",)),
    KnownMethod("starganv2", "edit", ("stargan2",)),
    KnownMethod("styleclip", "edit"),
)
"""The 40 methods of DF40 (Yan et al., 2024, arXiv:2406.13495), in the order of their official ids."""

OTHER_METHODS = (
    KnownMethod("deepfakes", "swap", ("ffdf",)),
    KnownMethod("face2face", "reenactment", ("fff2f",)),
    KnownMethod("faceswap_ff", "swap", ("fffs",)),
    KnownMethod("neuraltextures", "reenactment", ("ffnt",)),
    KnownMethod("faceshifter", "swap", ("fffh", "ffsh")),
    KnownMethod("dfd", "swap", ("deepfakedetection",)),
    KnownMethod("celebdf", "swap", ("celebdfv1", "celebdfv2", "celebsynthesis")),
    KnownMethod("dfdcp_a", "swap", ("dfdcpfakea",)),
    KnownMethod("dfdcp_b", "swap", ("dfdcpfakeb",)),
    KnownMethod("dfdcp", "swap"),
    KnownMethod("dfdc", "swap"),
    KnownMethod("deeperforensics", "swap", ("df", "deeperforensics10")),
    KnownMethod("uadfv", "swap"),
    KnownMethod("sd1.5", "synthesis", ("sd15", "stablediffusion15")),
    KnownMethod("dalle2", "synthesis", ("dalle2face",)),
    KnownMethod("blendface_fn", "swap"),
    KnownMethod("mmreplacement", "swap"),
    KnownMethod("deepfakes_stargan_stack", "mixed"),
    KnownMethod("stargan_blendface_stack", "mixed"),
    KnownMethod("talkingheadvideo", "reenactment"),
    KnownMethod("atvgnet", "reenactment"),
    KnownMethod("maskgan", "edit"),
    KnownMethod("scfegan", "edit"),
    KnownMethod("discofacegan", "edit"),
    KnownMethod("faceapp", "edit"),
    KnownMethod("pggan", "synthesis", ("progan",)),
    KnownMethod("cyclegan", "edit"),
    KnownMethod("stylegan", "synthesis", ("stylegan1",)),
)
"""Methods of FaceForensics++, Celeb-DF, DFD, DFDC(P), DeeperForensics, UADFV, ForgeryNet and OW-DFA."""

IMAGE_GENERATORS = (
    KnownMethod("crn", "synthesis", ("cascadedrefinementnetworks",)),
    KnownMethod("sn_patchgan", "edit"),
    KnownMethod("biggan", "synthesis"),
    KnownMethod("imle", "synthesis"),
    KnownMethod("gaugan", "synthesis"),
    KnownMethod("cips", "synthesis"),
    KnownMethod("ganformer", "synthesis"),
    KnownMethod("adm", "synthesis"),
    KnownMethod("lama", "edit"),
    KnownMethod("facesynthetics", "synthesis"),
    KnownMethod("projectedgan", "synthesis"),
    KnownMethod("palette", "edit"),
    KnownMethod("vq_diffusion", "synthesis"),
    KnownMethod("denoising_diffusion_gan", "synthesis"),
    KnownMethod("glide", "synthesis"),
    KnownMethod("latent_diffusion", "synthesis"),
    KnownMethod("mat", "edit"),
    KnownMethod("diffusion_gan_projectedgan", "synthesis"),
    KnownMethod("diffusion_gan_stylegan2", "synthesis"),
    KnownMethod("sd1.4", "synthesis", ("sd14", "stablediffusion14")),
    KnownMethod("deepfloyd_if", "synthesis"),
    KnownMethod("sdxl", "synthesis", ("sdxl10", "stablediffusionxl", "stablediffusionxl10")),
    KnownMethod("dalle3", "synthesis"),
    KnownMethod("flux1_dev", "synthesis"),
    KnownMethod("flux1_schnell", "synthesis"),
    KnownMethod("glow", "edit"),
    KnownMethod("san", "edit"),
    KnownMethod("wilddeepfake", "mixed"),
)
"""What AI-GenBench (arXiv:2504.20865, in its order) and CDDB (arXiv:2205.05467) add to the methods above."""

KNOWN_METHODS = (*DF40_METHODS, *OTHER_METHODS, *IMAGE_GENERATORS)


def squeeze(name: str) -> str:
    """Return ``name`` in lower case with letters and digits only, the form in which spellings are compared."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_SPELLING = {spelling: method for method in KNOWN_METHODS for spelling in (squeeze(method.name), *method.aliases)}


@lru_cache(maxsize=1 << 16)
def known_method(name: str) -> KnownMethod | None:
    """Return the method that ``name`` spells, or None."""
    return _BY_SPELLING.get(squeeze(name))


def canonical(name: str) -> str:
    """Return the canonical name of the method that ``name`` spells.

    A name that stands in no list becomes lower case with ``_`` for blanks and hyphens, so that a new method needs
    no entry here.

    >>> canonical("StarGAN2"), canonical("Whichfaceisreal"), canonical("My-New GAN")
    ('starganv2', 'whichisreal', 'my_new_gan')
    """
    method = known_method(name)
    if method is not None:
        return method.name
    slug = re.sub(r"[\s\-]+", "_", name.strip().lower())
    return REAL_METHOD if slug in ("real", "0_real") else slug
