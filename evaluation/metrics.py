"""What is measured on one picture: pure functions of arrays, one value each.

rgb is uint8 sRGB (H, W, 3); lab is CIELab (..., 3), L in 0..100; ab is (..., 2) in Lab units;
`reference` is the photograph's. docs/evaluation.md says what each is good for.
"""

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

AB_SCALE = 128.0  # the network's tanh, and so the paper's loss, is in units of ab / 128
EDGE = 3.0  # a luminance edge: L per px
STILL = 1e-4  # a mean change of ab per px that is but rounding, Lab units


def ab_mse(ab, reference):
    """mean(((ab - reference) / 128)^2) over pixels and both channels: the paper's loss, >= 0."""
    return float(np.mean(np.square((ab - reference) / AB_SCALE), dtype=np.float64))


POWERS = ("ab_power", "reference_power", "common_power")


def powers(ab, reference):
    """What `correlation` needs of one picture: the POWERS, means over its pixels, Lab units^2."""
    pairs = (ab, ab), (reference, reference), (ab, reference)
    return dict(zip(POWERS, (float((x * y).sum(axis=-1).mean(dtype=np.float64)) for x, y in pairs)))


def correlation(ab_power, reference_power, common_power):
    """r, -1..1, from POWERS or their means over pictures: sum(x y) / sqrt(sum x^2 sum y^2).

    The sums are over pixels, a and b; the means are not taken off, so that a tint of the whole
    picture counts. A factor on ab does not move it. NaN where one side is gray.
    """
    return common_power / np.sqrt(ab_power * reference_power)


@np.errstate(divide="ignore")
def psnr(rgb, reference):
    """20 log10(255 / sqrt(MSE)), dB, of one MSE over all pixels and channels. Equal: infinite."""
    return float(peak_signal_noise_ratio(reference, rgb))


def ssim(rgb, reference):
    """Structural similarity (Wang et al. 2004), at most 1: the mean over R, G, B.

    Gaussian window of 11 x 11 px, sigma 1.5. ValueError where the picture is smaller than it.
    """
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(rgb, reference, channel_axis=2, **window))


def ciede2000(lab, reference):
    """The colour difference of CIE 142-2001, kL = kC = kH = 1: the mean over pixels."""
    return float(deltaE_ciede2000(lab, reference).mean(dtype=np.float64))


def colorfulness(rgb):
    """CF of Hasler and Suesstrunk (2003), in sRGB codes: 0 is gray, photographs have about 40.

    With rg = R - G and yb = (R + G) / 2 - B: sqrt(var rg + var yb) + 0.3 sqrt((mean rg)^2 + (mean
    yb)^2).
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    variances, means = opponents.var(axis=(1, 2)), opponents.mean(axis=(1, 2))
    return float(np.sqrt(variances.sum()) + 0.3 * np.hypot(*means))


def saturation(rgb):
    """Mean HSV saturation, 0..1; that of black is 0."""
    return float(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[..., 1].mean() / 255)


def bleed(ab, reference, lightness):
    """How much more of the change of ab lies off the edges of L than the photograph's; points of %.

    100 * (off(ab) - off(reference)), -100..100, off(x) = sum of |grad x| away from edges / sum of
    |grad x| everywhere, with |grad x| = sqrt(|grad a|^2 + |grad b|^2) of Gaussian derivatives,
    sigma 1 px. Edges are where |grad L| >= 3 per px, and 1 px around. 0 where either side has the
    same ab everywhere.

    ab and reference are float32 (H, W, 2), ab before it is fitted into sRGB; lightness is L of
    both, float32 (H, W).
    """
    edges = (np.sqrt(_gradient_power(lightness)) >= EDGE).astype(np.uint8)
    near = cv2.dilate(edges, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    shares = []
    for x in (ab, reference):
        change = np.sqrt(_gradient_power(x[..., 0]) + _gradient_power(x[..., 1]))
        total = change.sum(dtype=np.float64)
        if total <= STILL * change.size:
            return 0.0
        shares.append(float(change[near == 0].sum(dtype=np.float64) / total))
    return 100 * (shares[0] - shares[1])


def _gradient_power(plane):
    """|gradient|^2 of a plane (H, W), per px^2: central differences after a Gaussian of 1 px."""
    border = {"borderType": cv2.BORDER_REPLICATE}
    smooth = cv2.GaussianBlur(plane, (0, 0), 1, **border)
    dx, dy = (cv2.Sobel(smooth, -1, x, 1 - x, ksize=1, scale=0.5, **border) for x in (1, 0))
    return dx * dx + dy * dy
